"""What all tests of faults share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.patience import wait_for_holders
from tests.guests.command import holders_of

# A holder that dies with what was left to it is replaced at once: so long none may come.
_NONE_S = 0.5


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no holder for one that hangs because a busy machine takes long to start it."""
    wait_for_holders(monkeypatch, 60.0)


@pytest.fixture(scope="session", autouse=True)
def _no_holder_is_left() -> Iterator[None]:
    """End the holders of freezes that nobody can thaw any more: their guests have gone."""
    yield
    ended: set[int] = set()
    until = time.monotonic() + _NONE_S
    while time.monotonic() < until:
        for pid in set(holders_of(os.getpid())) - ended:
            ended.add(pid)
            until = time.monotonic() + _NONE_S
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
