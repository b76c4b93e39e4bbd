"""What a QEMU command line describes (`agentclient.backends.qemu.command_parser` reads it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentclient.model.states import Transport


class Chardev(NamedTuple):
    """A character device of QEMU's, as far as a visitor needs it.

    Attributes:
        id: QEMU's label for it.
        backend: ``socket``, ``pty``, ``stdio`` …
        path: the UNIX socket's path as it was written, perhaps relative; None if it has none.
        listens: QEMU is the server, so that others can connect.
        handed_over: somebody else opened the socket, and gave it to QEMU.
        abstract: the path is a name in Linux' abstract name space, not a file.
        reconnect: QEMU is a client that tries again.
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
        chardev: where it ends on the host.
        looks_like: the word for which a port may be an agent's although it isn't named as one;
            None if it is.
    """

    chardev: Chardev
    transport: Transport
    looks_like: str | None = None


class QmpMonitor(NamedTuple):
    """A monitor that speaks QMP, and the option that made it."""

    chardev: Chardev
    option: str


class QemuCommand(NamedTuple):
    """What one command line says.

    Attributes:
        name: the VM's name, empty if it has none.
        vmid: Proxmox's number, None elsewhere.
        uuid: the machine's, empty if it has none.
        agent: None if no agent's channel was found.
        perhaps: without one, a port that only looks like it: nothing is ever written there.
        monitors: all that speak QMP, in the command line's order.
        chroot: QEMU's ``-chroot``; it is entered *after* the sockets are made.
        daemonized: QEMU went to ``/`` after its sockets were made.
        no_machine: ``-machine none``: a program asks QEMU what it can do; there is no VM.
        libvirt: libvirt owns the VM and its sockets.
        notes: what the command line leaves unsaid, a sentence each.
    """

    name: str = ""
    vmid: int | None = None
    uuid: str = ""
    agent: AgentPort | None = None
    perhaps: AgentPort | None = None
    monitors: tuple[QmpMonitor, ...] = ()
    chroot: str | None = None
    daemonized: bool = False
    no_machine: bool = False
    libvirt: bool = False
    notes: tuple[str, ...] = ()

    @property
    def monitor(self) -> QmpMonitor | None:
        """The monitor to visit: see `preferred_monitor`."""
        return preferred_monitor(self.monitors)


def preferred_monitor(monitors: Sequence[QmpMonitor]) -> QmpMonitor | None:
    """Choose the monitor to visit; None if none can be connected to.

    A monitor serves one client at a time, so the best is the one that nobody else uses: first one
    that was made for us (its id or file name says ``frostwatch``), then any that is not Proxmox's
    own ``qmp``, then that one. Among equals the first on the command line. Those on which QEMU is
    the client (Proxmox's ``qmp-event``) belong to somebody else and are never taken.
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
