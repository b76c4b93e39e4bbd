"""What would refuse a freeze of a VM, or make it risky, as far as it is known now. Pure.

The row, the confirmation and ``frostwatch doctor VM`` say it before a freeze is asked for; then
`agentclient.operations.preflight` decides.
"""

from __future__ import annotations

from agentclient.freeze.coverage import describe
from agentclient.model.outcome import FileSystem
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.text import printable

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "ceph", "glusterfs"})
_CLOSED = frozenset({AgentState.CLOSED, AgentState.SILENT, AgentState.BUSY, AgentState.NONE})


def why_not(state: VmState) -> str | None:
    """Return why a freeze would probably be refused, one clause; None if nothing speaks against."""
    vm, agent = state.vm, state.agent.state
    if vm.policy is not None and vm.policy.read_only is not None:
        return f"nothing is sent to it: {vm.policy.read_only}"
    if vm.freeze_disabled:
        return f"its configuration forbids a freeze: {printable(vm.freeze_disabled)}"
    if vm.locked_by:
        return f"it is locked by {printable(vm.locked_by)}"
    if state.run_state not in (RunState.RUNNING, RunState.UNKNOWN):
        return f"it is {state.run_state.value}"
    if state.held_by is not None:
        return f"it is {printable(state.held_by, 100)}"
    if state.freeze.state is FreezeState.FROZEN:
        return "it is frozen already"
    if agent in _CLOSED:
        return f"its agent is {agent.value}"
    return None


def risks(state: VmState) -> tuple[str, ...]:
    """Return what would make a freeze risky, one sentence each."""
    loops = [one for one in state.file_systems if _on_loop(one)]
    network = [one for one in state.file_systems if one.kind.lower() in NETWORK]
    found = []
    if loops:
        found.append(
            f"{describe(loops)}: a file system on a loop device can hang a freeze, since its flush "
            "writes to a file system that is frozen already"
        )
    far = state.vm.far
    if far is not None:
        host = printable(far.name, 80)
        found.append(
            f"it runs on {host}: nobody there would thaw it if the link to {host} were cut; then a "
            f"person has to: {far.thaw}"
        )
    if network:
        found.append(
            f"{describe(network)}: a network file system can't be frozen; a hook that waits for "
            "its server can hang the freeze"
        )
    return tuple(found)


def _on_loop(one: FileSystem) -> bool:
    return one.device.removeprefix("/dev/").startswith("loop")
