"""What changed between two looks at a monitor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.freeze.port_watch import (
    BLOCKED_STATES,
    CHANGE_TEXT,
    RELEASED_BY,
    Change,
    PortWatch,
)
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, RunState

UP = MonitorView(
    RunState.RUNNING, port_open=True, client=True, openings=5, reads=9, resets=0, written_bytes=100
)
BLIND = MonitorView(problem="monitor: busy")


def watch_from(baseline: MonitorView = UP) -> PortWatch:
    return PortWatch(baseline, 10.0)


def saw(watch: PortWatch, *views: MonitorView) -> list[Change]:
    """All changes that `views` show, a second apart."""
    start = watch.seen_at or 10.0
    return [
        change for at, view in enumerate(views, 1) for change in watch.on_look(start + at, view)
    ]


def test_nothing_new_is_no_change() -> None:
    watch = watch_from()
    assert saw(watch, UP, UP, BLIND, UP) == []
    assert (watch.ever_closed, watch.cause, watch.reset, watch.changes) == (False, None, False, [])


@pytest.mark.parametrize(
    ("view", "changes", "cause", "closed"),
    [
        (UP._replace(port_open=False), [Change.CLOSED], Cause.AGENT_GONE, True),
        (UP._replace(port_open=False, openings=6), [Change.CLOSED], Cause.AGENT_GONE, True),
        (UP._replace(openings=7), [Change.RESTARTED], Cause.AGENT_RESTARTED, True),
        (UP._replace(openings=7, sole_port=False), [Change.HINT], None, False),
        # A counter that fell, or wrapped, is perhaps a reset, and perhaps another thing (P9).
        (UP._replace(openings=1), [Change.DEVICE_RESET], Cause.UNKNOWN, True),
        (UP._replace(openings=1, sole_port=False), [Change.DEVICE_RESET], Cause.UNKNOWN, True),
        (
            UP._replace(openings=0, port_open=False),
            [Change.DEVICE_RESET, Change.CLOSED],
            Cause.UNKNOWN,
            True,
        ),
        (UP._replace(openings=1, resets=1), [Change.RESET], Cause.GUEST_RESET, True),
        (UP._replace(resets=1), [Change.RESET], Cause.GUEST_RESET, True),
        (MonitorView(RunState.GONE, gone=True), [Change.GONE], Cause.VM_GONE, True),
        (UP._replace(run_state=RunState.SHUTDOWN), [Change.SHUTDOWN], Cause.GUEST_SHUTDOWN, False),
        (UP._replace(run_state=RunState.PANICKED), [Change.PANICKED], Cause.GUEST_PANICKED, False),
        (
            UP._replace(run_state=RunState.SHUTDOWN, port_open=False),
            [Change.SHUTDOWN, Change.CLOSED],
            Cause.GUEST_SHUTDOWN,
            True,
        ),
        (UP._replace(run_state=RunState.PAUSED), [Change.BLOCKED], None, False),
        (UP._replace(run_state=RunState.IO_ERROR), [Change.BLOCKED], None, False),
        (UP._replace(run_state=RunState.MIGRATING), [Change.BLOCKED], None, False),
        (UP._replace(run_state=RunState.MIGRATED), [Change.MIGRATED], Cause.MIGRATED, False),
        (
            UP._replace(run_state=RunState.SUSPENDED, port_open=False),
            [Change.CLOSED, Change.BLOCKED],
            Cause.GUEST_SUSPENDED,
            True,
        ),
        (BLIND, [], None, False),
        (UP._replace(port_open=None, openings=None), [], None, False),
    ],
)
def test_one_look(
    view: MonitorView, changes: list[Change], cause: Cause | None, closed: bool
) -> None:
    watch = watch_from()
    assert watch.on_look(11.0, view) == changes
    assert (watch.cause, watch.ever_closed) == (cause, closed)
    assert watch.changes == changes
    assert watch.reset is (Change.RESET in changes)


def test_a_change_is_told_once() -> None:
    for view in (
        UP._replace(port_open=False, openings=6),
        UP._replace(openings=7),
        UP._replace(openings=0),
        UP._replace(resets=1),
        UP._replace(run_state=RunState.PANICKED),
        UP._replace(run_state=RunState.PAUSED),
        MonitorView(RunState.GONE, gone=True),
    ):
        watch = watch_from()
        assert saw(watch, view)
        assert saw(watch, view, view) == []


def test_a_port_that_opens_again_was_a_restart() -> None:
    watch = watch_from()
    assert saw(watch, UP._replace(port_open=False, openings=6)) == [Change.CLOSED]
    assert (watch.open, watch.cause) == (False, Cause.AGENT_GONE)
    assert saw(watch, UP._replace(openings=7)) == [Change.OPENED]
    assert (watch.open, watch.cause) == (True, Cause.AGENT_RESTARTED)
    assert watch.ever_closed


def test_a_restart_is_seen_without_a_counter_only_while_it_lasts() -> None:
    old = UP._replace(openings=None)
    assert saw(watch_from(old), old._replace(port_open=False), old) == [
        Change.CLOSED,
        Change.OPENED,
    ]
    assert saw(watch_from(old), old) == []


def test_a_restart_between_looks_over_a_blind_one_is_seen() -> None:
    assert saw(watch_from(), BLIND, UP._replace(openings=7)) == [Change.RESTARTED]


def test_a_counter_that_appears_later_only_sets_the_mark() -> None:
    watch = watch_from(UP._replace(openings=None, resets=None))
    assert saw(watch, UP._replace(openings=3, resets=4)) == []
    assert saw(watch, UP._replace(openings=4, resets=4)) == [Change.RESTARTED]
    assert saw(watch, UP._replace(openings=4, resets=5)) == [Change.RESET]


@pytest.mark.parametrize("told", [True, False])
def test_after_a_reset_the_new_agent_is_an_opening_and_no_restart(told: bool) -> None:
    watch = watch_from()
    down, up = UP._replace(openings=0, port_open=False), UP._replace(openings=1)
    changes = saw(watch, *(view._replace(resets=int(told)) for view in (down, up)))
    what = Change.RESET if told else Change.DEVICE_RESET
    assert changes == [what, Change.CLOSED, Change.OPENED]
    assert watch.cause is (Cause.GUEST_RESET if told else Cause.UNKNOWN)
    assert (watch.reset, watch.device_reset) == (told, not told)


def test_a_counter_that_wraps_is_no_reset() -> None:
    watch = watch_from(UP._replace(openings=65535, resets=None))
    assert saw(watch, UP._replace(openings=1, resets=None)) == [Change.DEVICE_RESET]
    assert not watch.reset


@pytest.mark.parametrize(
    ("before", "after", "anew"),
    [(130, 128, True), (30000, 128, True), (65534, 3, False), (9, 9, False), (9, 12, False)],
)
def test_a_device_that_is_set_up_anew_shows_in_what_was_read(
    before: int, after: int, anew: bool
) -> None:
    """The count of openings may be where it was again before anybody looks."""
    watch = watch_from(UP._replace(reads=before))
    changes = saw(watch, UP._replace(reads=after))
    assert changes == ([Change.DEVICE_RESET] if anew else [])


def test_a_restart_after_a_reset_does_not_hide_the_reset() -> None:
    watch = watch_from()
    saw(watch, UP._replace(openings=1, resets=1), UP._replace(openings=3, resets=1))
    assert watch.changes == [Change.RESET, Change.RESTARTED]
    assert watch.cause is Cause.GUEST_RESET


def test_a_restart_after_what_was_perhaps_a_reset_explains_nothing() -> None:
    watch = watch_from()
    saw(watch, UP._replace(openings=1), UP._replace(openings=3))
    assert watch.changes == [Change.DEVICE_RESET, Change.RESTARTED]
    assert watch.cause is Cause.UNKNOWN


def test_a_vm_that_goes_after_a_reset_is_gone() -> None:
    watch = watch_from()
    saw(watch, UP._replace(openings=1), MonitorView(RunState.GONE, gone=True))
    assert watch.cause is Cause.VM_GONE


def test_waking_up_is_no_reset_although_the_counter_falls() -> None:
    watch = watch_from()
    asleep = UP._replace(run_state=RunState.SUSPENDED, port_open=False, openings=6)
    assert saw(watch, asleep) == [Change.CLOSED, Change.BLOCKED]
    assert saw(watch, UP._replace(openings=1)) == [Change.OPENED, Change.RELEASED]
    assert not watch.reset
    assert watch.cause is Cause.GUEST_SUSPENDED


def test_a_reset_that_qemu_tells_of_is_one_even_after_a_sleep() -> None:
    watch = watch_from()
    saw(watch, UP._replace(run_state=RunState.SUSPENDED), UP._replace(openings=1, resets=1))
    assert watch.reset


def test_a_guest_dies_once() -> None:
    watch = watch_from()
    saw(watch, UP._replace(run_state=RunState.SHUTDOWN), MonitorView(RunState.GONE, gone=True))
    assert watch.changes == [Change.SHUTDOWN]


def test_without_a_port_nothing_is_visible() -> None:
    blind = UP._replace(port_open=None, openings=None)
    watch = watch_from(blind)
    assert (watch.visible, watch.open, watch.seen_at) == (False, None, None)
    assert saw(watch, blind) == []
    assert not watch.visible
    assert saw(watch, UP) == []
    assert (watch.visible, watch.open) == (True, True)


def test_a_port_that_is_first_seen_closed_has_closed() -> None:
    assert saw(watch_from(UP._replace(port_open=None)), UP._replace(port_open=False)) == [
        Change.CLOSED
    ]


def test_a_port_that_was_closed_from_the_start_opens() -> None:
    watch = watch_from(UP._replace(port_open=False))
    assert saw(watch, UP) == [Change.OPENED]
    assert not watch.ever_closed


def test_when_the_port_was_last_seen() -> None:
    watch = watch_from()
    assert watch.seen_at == 10.0
    watch.on_look(12.0, UP)
    watch.on_look(13.0, BLIND)
    assert watch.seen_at == 12.0
    assert watch.run_state is RunState.RUNNING


# -- blocked ----------------------------------------------------------------------------------


def test_blocked_time_is_counted_apart() -> None:
    watch = watch_from()
    paused = UP._replace(run_state=RunState.PAUSED)
    assert watch.on_look(20.0, paused) == [Change.BLOCKED]
    assert watch.blocked
    assert watch.blocked_s(25.0) == 5.0
    assert watch.on_look(26.0, UP._replace(run_state=RunState.MIGRATING)) == []
    assert watch.on_look(30.0, UP) == [Change.RELEASED]
    assert watch.blocked_s(99.0) == 10.0
    assert watch.on_look(100.0, paused) == [Change.BLOCKED]
    assert watch.blocked_s(103.0) == 13.0


def test_a_blind_look_does_not_release() -> None:
    watch = watch_from()
    watch.on_look(20.0, UP._replace(run_state=RunState.PAUSED))
    assert watch.on_look(21.0, BLIND) == []
    assert watch.blocked


def test_every_blocked_state_says_what_would_release_it() -> None:
    assert set(RELEASED_BY) == BLOCKED_STATES
    assert set(CHANGE_TEXT) == set(Change) - {Change.BLOCKED, Change.RELEASED}


# -- counters ---------------------------------------------------------------------------------


def test_whether_the_agent_has_read_it_stays_known() -> None:
    watch = watch_from()
    seen = [watch.read]
    for view in (UP, UP._replace(reads=10), UP, BLIND):
        watch.on_look(11.0, view)
        seen.append(watch.read)
    assert seen == [None, False, True, True, True]


@pytest.mark.parametrize(("before", "after"), [(None, 5), (5, None), (None, None)])
def test_without_both_figures_reading_is_unknown(before: int | None, after: int | None) -> None:
    watch = watch_from(UP._replace(reads=before))
    watch.on_look(11.0, UP._replace(reads=after))
    assert watch.read is None


def test_written_bytes_count_from_the_baseline() -> None:
    watch = watch_from()
    assert watch.written_bytes == 0
    watch.on_look(11.0, UP._replace(written_bytes=164))
    assert watch.written_bytes == 64
    watch.on_look(12.0, BLIND)
    assert watch.written_bytes == 64
    watch.on_look(13.0, UP._replace(written_bytes=3))  # another process' counter
    assert watch.written_bytes == 0
    assert watch_from(UP._replace(written_bytes=None)).written_bytes is None


# -- anything -----------------------------------------------------------------------------------

FEW = st.one_of(st.none(), st.integers(0, 4))
VIEWS = st.builds(
    MonitorView,
    run_state=st.sampled_from(RunState),
    port_open=st.sampled_from([None, True, False]),
    openings=FEW,
    reads=FEW,
    sole_port=st.booleans(),
    resets=FEW,
    written_bytes=FEW,
    gone=st.booleans(),
)


@given(VIEWS, st.lists(VIEWS, max_size=12))
def test_whatever_is_seen_the_watch_agrees_with_itself(
    baseline: MonitorView, views: list[MonitorView]
) -> None:
    watch = PortWatch(baseline, 0.0)
    blocked_s = 0.0
    for now, view in enumerate(views, 1):
        changes = watch.on_look(now, view)
        assert len(changes) == len(set(changes))
        assert watch.blocked_s(now) >= blocked_s
        blocked_s = watch.blocked_s(now)
        if Change.CLOSED in changes or Change.RESTARTED in changes:
            assert watch.ever_closed
        if Change.CLOSED in changes:
            assert view.port_open is False
        if not view.sole_port:
            assert Change.RESTARTED not in changes
    assert watch.changes.count(Change.CLOSED) <= watch.changes.count(Change.OPENED) + 1
    assert watch.reset is (Change.RESET in watch.changes)
    if watch.ever_closed:
        assert watch.cause is not None


def test_a_device_that_is_left_before_the_guest_sleeps_was_left_for_that() -> None:
    """QEMU says *suspended* a moment after the driver has let go of the port."""
    watch = watch_from()
    left = UP._replace(port_open=False, openings=0)
    assert watch.on_look(1.0, left) == [Change.DEVICE_RESET, Change.CLOSED]
    causes = [watch.cause]
    watch.on_look(1.2, left._replace(run_state=RunState.SUSPENDED))
    assert [*causes, watch.cause] == [Cause.UNKNOWN, Cause.GUEST_SUSPENDED]


@pytest.mark.parametrize("port_open", [False, True])
def test_a_port_that_closed_long_before_or_is_open_again_was_not_left_for_a_sleep(
    port_open: bool,
) -> None:
    watch = watch_from()
    watch.on_look(1.0, UP._replace(port_open=False))
    asleep = UP._replace(port_open=port_open, run_state=RunState.SUSPENDED)
    watch.on_look(1.5 if port_open else 10.0, asleep)
    assert watch.cause is (Cause.AGENT_RESTARTED if port_open else Cause.AGENT_GONE)


@pytest.mark.parametrize(
    ("known", "told", "cause"),
    [
        (Cause.CHANNEL_BROKEN, Cause.AGENT_GONE, Cause.AGENT_GONE),
        (Cause.AGENT_RESTARTED, Cause.AGENT_GONE, Cause.AGENT_RESTARTED),
        (Cause.AGENT_GONE, Cause.GUEST_RESET, Cause.GUEST_RESET),
        (Cause.VM_GONE, Cause.GUEST_RESET, Cause.VM_GONE),
    ],
)
def test_the_cause_that_explains_more_stays(known: Cause, told: Cause, cause: Cause) -> None:
    watch = PortWatch(MonitorView(RunState.RUNNING, port_open=True, openings=1), 0.0)
    watch.on_cause(known)
    watch.on_cause(told)
    assert watch.cause is cause
