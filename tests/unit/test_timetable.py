"""The schedule of visits, in virtual time."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.timetable import MISSED_AGAIN_S, MOST_BACK_OFF, Timetable
from agentclient.model.vm import VmId

PORT_S, AGENT_S = 2.0, 15.0


def ids(number: int) -> set[VmId]:
    return {VmId("qemu", f"vm{index}") for index in range(number)}


def rounds_of(number: int, now: float = 100.0) -> Timetable:
    rounds = Timetable(PORT_S, AGENT_S)
    rounds.keep(ids(number), now)
    return rounds


def play(rounds: Timetable, begin: float, end: float, visit_s: float = 0.0) -> list[float]:
    """Visit whoever is due until `end`; return when."""
    at = []
    while rounds.next_at < end:
        due = rounds.next_at
        vm_id = rounds.take(due)
        assert vm_id is not None
        at.append(due)
        rounds.visited(vm_id, due, due + visit_s, blind=False)
    return at


def test_one_vm_is_visited_at_once_and_then_each_interval() -> None:
    rounds = rounds_of(1)
    assert play(rounds, 100.0, 107.0) == [100.0, 102.0, 104.0, 106.0]


def test_a_thousand_vms_make_no_burst() -> None:
    at = play(rounds_of(1000), 100.0, 110.0)
    seconds = Counter(int(moment) for moment in at)
    assert set(seconds.values()) == {500}


def test_agents_are_first_asked_at_a_bounded_rate() -> None:
    rounds = rounds_of(1000)
    due = sorted(rounds[vm_id].agent_due for vm_id in ids(1000))
    assert due[0] == 100.0
    assert due[-1] < 100.0 + 1000 / 100
    few = rounds_of(3)
    assert all(few[vm_id].agent_due < 100.1 for vm_id in ids(3))


def test_a_visit_that_takes_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    assert play(rounds_of(1), 100.0, 110.0, visit_s=5.0) == [100.0, 105.0]


def test_a_monitor_that_cannot_be_looked_at_is_visited_less_often() -> None:
    rounds = rounds_of(1)
    waits = []
    for _ in range(8):
        due = rounds.next_at
        vm_id = rounds.take(due)
        assert vm_id is not None
        rounds.visited(vm_id, due, due, blind=True)
        waits.append(rounds.next_at - due)
    assert waits == [4.0, 8.0, 16.0, 32.0, 32.0, 32.0, 32.0, 32.0]
    assert waits[-1] == PORT_S * MOST_BACK_OFF


def test_a_held_channel_is_looked_at_less_often_while_its_monitor_cant_be_read() -> None:
    rounds = rounds_of(1)
    waits = []
    for blind in (False, True, True, True, True, True, True, False):
        due = rounds.next_at
        vm_id = rounds.take(due)
        assert vm_id is not None
        rounds.visited(vm_id, due, due, blind=blind, within_s=0.25)
        waits.append(rounds.next_at - due)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 0.25]


def test_an_agent_that_does_not_answer_is_asked_less_often() -> None:
    rounds = rounds_of(1)
    (vm_id,) = ids(1)
    rounds.asked(vm_id, 0.0, alive=False)
    assert rounds[vm_id].agent_due == MISSED_AGAIN_S, "perhaps it was only busy"
    rounds.asked(vm_id, 0.0, alive=False)
    assert rounds[vm_id].agent_due == AGENT_S * 4
    for _ in range(30):
        rounds.asked(vm_id, 0.0, alive=False)
    assert rounds[vm_id].agent_due == AGENT_S * MOST_BACK_OFF
    rounds.asked(vm_id, 0.0, alive=True)
    assert rounds[vm_id].agent_due == AGENT_S


def test_whoever_is_wanted_soon_is_visited_now_with_its_agent() -> None:
    rounds = rounds_of(2)
    play(rounds, 100.0, 101.0)
    (one, *_) = ids(2)
    rounds.asked(one, 101.0, alive=True)
    rounds.soon(one, 101.0)
    assert rounds.take(101.0) == one
    assert rounds[one].agent_due == 0.0
    assert rounds.take(101.0) is None


def test_whoever_is_wanted_during_a_visit_is_visited_once_more_and_never_twice_at_once() -> None:
    rounds = rounds_of(1)
    (vm_id,) = ids(1)
    assert rounds.take(100.0) == vm_id
    rounds.soon(vm_id, 100.1)
    assert rounds.take(100.2) is None
    rounds.visited(vm_id, 100.0, 100.3, blind=False)
    assert rounds.take(100.3) == vm_id


def test_whoever_may_be_frozen_by_us_is_asked_again_soon() -> None:
    rounds = rounds_of(1)
    (vm_id,) = ids(1)
    for _ in range(5):
        rounds.asked(vm_id, 100.0, alive=False, within_s=3.0)
        assert rounds[vm_id].agent_due == 103.0
    rounds.asked(vm_id, 100.0, alive=False)
    assert rounds[vm_id].agent_due > 103.0


def test_whoever_has_left_is_due_no_more() -> None:
    rounds = rounds_of(2)
    stays, leaves = sorted(ids(2), key=str)
    assert rounds.keep({stays}, 101.0) == [leaves]
    assert leaves not in rounds
    assert rounds.take(200.0) == stays
    assert rounds.next_at == math.inf
    rounds.visited(leaves, 100.0, 101.0, blind=False)  # a visit that ended after it had left
    rounds.soon(leaves, 101.0)
    assert rounds.next_at == math.inf


@given(st.lists(st.tuples(st.sampled_from("tvsk"), st.integers(0, 4)), max_size=60))
def test_no_order_of_events_loses_a_vm_or_visits_it_twice_at_once(
    events: list[tuple[str, int]],
) -> None:
    rounds = rounds_of(5)
    now, flying = 100.0, {}
    for kind, number in events:
        now += 0.7
        vm_id = VmId("qemu", f"vm{number}")
        if kind == "t":
            due = rounds.next_at
            taken = rounds.take(now)
            assert taken not in flying
            if taken is not None:
                flying[taken] = due
        elif kind == "v" and vm_id in flying:
            rounds.visited(vm_id, flying.pop(vm_id), now, blind=False)
        elif kind == "s":
            rounds.soon(vm_id, now)
        elif kind == "k":
            rounds.keep(ids(5), now)
    for vm_id, due in flying.items():
        rounds.visited(vm_id, due, now, blind=False)
    later = now + PORT_S
    visited = set()
    while (taken := rounds.take(later)) is not None:
        visited.add(taken)
    assert visited == ids(5)


def test_a_vm_has_a_pace_of_its_own_and_keeps_it() -> None:
    rounds = rounds_of(2)
    slow, usual = sorted(ids(2))
    rounds.pace(slow, 5.0, 60.0)
    rounds.asked(slow, 100.0, alive=True)
    rounds.asked(usual, 100.0, alive=True)
    assert (rounds[slow].agent_due, rounds[usual].agent_due) == (160.0, 115.0)
    rounds.asked(slow, 100.0, alive=True, rarely=True)
    assert rounds[slow].agent_due == 100.0 + 8 * 60.0
    at: dict[VmId, list[float]] = {slow: [], usual: []}
    while rounds.next_at < 110.0:
        due = rounds.next_at
        vm_id = rounds.take(due)
        assert vm_id is not None
        at[vm_id].append(due)
        rounds.visited(vm_id, due, due, blind=False)
        rounds.keep(ids(2), due)
    assert [b - a for a, b in zip(at[slow], at[slow][1:], strict=False)] == [5.0]
    assert {b - a for a, b in zip(at[usual], at[usual][1:], strict=False)} == {2.0}
