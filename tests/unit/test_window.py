"""A freeze's window while it is held."""

from __future__ import annotations

from itertools import count

import pytest

from agentclient.freeze.effects import Effect, ReportEvent, Resync, Send
from agentclient.freeze.port_watch import Change, PortWatch
from agentclient.freeze.window import LAST_LOOK_S, Window
from agentclient.model.events import EventKind, GuestWrote
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced

UP = MonitorView(RunState.RUNNING, port_open=True, openings=5, resets=0, written_bytes=100)


class Held:
    """A window of 10 s from 100 on, whose monitor showed `baseline`."""

    def __init__(
        self, baseline: MonitorView = UP, *, hold_s: float = 10.0, windows: bool = False
    ) -> None:
        self.watch = PortWatch(baseline, 99.0)
        self.window = Window(
            100.0,
            hold_s,
            self.watch,
            count(1).__next__,
            written_before=baseline.written_bytes,
            windows=windows,
        )

    def look(self, now: float, view: MonitorView = UP) -> list[Effect]:
        return self.window.on_changes(now, self.watch.on_look(now, view))


def kinds(effects: list[Effect]) -> list[EventKind]:
    return [effect.kind for effect in effects if isinstance(effect, ReportEvent)]


def test_an_undisturbed_window_ends_with_a_last_look() -> None:
    held = Held()
    window = held.window
    assert (window.ends_at, window.wakes_at) == (110.0, 110.0)
    assert held.look(105.0) == []
    assert window.on_tick(109.9) == []
    wanted = [window.wants_look]
    assert window.on_tick(110.0) == []
    assert [*wanted, window.wants_look] == [False, True]
    assert window.wakes_at == 110.0 + LAST_LOOK_S
    assert kinds(held.look(110.1)) == [EventKind.NOTE]
    assert (window.over, window.broken, window.at_risk, window.written_bytes) == (
        True,
        None,
        False,
        0,
    )


def test_a_last_look_that_does_not_come_is_waited_for_shortly() -> None:
    window = Held().window
    window.on_tick(110.0)
    assert window.on_tick(110.0 + LAST_LOOK_S - 0.01) == []
    assert kinds(window.on_tick(110.0 + LAST_LOOK_S)) == [EventKind.NOTE]
    assert window.over
    assert window.on_tick(200.0) == []


def test_where_nothing_can_be_seen_nothing_is_waited_for() -> None:
    window = Held(MonitorView()).window
    assert kinds(window.on_tick(110.0)) == [EventKind.NOTE]
    assert window.over
    assert window.written_bytes is None


def test_what_the_window_did_not_ask_for_is_not_its_business() -> None:
    window = Held().window
    assert window.on_reply(Synced(9)) == []
    assert window.on_reply(Reply(9, "thawed")) == []
    assert (window.over, window.broken) == (False, None)


def test_it_can_be_ended_early() -> None:
    held = Held()
    assert held.window.end(103.0) == []
    assert held.window.wants_look
    held.look(103.0)
    assert held.window.over


def test_ending_it_late_does_not_make_it_longer() -> None:
    window = Held().window
    window.end(150.0)
    assert window.ends_at == 110.0


# -- at risk ------------------------------------------------------------------------------------


def test_a_port_that_closes_puts_it_at_risk_once() -> None:
    held = Held()
    assert kinds(held.look(101.0, UP._replace(port_open=False, openings=6))) == [EventKind.AT_RISK]
    assert held.window.at_risk
    assert held.look(102.0, UP._replace(port_open=False, openings=6)) == []
    assert (held.window.broken, held.window.over) == (None, False)


def test_the_next_agents_status_settles_it() -> None:
    held = Held()
    held.look(101.0, UP._replace(port_open=False, openings=6))
    assert held.look(102.0, UP._replace(openings=7)) == [Resync(1)]
    assert held.window.on_reply(Synced(9)) == []
    assert held.window.on_reply(Synced(1)) == [Send(2, "guest-fsfreeze-status")]
    assert held.window.on_reply(Reply(9, "thawed")) == []
    assert held.window.broken is None
    assert kinds(held.window.on_reply(Reply(2, "thawed"))) == [EventKind.REPLY]
    assert held.window.over
    assert "thawed" in str(held.window.broken)


@pytest.mark.parametrize("value", ["frozen", None, 5, [], {"x": 1}, "THAWED"])
def test_a_next_agent_that_does_not_say_thawed_lets_it_go_on(value: object) -> None:
    held = Held()
    effects = held.look(101.0, UP._replace(openings=7))
    assert kinds(effects) == [EventKind.AT_RISK]
    assert effects[-1] == Resync(1)
    held.window.on_reply(Synced(1))
    held.window.on_reply(Reply(2, value))
    assert (held.window.over, held.window.broken, held.window.at_risk) == (False, None, True)


def test_errors_and_lost_questions_change_nothing() -> None:
    held = Held()
    held.look(101.0, UP._replace(openings=7))
    held.window.on_reply(Synced(1))
    assert held.window.on_reply(Failure(2, "GenericError", "x")) == []
    assert held.window.on_reply(PassedOver(2)) == []
    assert not held.window.over


def test_another_port_of_the_same_controller_is_no_risk() -> None:
    held = Held()
    assert held.look(101.0, UP._replace(openings=7, sole_port=False)) == []
    assert held.watch.changes == [Change.HINT]
    assert not held.window.at_risk


def test_a_blocked_guest_stays_frozen() -> None:
    held = Held()
    assert held.look(101.0, UP._replace(run_state=RunState.PAUSED)) == []
    assert held.look(102.0) == []
    assert (held.window.broken, held.window.at_risk) == (None, False)


# -- broken -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        UP._replace(openings=1, resets=1),
        MonitorView(RunState.GONE, gone=True),
        UP._replace(run_state=RunState.SHUTDOWN),
        UP._replace(run_state=RunState.PANICKED),
    ],
)
def test_a_guest_that_was_reset_or_died_ends_it(view: MonitorView) -> None:
    held = Held()
    held.look(101.0, view)
    assert held.window.over
    assert held.window.broken is not None
    assert held.window.broken.startswith("the window was broken: ")


def test_writes_are_told_once_and_do_not_end_it() -> None:
    held = Held()
    (told,) = held.look(101.0, UP._replace(written_bytes=612))
    assert isinstance(told, ReportEvent)
    assert told.kind is EventKind.CONTRADICTION
    assert told.details == GuestWrote(512)
    assert held.look(102.0, UP._replace(written_bytes=700)) == []
    assert held.window.written_bytes == 600
    assert held.window.broken is not None
    assert not held.window.over


def test_writes_beside_what_was_chosen_are_counted_and_contradict_nothing() -> None:
    watch = PortWatch(UP, 99.0)
    window = Window(100.0, 10.0, watch, count(1).__next__, written_before=100, whole=False)
    assert window.on_changes(101.0, watch.on_look(101.0, UP._replace(written_bytes=612))) == []
    assert (window.written_bytes, window.broken) == (512, None)


def test_writes_before_it_began_do_not_count() -> None:
    watch = PortWatch(UP, 0.0)
    watch.on_look(99.0, UP._replace(written_bytes=9_000))
    window = Window(100.0, 10.0, watch, count(1).__next__)
    window.on_changes(101.0, watch.on_look(101.0, UP._replace(written_bytes=9_000)))
    assert (window.written_bytes, window.broken) == (0, None)


def test_writes_seen_by_the_last_look_count() -> None:
    held = Held()
    held.window.on_tick(110.0)
    effects = held.look(110.1, UP._replace(written_bytes=101))
    assert kinds(effects) == [EventKind.CONTRADICTION, EventKind.NOTE]
    assert held.window.over


def test_the_first_reason_stays() -> None:
    held = Held()
    held.window.break_now("first")
    held.window.break_now("second")
    assert held.window.broken == "first"


def test_a_windows_guest_has_lost_its_consistency_after_10_s_and_is_held_on() -> None:
    window = Held(hold_s=60.0, windows=True).window
    assert window.wakes_at == 110.0
    assert window.on_tick(109.9) == []
    assert kinds(window.on_tick(110.0)) == [EventKind.CONTRADICTION]
    assert window.broken is not None
    assert not window.over
    assert window.wakes_at == 160.0
    assert window.on_tick(111.0) == []


def test_a_short_hold_on_windows_is_like_any_other() -> None:
    window = Held(hold_s=9.0, windows=True).window
    window.on_tick(109.0)
    window.on_tick(109.0 + LAST_LOOK_S)
    assert (window.over, window.broken) == (True, None)


def test_a_hold_is_extended_up_to_what_is_allowed_and_not_once_it_is_over() -> None:
    window = Held().window
    assert window.extend(30.0, 120.0) == 30.0
    assert window.ends_at == 140.0
    assert window.extend(1000.0, 120.0) == 80.0
    assert window.ends_at == 220.0
    assert window.extend(1.0, 120.0) == 0.0
    assert window.on_tick(220.0) == []
    assert window.extend(30.0, 500.0) == 0.0, "its last look is being waited for"


@pytest.mark.parametrize(("value", "word"), [("frozen", "frozen"), (5, "unreadable")])
def test_what_the_next_agent_says_is_told(value: object, word: str) -> None:
    held = Held()
    (_, sync) = held.look(101.0, UP._replace(openings=7))
    assert isinstance(sync, Resync)
    (asked,) = held.window.on_reply(Synced(sync.ticket))
    assert isinstance(asked, Send)
    (told,) = held.window.on_reply(Reply(asked.ticket, value))
    assert isinstance(told, ReportEvent)
    assert told.text == f"the agent's status: {word}"


def test_what_happened_first_is_why_it_broke() -> None:
    held = Held(windows=True, hold_s=30.0)
    held.look(101.0, UP._replace(written_bytes=130))
    first = held.window.broken
    held.window.on_tick(110.0)
    assert held.window.broken == first
    assert "30 bytes" in str(first)
    other = Held(windows=True, hold_s=30.0)
    other.window.on_tick(110.0)
    lost = other.window.broken
    other.look(111.0, UP._replace(written_bytes=130))
    assert other.window.broken == lost


def test_what_keeps_it_from_being_seen_is_known_and_taken_back() -> None:
    held = Held()
    unseen_by = []
    for view in (MonitorView(problem="busy"), UP._replace(port_open=None, openings=None), UP):
        held.look(101.0, view)
        unseen_by.append(held.window.unseen)
    assert unseen_by == ["busy", "it has no state", None]
    unseen = Held(MonitorView())
    unseen.look(101.0, MonitorView())
    assert unseen.window.unseen is None, "it was never to be seen"


def test_a_blind_look_is_no_last_one() -> None:
    held = Held()
    held.window.on_tick(110.0)
    assert held.look(110.1, MonitorView(problem="monitor: busy")) == []
    assert not held.window.over
    assert kinds(held.look(110.2)) == [EventKind.NOTE]
    assert held.look(110.3) == [], "it ends once"


@pytest.mark.parametrize(
    "baseline",
    [UP._replace(written_bytes=None), UP._replace(port_open=None, openings=None)],
    ids=["the port", "the writes"],
)
def test_a_last_look_is_waited_for_where_anything_can_be_seen(baseline: MonitorView) -> None:
    window = Held(baseline).window
    assert window.on_tick(110.0) == []
    assert window.wants_look


def test_it_is_told_after_how_long_it_is_thawed() -> None:
    held = Held(hold_s=42.0)
    held.window.on_tick(142.0)
    (told,) = held.look(142.0)
    assert isinstance(told, ReportEvent)
    assert told.text == "thawing after 42 s"


def test_an_agent_that_left_and_came_back_is_one_risk_and_asked_once_it_is_there() -> None:
    held = Held()
    assert kinds(held.look(101.0, UP._replace(port_open=False, openings=6))) == [EventKind.AT_RISK]
    down = held.look(102.0, UP._replace(port_open=False, openings=1))
    assert [one for one in down if isinstance(one, Resync)] == [], "no agent is there yet"
    back = held.look(103.0, UP._replace(openings=2))
    assert (kinds(back), len(back)) == ([], 1)
    again = held.look(104.0, UP._replace(openings=4))
    assert EventKind.AT_RISK not in kinds(again), "it is told once"


def test_what_is_over_is_not_extended_and_no_extension_makes_it_shorter() -> None:
    window = Held().window
    assert window.extend(5.0, 5.0) == 0.0
    assert window.extend(0.0, 5.0) == -5.0, "who shortens it may"
    assert window.extend(-2.0, 60.0) == -2.0
    window.break_now("it broke")
    assert window.extend(5.0, 60.0) == 0.0


def test_where_nothing_is_counted_nothing_is_known_of_writes() -> None:
    held = Held(UP._replace(written_bytes=None))
    counted = []
    for written in (None, 130, None, 140):
        held.look(101.0, UP._replace(written_bytes=written))
        counted.append(held.window.written_bytes)
    assert counted == [None, 0, 0, 10]
