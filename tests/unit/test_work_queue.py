"""Threads for operations: as many as are needed, and no longer than they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial

import pytest

from agentclient.operations.threads import WorkQueue
from tests.unit.no_thread import no_thread
from tests.waiting import until

SOON_S = 60.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the work of a test waits for; it is open when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


def called(name: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith(name)]


@pytest.mark.parametrize("most", [1, 2])
def test_so_many_at_once_and_the_others_in_their_order(most: int, gate: threading.Event) -> None:
    queue, begun = WorkQueue(most, "some"), []

    def work(number: int) -> int:
        begun.append(number)
        gate.wait(SOON_S)
        return number

    futures = [queue.submit(partial(work, number)) for number in range(5)]
    until(lambda: len(begun) == most)
    assert len(called("some_")) == most
    gate.set()
    assert [future.result(SOON_S) for future in futures] == [0, 1, 2, 3, 4]
    # Threads that run side by side may overtake each other.
    assert (begun if most == 1 else sorted(begun)) == [0, 1, 2, 3, 4]


def test_no_thread_stays_behind() -> None:
    queue = WorkQueue(50, "brief")
    futures = [queue.submit(lambda: threading.current_thread().name) for _ in range(50)]
    assert len({future.result(SOON_S) for future in futures}) == 50
    until(lambda: not called("brief_"))


def test_an_error_is_for_who_waits_and_for_nobody_else() -> None:
    queue = WorkQueue(1, "bad")

    def fail() -> None:
        raise ValueError("mine")

    first, second = queue.submit(fail), queue.submit(lambda: 7)
    with pytest.raises(ValueError, match="mine"):
        first.result(SOON_S)
    assert second.result(SOON_S) == 7


def test_what_has_not_begun_at_the_end_is_cancelled(gate: threading.Event) -> None:
    queue = WorkQueue(1, "last")
    first, second = queue.submit(lambda: gate.wait(SOON_S)), queue.submit(lambda: True)
    queue.close()
    with pytest.raises(CancelledError):
        second.result(SOON_S)
    with pytest.raises(RuntimeError, match="leaving"):
        queue.submit(lambda: True)
    gate.set()
    assert first.result(SOON_S)


def test_who_changed_their_mind_is_passed_over(gate: threading.Event) -> None:
    queue = WorkQueue(1, "mind")
    queue.submit(lambda: gate.wait(SOON_S))
    second, third = queue.submit(lambda: 2), queue.submit(lambda: 3)
    assert second.cancel()
    gate.set()
    assert third.result(SOON_S) == 3


def test_without_a_thread_who_asks_is_told(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = WorkQueue(3, "none")
    queue.submit(lambda: gate.wait(SOON_S))
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):  # and is not made to wait for others
            queue.submit(lambda: 1)
    assert queue.submit(lambda: 2).result(SOON_S) == 2


def test_without_another_thread_one_does_what_waits(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = WorkQueue(1, "alone")
    queue.submit(lambda: gate.wait(SOON_S))
    futures = [queue.submit(lambda: threading.current_thread().name) for _ in range(3)]
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", no_thread)
        gate.set()
        assert [future.result(SOON_S) for future in futures] == ["alone_0"] * 3
    assert queue.submit(lambda: threading.current_thread().name).result(SOON_S) != "alone_0"


def test_what_waits_has_a_place_and_can_be_taken_away(gate: threading.Event) -> None:
    queue, done = WorkQueue(1, "some"), list[int]()
    first = queue.submit(gate.wait)
    second, third, fourth = (queue.submit(partial(done.append, number)) for number in (2, 3, 4))
    assert [queue.place(one) for one in (first, second, third, fourth)] == [0, 1, 2, 3]
    assert queue.withdraw(third)
    assert not queue.withdraw(third)
    gate.set()
    until(lambda: fourth.done())
    assert done == [2, 4]
    assert queue.place(fourth) == 0
    assert not queue.withdraw(first)
