"""The wall clock is set while the fleet is watched: the ages of what is known stay right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import pytest

from agentclient.fleet import clock_steps
from agentclient.fleet.clock_steps import ClockSteps, moved
from agentclient.fleet.store import Fleet
from agentclient.fleet.transitions import TransitionLog
from agentclient.model import snapshot
from agentclient.model.job import JobKind, UnendedCopy
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, LeftBy, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, OthersState
from tests.unit.cli_fakes import vm
from tui.cli.vm_filter import Filter
from tui.shared.clocks import Moment
from tui.shared.frozen_for import frozen_for

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONE = vm("db1")
BY = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")


class Host:
    """A host whose wall clock can be set, and which can be suspended."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.set = timedelta()

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.passed - 1000.0) + self.set

    def counted(self) -> float:
        return self.passed

    def fleet(self, **known: Any) -> Fleet:
        found = Fleet(wall=self.wall, counted=self.counted)
        found.set_vms(ONE.source, [ONE])
        found.update(ONE.id, lambda state: state._replace(**known))
        return found

    def moment(self) -> Moment:
        return Moment(self.passed, self.wall())


@pytest.fixture(params=[HOUR, -HOUR, timedelta(days=20_000), timedelta(seconds=-2)])
def step(request: pytest.FixtureRequest) -> timedelta:
    found: timedelta = request.param
    return found


def test_a_guest_is_frozen_for_as_long_as_it_was_before_the_clock_was_set(step: timedelta) -> None:
    host = Host()
    fleet = host.fleet(freeze=FreezeInfo(FreezeState.FROZEN, host.wall(), foreign=True))
    host.passed += 303
    host.set = step
    (state,) = fleet.states()
    assert frozen_for(state, host.moment()) == pytest.approx(303)
    older, not_older = Filter(older_than_s=300), Filter(older_than_s=310)
    assert older.matches(state, host.wall())
    assert not not_older.matches(state, host.wall())


@pytest.mark.parametrize(("hours", "way"), [(1, "forward"), (-1, "back")])
def test_the_log_of_a_guest_that_is_frozen_says_so(hours: int, way: str) -> None:
    host = Host()
    fleet = host.fleet(freeze=FreezeInfo(FreezeState.FROZEN, host.wall()))
    thawed = vm("db2")
    fleet.set_vms(ONE.source, [ONE, thawed])
    host.set = timedelta(hours=hours)
    fleet.states()
    fleet.states()
    (line,) = fleet.log_since(ONE.id)
    assert line.at == host.wall()
    assert line.text.startswith(f"the wall clock was set {way} by 1 h: ")
    assert fleet.log_since(thawed.id) == ()


def test_every_reader_sees_it_at_once(step: timedelta) -> None:
    host = Host()
    seen = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, seen_at=host.wall())
    fleet = host.fleet(agent=seen)
    reader = fleet.reader()
    reader.changes()
    fleet.update(ONE.id, lambda state: state._replace(agent=seen._replace(state=AgentState.SILENT)))
    host.passed += 3
    host.set = step
    assert fleet.wall() == host.wall()
    for known in (fleet.get(ONE.id), fleet.states()[0], reader.peek(ONE.id)):
        assert known is not None
        assert host.wall() - _seen_at(known) == timedelta(seconds=3)
    (changed,) = reader.changes().changed
    assert host.wall() - _seen_at(changed) == timedelta(seconds=3)


def _seen_at(state: VmState) -> datetime:
    assert state.agent.seen_at is not None
    return state.agent.seen_at


def test_what_is_seen_after_that_is_not_moved(step: timedelta) -> None:
    host = Host()
    fleet = host.fleet()
    host.set = step
    info = FreezeInfo(FreezeState.FROZEN, fleet.wall())
    fleet.update(ONE.id, lambda state: state._replace(freeze=info))
    host.passed += 7
    assert frozen_for(fleet.states()[0], host.moment()) == pytest.approx(7)
    assert fleet.clock_set == step


def test_a_clock_that_is_only_adjusted_moves_nothing_until_it_is_off_by_a_second() -> None:
    host = Host()
    at = host.wall()
    fleet = host.fleet(freeze=FreezeInfo(FreezeState.FROZEN, at))
    for _ in range(8):
        host.set += timedelta(seconds=0.1)
        assert fleet.states()[0].freeze.since == at
    for _ in range(5):
        host.set += timedelta(seconds=0.1)
        fleet.wall()
    assert fleet.states()[0].freeze.since != at
    assert abs(fleet.clock_set - host.set) <= timedelta(seconds=1)


def test_while_the_host_is_suspended_the_guest_stays_frozen() -> None:
    host = Host()
    fleet = host.fleet(freeze=FreezeInfo(FreezeState.FROZEN, host.wall()))
    host.passed += 8 * 3600  # the boot's clock goes on, as the wall clock does
    assert frozen_for(fleet.states()[0], host.moment()) == pytest.approx(8 * 3600)


def test_a_process_that_was_stopped_between_both_clocks_has_seen_nothing() -> None:
    host = Host()
    reads = iter([1000.0, 1000.0, 1090.0, 1090.0, 1090.0])
    steps = ClockSteps(host.wall, lambda: next(reads))
    host.passed = 1090.0
    assert steps.take() is None
    assert steps.take() is None


def test_the_hosts_own_clocks_agree() -> None:
    fleet = Fleet()
    fleet.wall()
    assert fleet.clock_set == timedelta()
    assert clock_steps.passed() > 0


def test_a_clock_of_its_own_is_never_set() -> None:
    host = Host()
    fleet = Fleet(wall=host.wall)
    host.set = HOUR
    assert fleet.wall() == host.wall()
    assert fleet.clock_set == timedelta()


ALL = VmState(
    ONE,
    agent=AgentHealth(seen_at=NOON),
    freeze=FreezeInfo(FreezeState.FROZEN, NOON),
    file_systems_at=NOON,
    left=LeftBy(1, 4711, "root", NOON),
    held_by=HeldBy(7, "root", FreezeState.FROZEN, NOON, NOON + HOUR),
    others=Others(OthersState.PENDING, NOON, BY, wrote_at=NOON),
    unended=UnendedCopy(JobKind.BACKUP, NOON, "its storage hangs"),
)
# What is over keeps the hour of then.
OVER = {"last", "last_job", "others_last"}


def test_every_time_of_what_is_so_now_is_moved() -> None:
    before, after = dict(_times(ALL)), dict(_times(moved(ALL, HOUR)))
    assert len(before) == 9
    assert after == {name: at + HOUR for name, at in before.items()}
    assert moved(VmState(ONE), HOUR) == VmState(ONE)


def _times(value: Any, name: str = "") -> Iterator[tuple[str, datetime]]:
    if isinstance(value, datetime):
        yield name, value
    elif hasattr(value, "_fields"):
        for field in value._fields:
            yield from _times(getattr(value, field), f"{name}.{field}")


def test_no_part_of_a_state_has_times_that_were_not_thought_of() -> None:
    hints = get_type_hints(VmState, vars(snapshot) | _late_types())
    known = {name.split(".")[1] for name, _ in _times(ALL)}
    for name, hint in hints.items():
        parts = [one for one in getattr(hint, "__args__", (hint,)) if hasattr(one, "_fields")]
        timed = any(
            "datetime" in str(one) for part in parts for one in part.__annotations__.values()
        )
        assert not timed or name in known | OVER, f"{name} has a time that is not moved"


def _late_types() -> dict[str, Any]:
    from agentclient.model import job, others_past, outcome, timeline  # noqa: PLC0415

    return {**vars(job), **vars(others_past), **vars(outcome), **vars(timeline)}


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_nothing_is_told_again_because_the_clock_was_set(by: timedelta) -> None:
    lost = Others(OthersState.LOST, NOON, BY)
    late = FreezeInfo(FreezeState.FROZEN, NOON, foreign=True, overdue="for more than 2 min")
    held = HeldBy(7, "root", FreezeState.FROZEN, NOON, NOON + timedelta(seconds=60))
    for known in ({"others": lost}, {"freeze": late}):
        log = TransitionLog()
        state = VmState(ONE, **known)
        assert len(log.take(state, NOON)) == 1
        assert log.take(moved(state, by), NOON + by, by) == []
    log = TransitionLog()
    nearly = NOON + timedelta(seconds=55)
    state = VmState(ONE, freeze=FreezeInfo(FreezeState.FROZEN, NOON), held_by=held)
    assert len(log.tick([state], nearly, 0.0)) == 1
    assert log.tick([moved(state, by)], nearly + by, 0.0, by) == []
