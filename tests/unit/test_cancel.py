"""Cancellations and control: what reaches a thread while it waits."""

from __future__ import annotations

import gc
import os
import select
import threading

import pytest

from agentclient.access.cancel import Cancellation
from agentclient.model.instruction import Instruction
from agentclient.operations.control import Control


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def is_set(cancellation: Cancellation) -> bool:
    return cancellation.is_set


def test_a_cancellation_is_set_once_and_readable_from_then_on() -> None:
    cancellation = Cancellation()
    assert not is_set(cancellation)
    assert not readable(cancellation.fileno())
    for _ in range(2):
        cancellation.set()
        assert is_set(cancellation)
        assert readable(cancellation.fileno())
    cancellation.close()
    assert is_set(cancellation)
    assert cancellation.fileno() == -1
    cancellation.close()


def test_a_closed_cancellation_can_be_asked_and_set() -> None:
    cancellation = Cancellation()
    cancellation.close()
    cancellation.set()
    assert not is_set(cancellation)


def test_a_forgotten_cancellation_gives_its_descriptor_back() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        Cancellation()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_a_cancellation_wakes_a_thread_at_once() -> None:
    cancellation = Cancellation()
    woken = threading.Event()

    def wait() -> None:
        select.select([cancellation.fileno()], [], [], 60)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    cancellation.set()
    assert woken.wait(60)
    thread.join()
    cancellation.close()


def test_wishes_are_taken_once_in_order_and_wake() -> None:
    control = Control()
    assert control.take() == []
    assert not readable(control.fileno())
    control.add(Instruction.END_HOLD)
    control.add(Instruction.CANCEL)
    assert readable(control.fileno())
    assert control.take() == [Instruction.END_HOLD, Instruction.CANCEL]
    assert not readable(control.fileno())
    assert control.take() == []
    control.add(Instruction.CANCEL)
    assert readable(control.fileno())
    control.close()


def test_the_preparation_is_ended_by_cancel_and_give_up_alone() -> None:
    for instruction, ends in (
        (Instruction.END_HOLD, False),
        (Instruction.CANCEL, True),
        (Instruction.GIVE_UP, True),
    ):
        control = Control()
        control.add(instruction)
        assert is_set(control.cancellation) is ends
        control.close()


def test_after_the_end_nobody_listens() -> None:
    control = Control()
    control.close()
    control.add(Instruction.CANCEL)
    assert control.take() == []
    assert not is_set(control.cancellation)
    control.close()


def test_the_end_gives_the_descriptors_back() -> None:
    control = Control()
    descriptors = (control.fileno(), control.cancellation.fileno())
    control.close()
    for fd in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_wish_before_the_end_is_still_taken() -> None:
    control = Control()
    control.add(Instruction.GIVE_UP)
    control.close()
    assert control.take() == [Instruction.GIVE_UP]


def test_wishes_of_many_threads_all_arrive() -> None:
    control = Control()

    def add() -> None:
        for _ in range(100):
            control.add(Instruction.END_HOLD)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += len(control.take())
    assert taken + len(control.take()) == 400
    assert not readable(control.fileno())
    control.close()
