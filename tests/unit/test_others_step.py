"""What to do about others: the exact commands, and how long they wait as far as that is known."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_step import others_step, waits_at_most
from agentclient.model.states import OthersState
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
