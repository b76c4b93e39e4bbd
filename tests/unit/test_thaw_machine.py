"""The machine of a thaw alone: what each answer, look and tick leads to."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from agentclient.freeze.effects import Effect, ReportEvent, Resync, Send
from agentclient.freeze.port_watch import Change, PortWatch
from agentclient.freeze.thaw_machine import MOST_THAWS_WHILE_FROZEN, ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.freeze.thaw_schedule import FIRST_RECONNECT_S, FIRST_RETRY_S
from agentclient.model.events import EventKind, ThawEnded
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, Level, RunState, Stuck
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent
from tests.unit.machine_effects import commands

STATUS, THAW = "guest-fsfreeze-status", "guest-fsfreeze-thaw"
UP = MonitorView(RunState.RUNNING, port_open=True, openings=3)
DOWN = UP._replace(port_open=False, openings=4)
BACK = UP._replace(openings=5)
PAUSED = UP._replace(run_state=RunState.PAUSED)


def made(**more: Any) -> ThawMachine:
    """A thaw on a channel that is ours and clean, which has not begun."""
    plan = ThawPlan("lab/vm-1", 60.0, clean=True, **more)
    return ThawMachine(plan, PortWatch(UP, 0.0), count(1).__next__, 0.0)


def sent() -> ThawMachine:
    """One that was sent at 0.0: the thaw is ticket 1, the status that is asked before it 2."""
    thaw = made()
    assert commands(thaw.start(0.0)) == [STATUS, THAW]
    return thaw


def checking() -> ThawMachine:
    """One that was answered with two file systems: the status after it is ticket 3."""
    thaw = sent()
    thaw.on_reply(1.0, Reply(2, "frozen"))
    assert commands(thaw.on_reply(1.1, Reply(1, 2))) == [STATUS]
    return thaw


def report_of(thaw: ThawMachine) -> ThawReport:
    """What it found."""
    assert thaw.report is not None
    return thaw.report


def last_ticket(effects: list[Effect]) -> int:
    """The number of the last command; 0 for none."""
    return max((one.ticket for one in effects if isinstance(one, Send)), default=0)


def kinds(effects: list[Effect]) -> list[EventKind]:
    """What is told, in order."""
    return [one.kind for one in effects if isinstance(one, ReportEvent)]


# -- the answers ----------------------------------------------------------------------------


def test_an_acknowledged_thaw_is_settled_by_the_status_after_it() -> None:
    thaw = checking()
    (told,) = thaw.on_reply(1.2, Reply(3, "thawed"))
    assert isinstance(told, ReportEvent)
    assert (told.kind, told.level) == (EventKind.THAWED, Level.INFO)
    found = report_of(thaw)
    assert (found.settled, found.before, found.thawed) == (True, FreezeState.FROZEN, 2)
    assert (found.sent, found.repeated, found.stuck) == (True, False, None)


def test_no_look_is_waited_for() -> None:
    assert not sent().wants_look


def test_only_a_channel_that_is_not_clean_is_synced_first() -> None:
    plan = ThawPlan("lab/vm-1", 60.0)
    thaw = ThawMachine(plan, PortWatch(UP, 0.0), count(1).__next__, 0.0)
    assert commands(thaw.start(0.0)) == ["sync", STATUS, THAW]
    assert commands(made().start(0.0)) == [STATUS, THAW]


def test_a_thaw_that_died_with_its_agent_is_sent_again_and_told() -> None:
    thaw = sent()
    effects = thaw.on_reply(1.0, PassedOver(1))
    assert kinds(effects)[0] is EventKind.NOTE
    assert commands(effects) == [STATUS, THAW]
    thaw.on_reply(1.1, Reply(4, "thawed"))
    thaw.on_reply(1.2, Reply(3, 0))
    thaw.on_reply(1.3, Reply(5, "thawed"))
    assert (report_of(thaw).repeated, report_of(thaw).before) == (True, None)


def test_what_is_thawed_by_several_thaws_is_added_up() -> None:
    thaw = checking()
    assert commands(thaw.on_reply(1.2, Reply(3, "frozen"))) == [THAW]
    thaw.on_reply(1.3, Reply(4, 1))
    thaw.on_reply(1.4, Reply(5, "thawed"))
    assert report_of(thaw).thawed == 3


def test_a_guest_that_stays_frozen_is_thawed_a_few_times_and_left_to_a_person() -> None:
    thaw = sent()
    thaw.on_reply(0.9, Reply(2, "frozen"))
    number, sends = 1, 1
    for _ in range(MOST_THAWS_WHILE_FROZEN):
        number = last_ticket(thaw.on_reply(1.0, Reply(number, 0)))
        again = thaw.on_reply(1.1, Reply(number, "frozen"))
        number, sends = last_ticket(again), sends + len(commands(again))
    assert sends == MOST_THAWS_WHILE_FROZEN
    assert (report_of(thaw).settled, report_of(thaw).stuck) == (False, Stuck.STILL_FROZEN)
    assert report_of(thaw).next


@pytest.mark.parametrize("answer", [Failure(3, "GenericError", "no"), Reply(3, "nonsense")])
def test_a_status_after_it_that_tells_nothing_is_no_thaw(answer: WireEvent) -> None:
    thaw = checking()
    assert commands(thaw.on_reply(1.2, answer)) == [THAW]


def test_a_status_after_it_that_was_lost_is_asked_again() -> None:
    thaw = checking()
    assert commands(thaw.on_reply(1.2, PassedOver(3))) == [STATUS]


def test_a_status_after_it_has_its_own_time() -> None:
    thaw = sent()
    thaw.on_tick(FIRST_RETRY_S)
    thaw.on_reply(20.0, Reply(1, 2))
    assert thaw.wakes_at == 20.0 + FIRST_RETRY_S


def test_an_error_is_told_and_the_status_asked() -> None:
    thaw = sent()
    effects = thaw.on_reply(1.0, Failure(1, "GenericError", "hook failed"))
    assert (commands(effects), kinds(effects)) == ([STATUS], [EventKind.REPLY])
    thaw.on_reply(1.1, Reply(3, "thawed"))
    assert (report_of(thaw).settled, report_of(thaw).error) == (True, "GenericError: hook failed")


def test_after_its_end_nothing_is_done_any_more() -> None:
    thaw = checking()
    thaw.on_reply(1.2, Reply(3, "thawed"))
    assert thaw.on_reply(1.3, Reply(1, 2)) == []
    assert thaw.on_look(1.4, BACK) == []
    assert thaw.on_tick(100.0) == []
    assert thaw.on_stream_ended(2.0, "closed", gone=True) == []


@pytest.mark.parametrize(
    ("answer", "word"), [(2, "the agent answered the thaw: 2"), ("two", "no number")]
)
def test_what_it_counted_is_told(answer: object, word: str) -> None:
    told, *_ = sent().on_reply(1.0, Reply(1, answer))
    assert isinstance(told, ReportEvent)
    assert word in told.text


def waiting_behind_a_freeze() -> ThawMachine:
    """One that was sent behind a freeze that may take 1000 s more."""
    thaw = made(patience_s=1000.0)
    thaw.start(0.0)
    assert (thaw.ends_at, thaw.waiting_for) == (
        1060.0,
        "the agent to finish the freeze, then the thaw",
    )
    return thaw


@pytest.mark.parametrize(
    "answer",
    [Reply(2, "thawed"), Failure(2, "GenericError", "no"), Reply(1, 2), Failure(1, "E", "no")],
)
def test_any_answer_shows_that_no_freeze_is_before_it(answer: WireEvent) -> None:
    thaw = waiting_behind_a_freeze()
    thaw.on_reply(5.0, answer)
    assert (thaw.ends_at, thaw.waiting_for) == (65.0, "the agent's answer to the thaw")


def test_an_answered_sync_shows_that_no_freeze_is_before_it() -> None:
    thaw = waiting_behind_a_freeze()
    (sync,) = thaw.on_tick(thaw.wakes_at)
    assert isinstance(sync, Resync)
    thaw.on_reply(5.0, Synced(sync.ticket))
    assert thaw.ends_at == 65.0


def test_who_knows_that_no_freeze_is_before_it_says_so() -> None:
    thaw = waiting_behind_a_freeze()
    thaw.on_freeze_settled(5.0)
    thaw.on_freeze_settled(6.0)
    assert thaw.ends_at == 65.0, "the bound begins once"


def test_a_reset_has_ended_the_freeze_before_it() -> None:
    thaw = waiting_behind_a_freeze()
    thaw.on_changes(5.0, [Change.RESET])
    assert thaw.ends_at == 65.0


# -- what is asked before -------------------------------------------------------------------


def asking(*, allowed: bool = True) -> ThawMachine:
    """One that thaws only what its agent says to be frozen."""
    thaw = made(ask=True, allowed=allowed)
    assert commands(thaw.start(0.0)) == [STATUS]
    return thaw


def test_what_is_thawed_already_is_not_thawed() -> None:
    thaw = asking()
    assert commands(thaw.on_reply(1.0, Reply(1, "thawed"))) == []
    assert (report_of(thaw).settled, report_of(thaw).sent, thaw.refused) == (True, False, False)


@pytest.mark.parametrize("answer", [Reply(1, "frozen"), Failure(1, "GenericError", "no")])
def test_what_may_be_frozen_is_thawed_if_that_is_allowed(answer: WireEvent) -> None:
    ours = asking()
    assert THAW in commands(ours.on_reply(9.0, answer))
    assert ours.wakes_at == 9.0 + FIRST_RETRY_S
    foreign = asking(allowed=False)
    assert commands(foreign.on_reply(1.0, answer)) == []
    assert (foreign.refused, report_of(foreign).settled, report_of(foreign).sent) == (
        True,
        False,
        False,
    )


def test_a_question_that_was_lost_is_asked_again() -> None:
    thaw = asking()
    assert commands(thaw.on_reply(1.0, PassedOver(1))) == [STATUS]
    # Where it is thawed without an answer, its being lost changes nothing.
    assert commands(sent().on_reply(1.0, PassedOver(2))) == []


# -- its schedule ---------------------------------------------------------------------------


def test_an_answer_that_is_overdue_is_looked_for_by_a_sync() -> None:
    thaw = sent()
    overdue = thaw.wakes_at
    assert overdue == FIRST_RETRY_S
    assert thaw.on_tick(overdue - 0.01) == []
    assert commands(thaw.on_tick(overdue)) == ["sync"]
    assert thaw.wakes_at > overdue


@pytest.mark.parametrize("view", [DOWN, PAUSED])
def test_nothing_is_written_for_an_agent_that_cannot_read(view: MonitorView) -> None:
    thaw = sent()
    thaw.on_look(0.5, view)
    assert thaw.on_tick(thaw.wakes_at) == []


def test_a_vm_that_goes_on_is_asked_at_once() -> None:
    thaw = sent()
    thaw.on_look(0.1, PAUSED)
    thaw.on_look(0.2, UP)
    assert thaw.wakes_at == 0.2
    assert commands(thaw.on_tick(0.2)) == ["sync"]


def test_its_bound_ends_it_and_somebody_is_told() -> None:
    thaw = sent()
    (told,) = thaw.on_tick(60.0)
    assert isinstance(told, ReportEvent)
    assert (told.kind, told.level) == (EventKind.NOTE, Level.ERROR)
    assert told.details == ThawEnded(None, 60.0)
    found = report_of(thaw)
    assert (found.settled, found.stuck, found.count) == (False, Stuck.SILENT, None)
    assert found.next
    assert "1 min" in found.reason


def test_an_agent_that_stays_silent_is_asked_ever_more_rarely() -> None:
    thaw = sent()
    made_at: list[float] = []
    while len(made_at) < 8:
        made_at.append(thaw.wakes_at)
        thaw.on_tick(thaw.wakes_at)
        if thaw.report is not None:
            break
    assert made_at == [1.0, 3.0, 7.0, 15.0, 31.0, 60.0]


def test_a_thaw_that_died_is_not_looked_for_sooner_than_the_one_before_it() -> None:
    thaw = sent()
    thaw.on_tick(1.0)
    thaw.on_tick(3.0)
    thaw.on_reply(5.0, PassedOver(1))
    assert thaw.wakes_at == 9.0


# -- the monitor ----------------------------------------------------------------------------


def test_an_agent_that_comes_is_thawed_by_a_thaw_behind_a_sync() -> None:
    watch = PortWatch(DOWN, 0.0)
    thaw = ThawMachine(ThawPlan("lab/vm-1", 60.0, clean=True), watch, count(1).__next__, 0.0)
    assert thaw.start(0.0) == []
    assert commands(thaw.on_look(1.0, BACK)) == ["sync", STATUS, THAW]
    # What was written may still run on the next one.
    assert commands(thaw.on_look(1.1, BACK._replace(openings=7))) == ["sync"]


def test_what_was_reset_is_thawed_only_if_it_says_frozen() -> None:
    thaw = sent()
    thaw.on_look(0.5, BACK._replace(port_open=False, resets=1))
    after = thaw.on_look(1.0, UP._replace(openings=1, resets=1))
    assert THAW not in commands(after)


def test_what_was_reset_is_settled_without_an_answer() -> None:
    watch = PortWatch(UP._replace(resets=0), 0.0)
    thaw = ThawMachine(ThawPlan("lab/vm-1", 60.0, clean=True), watch, count(1).__next__, 0.0)
    thaw.start(0.0)
    thaw.on_look(1.0, DOWN._replace(resets=1))
    thaw.on_tick(thaw.ends_at)
    assert report_of(thaw).settled


@pytest.mark.parametrize(
    ("view", "settled", "stuck"),
    [
        (MonitorView(RunState.GONE, gone=True), True, None),
        (UP._replace(run_state=RunState.SHUTDOWN), True, None),
        (UP._replace(run_state=RunState.PANICKED), False, Stuck.PANICKED),
        (UP._replace(run_state=RunState.MIGRATED), False, Stuck.MIGRATED),
    ],
)
def test_the_guests_end_ends_it_once(view: MonitorView, settled: bool, stuck: Stuck | None) -> None:
    thaw = sent()
    assert len(thaw.on_look(1.0, view)) == 1
    assert (report_of(thaw).settled, report_of(thaw).stuck) == (settled, stuck)


def test_what_was_reset_is_asked_first() -> None:
    thaw = made(ask=False)
    thaw.on_changes(0.0, [Change.RESET])
    assert commands(thaw.start(0.0)) == [STATUS]


def test_a_device_that_was_set_up_anew_has_its_agent_asked_once_it_is_there() -> None:
    thaw = sent()
    thaw.on_look(0.5, DOWN)
    assert commands(thaw.on_changes(0.6, [Change.DEVICE_RESET])) == []
    other = made(freeze_succeeded=False)
    other.start(0.0)
    assert commands(other.on_changes(0.6, [Change.DEVICE_RESET])) == ["sync"]
    other.on_stream_ended(0.7, "closed", gone=None)
    (sync,) = other.on_connected(0.8)
    assert isinstance(sync, Resync)
    assert commands(other.on_reply(0.9, Synced(sync.ticket))) == [STATUS]


# -- a channel that breaks ------------------------------------------------------------------


def broken(*, freeze_succeeded: bool = True) -> ThawMachine:
    """One whose channel broke when its thaw was sent."""
    thaw = made(freeze_succeeded=freeze_succeeded)
    thaw.start(0.0)
    assert thaw.on_stream_ended(1.0, "closed", gone=None) == []
    return thaw


def test_a_channel_that_broke_is_opened_anew_and_begins_with_a_sync() -> None:
    thaw = broken()
    assert thaw.wants_connection(1.0)
    assert commands(thaw.on_connected(1.1)) == ["sync"]
    assert not thaw.wants_connection(1.1)


@pytest.mark.parametrize(("freeze_succeeded", "next_one"), [(True, [STATUS]), (False, None)])
def test_a_thaw_that_may_have_run_is_not_sent_twice_unasked(
    freeze_succeeded: bool, next_one: list[str] | None
) -> None:
    """Behind a freeze that failed a thaw is owed whatever the agent says (protocol §3.8)."""
    thaw = broken(freeze_succeeded=freeze_succeeded)
    (sync,) = thaw.on_connected(1.1)
    assert isinstance(sync, Resync)
    assert commands(thaw.on_reply(1.2, Synced(sync.ticket))) == (next_one or [STATUS, THAW])


def test_what_is_to_be_asked_is_asked_on_another_channel_as_well() -> None:
    thaw = made(ask=True, freeze_succeeded=False)
    thaw.start(0.0)
    thaw.on_reply(0.5, Reply(1, "frozen"))
    thaw.on_stream_ended(1.0, "closed", gone=None)
    (sync,) = thaw.on_connected(1.1)
    assert isinstance(sync, Resync)
    assert commands(thaw.on_reply(1.2, Synced(sync.ticket))) == [STATUS]


def test_a_thaw_that_may_have_run_is_named() -> None:
    thaw = broken()
    thaw.on_tick(thaw.ends_at)
    assert report_of(thaw).repeated
    never = made(owned=False)
    never.start(0.0)
    never.on_stream_ended(1.0, "closed", gone=None)
    never.on_tick(never.ends_at)
    assert not report_of(never).repeated


def test_another_channel_has_its_time_for_an_answer() -> None:
    thaw = broken()
    thaw.on_connected(10.0)
    assert thaw.wakes_at == 10.0 + FIRST_RETRY_S


def test_a_channel_that_takes_us_and_drops_us_is_tried_more_rarely() -> None:
    thaw = broken()
    thaw.on_connected(1.0)
    thaw.on_stream_ended(1.0, "closed", gone=None)
    assert thaw.wakes_at == 1.0 + FIRST_RECONNECT_S
    (sync,) = thaw.on_connected(2.0)
    assert isinstance(sync, Resync)
    thaw.on_reply(2.1, Synced(sync.ticket))
    thaw.on_stream_ended(2.2, "closed", gone=None)
    assert thaw.wants_connection(2.2), "what has answered is tried at once"


def test_nothing_is_written_to_a_channel_that_is_away() -> None:
    thaw = broken()
    assert thaw.on_look(1.1, DOWN) == []
    assert thaw.on_look(1.2, BACK) == []
    assert thaw.on_tick(2.0) == []


def test_a_channel_that_stays_away_is_named() -> None:
    thaw = broken()
    thaw.on_connect_failed(1.1, "nobody listens", gone=None)
    assert "nobody listens" in thaw.waiting_for
    thaw.on_tick(thaw.ends_at)
    assert report_of(thaw).stuck is Stuck.CHANNEL


def test_a_vm_that_has_gone_meanwhile_is_settled() -> None:
    watch = PortWatch(UP, 0.0)
    thaw = ThawMachine(ThawPlan("lab/vm-1", 60.0), watch, count(1).__next__, 50.0)
    thaw.on_stream_ended(51.0, "closed", gone=None)
    (told,) = thaw.on_connect_failed(52.0, "nobody listens", gone=True)
    assert (report_of(thaw).settled, watch.cause) == (True, Cause.VM_GONE)
    assert isinstance(told, ReportEvent)
    assert told.details == ThawEnded(None, 2.0)


def test_one_that_has_migrated_is_not() -> None:
    thaw = made()
    thaw.start(0.0)
    thaw.on_stream_ended(1.0, "closed", gone=True, cause=Cause.MIGRATED)
    assert (report_of(thaw).settled, report_of(thaw).stuck) == (False, Stuck.MIGRATED)
