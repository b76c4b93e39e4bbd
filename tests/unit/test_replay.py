"""An incident is replayed as the journal has it, and never as better."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.others_freeze import OthersFreeze, doer, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    CopyIs,
    FreezeState,
    GuestIs,
    OutcomeKind,
    Phase,
    WindowKind,
    WindowState,
)
from agentclient.model.vm import VmId
from agentclient.replay.incident import Incident, incident_of
from agentclient.replay.player import FASTEST, SLOWEST, Replay
from agentclient.replay.recorded import outcome_in
from tests.unit.incidents import NIGHT, WHOLE, at, lost, of_others, outcome, states_at, window

DB1 = VmId("qemu", "db1")


def made(*rows: WindowRow) -> Incident:
    found = incident_of(rows)
    assert found is not None
    return found


def seen(incident: Incident, seconds: float, vm: str = "qemu:db1") -> VmState:
    """What is known of a VM so many seconds into the night."""
    return {str(each): state for each, state in states_at(incident, at(seconds)).items()}[vm]


# -- what a window tells at each moment ---------------------------------------------------------


def test_a_freeze_is_shown_from_its_request_to_its_certificate() -> None:
    one = made(window(1))
    before = seen(one, -1.0)
    assert (before.agent.state, before.freeze.state) == (AgentState.UNKNOWN, None)
    assert (before.progress, before.last) == (None, None)
    preparing = seen(one, 0.05).progress
    assert preparing is not None
    assert (preparing.phase, preparing.sent_at) == (Phase.PREPARING, None)
    pending = seen(one, 0.5)
    assert pending.progress is not None
    assert pending.progress.phase is Phase.PENDING
    assert (pending.progress.step, pending.progress.steps) == (1, 6)
    assert pending.progress.ends_at == one.mono(at(0.2)) + 600.0
    assert pending.freeze.state is FreezeState.FREEZING
    held = seen(one, 10.0)
    assert held.progress is not None
    assert (held.progress.phase, held.freeze.state) == (Phase.HELD, FreezeState.FROZEN)
    assert held.progress.held_since == one.mono(at(1.0))
    assert held.progress.hold_ends_at == one.mono(at(31.0))
    verdict = held.progress.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.certified, verdict.settled) == (
        OutcomeKind.VERIFIED,
        False,
        False,
    )
    assert held.agent.state is AgentState.ALIVE
    assert held.last is None
    thawing = seen(one, 31.1)
    assert thawing.freeze.state is FreezeState.THAWING
    assert thawing.progress is not None
    assert thawing.progress.ends_at == one.mono(at(31.0)) + 180.0
    assert thawing.progress.verdict is not None
    assert thawing.progress.verdict.meaning is not None
    assert thawing.progress.verdict.meaning.short.startswith("too late for a copy")
    over = seen(one, 31.4)
    assert over.progress is None
    assert over.last is not None
    assert (over.last.certified, over.last.settled) == (True, True)
    assert over.last.meaning is not None
    assert over.last.meaning.short == "copy consistent; guest writes again"
    assert over.freeze.state is FreezeState.THAWED


def test_a_lost_freeze_is_lost_at_its_verdict_and_not_known_to_be_thawed_before_it_is() -> None:
    one = made(lost(1))
    assert seen(one, 3.0, "qemu:mail1").freeze.state is FreezeState.FREEZING
    during = seen(one, 20.0, "qemu:mail1")
    assert during.progress is not None
    assert during.progress.verdict is not None
    assert during.progress.verdict.kind is OutcomeKind.LOST
    assert during.progress.verdict.reason.startswith("no answer will come")
    assert during.progress.verdict.meaning is not None
    assert during.progress.verdict.meaning.guest == "The guest may be frozen; its thaw follows now."
    assert during.progress.phase is Phase.THAWING
    assert during.freeze.state is FreezeState.FREEZING
    after = seen(one, 40.0, "qemu:mail1")
    assert after.freeze.state is FreezeState.THAWED
    assert after.last is not None
    assert after.last.kind is OutcomeKind.LOST


def test_what_its_end_took_back_is_not_shown_before() -> None:
    broken = window(1, outcome=outcome("broken", certified=False))
    progress = seen(made(broken), 10.0).progress
    assert progress is not None
    assert (progress.phase, progress.verdict) == (Phase.HELD, None)
    revised = window(
        2,
        said=((1.1, "verdict", "error", "lost"), (20.0, "revised", "good", "verified after all")),
    )
    before, after = seen(made(revised), 10.0).progress, seen(made(revised), 25.0).progress
    assert before is not None
    assert before.verdict is None
    assert after is not None
    assert after.verdict is not None


def test_who_has_died_has_left_it() -> None:
    times = {name: WHOLE[name] for name in ("asked", "armed", "sent", "replied", "verdict", "held")}
    row = window(7, times=times, state=WindowState.LEFT, outcome=None, settled=False, said=())
    after = seen(made(row), 2.0)
    assert after.left_by is not None
    assert (after.left_by.window, after.left_by.pid) == (7, 4711)
    thaw = window(
        8, kind=WindowKind.THAW, after_s=60.0, times={"asked": 0.0, "thaw_sent": 0.1, "ended": 0.3},
        thaw={"ok": True, "state": "thawed", "thawed": 2, "refused": False},
    )  # fmt: skip
    both = made(row, thaw)
    assert seen(both, 60.2).freeze.state is FreezeState.FROZEN
    assert seen(both, 61.0).freeze.state is FreezeState.THAWED
    assert seen(both, 61.0).left_by is None


def test_a_thaw_that_was_refused_changes_nothing() -> None:
    times = {"asked": 0.0, "ended": 0.3}
    refused = {"ok": False, "state": "frozen", "thawed": None, "refused": True}
    thaw = window(2, kind=WindowKind.THAW, after_s=5.0, times=times, thaw=refused)
    held = window(1, times={name: WHOLE[name] for name in list(WHOLE)[:6]}, state=WindowState.OPEN)
    assert seen(made(held, thaw), 6.0).freeze.state is FreezeState.FROZEN


def test_a_freeze_that_was_not_thawed_stays_in_doubt_until_a_rescue() -> None:
    unsettled = lost(1, outcome=outcome("lost", settled=False, thawed=None))
    times = {"asked": 0.0, "ended": 4.0}
    found = {"rung": "sysrq", "found": "writes", "state": "thawed", "ok": True}
    rescue = window(
        2, "qemu:mail1", kind=WindowKind.RESCUE, after_s=60.0, times=times, rescue=found,
        request={"rung": "sysrq"},
    )  # fmt: skip
    both = made(unsettled, rescue)
    assert seen(both, 50.0, "qemu:mail1").left_frozen
    during = seen(both, 62.0, "qemu:mail1").progress
    assert during is not None
    assert (during.what, during.waiting_for) == ("rescue", "rung sysrq")
    assert not seen(both, 65.0, "qemu:mail1").left_frozen


def test_others_are_shown_as_others() -> None:
    pending = made(of_others(1))
    during = seen(pending, 5.0, "qemu:web1")
    assert others_freeze(during) is OthersFreeze.PENDING
    assert during.vm.locked_by == "backup"
    by = doer(during)
    assert by is not None
    assert "vzdump 101" in str(by.by)
    assert others_freeze(seen(pending, 13.0, "qemu:web1")) is None
    for result in ("lost", "left"):
        after = seen(made(of_others(1, result=result)), 13.0, "qemu:web1")
        assert others_freeze(after) is OthersFreeze.LOST
    left = made(of_others(1, result="thawed"))
    assert others_freeze(seen(left, 5.0, "qemu:web1")) is OthersFreeze.FROZEN
    assert seen(left, 13.0, "qemu:web1").freeze.state is FreezeState.THAWED


def test_what_cannot_be_read_is_left_out_and_counted() -> None:
    bad = replace(window(2), times=dict.fromkeys(MOMENTS), unreadable="the window")
    assert made(window(1), bad).unreadable == 1
    assert incident_of([bad]) is None
    strange = window(3, outcome={"outcome": "splendid", "certified": True}, request=None)
    after = seen(made(strange), 40.0)
    assert (after.last, after.freeze.state) == (None, FreezeState.THAWED)
    untrue = outcome_in({"outcome": "lost", "certified": True})
    assert untrue is not None
    assert (untrue.kind, untrue.certified) == (OutcomeKind.LOST, False)


def test_each_window_begins_with_who_asked_for_it() -> None:
    texts = [step.text for step in made(window(1), lost(2, after_s=1.0)).steps if step.text]
    assert texts[0] == "window 1: a freeze is asked for by frostwatch (root, pid 4711)"
    assert "window 2: a freeze is asked for by frostwatch (root, pid 4711)" in texts


def test_it_has_a_timeline_as_far_as_it_has_come() -> None:
    one = made(window(1, request={"group": "k", "group_size": 2}, writes=((0.5, 7), (20.0, 9))))
    held = seen(one, 10.0).timeline
    assert held is not None
    asked = one.mono(at(0.0))
    assert (held.asked, held.replied, held.thaw_sent) == (asked, asked + 1.0, None)
    assert [sample.size for sample in held.writes] == [7]
    assert held.group is not None
    assert (held.group.key, held.group.size) == ("k", 2)
    over = seen(one, 40.0).timeline
    assert over is not None
    assert over.ended == asked + 31.3


# -- whatever a journal says -----------------------------------------------------------------------

KINDS = st.sampled_from([*(str(kind) for kind in OutcomeKind), "nonsense"])


@st.composite
def rows(draw: st.DrawFn) -> WindowRow:
    """Return a window with any moments, in an order that a journal could have."""
    names = [name for name in MOMENTS if name == "asked" or draw(st.booleans())]
    gaps = draw(st.lists(st.floats(0.0, 50.0), min_size=len(names), max_size=len(names)))
    times = {name: sum(gaps[1 : place + 1]) for place, name in enumerate(names)}
    kind = draw(st.sampled_from(list(WindowKind)))
    words = st.sampled_from(["verdict", "revised", "at-risk", "step", "note", "cancelled"])
    levels = st.sampled_from(["good", "warning", "error", "info"])
    said = draw(st.lists(st.tuples(st.floats(0.0, 200.0), words, levels, st.just("said"))))
    settled = draw(st.booleans())
    told = outcome(draw(KINDS), certified=draw(st.booleans()), settled=settled)
    states = st.sampled_from(["thawed", "frozen", None, 3])
    after = {"state": draw(states), "refused": draw(st.booleans()), "ok": True}
    return window(
        draw(st.integers(1, 99)),
        draw(st.sampled_from(["qemu:db1", "qemu:db2"])),
        after_s=draw(st.floats(0.0, 300.0)),
        kind=kind,
        times=times,
        state=draw(st.sampled_from(list(WindowState))),
        said=sorted(said),
        outcome=draw(st.sampled_from([told, None])),
        thaw=after,
        rescue=after | {"rung": "thaw"},
        settled=settled,
        request=draw(st.sampled_from([None, {}, {"result": "lost"}, {"result": "thawed"}])),
    )


@given(st.lists(rows(), min_size=1, max_size=4), st.floats(-10.0, 700.0))
def test_it_is_never_shown_as_better_than_the_journal_has_it(
    found: list[WindowRow], seconds: float
) -> None:
    moment = at(seconds)
    for vm_id, state in states_at(made(*found), moment).items():
        mine = [row for row in found if row.vm == str(vm_id)]
        ended = [row for row in mine if _by(row, "ended", seconds)]
        certified = [row for row in ended if (row.outcome or {}).get("certified") is True]
        if state.last is not None and state.last.certified:
            assert any((row.outcome or {})["outcome"] == "verified" for row in certified)
        progress = state.progress
        if progress is not None and progress.verdict is not None:
            assert not progress.verdict.certified
            assert progress.verdict.meaning is not None
            assert progress.verdict.meaning.copy_is is not CopyIs.CONSISTENT
            assert progress.verdict.meaning.guest_is is not GuestIs.WRITES
            assert (progress.verdict.thawed, progress.verdict.evidence) == (None, ())
            assert progress.verdict.kind in [_kind(row) for row in mine]
        if state.freeze.state is FreezeState.THAWED:
            assert any(
                _by(row, "thawed", seconds)
                or (row in ended and (_settled(row) or _thawed(row)))
                for row in mine
            )  # fmt: skip
        if state.freeze.foreign:
            assert state.freeze.state is FreezeState.FROZEN


def _by(row: WindowRow, name: str, seconds: float) -> bool:
    moment = row.times[name]
    asked = row.times["asked"]
    if moment is None or asked is None or moment.seconds is None:
        return False
    return NIGHT + timedelta(seconds=seconds) >= _asked(row) + timedelta(seconds=moment.seconds)


def _asked(row: WindowRow) -> datetime:
    asked = row.times["asked"]
    assert asked is not None
    return datetime.fromisoformat(asked.at)


def _kind(row: WindowRow) -> object:
    return (row.outcome or {}).get("outcome")


def _settled(row: WindowRow) -> bool:
    if row.outcome is None or _kind(row) == "nonsense":
        return row.settled
    return bool(row.outcome["settled"])


def _thawed(row: WindowRow) -> bool:
    if row.kind is WindowKind.OTHERS:
        return (row.request or {}).get("result") == "thawed"
    found = row.rescue if row.kind is WindowKind.RESCUE else row.thaw
    return (found or {}).get("state") == "thawed"


@given(st.lists(rows(), min_size=1, max_size=4), st.lists(st.floats(0.0, 400.0), max_size=6))
def test_step_by_step_one_comes_to_the_same(found: list[WindowRow], stops: list[float]) -> None:
    incident, now = made(*found), [0.0]
    replay = Replay(incident, clock=lambda: now[0])
    for now[0] in sorted(stops):
        replay.take_steps()
        at_once = states_at(incident, replay.wall())
        assert {state.id: state._replace(version=0) for state in replay.fleet.states()} == at_once


# -- playing it ---------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_its_clock_stands_goes_on_and_runs_faster() -> None:
    clock = Clock()
    replay = Replay(made(window(1)), speed=2.0, clock=clock)
    assert replay.wall() == at(-2.0)
    clock.now += 5.0
    assert replay.wall() == at(8.0)
    replay.pause()
    clock.now += 100.0
    assert (replay.wall(), replay.paused) == (at(8.0), True)
    replay.faster(1)
    replay.pause()
    clock.now += 1.0
    assert (replay.wall(), replay.speed) == (at(13.0), 5.0)
    replay.faster(-100)
    assert replay.speed == SLOWEST
    replay.faster(100)
    assert replay.speed == FASTEST
    clock.now += 1000.0
    assert replay.wall() == at(33.3)
    assert replay.over


@pytest.mark.parametrize(("speed", "slower", "faster"), [(3.0, 2.0, 5.0), (1.0, 0.5, 2.0)])
def test_a_speed_between_two_steps_goes_to_the_next(
    speed: float, slower: float, faster: float
) -> None:
    replay = Replay(made(window(1)), speed=speed)
    replay.faster(-1)
    assert replay.speed == slower
    replay = Replay(made(window(1)), speed=speed)
    replay.faster(1)
    assert replay.speed == faster


def test_one_goes_from_one_event_to_the_next_and_back_to_the_beginning() -> None:
    replay = Replay(made(window(1)), clock=Clock())
    times = []
    while replay.next_event():
        times.append((replay.wall() - NIGHT).total_seconds())
    assert times == sorted(set(WHOLE.values()))
    (state,) = replay.fleet.states()
    assert state.last is not None
    said = [line.text for line in replay.fleet.log_since(DB1)]
    assert said[0] == "replay of 1 window of the journal, over 35 s"
    assert said[-1] == "verified and certified"
    assert replay.next_in_s is None
    replay.begin_again()
    (state,) = replay.fleet.states()
    assert state.last is None
    assert replay.wall() == at(-2.0)
    assert replay.next_in_s == pytest.approx(2.0)
    assert "from the beginning again" in replay.fleet.log_since(DB1)[-1].text


def test_a_thread_plays_it_to_its_end() -> None:
    before = set(threading.enumerate())  # another test's may stand there
    replay = Replay(made(window(1), lost(2)), speed=FASTEST)
    replay.start()
    replay.start()
    (playing,) = (one for one in set(threading.enumerate()) - before if one.name == "replay")
    try:
        end = time.monotonic() + 60.0
        while replay.place[0] < replay.place[1]:
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        replay.stop()
    assert not playing.is_alive()
    assert all(state.last is not None for state in replay.fleet.states())
