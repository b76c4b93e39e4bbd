"""The backend ``socket``: VMs that a person names with ``--vm``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agentclient.access.access_pool import open_local
from agentclient.access.host.peer import PeersOfSockets, sockets_of
from agentclient.access.host.process import user_name
from agentclient.backends.base import LOCAL_S, Abilities, Note
from agentclient.backends.option_string import split_pairs
from agentclient.backends.socket_check import check_socket, is_libvirts_path
from agentclient.model.errors import BadInput
from agentclient.model.states import Transport
from agentclient.model.text import printable
from agentclient.model.vm import (
    EXPLICIT_SOURCE,
    AgentChannel,
    Identity,
    MonitorChannel,
    Peer,
    Vm,
    VmId,
)

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener

_KEYS = ("name", "agent", "monitor", "monitor-ours", "transport")
_T = TypeVar("_T")
_SWITCH = {"on": True, "off": False}


def parse_vm_spec(spec: str) -> Vm:
    """Parse ``name=N,agent=PATH,monitor=PATH[,monitor-ours=on][,transport=isa-serial]``.

    A comma in a value is doubled, as in QEMU's own options. At least one of ``agent`` and
    ``monitor`` is required; a relative path starts at the working directory.

    Args:
        spec: the text of ``--vm``.

    Raises:
        BadInput: the text is no valid VM; one sentence that names what is wrong.
    """
    values = _values(spec)
    if "name" not in values:
        raise _bad(spec, "name= is missing")
    agent, monitor = _path(spec, values, "agent"), _path(spec, values, "monitor")
    if agent is None and monitor is None:
        raise _bad(spec, "both agent= and monitor= are missing; one of them is needed")
    ours = _choice(spec, values, "monitor-ours", _SWITCH, False)
    if "monitor-ours" in values and monitor is None:
        raise _bad(spec, "monitor-ours= needs monitor=")
    if "transport" in values and agent is None:
        raise _bad(spec, "transport= needs agent=")
    transports: dict[str, Transport] = {str(word): word for word in Transport}
    del transports[Transport.UNKNOWN]
    transport = _choice(spec, values, "transport", transports, Transport.UNKNOWN)
    return Vm(
        VmId(EXPLICIT_SOURCE, values["name"]),
        agent=None if agent is None else AgentChannel(agent, transport=transport),
        monitor=None if monitor is None else MonitorChannel(monitor, ours),
    )


class ExplicitBackend:
    """The VMs that were named on the command line; always the same ones.

    Each VM's process is the one that listens on its sockets. The kernel is asked for it once, and
    again when another socket has replaced one of them.

    Args:
        vms: what `parse_vm_spec` returned.

    Raises:
        BadInput: a name or an agent's socket is used twice.
    """

    name = EXPLICIT_SOURCE
    patience_s = LOCAL_S

    def __init__(self, vms: Iterable[Vm]) -> None:
        self._vms = tuple(vms)
        self._peers = PeersOfSockets()
        self._known: dict[VmId, Vm] = {}
        _refuse_twice("name", [vm.name for vm in self._vms])
        _refuse_twice("agent", [str(vm.agent.path) for vm in self._vms if vm.agent])

    def list_vms(self) -> list[Vm]:
        """Return the VMs as they were given, with the processes that listen on their sockets."""
        channels = [channel for vm in self._vms for channel in (vm.agent, vm.monitor)]
        peers = self._peers.of_all(channel.path for channel in channels if channel is not None)
        # If nobody listens now, the VM keeps its last known process, which tells whether the VM has
        # ended.
        self._known |= {vm.id: self._learned(vm, peers) for vm in self._vms if _seen(vm, peers)}
        return [self._known.get(vm.id, vm) for vm in self._vms]

    def _learned(self, vm: Vm, peers: Mapping[Path, Peer]) -> Vm:
        agent = peers.get(vm.agent.path) if vm.agent else None
        monitor = peers.get(vm.monitor.path) if vm.monitor else None
        peer = agent or monitor
        assert peer is not None, "see `_seen`"
        two = None if agent is None or monitor is None else _two_vms(agent, monitor)
        process = peer.process or (monitor.process if monitor else None)
        return vm._replace(
            monitor=None if two else vm.monitor,
            no_monitor=two,
            process=process,
            peer=peer,
            monitor_peer=None if monitor == peer else monitor,
            sockets=sockets_of(vm) if process is None else (),
            user=user_name(peer.uid) if peer.uid is not None else None,
        )

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return the access to one of the VMs; nothing is connected yet."""
        return open_local(vm, opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:  # noqa: ARG002
        """Return None: the target of a migration is searched among all VMs of this host."""
        return None

    def has_ended(self, identity: Identity) -> bool | None:  # noqa: ARG002
        """Return None: this backend has no identities for starts; the VM's process tells it."""
        return None

    def abilities(self) -> Abilities:
        """Return what can be done with the VMs, by the sockets that were named."""
        monitor = any(vm.monitor for vm in self._vms)
        return Abilities(
            freeze=any(vm.agent for vm in self._vms),
            monitor=monitor,
            port_state=monitor,
            processes=False,
            locks=False,
        )

    def notes(self) -> tuple[Note, ...]:
        """Return no notes: a problem with a socket is reported for its VM."""
        return ()

    def check_sockets(self) -> None:
        """Check at the start that every socket exists and may be opened, without opening it.

        Raises:
            BadInput: a socket is missing, is no socket, or may not be opened.
        """
        for vm in self._vms:
            for key, channel in (("agent", vm.agent), ("monitor", vm.monitor)):
                if channel is not None:
                    _check(vm, key, channel.path)


def _seen(vm: Vm, peers: Mapping[Path, Peer]) -> bool:
    """Return whether a process listens on a VM's sockets."""
    return any(channel.path in peers for channel in (vm.agent, vm.monitor) if channel is not None)


def _two_vms(agent: Peer, monitor: Peer) -> str | None:
    """Return why an agent's socket and a monitor belong to different VMs; None if they don't."""
    if None in (agent.process, monitor.process) or agent.process == monitor.process:
        return None
    assert agent.process is not None
    assert monitor.process is not None
    return (
        f"the monitor that was named is another VM's: pid {monitor.process.pid} listens there, and"
        f" pid {agent.process.pid} on the agent's socket; it is not used"
    )


def _check(vm: Vm, key: str, path: Path) -> None:
    problem = check_socket(path)
    if problem is not None:
        raise BadInput(f"--vm {printable(vm.name)}: {key}=: {problem.text}. {problem.advice}")
    if is_libvirts_path(os.path.realpath(path)):
        raise BadInput(f"--vm {printable(vm.name)}: {key}={_libvirts(path)}")


def _values(spec: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in split_pairs(spec):
        if key not in _KEYS:
            raise _bad(spec, f"{printable(key)!r} is no key of it; known are {', '.join(_KEYS)}")
        if not value:
            raise _bad(spec, f"{key}= has no value")
        if key in values:
            raise _bad(spec, f"{key}= is given twice")
        values[key] = value
    return values


def _path(spec: str, values: dict[str, str], key: str) -> Path | None:
    if key not in values:
        return None
    value = values[key]
    if "\0" in value:
        raise _bad(spec, f"{key}= contains a zero byte, which no path can")
    path = Path(os.path.abspath(value))  # noqa: PTH100 - resolve() would follow symbolic links
    if is_libvirts_path(str(path)):
        raise _bad(spec, f"{key}={_libvirts(path)}")
    return path


def _libvirts(path: Path) -> str:
    return f"{printable(path)} is libvirt's own socket, which nobody else may open"


def _choice(spec: str, values: dict[str, str], key: str, choices: dict[str, _T], default: _T) -> _T:
    if key not in values:
        return default
    if values[key] not in choices:
        words = " or ".join(choices)
        raise _bad(spec, f"{key}={printable(values[key])} is not known; it can be {words}")
    return choices[values[key]]


def _refuse_twice(key: str, values: list[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise BadInput(f"--vm: {key}={printable(value)} is given for {count} VMs")


def _bad(spec: str, what: str) -> BadInput:
    return BadInput(f"--vm {printable(spec, 120)!r}: {what}")
