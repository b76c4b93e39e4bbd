"""What all operations have in common: whose guest it is, what is not done, and what is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.access.local_access import LocalAccess
from agentclient.fleet.store import Fleet
from agentclient.holder.client import HolderClient
from agentclient.journal.writer import Journal
from agentclient.model.errors import FrostwatchError
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.snapshot import HeldBy, VmState
from agentclient.model.states import (
    FreezeState,
    Level,
    OperationKind,
    OutcomeKind,
    Phase,
    Refusal,
)
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations import manager, ownership
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.descriptors import TooFewDescriptors
from agentclient.operations.fleet_reporter import FleetReporter
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.manager import OperationManager
from agentclient.operations.operation import MORE_DESCRIPTORS, MORE_THREADS
from agentclient.operations.ownership import held_by, is_provably_ours
from agentclient.operations.rescue.operation import RescueOperation
from agentclient.operations.thaw import ThawOperation

VM = Vm(VmId("socket", "db1"), AgentChannel(Path("/run/db1.qga")))
LINK = LocalAccess(VM, None, None)
BOB = HeldBy(77, "bob", FreezeState.FROZEN)
DONE = Outcome(OutcomeKind.VERIFIED, "frozen and thawed", settled=True, frozen=2, thawed=2)
STANDS = Outcome(OutcomeKind.LOST, "no answer", settled=False)
STEP = Step(Rung.WAIT)


class Kept:
    """A journal that can't be read, for a reason."""

    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem


class Harness:
    """A console that knows one VM."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.fleet = Fleet()
        self.fleet.set_vms("socket", [VM])
        self.events: list[Event] = []
        self.kept: Journal | None = None

    def context(self, *, beside: bool = False) -> OperationContext:
        reporter = FleetReporter(self.fleet, VM, self.events.append, beside=beside)
        control = Control()
        return OperationContext(VM, LINK, reporter, control, fleet=self.fleet, journal=self.kept)

    def freeze(self) -> FreezeOperation:
        return FreezeOperation(self.context(), FreezeRequest())

    def thaw(self, *, foreign: bool = False) -> ThawOperation:
        return ThawOperation(self.context(), foreign=foreign)

    def rescue(self, *, beside: bool = False) -> RescueOperation:
        return RescueOperation(self.context(beside=beside), STEP, person=True)

    def knows(self, **what: Any) -> None:
        self.fleet.update(VM.id, lambda old: old._replace(**what))

    def journal(self, held: HeldBy | None = None, *, ours: bool = False) -> None:
        """Keep a journal, which says that."""
        self.patch.setattr(ownership, "held_now", lambda *_: held)
        self.patch.setattr(ownership, "is_ours", lambda *_: ours)
        self.kept = cast(Journal, Kept())

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


# -- whose it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "ours"),
    [
        (None, False),
        (DONE, False),
        (STANDS, True),
        (Outcome(OutcomeKind.REFUSED, "busy", settled=False), False),
    ],
)
def test_what_we_could_not_thaw_is_ours(harness: Harness, last: Outcome | None, ours: bool) -> None:
    harness.knows(last=last)
    assert is_provably_ours(harness.context()) is ours


def test_what_the_journal_proves_a_dead_frostwatch_to_have_left_is_ours(harness: Harness) -> None:
    assert not is_provably_ours(harness.context())
    harness.journal(ours=True)
    assert is_provably_ours(harness.context())


def test_a_guest_in_the_hands_of_another_frostwatch_is_not_frozen(harness: Harness) -> None:
    harness.knows(held_by=BOB)
    outcome = harness.freeze().run()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
    assert "frozen by bob (pid 77)" in outcome.reason
    assert outcome.meaning is not None
    assert harness.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all(event.text.startswith("refused: busy: ") for event in harness.events)


@pytest.mark.parametrize(
    ("held", "waits"),
    [
        (BOB, False),
        (BOB._replace(ended=True), True),
        (BOB._replace(pid=os.getpid()), True),
        (BOB._replace(state=FreezeState.THAWING), True),
    ],
)
def test_a_guest_in_the_hands_of_another_is_thawed_only_where_it_lets_go(
    harness: Harness, held: HeldBy, waits: bool
) -> None:
    harness.knows(held_by=held)
    outcome = harness.thaw(foreign=True).run()
    assert outcome.refused
    assert ("another frostwatch is at work on it" in outcome.reason) is not waits


def test_what_the_journal_says_now_outweighs_what_the_fleet_has_seen(harness: Harness) -> None:
    harness.knows(held_by=BOB._replace(window=3))
    alice = HeldBy(78, "alice", FreezeState.FREEZING, window=4)
    for now in (None, alice):
        harness.journal(now)
        assert held_by(harness.context()) is now


def test_who_was_seen_by_its_holder_alone_is_not_looked_up_in_the_journal(harness: Harness) -> None:
    """It is another user's: our journal knows nothing of it."""
    harness.knows(held_by=BOB)
    harness.journal(None)
    assert held_by(harness.context()) is BOB


def test_without_a_journal_what_the_fleet_has_seen_counts(harness: Harness) -> None:
    held = BOB._replace(window=3)
    harness.knows(held_by=held)
    assert held_by(harness.context()) == held


def test_a_vm_that_the_fleet_has_forgotten_is_known_by_what_was_captured(harness: Harness) -> None:
    harness.fleet.set_vms("socket", [])
    harness.fleet.forget_absent()
    with pytest.raises(KeyError):
        harness.fleet.get(VM.id)
    assert harness.context().state == VmState(VM)


# -- what waits -----------------------------------------------------------------------------


def test_a_note_stands_among_what_happens(harness: Harness) -> None:
    harness.freeze().note("db2 was frozen first")
    assert [(event.kind, event.level) for event in harness.events] == [(EventKind.NOTE, Level.INFO)]


def test_a_rung_beside_a_freeze_leaves_what_that_shows(harness: Harness) -> None:
    harness.freeze().waits_for_its_turn(2)
    beside = harness.rescue(beside=True)
    beside.waits_for_its_turn(99)
    beside.end(beside.busy(OperationKind.RESCUE))
    progress = harness.fleet.get(VM.id).progress
    assert progress is not None
    assert (progress.phase, progress.waiting_for) == (Phase.QUEUED, "its turn: 2 at once")


def test_what_was_taken_out_of_the_queue_was_not_sent(harness: Harness) -> None:
    outcome = harness.freeze().withdrawn()
    assert (outcome.refusal, outcome.settled) == (Refusal.CANCELLED, True)
    assert harness.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all("nothing was sent" in event.text for event in harness.events)


def test_nor_was_a_thaw_or_a_rung_and_each_ends_as_what_it_is(harness: Harness) -> None:
    thaw, rung = harness.thaw().withdrawn(), harness.rescue().withdrawn()
    assert (thaw.refused, thaw.ok) == (True, False)
    assert (rung.found, rung.ok) == (RungResult.CANCELLED, False)
    assert all("nothing was sent" in event.text for event in harness.events)


# -- what is not done -----------------------------------------------------------------------


def test_a_freeze_beside_something_else_is_refused(harness: Harness) -> None:
    outcome = harness.freeze().busy(OperationKind.THAW)
    assert outcome.refusal is Refusal.BUSY
    assert outcome.reason == "a thaw of this VM is in flight already"
    assert harness.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]


def test_a_rung_beside_something_else_is_not_taken(harness: Harness) -> None:
    outcome = harness.rescue().busy(OperationKind.FREEZE)
    assert (outcome.found, outcome.rung) == (RungResult.REFUSED, Rung.WAIT)
    assert "a freeze of this VM is in flight; stop it first" in outcome.reason
    assert harness.kinds() == [EventKind.OUTCOME]


SHORT_OF = ["threads", "memory", "descriptors", "descriptors to keep"]
SHORT = [
    (RuntimeError("can't start new thread"), MORE_THREADS),
    (MemoryError("no memory"), MORE_THREADS),
    (OSError(24, "too many open files"), MORE_DESCRIPTORS),
    (TooFewDescriptors("ulimit -n is 64"), MORE_DESCRIPTORS),
]


@pytest.mark.parametrize(("error", "more"), SHORT, ids=SHORT_OF)
def test_a_freeze_that_can_not_begin_is_told_with_the_limit_to_raise(
    harness: Harness, error: Exception, more: str
) -> None:
    outcome = harness.freeze().not_begun(error)
    assert (outcome.refusal, outcome.settled) == (Refusal.NOT_BEGUN, True)
    assert str(outcome.next).startswith(f"{more}, then: frostwatch freeze")
    assert outcome.meaning is not None
    assert harness.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert {event.level for event in harness.events} == {Level.ERROR}
    assert "nothing was sent" in harness.events[0].text


@pytest.mark.parametrize(("error", "more"), SHORT, ids=SHORT_OF)
def test_a_thaw_that_can_not_begin_leaves_what_is_frozen_and_says_how_to_thaw_it(
    harness: Harness, error: Exception, more: str
) -> None:
    outcome = harness.thaw().not_begun(error)
    assert (outcome.ok, outcome.refused) == (False, False)
    assert str(outcome.next).startswith(f"{more}; then frostwatch thaw")
    assert "--foreign" not in str(outcome.next)
    assert harness.kinds() == [EventKind.OUTCOME]


def test_a_rung_that_can_not_begin_has_failed(harness: Harness) -> None:
    outcome = harness.rescue().not_begun(RuntimeError("no thread"))
    assert (outcome.found, outcome.next) == (RungResult.FAILED, MORE_THREADS)


def seen(harness: Harness, outcome: Outcome | ThawOutcome | RescueOutcome) -> str:
    """Return the next step of what a bug has ended."""
    assert "ZeroDivisionError" in outcome.reason
    assert "\x1b" not in outcome.reason
    assert harness.kinds() == [EventKind.OUTCOME]
    return str(outcome.next)


BUG = ZeroDivisionError("a bug\x1b[2J")


def test_a_freeze_that_a_bug_has_ended_may_stand_and_a_person_is_told(harness: Harness) -> None:
    outcome = harness.freeze().crashed(BUG)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, False)
    assert "frostwatch thaw" in seen(harness, outcome)
    assert "NEXT: " in harness.events[0].text
    assert harness.events[0].level is Level.ERROR
    harness.knows(last=outcome)
    assert is_provably_ours(harness.context()), "what may stand there is ours"


def test_a_thaw_that_a_bug_has_ended_is_told_with_the_command(harness: Harness) -> None:
    outcome = harness.thaw().crashed(BUG)
    assert (outcome.ok, outcome.refused, outcome.thawed) == (False, False, None)
    assert "frostwatch thaw" in seen(harness, outcome)


def test_a_rung_that_a_bug_has_ended_has_failed(harness: Harness) -> None:
    outcome = harness.rescue().crashed(BUG)
    assert (outcome.found, outcome.rung) == (RungResult.FAILED, Rung.WAIT)
    assert "frostwatch thaw" in seen(harness, outcome)


# -- all of them ----------------------------------------------------------------------------


def test_what_is_asked_for_begins_a_window_of_its_kind(harness: Harness) -> None:
    begun: list[tuple[Any, ...]] = []
    for name in ("begin_freeze", "begin_thaw", "begin_rescue"):
        harness.patch.setattr(
            manager, name, lambda *what, name=name, **more: begun.append((name, *what[1:], more))
        )
    operations = OperationManager(harness.fleet, AccessPool(), read_only=True)
    request = FreezeRequest()
    assert operations.freeze(VM, request).wait(60.0) is not None
    assert operations.thaw(VM, foreign=True).wait(60.0) is not None
    assert operations.rescue(VM, STEP).wait(60.0) is not None
    operations.stop(0.0)
    assert begun == [
        ("begin_freeze", VM, request, {}),
        ("begin_thaw", VM, {"foreign": True}),
        ("begin_rescue", VM, STEP, {"person": True}),
    ]


def test_a_bug_in_showing_the_end_frees_the_vm_and_whoever_waits(harness: Harness) -> None:
    def bug(*_: object) -> None:
        raise BUG

    harness.patch.setattr(FleetReporter, "ended", bug)
    operations = OperationManager(harness.fleet, AccessPool(), read_only=True)
    outcome = operations.freeze(VM, FreezeRequest()).wait(60.0)
    assert outcome is not None
    assert outcome.refusal is Refusal.READ_ONLY
    assert operations.on(VM.id) is None, "a thaw is not refused as busy"
    operations.stop(0.0)


def test_a_console_that_leaves_leaves_its_holder(harness: Harness) -> None:
    holder = HolderClient()
    OperationManager(harness.fleet, AccessPool(), holder=holder).stop(0.0)
    assert holder._left


@pytest.mark.parametrize(
    ("problem", "said"), [("the disk is full", "disk is full"), (None, "does not answer")]
)
def test_a_past_that_can_not_be_read_is_an_error(
    harness: Harness, problem: str | None, said: str
) -> None:
    harness.patch.setattr(manager, "read_history", lambda *_: None)
    operations = OperationManager(harness.fleet, AccessPool(), journal=cast(Journal, Kept(problem)))
    with pytest.raises(FrostwatchError, match=said):
        operations.history(VM, 5).result(10.0)
    operations.stop(0.0)


def test_a_past_is_read_as_far_as_was_asked_and_none_where_none_is_kept(harness: Harness) -> None:
    operations = OperationManager(harness.fleet, AccessPool())
    assert operations.history(VM, 5).result(10.0) is None
    harness.patch.setattr(manager, "read_history", lambda _, vm, limit: (vm, limit))
    found: object = operations.history(VM, 5).result(10.0)
    assert found == (VM, 5)
    operations.stop(0.0)
