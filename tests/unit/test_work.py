"""What a worker thread does for each kind of work, whose guest it is, and what is told in vain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.guest_link import Link, Links
from agentclient.fleet.store import Fleet
from agentclient.holder.client import HolderClient
from agentclient.journal.writer import Journal
from agentclient.model.errors import FrostwatchError
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import Found, RescueOutcome, Rung, Step
from agentclient.model.snapshot import HeldBy, VmState
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase, Refusal
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations import work
from agentclient.operations.control import Control
from agentclient.operations.descriptors import TooFew
from agentclient.operations.rescue.ladder import Offer
from agentclient.operations.work import MORE_DESCRIPTORS, MORE_THREADS, Task, Works

VM = Vm(VmId("socket", "db1"), AgentChannel(Path("/run/db1.qga")))
LINK = Link(VM, None, None)
BOB = HeldBy(77, "bob", FreezeState.FROZEN)
DONE = Outcome(OutcomeKind.VERIFIED, "frozen and thawed", settled=True, frozen=2, thawed=2)
STANDS = Outcome(OutcomeKind.LOST, "no answer", settled=False)
THAWED = ThawOutcome(VM.id, FreezeState.THAWED, 2, False, "thawed 2", 0.1)
STEP = Step(Rung.WAIT)


class Operation:
    """Stands in for whoever freezes, thaws or rescues: it remembers what it was given."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.ran = 0
        self.left_to: HeldBy | None = None

    def __call__(self, *args: Any, **more: Any) -> Operation:
        self.given.append((args, more))
        return self

    def run(self) -> object:
        self.ran += 1
        return self.result

    def held_elsewhere(self, held: HeldBy) -> object:
        self.left_to = held
        return self.result

    @property
    def more(self) -> dict[str, Any]:
        return self.given[-1][1]


class OneLink:
    """Stands in for all links."""

    def of(self, vm: Vm) -> Link:
        assert vm == VM
        return LINK


class Stage:
    """The works of a console that knows one VM."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.fleet = Fleet()
        self.fleet.set_vms("socket", [VM])
        self.freezer, self.thawer = Operation(DONE), Operation(THAWED)
        self.rescuer = Operation("rescued")
        monkeypatch.setattr(work, "Freezer", self.freezer)
        monkeypatch.setattr(work, "Thawer", self.thawer)
        monkeypatch.setattr(work, "Rescuer", self.rescuer)
        self.holder = HolderClient()
        self.events: list[Event] = []
        self.works = self.of()
        self.task = self.works.freeze_task(VM, Control(), FreezeRequest(), self.events.append)

    def of(self, journal: object = None, *, read_only: bool = False) -> Works:
        return Works(
            self.fleet,
            cast(Links, OneLink()),
            read_only=read_only,
            holder=self.holder,
            journal=cast(Journal | None, journal),
        )

    def knows(self, **what: Any) -> None:
        self.fleet.update(VM.id, lambda old: old._replace(**what))

    def journal(self, held: HeldBy | None = None, *, ours: bool = False) -> Works:
        """Return the works where a journal is kept, which says that."""

        class Kept:
            problem: str | None = None

        self.patch.setattr(work, "held_now", lambda *_: held)
        self.patch.setattr(work, "is_ours", lambda *_: ours)
        return self.of(Kept())

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# -- what is done ---------------------------------------------------------------------------


def test_a_freeze_is_given_all_that_was_asked_for(stage: Stage) -> None:
    request = FreezeRequest(strict=True)
    assert stage.of(read_only=True).freeze(stage.task, request) is DONE
    ((link, asked, reporter, control, holder), more) = stage.freezer.given[0]
    assert (link, asked, holder) == (LINK, request, stage.holder)
    assert (reporter, control) == (stage.task.reporter, stage.task.control)
    assert more == {"read_only": True, "entry": None}
    assert stage.freezer.ran == 1


def test_a_console_without_a_holder_has_one_of_its_own(stage: Stage) -> None:
    works = Works(stage.fleet, cast(Links, OneLink()), read_only=False, holder=None, journal=None)
    works.freeze(stage.task, FreezeRequest())
    assert isinstance(stage.freezer.given[0][0][4], HolderClient)


def test_a_console_that_leaves_leaves_its_holder(stage: Stage) -> None:
    stage.works.close()
    assert stage.holder._left


@pytest.mark.parametrize("foreign", [True, False])
def test_a_thaw_knows_whether_a_person_has_decided_it(stage: Stage, foreign: bool) -> None:
    assert stage.works.thaw(stage.task, foreign=foreign) is THAWED
    assert stage.thawer.more == {"foreign": foreign, "ours": False, "read_only": False}


def test_a_rung_is_given_all_that_was_decided(stage: Stage) -> None:
    stage.knows(left=None)
    found: object = stage.works.rescue(stage.task, STEP, person=True, times=None, beside="freeze")
    assert found == "rescued"
    (link, step, state, _, _), more = stage.rescuer.given[0]
    assert (link, step, state) == (LINK, STEP, stage.fleet.get(VM.id))
    assert (more["person"], more["ours"], more["beside"]) == (True, False, "freeze")
    assert more["times"] is None
    assert more["read_only"] is False


def test_a_ladder_is_looked_up_for_what_is_known_of_the_vm(stage: Stage) -> None:
    asked: list[tuple[Any, ...]] = []

    def survey(*what: Any, **more: Any) -> tuple[Offer, ...]:
        asked.append((*what, more))
        return ()

    stage.patch.setattr(work, "survey", survey)
    tried = frozenset({Rung.WAIT})
    stage.of(read_only=True).ladder(VM, serial="com1", tried=tried, in_flight="thaw")
    more = {"serial": "com1", "tried": tried, "read_only": True, "in_flight": "thaw"}
    assert asked == [(LINK, stage.fleet.get(VM.id), more)]


def test_a_vm_that_the_fleet_has_forgotten_is_worked_on_all_the_same(stage: Stage) -> None:
    stage.fleet.set_vms("socket", [])
    stage.fleet.forget_absent()
    with pytest.raises(KeyError):
        stage.fleet.get(VM.id)
    stage.works.rescue(stage.task, STEP, person=False, times=None)
    assert stage.rescuer.given[0][0][2] == VmState(VM)


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
def test_what_we_could_not_thaw_is_ours(stage: Stage, last: Outcome | None, ours: bool) -> None:
    stage.knows(last=last)
    stage.works.thaw(stage.task, foreign=False)
    stage.works.rescue(stage.task, STEP, person=False, times=None)
    assert stage.thawer.more["ours"] is stage.rescuer.more["ours"] is ours


def test_what_the_journal_proves_a_dead_frostwatch_to_have_left_is_ours(stage: Stage) -> None:
    stage.journal(ours=True).thaw(stage.task, foreign=False)
    assert stage.thawer.more["ours"] is True


def test_a_guest_in_the_hands_of_another_frostwatch_is_not_frozen(stage: Stage) -> None:
    stage.knows(held_by=BOB)
    outcome = stage.works.freeze(stage.task, FreezeRequest())
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
    assert "frozen by bob (pid 77)" in outcome.reason
    assert outcome.meaning is not None
    assert stage.freezer.given == []
    assert stage.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all(event.text.startswith("refused: busy: ") for event in stage.events)


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
    stage: Stage, held: HeldBy, waits: bool
) -> None:
    stage.knows(held_by=held)
    stage.works.thaw(stage.task, foreign=True)
    assert (stage.thawer.ran, stage.thawer.left_to) == ((1, None) if waits else (0, held))


def test_what_the_journal_says_now_outweighs_what_the_fleet_has_seen(stage: Stage) -> None:
    stage.knows(held_by=BOB._replace(window=3))
    assert stage.journal(None).freeze(stage.task, FreezeRequest()) is DONE
    alice = HeldBy(78, "alice", FreezeState.FREEZING, window=4)
    assert "alice" in stage.journal(alice).freeze(stage.task, FreezeRequest()).reason


def test_who_was_seen_by_its_holder_alone_is_not_looked_up_in_the_journal(stage: Stage) -> None:
    """It is another user's: our journal knows nothing of it."""
    stage.knows(held_by=BOB)
    assert "bob" in stage.journal(None).freeze(stage.task, FreezeRequest()).reason


def test_without_a_journal_what_the_fleet_has_seen_counts(stage: Stage) -> None:
    stage.knows(held_by=BOB._replace(window=3))
    assert "bob" in stage.works.freeze(stage.task, FreezeRequest()).reason


# -- what is asked for, and what waits ------------------------------------------------------


def test_what_is_asked_for_begins_a_window_of_its_kind(stage: Stage) -> None:
    begun: list[tuple[Any, ...]] = []
    for name in ("begin_freeze", "begin_thaw", "begin_rescue"):
        stage.patch.setattr(
            work, name, lambda *what, name=name, **more: begun.append((name, *what[1:], more))
        )
    request = FreezeRequest()
    stage.works.freeze_task(VM, Control(), request, None)
    stage.works.thaw_task(VM, Control(), None, foreign=True)
    stage.works.rescue_task(VM, Control(), STEP, None, person=True, beside=False)
    assert begun == [
        ("begin_freeze", VM, request, {}),
        ("begin_thaw", VM, {"foreign": True}),
        ("begin_rescue", VM, STEP, {"person": True}),
    ]


def test_a_note_stands_among_what_happens(stage: Stage) -> None:
    stage.task.note("db2 was frozen first")
    assert [(event.kind, event.level) for event in stage.events] == [(EventKind.NOTE, Level.INFO)]


def test_a_rung_beside_a_freeze_leaves_what_that_shows(stage: Stage) -> None:
    stage.works.queued(stage.task, 2)
    beside = stage.works.rescue_task(VM, Control(), STEP, None, person=True, beside=True)
    stage.works.queued(beside, 99)
    progress = stage.fleet.get(VM.id).progress
    assert progress is not None
    assert (progress.phase, progress.waiting_for) == (Phase.QUEUED, "its turn: 2 at once")


def test_what_was_taken_out_of_the_queue_was_not_sent(stage: Stage) -> None:
    outcome = stage.works.withdrawn(stage.task)
    assert (outcome.refusal, outcome.settled) == (Refusal.CANCELLED, True)
    assert stage.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all("nothing was sent" in event.text for event in stage.events)


def test_a_past_that_no_journal_keeps_is_none(stage: Stage) -> None:
    assert stage.works.past(VM, 5) is None


@pytest.mark.parametrize(
    ("problem", "said"), [("the disk is full", "disk is full"), (None, "does not answer")]
)
def test_a_past_that_can_not_be_read_is_an_error(
    stage: Stage, problem: str | None, said: str
) -> None:
    class Broken:
        def __init__(self) -> None:
            self.problem = problem

    stage.patch.setattr(work, "past", lambda *_: None)
    with pytest.raises(FrostwatchError, match=said):
        stage.of(Broken()).past(VM, 5)


def test_a_past_is_read_as_far_as_was_asked(stage: Stage) -> None:
    stage.patch.setattr(work, "past", lambda _, vm, limit: (vm, limit))
    found: object = stage.journal().past(VM, 5)
    assert found == (VM, 5)


# -- what is not done -----------------------------------------------------------------------


def test_a_freeze_beside_something_else_is_refused(stage: Stage) -> None:
    outcome = stage.works.refuse_freeze(stage.task, "thaw")
    assert (outcome.refusal, outcome.reason) == (
        Refusal.BUSY,
        "a thaw of this VM is in flight already",
    )
    assert stage.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]


def test_a_rung_beside_something_else_is_not_taken(stage: Stage) -> None:
    outcome = stage.works.refuse_rescue(stage.task, STEP, "freeze")
    assert (outcome.found, outcome.rung) == (Found.REFUSED, Rung.WAIT)
    assert "a freeze of this VM is in flight; stop it first" in outcome.reason
    assert stage.kinds() == [EventKind.OUTCOME]


SHORT_OF = ["threads", "memory", "descriptors", "descriptors to keep"]
SHORT = [
    (RuntimeError("can't start new thread"), MORE_THREADS),
    (MemoryError("no memory"), MORE_THREADS),
    (OSError(24, "too many open files"), MORE_DESCRIPTORS),
    (TooFew("ulimit -n is 64"), MORE_DESCRIPTORS),
]


@pytest.mark.parametrize(("error", "more"), SHORT, ids=SHORT_OF)
def test_a_freeze_that_can_not_begin_is_told_with_the_limit_to_raise(
    stage: Stage, error: Exception, more: str
) -> None:
    outcome = stage.works.not_begun(stage.task, "freeze", None, error)
    assert isinstance(outcome, Outcome)
    assert (outcome.refusal, outcome.settled) == (Refusal.NOT_BEGUN, True)
    assert str(outcome.next).startswith(f"{more}, then: frostwatch freeze")
    assert outcome.meaning is not None
    assert stage.kinds() == [EventKind.VERDICT, EventKind.OUTCOME]
    assert {event.level for event in stage.events} == {Level.ERROR}
    assert "nothing was sent" in stage.events[0].text


@pytest.mark.parametrize(("error", "more"), SHORT, ids=SHORT_OF)
def test_a_thaw_that_can_not_begin_leaves_what_is_frozen_and_says_how_to_thaw_it(
    stage: Stage, error: Exception, more: str
) -> None:
    outcome = stage.works.not_begun(stage.task, "thaw", None, error)
    assert isinstance(outcome, ThawOutcome)
    assert (outcome.ok, outcome.refused) == (False, False)
    assert str(outcome.next).startswith(f"{more}; then frostwatch thaw")
    assert stage.kinds() == [EventKind.OUTCOME]


def test_a_rung_that_can_not_begin_has_failed(stage: Stage) -> None:
    outcome = stage.works.not_begun(stage.task, "rescue", STEP, RuntimeError("no thread"))
    assert isinstance(outcome, RescueOutcome)
    assert (outcome.found, outcome.next) == (Found.FAILED, MORE_THREADS)


def crash(stage: Stage, what: str, step: Step | None = None) -> Any:
    outcome = stage.works.crashed(stage.task, what, step, ZeroDivisionError("a bug\x1b[2J"))
    assert "ZeroDivisionError" in outcome.reason
    assert "\x1b" not in outcome.reason
    assert stage.kinds() == [EventKind.OUTCOME]
    return outcome


def test_a_freeze_that_a_bug_has_ended_may_stand_and_a_person_is_told(stage: Stage) -> None:
    outcome = crash(stage, "freeze")
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, False)
    assert "frostwatch thaw" in outcome.next
    assert "NEXT: " in stage.events[0].text
    assert stage.events[0].level is Level.ERROR
    stage.knows(last=outcome)
    stage.works.thaw(stage.task, foreign=False)
    assert stage.thawer.more["ours"] is True, "what may stand there is ours"


def test_a_thaw_that_a_bug_has_ended_is_told_with_the_command(stage: Stage) -> None:
    outcome = crash(stage, "thaw")
    assert (outcome.ok, outcome.refused, outcome.thawed) == (False, False, None)
    assert "frostwatch thaw" in outcome.next


def test_a_rung_that_a_bug_has_ended_has_failed(stage: Stage) -> None:
    outcome = crash(stage, "rescue", STEP)
    assert (outcome.found, outcome.rung) == (Found.FAILED, Rung.WAIT)
    assert "frostwatch thaw" in outcome.next


def test_a_task_keeps_the_control_it_was_given(stage: Stage) -> None:
    control = Control()
    task: Task = stage.works.thaw_task(VM, control, None, foreign=False)
    assert (task.control, task.vm) == (control, VM)
