"""The tests that are named for both Debians, or for the soak alone, are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.guests.both import CHOSEN
from tests.guests.seldom import SELDOM

ROOT = Path(__file__).parents[2]


def test_each_test_that_is_named_exists() -> None:
    collect = ["-m", "pytest", "--collect-only", "-q", "-m", "both or soak", "tests/guests"]
    done = subprocess.run(
        [sys.executable, *collect, "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {line for line in done.stdout.splitlines() if "::" in line}
    assert found >= CHOSEN, "a name in tests/guests/both.py has changed"
    assert found >= SELDOM, "a name in tests/guests/seldom.py has changed"
