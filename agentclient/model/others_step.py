"""What to do about a command that somebody else has pending in a guest, or has lost. Pure.

How long they wait at the most is known of some programs: of Proxmox's freeze helper (protocol §4),
and of libvirt (protocol §5.2).
"""

from __future__ import annotations

import shlex
from typing import Final

from agentclient.model.next_command import thaw_command
from agentclient.model.snapshot import ChannelClient, Others
from agentclient.model.states import OthersState
from agentclient.model.vm import Vm

_LIBVIRT: Final = frozenset({"libvirtd", "virtqemud"})
_UNKNOWN: Final = "how long they wait isn't known"


def waits_at_most(client: ChannelClient | None) -> str:
    """Return how long a program waits for its answer at the most, as a clause."""
    if client is None:
        return _UNKNOWN
    if client.task is not None:
        return "Proxmox waits for a freeze for 1 h at the most"
    if client.program in _LIBVIRT:
        return "libvirt waits without an end, unless its caller has set one"
    return _UNKNOWN


def stop_command(client: ChannelClient) -> str:
    """Return the command that ends a program that holds a channel: its task, or its process."""
    if client.task is not None:
        node = client.task.split(":")[1]
        return shlex.join(["pvesh", "delete", f"/nodes/{node}/tasks/{client.task}"])
    return f"kill {client.pid}"


def others_step(others: Others, vm: Vm) -> str | None:
    """Return what a person can do; None if nothing is pending.

    Args:
        others: what somebody else has pending in the guest.
        vm: the VM, for the commands.
    """
    thaw = thaw_command(vm, foreign=True)
    if others.state is OthersState.LEFT:
        return f"if the agent says frozen once it answers: {thaw}"
    if others.state not in (OthersState.PENDING, OthersState.LOST):
        return None
    waits = waits_at_most(others.by)
    stop = "end them" if others.by is None else stop_command(others.by)
    if others.state is OthersState.LOST:
        return f"they learn it only when their time is over ({waits}): {stop}, then: {thaw}"
    return f"wait ({waits}); or {stop}, and if it is frozen then: {thaw}"
