"""What a test needs beside Python: where it is missing, the test is skipped, or fails in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.guests.lab.release import tool


def missing(reason: str) -> NoReturn:
    """Skip the test that runs; in CI, where everything has to be there, fail it.

    Args:
        reason: what is missing, and what to install.

    Raises:
        pytest.skip.Exception: on a person's machine.
        pytest.fail.Exception: in CI.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def program(*names: str, package: str) -> str:
    """The first of these programs that is here.

    Args:
        names: how it can be called.
        package: Debian's package that has it.

    Raises:
        pytest.skip.Exception: there is none, on a person's machine.
        pytest.fail.Exception: there is none, in CI.
    """
    found = next(filter(None, map(tool, names)), None)
    if found is None:
        missing(f"{names[0]} is missing: apt-get install {package}")
    return found
