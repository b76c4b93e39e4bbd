"""What to do about what somebody else has pending, lost or left frozen in a guest. Pure.

How long they wait at the most is known of some programs: of Proxmox's freeze helper (protocol §4),
and of libvirt (protocol §5.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agentclient.model.next_command import start_word, thaw_command
from agentclient.model.others import ChannelClient, Others
from agentclient.model.shell_words import joined
from agentclient.model.states import Cause, OthersState
from agentclient.model.vm import DRILL_SOURCE, Vm

# Proxmox waits so long for the freeze, and then as often again for a status (protocol §4).
_PROXMOX_STEP: Final = timedelta(minutes=10)
_PROXMOX_STEPS: Final = 6
_PROXMOX_MOST: Final = _PROXMOX_STEP * _PROXMOX_STEPS
_LIBVIRT: Final = frozenset({"libvirtd", "virtqemud"})
_UNKNOWN: Final = "how long they wait isn't known"
_NEWER: Final = "qemu-server 9.0.23"


def waits_at_most(client: ChannelClient | None) -> str:
    """Return how long a program waits for its answer at the most, as a clause."""
    if client is None:
        return _UNKNOWN
    if client.task is not None:
        return "Proxmox waits for a freeze for 1 h at the most"
    if client.program in _LIBVIRT:
        return "libvirt waits without an end, unless its caller has set one"
    return _UNKNOWN


def they_wait(others: Others, now: datetime) -> str:
    """Return how long they wait, and when they learn that nothing comes, as a sentence.

    Args:
        others: what is pending, or lost; they may have begun a little sooner than was seen.
        now: the wall clock.
    """
    client = others.by
    if client is None or client.task is None:
        most = waits_at_most(client)
        learn = "; when they learn that it is lost isn't known either"
        unknown = most == _UNKNOWN and others.state is OthersState.LOST
        return f"{most}{learn if unknown else ''}"
    ends = others.since + _PROXMOX_MOST
    if others.state is not OthersState.LOST:
        return (
            f"{waits_at_most(client)}, until {ends:%H:%M}: 10 min for the answer, then 5 times "
            f"10 min for a status (1 h at once before {_NEWER})"
        )
    step = _next_status(others.since, now)
    if step is None:
        return f"they should have given up by {ends:%H:%M}: {waits_at_most(client)}"
    return (
        f"they learn it by {step:%H:%M} if an agent runs by then, at {ends:%H:%M} at the latest "
        f"(always then before {_NEWER})"
    )


def _next_status(since: datetime, now: datetime) -> datetime | None:
    """Return by when Proxmox asks for the status next; None if it asks no more."""
    for step in range(1, _PROXMOX_STEPS + 1):
        if since + step * _PROXMOX_STEP > now:
            return since + step * _PROXMOX_STEP
    return None


def stop_command(client: ChannelClient) -> str:
    """Return the command that ends a program that holds a channel: its task, or its process."""
    if client.task is not None:
        node = client.task.split(":")[1]
        return joined(["pvesh", "delete", f"/nodes/{node}/tasks/{client.task}"])
    return f"kill {client.pid}"


def others_action(others: Others, vm: Vm) -> str | None:
    """Return what a person can do, with the commands; None if there is nothing to be done.

    Args:
        others: what somebody else has pending in the guest, has lost, or has left.
        vm: the VM, for the commands.
    """
    thaw = "t" if vm.source == DRILL_SOURCE else thaw_command(vm, foreign=True)
    match others.state:
        case OthersState.PENDING:
            return f"wait; or {_stop(others, vm)}, and if it is frozen then: {thaw}"
        case OthersState.LOST:
            start = f"{start_word(vm)} its agent, " if others.cause is Cause.AGENT_GONE else ""
            if others.has_left:
                return f"{_unlock(vm)}{start}then, if it says frozen: {thaw}"
            return f"{_stop(others, vm)}; {start}then: {thaw}"
        case OthersState.LEFT:
            return f"{_unlock(vm)}if the agent says frozen once it answers: {thaw}"
    return None


def others_step(others: Others, vm: Vm) -> str | None:
    """Return what a person can do, and how long they wait; None if nothing is pending.

    Args:
        others: what somebody else has pending in the guest.
        vm: the VM, for the commands.
    """
    action, waits = others_action(others, vm), waits_at_most(others.by)
    if others.state is OthersState.LOST and not others.has_left:
        return f"they learn it only when their time is over ({waits}): {action}"
    if others.state is OthersState.PENDING:
        return f"{waits}: {action}"
    return action


def _stop(others: Others, vm: Vm) -> str:
    if vm.source == DRILL_SOURCE:
        return "end them, which nobody can in a drill: they leave by themselves"
    if others.by is None:
        return "end them"
    several = "::" in (others.by.task or "")  # a task of no VM is one of several
    return f"end them: {stop_command(others.by)}{' (it works on several VMs)' if several else ''}"


def _unlock(vm: Vm) -> str:
    """Return what keeps the agent from being asked, as the beginning of a sentence."""
    if vm.locked_by is None:
        return ""
    return f"it is locked ({vm.locked_by}), so it isn't asked: unlock it once nothing uses it; "
