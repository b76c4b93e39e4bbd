"""The machine of a freeze alone: what each answer and each look leads to."""

from __future__ import annotations

from itertools import count

import pytest

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.effects import Effect, ReportEvent, Resync, Send
from agentclient.freeze.freeze_machine import FreezeMachine
from agentclient.freeze.freeze_plan import FreezePlan, FreezeStage
from agentclient.freeze.freeze_schedule import DRAIN_S, VERIFY_S
from agentclient.model.events import EventKind
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OutcomeKind, RunState
from agentclient.protocol.qga_events import (
    SENTINEL_ERROR,
    Dropped,
    Failure,
    PassedOver,
    Reply,
    Synced,
    WireEvent,
)
from tests.unit.virtual_freeze import FILE_SYSTEMS

UP = MonitorView(RunState.RUNNING, port_open=True, openings=3, written_bytes=100)
DOWN = UP._replace(port_open=False, openings=4)
BACK = UP._replace(openings=5)
UNSEEN = UP._replace(port_open=None, openings=None)
FREEZE, STATUS = 1, 2  # the tickets of the first two commands


def pending(*, mounts: tuple[str, ...] = (), hold_s: float = 60.0) -> FreezeMachine:
    """A freeze that was sent at 0.0, and not answered."""
    plan = FreezePlan(Schedule(hold_s=hold_s), UP, mounts, coverage=Coverage(FILE_SYSTEMS))
    machine = FreezeMachine(plan, count(1).__next__, 0.0)
    machine.start(0.0)
    return machine


def verifying() -> FreezeMachine:
    """One that was answered with the right number at 1.0."""
    machine = pending()
    (_, asked) = machine.on_reply(1.0, Reply(FREEZE, 2))
    assert asked == Send(STATUS, "guest-fsfreeze-status")
    return machine


def held() -> FreezeMachine:
    """One that is verified, and held for a minute."""
    machine = verifying()
    machine.on_look(1.1, UP)
    machine.on_reply(1.2, Reply(STATUS, "frozen"))
    assert machine.stage is FreezeStage.HELD
    return machine


def kind_of(machine: FreezeMachine) -> OutcomeKind:
    """What its verdict says."""
    assert machine.judgement.verdict is not None
    return machine.judgement.verdict.kind


def sends(effects: list[Effect]) -> list[Effect]:
    """What is written."""
    return [one for one in effects if not isinstance(one, ReportEvent)]


def test_chosen_file_systems_are_frozen_by_their_list() -> None:
    plan = FreezePlan(Schedule(), UP, ("/a", "/b"))
    (sent, *_) = FreezeMachine(plan, count(1).__next__, 0.0).start(0.0)
    asked = {"mountpoints": ["/a", "/b"]}
    assert sent == Send(FREEZE, "guest-fsfreeze-freeze-list", asked)


def test_its_time_begins_when_it_is_sent() -> None:
    plan = FreezePlan(Schedule(first_timeout_s=5), UP)
    machine = FreezeMachine(plan, count(1).__next__, 0.0)
    machine.start(3.0)
    assert machine.wakes_at == 8.0
    assert machine.on_tick(7.9) == []
    assert sends(machine.on_tick(8.0)) == [Send(2, "guest-fsfreeze-status")]


def test_only_what_waits_for_nothing_else_wants_a_look() -> None:
    assert not pending().wants_look
    machine = verifying()
    assert machine.wants_look
    assert not held().wants_look


def test_an_answered_status_waits_for_a_look_at_the_port() -> None:
    machine = verifying()
    machine.on_reply(1.1, Reply(STATUS, "frozen"))
    machine.on_look(1.2, UNSEEN)
    assert (machine.stage, machine.wants_look) == (FreezeStage.VERIFYING, True)
    machine.on_look(1.3, UP)
    assert machine.stage is FreezeStage.HELD
    assert kind_of(machine) is OutcomeKind.VERIFIED


@pytest.mark.parametrize("answer", [Failure(STATUS, "GenericError", "no"), PassedOver(STATUS)])
def test_a_status_that_fails_is_missing_evidence(answer: WireEvent) -> None:
    machine = verifying()
    machine.on_look(1.1, UP)
    machine.on_reply(1.2, answer)
    assert kind_of(machine) is OutcomeKind.UNVERIFIED


def test_what_is_written_before_the_verdict_is_written_into_the_window() -> None:
    machine = verifying()
    machine.on_look(1.1, UP)
    machine.on_reply(1.2, Reply(STATUS, "frozen"))
    machine.on_look(1.3, UP._replace(written_bytes=130))
    assert machine.window is not None
    assert machine.window.written_bytes == 30
    assert kind_of(machine) is OutcomeKind.BROKEN


def test_what_is_not_held_at_all_has_been_counted() -> None:
    machine = pending(hold_s=0.0)
    machine.on_reply(1.0, Reply(FREEZE, 2))
    machine.on_look(1.1, UP)
    machine.on_reply(1.2, Reply(STATUS, "frozen"))
    assert machine.window is not None
    assert (machine.stage, machine.window.written_bytes) == (FreezeStage.RELEASED, 0)


def test_an_answer_is_a_sign_of_life_and_noise_is_none() -> None:
    machine = pending()
    machine.on_reply(0.5, Dropped("noise"))
    assert machine.heard_at is None
    machine.on_reply(1.0, Reply(FREEZE, 2))
    assert machine.heard_at == 1.0


def test_only_the_answer_to_its_own_sync_proves_a_freeze_to_be_lost() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    machine.on_look(1.1, BACK)
    assert machine.stage is FreezeStage.DRAINING
    sync = 2
    assert machine.on_reply(1.2, Synced(sync)) == [], "the freeze may be answered next"
    machine.on_reply(1.3, PassedOver(FREEZE))
    assert machine.on_reply(1.4, Synced(sync + 7)) == []
    assert machine.on_reply(1.5, Synced(sync)) == [Send(sync + 1, "guest-fsfreeze-status")]


def test_a_status_behind_the_freeze_proves_a_loss_only_where_that_was_passed_over() -> None:
    machine = pending()
    (asked, _) = machine.on_tick(machine.wakes_at)
    assert isinstance(asked, Send)
    machine.on_reply(601.0, Reply(asked.ticket, "thawed"))
    assert machine.judgement.verdict is None
    machine.on_reply(601.1, PassedOver(FREEZE))
    machine.on_reply(601.2, Reply(asked.ticket, "frozen"))
    assert kind_of(machine) is OutcomeKind.PARTIAL, "what it froze is known of"


def test_a_status_that_comes_after_the_verdict_concludes_nothing() -> None:
    machine = pending()
    (asked, _) = machine.on_tick(machine.wakes_at)
    assert isinstance(asked, Send)
    machine.on_reply(601.0, PassedOver(FREEZE))
    machine.on_stream_ended(601.1, "closed", Cause.CHANNEL_BROKEN)
    verdict = machine.judgement.verdict
    assert len(machine.on_reply(601.2, Reply(asked.ticket, "frozen"))) == 1
    assert machine.judgement.verdict is verdict


def test_where_no_port_is_seen_the_status_concludes() -> None:
    machine = FreezeMachine(FreezePlan(Schedule(), MonitorView()), count(1).__next__, 0.0)
    machine.start(0.0)
    machine.on_reply(1.0, Reply(FREEZE, 2))
    assert not machine.wants_look
    machine.on_reply(1.1, Reply(STATUS, "frozen"))
    assert machine.judgement.verdict is not None


def test_a_status_is_waited_for_a_moment_alone() -> None:
    machine = verifying()
    machine.on_look(1.1, UP)
    assert machine.wakes_at == 1.0 + VERIFY_S
    machine.on_tick(machine.wakes_at)
    assert kind_of(machine) is OutcomeKind.UNVERIFIED


def test_nothing_frozen_needs_no_further_question() -> None:
    machine = pending()
    assert sends(machine.on_reply(1.0, Reply(FREEZE, 0))) == []
    assert kind_of(machine) is OutcomeKind.FAILED


def test_an_answer_behind_a_closed_port_is_believed_in_part() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    assert sends(machine.on_reply(1.1, Reply(FREEZE, 2))) == []
    assert kind_of(machine) is OutcomeKind.PARTIAL


def test_after_an_error_the_status_tells_what_it_has_done() -> None:
    machine = pending()
    told, _ = machine.on_reply(1.0, Failure(FREEZE, "GenericError", "hook failed"))
    assert "hook failed" in str(told)
    assert machine.stage is FreezeStage.CHECKING
    machine.on_reply(1.1, Reply(STATUS, "thawed"))
    assert (machine.stage, kind_of(machine)) == (FreezeStage.RELEASED, OutcomeKind.FAILED)


def test_a_late_answer_begins_no_hold() -> None:
    machine = pending()
    machine.cancel(1.0)
    machine.on_reply(2.0, Reply(FREEZE, 2))
    assert (machine.stage, machine.window) == (FreezeStage.RELEASED, None)


def test_a_late_answer_revises_and_one_after_a_cancellation_concludes() -> None:
    lost, cancelled = pending(), pending()
    lost.on_stream_ended(1.0, "closed", Cause.CHANNEL_BROKEN)
    cancelled.cancel(1.0)
    late = [one.on_reply(2.0, Reply(FREEZE, 2))[1] for one in (lost, cancelled)]
    kinds = [one.kind for one in late if isinstance(one, ReportEvent)]
    assert kinds == [EventKind.REVISED, EventKind.VERDICT]


def test_a_window_begins_with_the_answer() -> None:
    window = held().window
    assert window is not None
    assert (window.since, window.ends_at) == (1.0, 61.0)


# -- a port that closes ---------------------------------------------------------------------


def test_a_port_that_closes_has_the_channel_drained_once() -> None:
    machine = pending()
    assert sends(machine.on_look(1.0, DOWN)) == [Resync(2)]
    assert sends(machine.on_look(1.1, DOWN)) == []
    assert machine.wakes_at == 1.0 + DRAIN_S
    machine.on_tick(machine.wakes_at)
    assert kind_of(machine) is OutcomeKind.LOST


def test_a_new_agent_is_given_as_long_again_and_once() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    machine.on_look(1.2, BACK)
    assert machine.wakes_at == 1.2 + DRAIN_S
    machine.on_look(1.3, BACK._replace(port_open=False, openings=6))
    machine.on_look(1.4, BACK._replace(openings=7))
    assert machine.wakes_at == 1.2 + DRAIN_S


def test_a_new_agent_that_answers_is_the_cause() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    machine.on_reply(1.1, PassedOver(FREEZE))
    machine.on_reply(1.1, Synced(2))
    machine.on_reply(1.2, Reply(3, "thawed"))
    verdict = machine.judgement.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.AGENT_RESTARTED)


def test_another_port_of_its_device_that_moved_has_lost_nothing() -> None:
    machine = pending()
    machine.on_look(1.0, BACK._replace(sole_port=False))
    assert machine.stage is FreezeStage.DRAINING
    machine.on_tick(machine.wakes_at)
    assert (machine.stage, machine.judgement.verdict) == (FreezeStage.PENDING, None)


def test_what_was_passed_over_is_lost_whatever_port_moved() -> None:
    machine = pending()
    machine.on_look(1.0, BACK._replace(sole_port=False))
    machine.on_reply(1.1, PassedOver(FREEZE))
    machine.on_tick(machine.wakes_at)
    assert kind_of(machine) is OutcomeKind.LOST


def test_a_guest_that_sleeps_has_lost_nothing() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    machine.on_look(1.1, DOWN._replace(run_state=RunState.SUSPENDED))
    machine.on_tick(1.0 + DRAIN_S)
    assert (machine.stage, machine.judgement.verdict) == (FreezeStage.PENDING, None)


def test_a_guest_that_sleeps_with_its_port_open_and_whose_port_closed_before_is_lost() -> None:
    machine = pending()
    machine.on_look(1.0, DOWN)
    machine.on_look(1.1, BACK._replace(run_state=RunState.PAUSED))
    machine.on_tick(machine.wakes_at)
    assert kind_of(machine) is OutcomeKind.LOST


def test_a_vm_that_is_paused_has_nothing_drained() -> None:
    machine = pending()
    assert sends(machine.on_look(1.0, UP._replace(run_state=RunState.PAUSED))) == []
    assert machine.stage is FreezeStage.PENDING


# -- what is no answer ----------------------------------------------------------------------


def test_an_answer_that_is_broken_has_the_agent_asked_at_once_and_once() -> None:
    machine = pending()
    assert sends(machine.on_reply(1.0, Dropped("of somebody else"))) == []
    broken = Dropped("{", violation=True)
    assert sends(machine.on_reply(1.1, broken)) == [Send(2, "guest-fsfreeze-status")]
    assert sends(machine.on_reply(1.2, broken)) == []


def test_nobody_asks_what_was_answered_already() -> None:
    assert sends(verifying().on_reply(1.1, Dropped("{", violation=True))) == []


def test_what_our_own_sync_provokes_is_not_told() -> None:
    assert pending().on_reply(1.0, Dropped(SENTINEL_ERROR)) == []


def test_what_is_dropped_without_end_is_told_a_few_times() -> None:
    machine = pending()
    told = [one for _ in range(1000) for one in machine.on_reply(1.0, Dropped("noise"))]
    assert 0 < len(told) <= 20


# -- ended before its time ------------------------------------------------------------------


def test_who_cancels_is_told_how_long_it_may_take_and_once() -> None:
    machine = pending()
    (told,) = machine.cancel(600.0)
    assert isinstance(told, ReportEvent)
    assert "50 min" in told.text
    assert (machine.stage, machine.judgement.cancelled) == (FreezeStage.RELEASED, True)
    assert machine.cancel(601.0) == []


def test_what_is_thawed_already_can_not_be_cancelled() -> None:
    machine = verifying()
    machine.on_stream_ended(1.1, "closed", Cause.CHANNEL_BROKEN)
    assert machine.stage is FreezeStage.RELEASED
    assert machine.cancel(1.2) == []
    assert not machine.judgement.cancelled


def test_a_hold_is_cancelled_once() -> None:
    machine = held()
    assert machine.cancel(2.0)
    assert machine.cancel(2.1) == []


def test_a_flood_of_what_is_thawed_already_is_not_told() -> None:
    machine = pending()
    machine.cancel(1.0)
    assert machine.on_flood(1.1, "noise") == []


def test_a_hold_that_is_ended_before_it_begins_is_none() -> None:
    machine = verifying()
    machine.on_look(1.1, UP)
    assert machine.end_hold(1.2) == []
    machine.on_reply(1.3, Reply(STATUS, "frozen"))
    assert machine.stage is FreezeStage.RELEASED
    assert kind_of(machine) is OutcomeKind.VERIFIED


def test_only_a_longer_hold_is_told_by_the_machine() -> None:
    machine = held()
    assert len(machine.extend_hold(10.0)) == 1
    assert len(machine.extend_hold(0.0)) == 1
    assert machine.extend_hold(-10.0) == []


def test_who_gives_up_a_hold_waits_for_no_last_look() -> None:
    machine = held()
    machine.abandon_hold()
    assert machine.stage is FreezeStage.RELEASED
    waiting = pending()
    waiting.abandon_hold()
    assert waiting.stage is FreezeStage.PENDING


# -- a flood --------------------------------------------------------------------------------


def test_a_flood_while_it_is_pending_is_a_broken_channel() -> None:
    machine = pending()
    assert len(machine.on_flood(1.0, "noise")) == 2
    assert machine.stage is FreezeStage.RELEASED
    verdict = machine.judgement.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.CHANNEL_BROKEN)
    assert machine.on_flood(1.1, "more noise") == []


def test_a_flood_behind_the_answer_holds_no_window() -> None:
    machine = verifying()
    machine.on_look(1.1, UP)
    machine.on_flood(1.2, "noise")
    assert machine.stage is FreezeStage.RELEASED
    verdict = machine.judgement.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.cause) == (OutcomeKind.UNVERIFIED, None)


def test_a_flood_ends_the_hold_and_is_told_once() -> None:
    machine = held()
    assert "flooded" in str(machine.on_flood(3.0, "noise")[0])
    assert machine.wants_look, "its end waits for a last look alone"
    assert machine.on_flood(3.1, "more noise") == []
    machine.on_look(3.2, UP)
    assert machine.stage is FreezeStage.RELEASED


# -- a channel that breaks ------------------------------------------------------------------


def test_no_answer_is_awaited_from_a_channel_that_broke() -> None:
    machine = pending()
    assert machine.judgement.awaits_answer
    machine.on_stream_ended(1.0, "closed", Cause.CHANNEL_BROKEN)
    assert not machine.judgement.seen.pending
    assert machine.watch.ever_closed


@pytest.mark.parametrize("is_held", [False, True])
def test_an_end_of_the_channel_says_whether_it_came_in_the_hold(is_held: bool) -> None:
    machine = held() if is_held else pending()
    (told,) = machine.on_stream_ended(2.0, "closed", Cause.AGENT_GONE)
    assert ("closed while the freeze was held" in str(told)) is is_held


def test_what_was_answered_before_the_channel_broke_was_not_passed_over() -> None:
    machine = verifying()
    machine.on_stream_ended(1.1, "closed", Cause.CHANNEL_BROKEN)
    assert not machine.judgement.seen.passed_over
