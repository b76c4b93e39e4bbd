"""Channels that others hold: when they are looked at, and what becomes of what is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentclient.fleet.others import HeldChannels, Seen
from agentclient.model.others import ChannelClient
from agentclient.model.snapshot import HeldBy, MonitorView, Traffic, VmState
from agentclient.model.states import OthersState, RunState
from agentclient.model.vm import AgentChannel, Vm, VmId

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

    def look(
        self, *, client: bool = True, handed: int = 0, answers: int = 0, port_open: bool = True
    ) -> Seen | None:
        asked = self.held.wants_traffic(VM.id)
        traffic = Traffic(handed, 0, answers) if asked else None
        view = MonitorView(RunState.RUNNING, port_open, client, openings=3, traffic=traffic)
        self.mono += 0.25
        seen = self.held.looked(self.state, view, self.mono, AT + timedelta(seconds=self.mono))
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
