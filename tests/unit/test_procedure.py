"""A freeze and its thaw as one procedure: what it is asked, and what it asks its driver for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.effects import Effect, ReportEvent, Send
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.thaw_schedule import LAST_CHANCE_S
from agentclient.model.instruction import Asked, Extension, Instruction
from agentclient.model.outcome import Outcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, OutcomeKind, RunState, Stuck
from agentclient.model.vm import Vm, VmId
from agentclient.protocol.qga_events import Failure, Reply
from tests.unit.virtual_freeze import FILE_SYSTEMS

UP = MonitorView(RunState.RUNNING, port_open=True, openings=3, written_bytes=100)
THAWS = ["guest-fsfreeze-status", "guest-fsfreeze-thaw"]
GONE = MonitorView(RunState.GONE, gone=True, problem="gone")
FREEZE, STATUS, BEFORE, THAW, AFTER = 1, 2, 3, 4, 5  # the tickets of its first commands
THAWED = ThawReport(None, 2, None, settled=True, reason="thawed", next=None, sent=True)


def pending(*, follows: bool = False, can_hand_over: bool = False) -> FreezeProcedure:
    """A freeze that was sent at 0.0, and not answered."""
    plan = FreezePlan(Schedule(hold_s=60.0), UP, coverage=Coverage(FILE_SYSTEMS))
    vm = Vm(VmId("lab", "vm-1"))
    procedure = FreezeProcedure(
        vm, plan, count(1).__next__, 0.0, follows=follows, can_hand_over=can_hand_over
    )
    procedure.start(0.0)
    return procedure


def held(status: str | None = "frozen", *, follows: bool = False) -> FreezeProcedure:
    """One that is held since 1.0; without a status that can be read it is not verified."""
    procedure = pending(follows=follows)
    procedure.on_reply(1.0, Reply(FREEZE, 2))
    procedure.on_look(1.1, UP)
    procedure.on_reply(1.2, Reply(STATUS, status) if status else Failure(STATUS, "E", "no"))
    assert procedure.state is FreezeState.FROZEN
    return procedure


def ended() -> FreezeProcedure:
    """One that has its outcome."""
    procedure = held()
    procedure.on_instruction(2.0, Instruction.END_HOLD)
    procedure.on_look(2.1, UP)
    thaw(procedure)
    assert procedure.done
    return procedure


def thaw(procedure: FreezeProcedure) -> None:
    """Answer what its thaw has asked."""
    procedure.on_reply(2.2, Reply(BEFORE, "frozen"))
    procedure.on_reply(2.3, Reply(THAW, 2))
    procedure.on_reply(2.4, Reply(AFTER, "thawed"))


def outcome_of(procedure: FreezeProcedure) -> Outcome:
    """What came of it."""
    assert procedure.outcome is not None
    return procedure.outcome


def commands(effects: list[Effect]) -> list[str]:
    """The commands that are sent."""
    return [one.command for one in effects if isinstance(one, Send)]


def texts(effects: list[Effect]) -> str:
    """What is told."""
    return "\n".join(one.text for one in effects if isinstance(one, ReportEvent))


# -- kept by its holder ---------------------------------------------------------------------


def test_a_verified_window_can_be_kept() -> None:
    procedure = held()
    asked = procedure.on_instruction(2.0, Instruction.KEEP)
    assert (procedure.wants_keep, asked) == (True, [])
    told = texts(procedure.on_kept(31.0, 4711))
    assert "pid 4711" in told
    assert "which thaws it in 30 s" in told
    assert (outcome_of(procedure).kept, outcome_of(procedure).settled) == (True, False)
    assert procedure.on_tick(100.0) == [], "its holder thaws it"


@pytest.mark.parametrize("make", [pending, lambda: held(None)])
def test_what_is_not_verified_is_not_kept(make: Callable[[], FreezeProcedure]) -> None:
    procedure = make()
    assert "no verified window is open" in texts(procedure.on_instruction(2.0, Instruction.KEEP))
    assert not procedure.wants_keep


def test_what_is_thawed_already_is_not_kept() -> None:
    procedure = held()
    procedure.on_instruction(2.0, Instruction.END_HOLD)
    procedure.on_look(2.1, UP)
    procedure.on_instruction(2.2, Instruction.KEEP)
    assert not procedure.wants_keep


def test_what_no_holder_takes_is_thawed_as_before() -> None:
    procedure = held()
    procedure.on_instruction(2.0, Instruction.KEEP)
    assert "its holder has not taken it" in texts(procedure.on_kept(2.1, None))
    assert (procedure.wants_keep, procedure.outcome) == (False, None)
    procedure.on_tick(61.0)
    assert commands(procedure.on_look(61.1, UP)) == THAWS


# -- what ends it -----------------------------------------------------------------------------


def test_a_flood_is_followed_by_a_thaw_at_once() -> None:
    effects = pending().on_flood(1.0, "noise")
    assert commands(effects) == THAWS
    assert "flooded" in texts(effects)


def test_after_its_outcome_nothing_is_heard_any_more() -> None:
    procedure = ended()
    assert procedure.on_flood(3.0, "noise") == []
    assert procedure.on_stream_ended(3.0, "closed", gone=None) == []
    assert procedure.on_look(3.0, GONE) == []
    assert procedure.on_tick(300.0) == []


def test_another_process_ends_the_hold_and_is_named() -> None:
    procedure = held()
    told = texts(procedure.on_instruction(2.0, Asked("root (pid 7)", None)))
    assert "root (pid 7)" in told
    procedure.on_look(2.1, UP)
    thaw(procedure)
    assert outcome_of(procedure).reason.endswith("ended early: root (pid 7) has asked for it")


def test_who_asks_for_a_thaw_that_runs_has_not_ended_it_early() -> None:
    procedure = pending()
    procedure.on_instruction(2.0, Instruction.CANCEL)
    assert procedure.on_instruction(2.1, Asked("root (pid 7)", None)) == []


def test_who_asks_for_more_gets_as_much_more() -> None:
    procedure = held()
    procedure.on_instruction(2.0, Asked("root (pid 7)", 10.0))
    procedure.on_instruction(2.1, Extension(5.0))
    assert procedure.progress(3.0).hold_ends_at == 76.0


def test_who_gives_up_a_hold_waits_for_no_last_look() -> None:
    procedure = held()
    assert commands(procedure.on_instruction(2.0, Instruction.GIVE_UP)) == THAWS


def test_what_is_not_settled_is_handed_over_once() -> None:
    procedure = pending(can_hand_over=True)
    procedure.on_instruction(2.0, Instruction.GIVE_UP)
    procedure.on_tick(2.0 + LAST_CHANCE_S)
    unsettled = procedure.unsettled
    assert unsettled is not None
    assert procedure.on_tick(4.0) == []
    assert (procedure.unsettled is unsettled, procedure.outcome) == (True, None)
    procedure.on_handed_over(4.1, replace(unsettled, holder=4711))
    assert (procedure.unsettled, outcome_of(procedure).holder) == (None, 4711)


def test_what_no_holder_could_thaw_is_handed_to_nobody() -> None:
    procedure = pending(can_hand_over=True)
    procedure.on_look(1.0, UP._replace(run_state=RunState.PANICKED))
    assert procedure.unsettled is None
    assert outcome_of(procedure).stuck is Stuck.PANICKED


def test_what_was_settled_is_not_handed_over() -> None:
    procedure = pending(can_hand_over=True)
    procedure.on_stream_ended(1.0, "closed", gone=True)
    assert procedure.unsettled is None
    assert outcome_of(procedure).settled


def test_a_vm_that_is_said_to_have_ended_has_not_gone_for_that() -> None:
    procedure = pending()
    procedure.on_stream_ended(1.0, "closed", gone=None, cause=Cause.VM_GONE)
    assert procedure.freeze.watch.cause is Cause.CHANNEL_BROKEN
    assert procedure.outcome is None


# -- a VM that has gone ---------------------------------------------------------------------


def test_a_vm_that_has_gone_is_looked_for_before_the_last_word() -> None:
    procedure = held(follows=True)
    procedure.on_stream_ended(2.0, "closed", gone=True)
    assert (procedure.wants_target, procedure.outcome) == (True, None)
    procedure.on_target_searched(2.5, None)
    assert not procedure.wants_target
    assert (outcome_of(procedure).settled, outcome_of(procedure).cause) == (True, Cause.VM_GONE)


def test_what_the_holder_has_thawed_is_not_looked_for() -> None:
    procedure = held(follows=True)
    procedure.freeze.watch.on_gone()
    procedure.on_taken_over(2.0, "it was silent", THAWED, over=False)
    assert not procedure.wants_target
    assert outcome_of(procedure).kind is OutcomeKind.BROKEN


def test_what_the_holder_has_thawed_is_never_certified() -> None:
    procedure = held()
    procedure.on_taken_over(61.0, "it was silent", THAWED, over=True)
    assert (outcome_of(procedure).kind, outcome_of(procedure).certified) == (
        OutcomeKind.VERIFIED,
        False,
    )


# -- how far it is --------------------------------------------------------------------------


def test_the_end_that_is_shown_is_that_of_what_is_waited_for() -> None:
    waiting = pending().progress(1.0)
    assert (waiting.step_ends_at, waiting.ends_at) == (600.0, 3600.0)
    window = held().progress(2.0)
    assert (window.step_ends_at, window.hold_ends_at) == (None, 61.0)


def test_a_cancelled_freeze_is_waited_for_as_long_as_before() -> None:
    procedure = pending()
    procedure.on_instruction(10.0, Instruction.CANCEL)
    progress = procedure.progress(11.0)
    assert (progress.step_ends_at, progress.ends_at) == (None, 3600.0)
    assert procedure.thaw is not None
    assert procedure.thaw.ends_at == 3600.0 + Schedule().thaw_timeout_s
    procedure.on_reply(20.0, Reply(FREEZE, 2))
    assert procedure.progress(20.0).ends_at == 20.0 + Schedule().thaw_timeout_s


def test_its_state_is_that_of_the_file_systems() -> None:
    cancelled = pending()
    cancelled.on_instruction(1.0, Instruction.CANCEL)
    states = [one.state for one in (pending(), held(), cancelled, ended())]
    assert states == [
        FreezeState.FREEZING, FreezeState.FROZEN, FreezeState.THAWING, FreezeState.THAWED,
    ]  # fmt: skip
