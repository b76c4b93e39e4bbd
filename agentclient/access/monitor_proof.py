"""Checks that a monitor is the VM's own, before a command is sent through it (P10).

A person who names a VM by its sockets may mix up two VMs: a reset would hit the other one.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from agentclient.access.guest_access import CHANNEL_WAIT_S, GuestAccess
from agentclient.access.host.peer import find_peer, suits
from agentclient.access.stream import ConnectFailed
from agentclient.model.vm import DRILL_SOURCE

# A connection is shown once QEMU has accepted it.
SHOWN_WITHIN_S: Final = 2.0
LOOK_EVERY_S: Final = 0.02
_NOT_PROVEN = "that the monitor is this VM's can't be shown"


def doubt_of(access: GuestAccess) -> str | None:
    """Return why a monitor may be another VM's, as a clause; None if nothing indicates that.

    It connects to both sockets and closes them again; nothing is written.
    """
    vm = access.vm
    if access.monitor is None or vm.agent is None or vm.monitor is None:
        return None
    if access.doubt is not None:
        return access.doubt
    monitor = find_peer(vm.monitor.path)
    expected = vm.monitor_peer or vm.peer
    if monitor is not None and expected is not None and not suits(monitor, expected):
        return "it is not the VM that listens on the monitor's socket"
    if _known_to_be_one(access):
        return None
    agent = find_peer(vm.agent.path)
    if agent is None or monitor is None or None in (agent.process, monitor.process):
        return None
    if agent.process == monitor.process:
        return None
    assert agent.process is not None
    assert monitor.process is not None
    return (
        f"the monitor is another VM's: pid {monitor.process.pid} listens there, and pid"
        f" {agent.process.pid} on the agent's socket"
    )


def unproven(access: GuestAccess) -> str | None:
    """Return why a monitor is not proven to be the VM's, as a clause; None if it is.

    It is proven if one QEMU serves both sockets; or, behind relays, if the monitor shows our own
    connection to the agent, to which nothing is written.
    """
    vm = access.vm
    found = doubt_of(access)
    if found is not None:
        return found
    if access.monitor is None or vm.agent is None or vm.monitor is None or _known_to_be_one(access):
        return None
    agent, monitor = find_peer(vm.agent.path), find_peer(vm.monitor.path)
    if agent is not None and monitor is not None and agent.process == monitor.process is not None:
        return None
    return _shows_us(access)


def _known_to_be_one(access: GuestAccess) -> bool:
    """Return whether the VM's source knows its process, and no other one serves the monitor.

    A drill's process serves all sockets of its guests, in a folder that nobody else can enter.
    """
    vm = access.vm
    return vm.source == DRILL_SOURCE or (vm.process is not None and vm.monitor_peer is None)


def _shows_us(access: GuestAccess) -> str | None:
    if not access.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
        return f"{_NOT_PROVEN}: frostwatch itself is talking to this agent"
    try:
        if access.observe().client:
            return f"{_NOT_PROVEN}: somebody else holds the agent's channel"
        with closing(access.open_agent()):
            seen = _look_until_shown(access)
    except ConnectFailed as error:
        return f"{_NOT_PROVEN}: the agent's channel can't be opened: {error}"
    finally:
        access.channel_lock.release()
    return None if seen else f"{_NOT_PROVEN}: it does not show our connection to the agent"


def _look_until_shown(access: GuestAccess) -> bool:
    """Return whether the monitor shows our connection within a time: a relay may delay it."""
    until = time.monotonic() + SHOWN_WITHIN_S
    while not access.observe().client:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_EVERY_S)
    return True
