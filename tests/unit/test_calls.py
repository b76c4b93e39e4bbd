"""The blocking calls of visits: whatever hangs, each has an end, and says why."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from agentclient.fleet.calls import MOST_AT_ONCE, Calls

HANGS = "its source hangs: 16 calls to it have not returned"


class Lane:
    """Calls of one lane, each of which hangs until a test lets it go."""

    def __init__(self) -> None:
        self.calls = Calls(lambda: None)
        self.told: list[str] = []
        self.may_return = [threading.Event() for _ in range(MOST_AT_ONCE)]
        self._vms = itertools.count()

    def begin(self, make: threading.Event | None, timeout_s: float, vm: str | None = None) -> None:
        def call() -> str:
            if make is not None:
                make.wait(60.0)
            return "done"

        failed = lambda error: self.told.append(str(error))  # noqa: E731
        about = f"another {next(self._vms)}" if vm is None else vm
        self.calls.begin("far", call, self.told.append, failed, timeout_s, about=about)

    def until_asked(self, vm: str) -> None:
        """Wait until a VM whose call has hung can be asked again, and ask it."""
        end, count = time.monotonic() + 60.0, len(self.told)
        while True:
            self.calls.deliver()
            with suppress(TimeoutError):
                self.begin(None, 5.0, vm)
                break
            assert time.monotonic() < end
            time.sleep(0.005)
        self.until(count + 1)
        assert self.told[-1] == "done"

    def until(self, count: int) -> None:
        end = time.monotonic() + 60.0
        while len(self.told) < count:
            assert time.monotonic() < end, self.told
            self.calls.deliver()
            time.sleep(0.005)


@pytest.fixture
def lane() -> Iterator[Lane]:
    found = Lane()
    for event in found.may_return:
        found.begin(event, 0.3)
    yield found
    for event in found.may_return:
        event.set()


def test_a_call_behind_those_that_hang_ends_and_says_why(lane: Lane) -> None:
    lane.begin(None, 0.1)
    assert lane.calls.in_flight == MOST_AT_ONCE + 1
    lane.until(MOST_AT_ONCE + 1)
    assert lane.told[:-1] == ["its source has not answered within 0.3 s"] * MOST_AT_ONCE
    assert lane.told[-1] == HANGS
    lane.begin(None, 0.1)
    assert lane.calls.next_at <= time.monotonic() + 0.1, "whoever waits for calls is woken for it"
    lane.until(MOST_AT_ONCE + 2)
    assert lane.told[-1] == HANGS
    assert lane.calls.in_flight == 0


def test_once_one_returns_those_behind_it_are_made(lane: Lane) -> None:
    lane.until(MOST_AT_ONCE)
    lane.begin(None, 30.0)
    lane.begin(None, 30.0)
    lane.may_return[3].set()
    lane.until(MOST_AT_ONCE + 2)
    assert lane.told[MOST_AT_ONCE:] == ["done", "done"]


def test_one_that_waits_for_busy_threads_waits_on(lane: Lane) -> None:
    """Only those that wait behind what hangs are bounded: each of a thousand has its turn."""
    lane.begin(None, 0.01)
    lane.may_return[0].set()
    lane.until(MOST_AT_ONCE + 1)
    assert lane.told.count("done") == 2
    assert HANGS not in lane.told


def test_a_vm_whose_call_hangs_takes_one_thread_however_often_it_is_asked() -> None:
    one, hangs = Lane(), threading.Event()
    one.begin(hangs, 0.05, "db1")
    one.until(1)
    for _ in range(MOST_AT_ONCE * 2):
        with pytest.raises(TimeoutError, match="an earlier call about it has not returned"):
            one.begin(hangs, 0.05, "db1")
    assert one.calls.in_flight == 0
    for number in range(MOST_AT_ONCE * 2):
        one.begin(None, 5.0, f"db{number + 2}")
    one.until(1 + MOST_AT_ONCE * 2)
    assert one.told.count("done") == MOST_AT_ONCE * 2, "the other VMs are asked"
    hangs.set()
    one.until_asked("db1")


def test_one_vm_that_hangs_in_two_lanes_is_two() -> None:
    one, hangs = Lane(), threading.Event()
    one.begin(hangs, 0.05, "db1")
    one.until(1)
    one.calls.begin("near", lambda: "done", one.told.append, lambda _: None, 5.0, about="db1")
    one.until(2)
    assert one.told[-1] == "done"
    hangs.set()
