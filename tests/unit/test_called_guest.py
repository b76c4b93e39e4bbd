"""A guest whose calls a holder makes: who talks to it, and what is thawed when the console dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from agentclient.access.call_session import CallState
from agentclient.access.called_session import CalledSession
from agentclient.access.stream import StreamEnded
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.called_standby import CalledStandby
from agentclient.holder.guest_standby import ChannelEnd
from agentclient.protocol.qga_commands import FREEZE, STATUS, THAW
from agentclient.protocol.qga_events import Reply, WireEvent
from tests.unit.holder_thread import HolderThread
from tests.unit.memory_backend import MemoryCalls, MemoryGuest
from tests.waiting import until

WAIT_S = 60.0


class Harness:
    """A guest in memory, a session with it, and the holder that stands by."""

    def __init__(self) -> None:
        self.guest = MemoryGuest("db1", freezable=True)
        calls = MemoryCalls(self.guest, self.guest.vm.generation)
        self.session = CalledSession(calls, CallState())
        self.holder = HolderThread()
        self.told: list[ReportEvent] = []
        recipe = calls.thaw_recipe(self.guest.vm)
        self.standby = CalledStandby(
            self.holder, recipe, 5.0, None, self.told.append, cancelled=lambda: False
        )

    def guard(self) -> None:
        self.standby.guard(self.session)
        self.standby.intend(bound_s=30.0, hold_s=30.0)

    def ask(self, command: str) -> int:
        ticket = self.session.ticket()
        self.session.ask(ticket, command, None, time.monotonic() + WAIT_S)
        return ticket

    def answer(self) -> list[WireEvent]:
        until = time.monotonic() + WAIT_S
        while not (events := self.session.receive()):
            assert time.monotonic() < until
            time.sleep(0.005)
        return events

    def freeze(self) -> None:
        self.standby.sent = True
        assert self.answered(FREEZE) == 2

    def answered(self, command: str) -> object:
        self.ask(command)
        (event,) = self.answer()
        assert isinstance(event, Reply)
        return event.value

    def end(self) -> str:
        """Wait until the session has broken; return why."""
        with pytest.raises(StreamEnded) as problem:
            self.answer()
        return str(problem.value)

    def leave(self) -> None:
        """Leave the guest to the holder; as it is taken from a console that is stopped."""
        assert self.standby.hand_over(self.session) is not None

    def report(self) -> ThawReport:
        report = self.standby.wait(WAIT_S)
        assert report is not None
        return report


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    for hangs in harness.guest.thread_hangs.values():
        hangs.set()
    harness.standby.end()
    harness.session.close()
    harness.holder.close()


def test_the_holder_reaches_the_guest_before_the_freeze_and_makes_the_call(
    harness: Harness,
) -> None:
    harness.guard()
    assert harness.guest.called == [STATUS], "it was proven"
    harness.freeze()
    assert harness.answered(THAW) == 2
    assert harness.holder.did == ["arm", "intent"]


def test_a_console_that_leaves_is_followed_by_a_thaw(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    harness.holder.close()
    until(lambda: not harness.guest.frozen)
    assert harness.end()
    until(lambda: harness.holder.holders[-1].ended.is_set())


def test_after_a_take_over_the_console_sends_no_freeze_any_more(harness: Harness) -> None:
    """As one that was stopped just before its freeze, and went on after the holder had gone."""
    harness.guard()
    harness.leave()
    harness.report()

    def goes_on() -> None:
        harness.ask(FREEZE)
        harness.answer()

    with pytest.raises(StreamEnded):
        goes_on()
    assert FREEZE not in harness.guest.called
    assert harness.standby.why_ended() is ChannelEnd.TAKEN
    report = harness.report()
    assert (report.settled, report.sent) == (True, False)


def test_a_thaw_waits_behind_the_freeze_that_runs_still(harness: Harness) -> None:
    runs = harness.guest.thread_hangs[FREEZE] = threading.Event()
    harness.guard()
    harness.ask(FREEZE)
    until(lambda: FREEZE in harness.guest.called)
    harness.leave()
    until(lambda: harness.standby.taken)
    time.sleep(0.3)
    assert harness.guest.called[-1] == FREEZE
    runs.set()
    report = harness.report()
    assert (report.settled, report.count) == (True, 2)
    assert not harness.guest.frozen


def test_a_freeze_that_was_not_sent_after_all_is_not_thawed(harness: Harness) -> None:
    """What runs in its place may be somebody else's freeze."""
    hangs = harness.guest.thread_hangs[FREEZE] = threading.Event()
    harness.guard()
    harness.ask(FREEZE)
    until(lambda: FREEZE in harness.guest.called)
    harness.leave()
    until(lambda: harness.standby.taken)
    harness.guest.busy = "held by a backup"
    hangs.set()
    report = harness.report()
    assert (report.settled, report.sent) == (True, False)
    assert "held by a backup" in report.reason
    assert THAW not in harness.guest.called


def test_an_agent_that_has_gone_is_asked_again_until_it_is_back(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    harness.guest.agent = False
    harness.ask(STATUS)
    assert "the agent is not connected" in harness.end()
    assert harness.standby.why_ended() is ChannelEnd.BROKEN
    assert not harness.session.relay_lost
    harness.leave()
    time.sleep(0.5)
    assert harness.guest.frozen
    harness.guest.agent = True
    assert harness.report().settled
    assert not harness.guest.frozen


def test_a_session_goes_on_through_the_same_holder_when_the_agent_is_back(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    harness.guest.agent = False
    harness.ask(STATUS)
    harness.end()
    harness.guest.agent = True
    harness.session.start_anew()
    assert harness.answered(THAW) == 2
    assert len(harness.holder.holders) == 1


def test_a_vm_that_has_ended_is_not_waited_for(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    harness.guest.agent, harness.guest.ended = False, True
    harness.leave()
    assert harness.report().settled
    assert THAW not in harness.guest.called


def test_what_may_have_thawed_is_asked_before_it_is_thawed_again(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    assert harness.answered(THAW) == 2
    harness.leave()
    assert harness.report().settled
    assert harness.guest.called.count(THAW) == 1


def test_without_its_holder_the_session_makes_its_calls_itself(harness: Harness) -> None:
    harness.guard()
    harness.freeze()
    harness.holder.kill()
    assert harness.end()
    assert harness.standby.why_ended() is ChannelEnd.LOST
    harness.session.start_anew()
    assert harness.answered(STATUS) == "frozen"
    assert harness.guest.frozen, "nobody has thawed it"


def test_a_call_that_hangs_in_the_holder_delays_no_other_guest(harness: Harness) -> None:
    harness.guest.thread_hangs[FREEZE] = threading.Event()
    harness.guard()
    harness.ask(FREEZE)
    until(lambda: FREEZE in harness.guest.called)
    other = Harness()
    other.holder = harness.holder
    other.standby._holder = harness.holder
    other.guard()
    other.freeze()
    assert other.answered(THAW) == 2
    assert harness.session.receive() == [], "the other call hangs still"
    other.standby.end()
    other.session.close()
