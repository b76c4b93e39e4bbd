"""What the freeze's procedure and the thaw have in common, as one loop uses it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from agentclient.freeze.effects import Resync
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.machine import Machine
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan
from agentclient.freeze.thaw_schedule import LAST_CHANCE_S
from agentclient.model.instruction import Extension, Instruction
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import Vm, VmId
from agentclient.protocol.qga_events import Reply, Synced
from tests.unit.machine_effects import commands

THAW = "guest-fsfreeze-thaw"
UP = MonitorView(run_state=RunState.RUNNING, port_open=True, openings=3)
DOWN = UP._replace(port_open=False, openings=4)


def a_freeze() -> FreezeProcedure:
    """A freeze and its thaw."""
    vm = Vm(VmId("lab", "vm-1"))
    return FreezeProcedure(vm, FreezePlan(Schedule(), UP), count(1).__next__, 0.0)


def a_thaw(*, owned: bool = True, patience_s: float = 0.0, ask: bool = False) -> ThawMachine:
    """A thaw that follows no freeze, on a channel that is ours."""
    plan = ThawPlan("lab/vm-1", 60.0, owned=owned, patience_s=patience_s, ask=ask)
    return ThawMachine(plan, PortWatch(UP, 0.0), count(1).__next__, 0.0)


def ended(machine: Machine) -> bool:
    """Whether it asks for nothing more."""
    return machine.done


@pytest.mark.parametrize("make", [a_freeze, a_thaw])
def test_a_machine_ends_with_its_vm(make: Callable[[], Machine]) -> None:
    """Both are driven through the same few methods, to the same end."""
    machine = make()
    assert commands(machine.start(0.0))
    assert not ended(machine)
    assert machine.wakes_at > 0.0
    assert machine.watch_every_s > 0.0
    assert not machine.wants_connection(0.0)
    machine.on_stream_ended(1.0, "closed", gone=True)
    assert ended(machine)
    for ignored in (
        machine.on_reply(2.0, Reply(1, 2)),
        machine.on_tick(2.0),
        machine.on_stream_ended(2.0, "closed", gone=None),
    ):
        assert ignored == []


@pytest.mark.parametrize("make", [a_freeze, a_thaw])
def test_a_broken_channel_is_opened_again(make: Callable[[], Machine]) -> None:
    """The guest may be frozen: a try fails, the next one is due soon, and begins with a sync."""
    machine = make()
    machine.start(0.0)
    machine.on_stream_ended(1.0, "closed", gone=None)
    assert machine.wants_connection(1.0)
    for _ in range(2):
        machine.on_connect_failed(1.0, "nobody listens", gone=None)
    assert not machine.wants_connection(1.05)
    assert machine.wants_connection(1.3)
    assert commands(machine.on_connected(1.3)) == ["sync"]
    assert not machine.wants_connection(9.0)


def test_a_thaw_takes_a_look_itself() -> None:
    """The agent left, and another one came: the thaw is sent to that one."""
    thaw = a_thaw(owned=False)
    assert commands(thaw.start(0.0)) == ["sync"]
    thaw.on_look(1.0, DOWN)
    assert thaw.on_reply(1.0, Synced(1)) == []
    assert thaw.waiting_for == "an agent to come back"
    written = commands(thaw.on_look(2.0, UP._replace(openings=5)))
    assert (written[0], written[-1]) == ("sync", THAW)


def test_a_closed_port_ends_the_patience_with_a_freeze() -> None:
    """What no agent has read goes with our channel (protocol §1.8): the thaw's bound begins."""
    thaw = a_thaw(patience_s=1000.0)
    thaw.start(0.0)
    assert thaw.ends_at == 1060.0
    thaw.on_look(5.0, UP)
    assert thaw.ends_at == 1060.0
    thaw.on_look(10.0, DOWN)
    assert thaw.ends_at == 70.0


@pytest.mark.parametrize(
    ("instruction", "ends_at"),
    [
        (Instruction.CANCEL, 5.0 + LAST_CHANCE_S),
        (Instruction.GIVE_UP, 5.0 + LAST_CHANCE_S),
        (Instruction.END_HOLD, 60.0),
        (Extension(30.0), 60.0),
    ],
)
def test_who_cancels_a_thaw_waits_a_moment_longer(
    instruction: Instruction | Extension, ends_at: float
) -> None:
    """The agent has a moment for its answer; a thaw has no hold to end or to extend."""
    thaw = a_thaw()
    thaw.start(0.0)
    assert thaw.on_instruction(5.0, instruction) == []
    assert thaw.ends_at == ends_at


def test_a_flood_stops_no_thaw() -> None:
    """It is sent again by its own schedule."""
    thaw = a_thaw()
    thaw.start(0.0)
    assert thaw.on_flood(0.5, "noise") == []
    assert [type(one) for one in thaw.on_tick(1.0)] == [Resync]
