"""What to do about others: the exact commands, and how long they wait as far as that is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_step import others_action, others_step, they_wait, waits_at_most
from agentclient.model.states import Cause, OthersState
from agentclient.model.vm import Vm, VmId

VM = Vm(VmId("qemu", "db"))
AT = datetime(2026, 3, 1, tzinfo=UTC)
UPID = "UPID:node1:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:"
THAW = "frostwatch thaw --foreign qemu:db"


@pytest.mark.parametrize(
    ("program", "stops", "waits"),
    [
        (f"task {UPID}", f"pvesh delete /nodes/node1/tasks/{UPID}", "for 1 h at the most"),
        ("virtqemud", "kill 4711", "without an end"),
        ("backup-tool", "kill 4711", "isn't known"),
    ],
)
@pytest.mark.parametrize("state", [OthersState.PENDING, OthersState.LOST])
def test_the_commands_are_exact(program: str, stops: str, waits: str, state: OthersState) -> None:
    step = others_step(Others(state, AT, ChannelClient(program, 4711)), VM)
    assert step is not None
    assert stops in step
    assert waits in step
    assert step.endswith(THAW)


def test_nothing_is_to_be_done_where_nothing_is_pending() -> None:
    for state in OthersState:
        step = others_step(Others(state, AT), VM)
        assert (step is not None) is Others(state, AT).matters


def test_of_nobody_nothing_is_known() -> None:
    assert "isn't known" in waits_at_most(None)


def test_where_no_agent_runs_one_has_to_be_started() -> None:
    lost = Others(OthersState.LOST, AT, ChannelClient("virtqemud", 4711))
    for cause, starts in ((Cause.AGENT_GONE, True), (Cause.AGENT_RESTARTED, False)):
        action = others_action(lost._replace(cause=cause), VM)
        assert action is not None
        assert ("start its agent, then:" in action) is starts


def test_who_has_left_is_not_to_be_ended() -> None:
    client = ChannelClient("virtqemud", 4711)
    lost = Others(OthersState.LOST, AT, client, Cause.AGENT_GONE, has_left=True)
    assert others_step(lost, VM) == f"start its agent, then, if it says frozen: {THAW}"
    locked = others_step(lost, VM._replace(locked_by="backup"))
    assert locked is not None
    assert locked.startswith("it is locked (backup), so it isn't asked: unlock it")


PROXMOX = ChannelClient(f"task {UPID}", 4711)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (3, "by 00:10 if an agent runs by then, at 01:00 at the latest"),
        (12, "by 00:20 if an agent runs by then, at 01:00 at the latest"),
        (61, "they should have given up by 01:00"),
    ],
)
def test_when_proxmox_learns_that_its_freeze_is_lost(minutes: int, words: str) -> None:
    lost = Others(OthersState.LOST, AT, PROXMOX)
    assert words in they_wait(lost, AT + timedelta(minutes=minutes))


def test_until_when_proxmox_waits_and_others_may_wait() -> None:
    pending = Others(OthersState.PENDING, AT, PROXMOX)
    assert "1 h at the most, until 01:00: 10 min for the answer" in they_wait(pending, AT)
    assert "9.0.23" in they_wait(pending, AT)
    libvirt = pending._replace(by=ChannelClient("virtqemud", 1))
    assert they_wait(libvirt, AT) == waits_at_most(libvirt.by)
    unknown = Others(OthersState.LOST, AT, ChannelClient("backup-tool", 1))
    assert "isn't known either" in they_wait(unknown, AT)


def test_a_backup_of_several_vms_is_said_to_be_one() -> None:
    several = ChannelClient("task UPID:n:1:2:3:vzdump::root@pam:", 4711)
    action = others_action(Others(OthersState.PENDING, AT, several), VM)
    assert action is not None
    assert "it works on several VMs" in action


def test_in_a_drill_nobody_is_told_to_end_a_process() -> None:
    vm = Vm(VmId("drill", "git1"))
    action = others_action(Others(OthersState.LOST, AT, PROXMOX), vm)
    assert action is not None
    assert "pvesh" not in action
    assert action.endswith("then: t")
