"""The description of a QEMU command line; `agentclient.backends.qemu.command_parser` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentclient.model.states import Transport


class Chardev(NamedTuple):
    """A character device of QEMU, as far as a client needs it.

    Attributes:
        id: its id on the command line.
        backend: ``socket``, ``pty``, ``stdio`` …
        path: the UNIX socket's path as it was written, perhaps relative; None if it has none.
        listens: QEMU is the server, so that clients can connect.
        handed_over: another program opened the socket, and passed it to QEMU as a descriptor.
        abstract: the path is a name in Linux' abstract socket namespace (unix(7)), not a file.
        reconnect: QEMU is the client, and connects again after a failure.
    """

    id: str
    backend: str
    path: str | None = None
    listens: bool = False
    handed_over: bool = False
    abstract: bool = False
    reconnect: bool = False

    @property
    def unusable(self) -> str | None:
        """Why we can't connect to it, as the end of a sentence; None if we can."""
        if self.handed_over:
            return "its socket was handed to QEMU by the program that started it"
        if self.abstract:
            return "its socket is in the abstract name space, which is not supported"
        if self.path is None:
            return f"it is no UNIX socket (but {self.backend})"
        if not self.listens:
            return "QEMU is the client of its socket, not the server"
        return None


class AgentPort(NamedTuple):
    """The guest's side of the agent's channel.

    Attributes:
        chardev: the host's side of the channel.
        transport: the kind of the guest's device.
        looks_like: the word that suggests an agent, for a port without an agent's name; None for a
            port with an agent's name.
    """

    chardev: Chardev
    transport: Transport
    looks_like: str | None = None


class QmpMonitor(NamedTuple):
    """A monitor that speaks QMP, and the option that made it."""

    chardev: Chardev
    option: str


class QemuCommand(NamedTuple):
    """The description of one command line.

    Attributes:
        name: the VM's name, empty if it has none.
        vmid: the VM's number in Proxmox, None elsewhere.
        uuid: the VM's UUID, empty if it has none.
        agent: the agent's port; None if there is none.
        possible_agent: if `agent` is None, a port that is perhaps an agent's: nothing is ever
            written to it.
        monitors: all QMP monitors, in the command line's order.
        chroot: QEMU's ``-chroot``, which it enters *after* it has made its sockets.
        daemonized: QEMU changes its folder to ``/`` after it has made its sockets.
        no_machine: ``-machine none``: a program asks for QEMU's features, and there is no VM.
        libvirt: libvirt owns the VM and its sockets.
        notes: what the command line does not tell, a sentence each.
    """

    name: str = ""
    vmid: int | None = None
    uuid: str = ""
    agent: AgentPort | None = None
    possible_agent: AgentPort | None = None
    monitors: tuple[QmpMonitor, ...] = ()
    chroot: str | None = None
    daemonized: bool = False
    no_machine: bool = False
    libvirt: bool = False
    notes: tuple[str, ...] = ()

    @property
    def monitor(self) -> QmpMonitor | None:
        """The monitor to connect to: see `preferred_monitor`."""
        return preferred_monitor(self.monitors)


def preferred_monitor(monitors: Sequence[QmpMonitor]) -> QmpMonitor | None:
    """Return the monitor to connect to; None if none accepts connections.

    A monitor serves one client at a time, so one that no other program uses is preferred: first a
    monitor made for frostwatch (its id or file name contains ``frostwatch``), then any other than
    Proxmox's own ``qmp``, then ``qmp``. Among equals, the first on the command line is taken. A
    monitor on which QEMU is the client (Proxmox's ``qmp-event``) is never taken.
    """
    usable = [monitor for monitor in monitors if monitor.chardev.unusable is None]
    return min(usable, key=_reluctance, default=None)


def _reluctance(monitor: QmpMonitor) -> int:
    label, path = monitor.chardev.id, monitor.chardev.path or ""
    if "frostwatch" in label or "frostwatch" in path.rpartition("/")[2]:
        return 0
    if label == "qmp" and "/qemu-server/" in path:
        return 2
    return 1
