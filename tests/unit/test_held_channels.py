"""Channels that others hold: when they are looked at, and what becomes of what is seen."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentclient.access.agent_probe import ProbeResult
from agentclient.fleet import others as others_module
from agentclient.fleet.health import answered, looked
from agentclient.fleet.others import LOOK_EVERY_S, MOST_IDLE_LOOKS, HeldChannels, Seen
from agentclient.fleet.store import Fleet
from agentclient.journal.figures import Figures, pending_for_long
from agentclient.journal.writer import Journal
from agentclient.model.others import ChannelClient, WritesSeen
from agentclient.model.others_freeze import Grade, OthersFreeze, doer, graded, others_freeze
from agentclient.model.others_past import OthersResult
from agentclient.model.snapshot import HeldBy, MonitorView, Traffic, VmState
from agentclient.model.states import Cause, FreezeState, OthersState, RunState
from agentclient.model.vm import AgentChannel, Process, Vm, VmId

VM = Vm(VmId("qemu", "db"), agent=AgentChannel(Path("/run/db.qga")))
AT = datetime(2026, 3, 1, tzinfo=UTC)
UPID = "task UPID:node1:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:"


class Looks:
    """Looks at one VM's channel, four a second."""

    def __init__(self) -> None:
        self.held = HeldChannels()
        self.state = VmState(VM)
        self.mono = 0.0
        self.lines: list[str] = []

    def wall(self) -> datetime:
        return AT + timedelta(seconds=self.mono)

    def look(
        self, *, client: bool = True, handed: int = 0, answers: int = 0, port_open: bool = True
    ) -> Seen | None:
        asked = self.held.wants_traffic(VM.id)
        traffic = Traffic(handed, 0, answers) if asked else None
        view = MonitorView(RunState.RUNNING, port_open, client, openings=3, traffic=traffic)
        self.mono += 0.25
        seen = self.held.looked(self.state, view, self.mono, self.wall())
        if seen is not None:
            self.state = self.state._replace(others=seen.others)
            self.lines += [text for _, text in seen.lines]
        return seen


def test_nothing_is_watched_that_nobody_holds() -> None:
    looks = Looks()
    assert looks.look(client=False) is None
    assert not looks.held.is_held(VM.id)


def test_a_held_channel_is_watched_and_most_looks_are_for_what_is_counted() -> None:
    looks = Looks()
    looks.look()
    assert looks.held.is_held(VM.id)
    asked = [looks.held.wants_traffic(VM.id) for _ in range(16)]
    assert asked.count(False) == 2


def test_what_is_pending_is_told_with_who_and_since_when() -> None:
    looks = Looks()
    looks.look()
    looks.held.named(VM.id, ChannelClient(UPID, 4711, "root"))
    looks.look()
    for _ in range(8):
        looks.look(handed=1)
    others = looks.state.others
    assert others is not None
    assert (others.state, others.by and others.by.pid) == (OthersState.PENDING, 4711)
    since = others.since
    assert "Proxmox's vzdump 101 (pid 4711)" in str(others)
    looks.look(handed=1)
    assert looks.state.others is not None
    assert looks.state.others.since == since
    looks.look(handed=1, answers=1)
    assert looks.state.others.state is OthersState.ANSWERED
    assert [line.split(":")[0] for line in looks.lines] == ["Proxmox's vzdump 101 (pid 4711)"] * 2


def test_who_leaves_is_forgotten_and_what_they_left_pending_is_not() -> None:
    looks = Looks()
    for _ in range(4):
        looks.look()
    looks.look(client=False)
    assert (looks.state.others, looks.held.is_held(VM.id)) == (None, False)
    for _ in range(3):
        looks.look()
    for _ in range(8):
        looks.look(handed=1)
    looks.look(handed=1, client=False)
    others = looks.state.others
    assert others is not None
    assert others.state is OthersState.LEFT


LOST_CAUSE = {"port_open": False, "openings": 4}


def lose(vm: Fleeting) -> None:
    """Have others lose a command with its agent, and leave."""
    vm.hold()
    for _ in range(8):
        vm.look(client=True, handed=1)
        vm.after(0.25)
    vm.more |= LOST_CAUSE
    for client in (True, False, False):
        vm.look(client=client, handed=1)
        vm.after(0.25)


def test_what_a_client_has_lost_and_left_stays_until_an_agent_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vm = Fleeting(monkeypatch)
    lose(vm)
    lost = vm.state.others
    assert lost is not None
    assert (lost.state, lost.cause, lost.by) == (OthersState.LOST, Cause.AGENT_GONE, VZDUMP)
    assert not lost.waits
    assert not vm.held.is_held(VM.id), "it is looked at as often as any other"
    assert others_freeze(vm.state) is OthersFreeze.LOST
    vm.by = ChannelClient("qm", 5, "root")  # somebody pings a closed port
    vm.look(client=True, handed=1)
    vm.look(client=False, handed=1)
    for _ in range(40):
        vm.after(2)
        vm.look(client=False, handed=1)
    assert vm.state.others == lost
    vm.more |= {"port_open": True, "openings": 5}
    vm.look(client=False, handed=1)
    vm.look(client=False, handed=1)
    assert vm.state.others == lost._replace(cause=Cause.AGENT_RESTARTED)
    assert vm.held.may_freeze(VM.id), "its agent is asked again soon"
    vm.answer(FreezeState.FROZEN)
    after = vm.fleet.get(VM.id)
    found = doer(after)
    assert found is not None
    assert (after.others, found.by) == (None, VZDUMP)


@pytest.mark.parametrize(
    "ends",
    [
        {"gone": True},
        {"run_state": RunState.SHUTDOWN},
        {"run_state": RunState.PANICKED},
        {"resets": 1},
    ],
)
def test_what_was_lost_is_over_with_its_guest(
    monkeypatch: pytest.MonkeyPatch, ends: dict[str, object]
) -> None:
    vm = Fleeting(monkeypatch)
    vm.more["resets"] = 0
    lose(vm)
    assert others_freeze(vm.state) is OthersFreeze.LOST
    vm.more |= ends
    vm.look(client=False, handed=1)
    assert vm.state.others is None
    assert not vm.held.may_freeze(VM.id)


def test_what_was_lost_is_over_with_another_start_of_the_vm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vm = Fleeting(monkeypatch)
    lose(vm)
    vm.fleet.set_vms("qemu", [VM._replace(process=Process(7, 8))])
    vm.look(client=False)
    assert vm.state.others is None
    assert not vm.held.may_freeze(VM.id)


def test_writes_that_stop_while_a_command_waits_make_a_freeze_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vm = Fleeting(monkeypatch, ChannelClient("virtqemud", 812, "root"))
    written = 0
    for _ in range(40):
        vm.after(2)
        written += 4096 if vm.held.wants_writes(VM.id, vm.mono) else 0
        vm.more["written_bytes"] = written if vm.held.wants_writes(VM.id, vm.mono) else None
        vm.look(client=False)
    vm.hold()
    vm.more["written_bytes"] = written
    for _ in range(12):
        vm.after(1)
        vm.look(client=True, handed=1)
    assert graded(vm.state).grade is Grade.UNKNOWN
    vm.after(20)
    vm.look(client=True, handed=1)
    others = vm.state.others
    assert others is not None
    assert (others.state, others.writes) == (OthersState.PENDING, WritesSeen.STOPPED)
    stopped = others.wrote_at
    assert stopped is not None
    assert 0 <= (others.since - stopped).total_seconds() <= 8
    assert graded(vm.state).grade is Grade.LIKELY
    vm.after(1)
    vm.look(client=True, handed=1)
    assert vm.state.others == others, "nothing has changed"


def test_channels_that_are_only_held_are_looked_at_less_often_where_there_are_many() -> None:
    held = HeldChannels()
    for number in range(MOST_IDLE_LOOKS):
        state = VmState(VM._replace(id=VmId("qemu", f"vm{number}")))
        view = MonitorView(RunState.RUNNING, True, True, openings=3)
        for seconds in range(20):
            traffic = Traffic(5, 0, 5) if held.wants_traffic(state.id) else None
            held.looked(state, view._replace(traffic=traffic), float(seconds), AT)
    assert held.look_within_s(VmId("qemu", "vm7")) == 1.0
    assert held.look_within_s(VmId("qemu", "nobody's")) == math.inf
    pending = VmState(VM._replace(id=VmId("qemu", "vm7")))
    view = view._replace(traffic=Traffic(6, 1, 5))
    for seconds in range(20, 24):
        held.wants_traffic(pending.id)
        held.looked(pending, view, float(seconds), AT)
    assert held.look_within_s(pending.id) == LOOK_EVERY_S


def test_another_frostwatch_is_told_by_the_journal() -> None:
    looks = Looks()
    looks.state = looks.state._replace(held_by=HeldBy(7, "root"))
    assert looks.look() is None
    assert not looks.held.is_held(VM.id)


def test_a_task_of_proxmox_is_read_of_its_name() -> None:
    client = ChannelClient(UPID, 4711)
    assert client.task == UPID.removeprefix("task ")
    assert ChannelClient("qm", 1).task is None
    assert str(ChannelClient("task UPID:odd", 1)) == "Proxmox's task (pid 1)"


# -- what they leave ------------------------------------------------------------------------------

VZDUMP = ChannelClient(UPID, 4711, "root")
GONE = ChannelClient(UPID, 4711, "root", started=1)  # no process was started with the kernel


class Fleeting:
    """A fleet of one VM whose channel somebody holds, and what its visits show."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, by: ChannelClient | None = VZDUMP) -> None:
        self.wall, self.mono = AT, 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.mono)
        monkeypatch.setattr(others_module, "time", clock)
        self.fleet = Fleet(wall=lambda: self.wall)
        self.fleet.set_vms("qemu", [VM])
        self.held, self.by = HeldChannels(), by
        self.more: dict[str, Any] = {}

    @property
    def state(self) -> VmState:
        return self.fleet.get(VM.id)

    def look(self, *, client: bool, handed: int = 0) -> None:
        counted = self.held.wants_traffic(VM.id)
        traffic = Traffic(handed, 0, 0) if counted else None
        shown: dict[str, Any] = {"run_state": RunState.RUNNING, "port_open": True, "openings": 3}
        view = MonitorView(**(shown | self.more), client=client, traffic=traffic)
        self.fleet.update(VM.id, looked(view, self.wall, has_monitor=True))
        self.held.report(self.fleet, None, self.state, view)
        self.held.named(VM.id, self.by)

    def hold(self, *, handed: int = 0) -> None:
        for _ in range(3):
            self.look(client=True, handed=handed)

    def answer(self, frozen: FreezeState) -> None:
        before = self.state
        change = answered(ProbeResult(frozen, 0.001), self.wall, by=self.held.before(VM.id))
        self.fleet.update(VM.id, change)
        self.held.asked(None, self.fleet, before, self.state)

    def after(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds

    def set_clock(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def leave_frozen(self) -> None:
        self.hold()
        self.look(client=False)
        self.answer(FreezeState.FROZEN)


@pytest.mark.parametrize(
    ("by", "after_s", "overdue"),
    [
        (VZDUMP, 60, None),
        (VZDUMP, 121, "for more than 2 min"),
        (GONE, 0, "its process has ended"),
        (None, 121, "for more than 2 min"),
    ],
)
def test_what_nobody_will_thaw_is_told_of(
    monkeypatch: pytest.MonkeyPatch, by: ChannelClient | None, after_s: float, overdue: str | None
) -> None:
    vm = Fleeting(monkeypatch, by)
    vm.leave_frozen()
    assert others_freeze(vm.state) is OthersFreeze.FROZEN
    assert graded(vm.state).grade is Grade.CERTAIN
    vm.after(after_s)
    vm.look(client=False)
    vm.answer(FreezeState.FROZEN)  # which keeps it
    assert vm.state.freeze.overdue == overdue
    others = doer(vm.state)
    assert (others.by if others is not None else None) == by
    vm.answer(FreezeState.THAWED)
    vm.look(client=False)
    assert (vm.state.freeze.overdue, doer(vm.state)) == (None, None)


@pytest.mark.parametrize("moved_s", [-7200.0, 7200.0])
def test_a_clock_that_is_set_calls_nobody_too_soon_or_too_late(
    monkeypatch: pytest.MonkeyPatch, moved_s: float
) -> None:
    vm = Fleeting(monkeypatch)
    vm.leave_frozen()
    vm.after(60)
    vm.set_clock(moved_s)
    vm.look(client=False)
    since = vm.state.freeze.since
    assert (vm.state.freeze.overdue, since) == (None, vm.wall - timedelta(seconds=60))
    vm.after(61)
    vm.look(client=False)
    assert vm.state.freeze.overdue == "for more than 2 min"
    vm.set_clock(moved_s)
    vm.answer(FreezeState.THAWED)
    ended = vm.state.others_last
    assert ended is not None
    assert (ended.result, ended.seconds) == (OthersResult.THAWED, 121.0)


@pytest.mark.parametrize("moved_s", [-7200.0, 7200.0])
def test_since_when_they_wait_is_told_by_the_clock_as_it_was_set(
    monkeypatch: pytest.MonkeyPatch, moved_s: float
) -> None:
    vm = Fleeting(monkeypatch)
    vm.hold()
    for _ in range(8):
        vm.after(0.25)
        vm.look(client=True, handed=1)
    pending = vm.state.others
    assert pending is not None
    assert pending.state is OthersState.PENDING
    vm.after(2)
    vm.set_clock(1)  # as it is set a little all the time
    vm.look(client=True, handed=1)
    assert vm.state.others == pending
    vm.set_clock(moved_s)
    vm.look(client=True, handed=1)
    moved = vm.state.others
    assert moved is not None
    assert (moved.since - pending.since).total_seconds() == moved_s + 1


def test_how_long_the_last_ones_took_is_asked_again_with_each_command() -> None:
    looks, queries = Looks(), []
    journal = cast(Journal, SimpleNamespace(put=lambda query, _: queries.append(query)))

    def wait(handed: int, answers: int) -> None:
        for _ in range(10):
            looks.look(handed=handed, answers=answers)
            looks.held._ask_usual(journal, VM)

    looks.look()
    looks.held._ask_usual(journal, VM)
    for number in range(3):  # of a client that stays connected, as libvirt's
        wait(number, number)
        before = len(queries)
        wait(number + 1, number)
        assert len(queries) == before + 1


def test_who_holds_the_channel_of_a_frozen_guest_need_not_have_frozen_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vm = Fleeting(monkeypatch)
    vm.leave_frozen()
    vm.by = ChannelClient("qm", 5, "root")
    vm.hold()
    others = doer(vm.state)
    assert others is not None
    assert others.by == VZDUMP


@pytest.mark.parametrize(
    ("usual", "waited_s", "why"),
    [
        (None, 599.0, None),
        (None, 601.0, "for more than 10 min"),
        (Figures(2, 3.0, 4.0, 4.0), 30.0, None),  # too few to compare with
        (Figures(20, 3.0, 40.0, 41.0), 41.0, None),
        (Figures(20, 3.0, 40.0, 41.0), 41.5, "longer than any of its last 20: 41 s at the most"),
        (Figures(20, 1.1, 1.2, 1.3), 9.0, None),  # nobody is told of a second
    ],
)
def test_pending_for_long_is_longer_than_the_last_ones(
    usual: Figures | None, waited_s: float, why: str | None
) -> None:
    assert pending_for_long(usual, waited_s) == why


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (ChannelClient("python3", 4711, "root", 5), ChannelClient(UPID, 4711, "root", 5)),
        (ChannelClient(UPID, 4711, None, None), ChannelClient(UPID, 4711, "root", 5)),
        (None, ChannelClient(UPID, 4711, "root", 5)),
        (ChannelClient("virsh", 4711, "root", 9), ChannelClient("virsh", 4711, "root", 9)),
        (ChannelClient("virsh", 4712, None, None), ChannelClient("virsh", 4712, None, None)),
    ],
)
def test_a_process_that_ends_keeps_its_name(
    now: ChannelClient | None, told: ChannelClient | None
) -> None:
    """It loses its title, then its user, while who holds the channel is looked for once more."""
    looks = Looks()
    for name in (ChannelClient(UPID, 4711, "root", 5), now):
        looks.look()
        looks.held.named(VM.id, name)
    for _ in range(8):
        looks.look(handed=1)
    assert looks.state.others is not None
    assert looks.state.others.by == told
