"""What holders import to reach guests by calls: a few at a time, and the others wait."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from agentclient.holder import called_guest
from agentclient.holder.called_guest import MOST_IMPORTS, _Import

SOON_S = 60.0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose function returns when a test lets it."""
    module = ModuleType("tests_slow_calls")
    state: Any = module
    state.began, state.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def calls(_details: Mapping[str, str]) -> str:
        state.began.release()
        state.go_on.acquire(timeout=SOON_S)
        return "calls"

    state.calls = calls
    monkeypatch.setitem(sys.modules, "tests_slow_calls", module)
    return module


def test_more_than_may_be_imported_at_once_wait_for_their_turn(slow: Any) -> None:
    """Twenty guests that are frozen at once are not refused since eight are being reached."""
    body = {"means": "tests_slow_calls:calls", "details": {}}
    imports = [_Import(f"db{number}", body) for number in range(MOST_IMPORTS + 3)]
    for one in imports:
        one.start()
    for _ in range(MOST_IMPORTS):
        assert slow.began.acquire(timeout=SOON_S)
    assert not slow.began.acquire(timeout=0.05), "no more at once"
    assert not any(one.problem for one in imports)
    for _ in imports:
        slow.go_on.release()
    end = time.monotonic() + SOON_S
    while not all(one.calls for one in imports):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.005)
    assert not called_guest._waiting
    for one in imports:
        one.wakeup.close()


def test_a_guest_whose_import_hangs_takes_one_place_however_often_it_is_armed(slow: Any) -> None:
    body = {"means": "tests_slow_calls:calls", "details": {}}
    imports = [_Import("db1", body) for _ in range(MOST_IMPORTS + 1)]
    other = _Import("db2", body)
    for one in (*imports, other):
        one.start()
    for _ in range(2):
        assert slow.began.acquire(timeout=SOON_S), "another guest has a place"
    assert [bool(one.problem) for one in imports] == [False] + [True] * MOST_IMPORTS
    assert "has not come back" in imports[-1].problem
    for _ in range(2):
        slow.go_on.release()
    end = time.monotonic() + SOON_S
    while called_guest._importing:
        assert time.monotonic() < end, "in vain"
        time.sleep(0.005)
    again = _Import("db1", body)
    again.start()
    assert slow.began.acquire(timeout=SOON_S)
    slow.go_on.release()
    while not again.calls:
        assert time.monotonic() < end, "in vain"
        time.sleep(0.005)
    for one in (*imports, other, again):
        one.wakeup.close()
