"""What a visit has changed, as lines of a VM's log."""

from __future__ import annotations

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, Level


def tell_change(fleet: Fleet, before: VmState, after: VmState) -> None:
    """Write to a VM's log what differs between two of its states.

    Args:
        fleet: whose logs are written.
        before: the state before the visit.
        after: the state after it.
    """
    if before.agent.state is not after.agent.state:
        level = Level.WARNING if after.agent.state is AgentState.SILENT else Level.INFO
        fleet.log(before.id, level, f"agent {after.agent.state} ({after.agent.how})")
    if after.freeze.foreign and not before.freeze.foreign:
        text = "a foreign freeze was found: the guest is frozen, and not provably by us"
        fleet.log(before.id, Level.WARNING, text)
    if before.freeze.foreign and after.freeze.state is FreezeState.THAWED:
        fleet.log(before.id, Level.INFO, "thawed by whoever had frozen it: its agent says thawed")
    if after.left_by is not None and after.left_by != before.left_by:
        fleet.log(before.id, Level.WARNING, f"the guest was {after.left_by}")
