"""The backend ``qemu``: the QEMU processes of this host, with Proxmox's names and locks.

VMs of libvirt are listed without agent and monitor: libvirt is connected to both sockets, and a
second client would disturb its exchange (protocol §1.7). Their `Vm.out_of_reach` and
`Vm.freeze_disabled` are set, so that a freeze is refused with the reason.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from agentclient.access.access_pool import open_local
from agentclient.access.host.peer import PeersOfSockets, suits
from agentclient.access.host.process import socket_identity, user_name
from agentclient.backends.base import LIBVIRT, LOCAL_S, Abilities, Note
from agentclient.backends.qemu.command import AgentPort, Chardev, QemuCommand
from agentclient.backends.qemu.command_parser import parse_command_line
from agentclient.backends.qemu.migration import target_among
from agentclient.backends.qemu.processes import QemuProcess, find_qemu
from agentclient.backends.qemu.pve_config import ProxmoxConfig, ProxmoxConfigs
from agentclient.model.errors import FrostwatchError
from agentclient.model.states import RunState
from agentclient.model.vm import AgentChannel, Identity, MonitorChannel, Peer, Process, Vm, VmId

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener

SOURCE = "qemu"
_INCOMING: Final = frozenset({"-incoming", "--incoming"})


class Name(NamedTuple):
    """The name of a VM.

    Attributes:
        title: its name, which other VMs may have as well.
        mark: what distinguishes it from those, also after its next start; empty if nothing does.
    """

    title: str
    mark: str = ""


class _Found(NamedTuple):
    """One QEMU process, its parsed command line, and Proxmox's configuration of its VM."""

    qemu: QemuProcess
    command: QemuCommand
    config: ProxmoxConfig

    @property
    def trusted(self) -> bool:
        """Whether the VM's name is trusted: anybody can start a process with any name (P10)."""
        return self.qemu.uid in (0, os.geteuid(), None)

    @property
    def user(self) -> str | None:
        return None if self.qemu.uid is None else user_name(self.qemu.uid)

    @property
    def vmid(self) -> int | None:
        """The VM's number in Proxmox, whose QEMU processes all run as root; None elsewhere."""
        return self.command.vmid if self.trusted else None

    @property
    def title(self) -> str:
        fallback = f"pid{self.qemu.process.pid}" if self.vmid is None else f"vm{self.vmid}"
        name = self.config.name or self.command.name or fallback
        return name if self.trusted else f"{name}@{self.user}"

    @property
    def name(self) -> Name:
        mark = self.command.uuid[:8] if self.vmid is None else str(self.vmid)
        return Name(self.title, mark if self.trusted else "")

    @property
    def selectors(self) -> tuple[str, ...]:
        if not self.trusted:
            return ()
        vmid = () if self.vmid is None else (str(self.vmid), f"{self.title}#{self.vmid}")
        uuid = self.command.uuid
        return (*vmid, *((uuid, f"{self.title}#{uuid[:8]}") if uuid else ()))


class QemuBackend:
    """The VMs of the QEMU processes in ``/proc``.

    A process keeps its first VM id until it ends: when a second VM of the same name is started, or
    Proxmox renames a VM, the id in a running operation must not change.

    Args:
        proc: the proc file system.
        pve: the folder of Proxmox's configuration.
        configs: reads that; None for a reader of its own.
    """

    name = SOURCE
    patience_s = LOCAL_S

    def __init__(
        self,
        proc: Path = Path("/proc"),
        pve: Path = Path("/etc/pve"),
        configs: ProxmoxConfigs | None = None,
    ) -> None:
        self._proc = proc
        self._pve = pve
        self._configs = configs or ProxmoxConfigs(pve)
        self._lock = threading.Lock()
        self._ids: dict[Process, VmId] = {}
        self._known: list[QemuProcess] = []
        self._commands: dict[Process, QemuCommand] = {}
        self._peers = PeersOfSockets()
        self._notes: tuple[Note, ...] = ()

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return the access to one of the VMs; nothing is connected yet."""
        return open_local(vm, opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        """Return the VM of this host to which a guest has migrated; None if none is seen.

        From another host it comes only if it was seen to leave that: a copy has its UUID, too.
        """
        if of.vm.id.host and of.observe().run_state is not RunState.MIGRATED:
            return None
        try:  # by a new list, so that this does not wait for a running one that hangs
            vms = QemuBackend(self._proc, self._pve, self._configs).list_vms()
        except FrostwatchError:
            return None  # the processes of this host can't be listed
        return target_among(vms, of, uuid, self._proc)

    def has_ended(self, identity: Identity) -> bool | None:  # noqa: ARG002
        """Return None: this backend has no identities for starts; the VM's process tells it."""
        return None

    def abilities(self) -> Abilities:
        """Return what can be done with QEMU processes of this host."""
        return Abilities(freeze=True, monitor=True, port_state=True, processes=True, locks=True)

    def notes(self) -> tuple[Note, ...]:
        """Return what the last `list_vms` could not see."""
        return self._notes

    def list_vms(self) -> list[Vm]:
        """Return the VMs of the QEMU processes that run now, sorted by pid.

        Raises:
            FrostwatchError: ``/proc`` can't be listed.
        """
        with self._lock:
            processes, notes = find_qemu(self._proc, self._known)
            self._parse(processes)
            self._known = processes
            # QEMU without a machine was started by a program to ask for QEMU's features: no VM.
            vms = [one for one in processes if not self._commands[one.process].no_machine]
            found = self._with_configs(vms)
            stopped = self._stopped(found)
            names = {one.qemu.process: one.name for one in found}
            self._ids = give_ids(names, self._ids, stopped)
            described = [
                _describe(one, self._ids[one.qemu.process], stopped.get(one.title, ()))
                for one in found
            ]
            self._notes = (*notes, *(note for _, more in described for note in more))
            return self._without_shared_channels([vm for vm, _ in described])

    def _with_configs(self, processes: Sequence[QemuProcess]) -> list[_Found]:
        found = [_Found(one, self._commands[one.process], ProxmoxConfig()) for one in processes]
        vmids = {one.vmid: is_proxmoxs(one.command) for one in found if one.vmid is not None}
        configs = self._configs.read(vmids)
        return [
            one if one.vmid is None else one._replace(config=configs[one.vmid]) for one in found
        ]

    def _stopped(self, found: Sequence[_Found]) -> dict[str, tuple[str, ...]]:
        """Return ``NAME#VMID`` of Proxmox's VMs that don't run, by the VM's name."""
        running = {one.vmid for one in found}
        if running == {None}:
            return {}
        names: dict[str, tuple[str, ...]] = {}
        for vmid, name in sorted(self._configs.names().items()):
            if vmid not in running and name:
                names[name] = (*names.get(name, ()), f"{name}#{vmid}")
        return names

    def _parse(self, processes: Sequence[QemuProcess]) -> None:
        """Parse new command lines, and drop those of ended processes."""
        # A process that was seen between fork and exec has another command line now.
        old = {one.process: one.argv for one in self._known}
        self._commands = {
            one.process: self._commands[one.process]
            if old.get(one.process) == one.argv
            else parse_command_line(one.argv)
            for one in processes
        }

    def _without_shared_channels(self, vms: Sequence[Vm]) -> list[Vm]:
        """Disable freezes of VMs that name the same agent's socket, except of its owner."""
        sockets = [None if vm.agent is None else self._socket(vm.agent.path) for vm in vms]
        counts = Counter(sockets)
        shared = {socket for socket in sockets if socket is not None and counts[socket] > 1}
        if not shared:
            return list(vms)
        return [
            vm
            if socket not in shared
            else self._judged(
                vm, [other for other, its in zip(vms, sockets, strict=True) if its == socket]
            )
            for vm, socket in zip(vms, sockets, strict=True)
        ]

    def _socket(self, path: Path) -> str:
        return socket_identity(path) or os.path.realpath(path)

    def _judged(self, vm: Vm, sharers: Sequence[Vm]) -> Vm:
        assert vm.agent is not None, "it shares its socket"
        found = self._peers.of(vm.agent.path)
        owners = [one for one in sharers if found and one.peer and suits(found, one.peer)]
        if owners == [vm]:
            return vm
        return vm._replace(freeze_disabled=vm.freeze_disabled or _shared(vm.agent.path, found))


def give_ids(
    names: Mapping[Process, Name], known: Mapping[Process, VmId], stopped: Container[str] = ()
) -> dict[Process, VmId]:
    """Return an id for each process: the VM's name if it is unique, else the name and its mark.

    Args:
        names: the VM's name of each process that runs now.
        known: the ids of earlier calls; they are kept.
        stopped: the names of VMs that don't run.
    """
    ids = {process: known[process] for process in names if process in known}
    taken = {vm_id.name for vm_id in ids.values()}
    titles, both = Counter(name.title for name in names.values()), Counter(names.values())
    for process, name in names.items():
        if process in ids:
            continue
        unique = name.title
        if titles[unique] > 1 or unique in taken or unique in stopped:
            mark = name.mark if name.mark and both[name] == 1 else process.pid
            unique = f"{unique}#{mark}"
        while unique in taken:
            unique += f"#{process.pid}"
        taken.add(unique)
        ids[process] = VmId(SOURCE, unique)
    return ids


def is_proxmoxs(command: QemuCommand) -> bool:
    """Return whether a VM's sockets are in Proxmox's folder for sockets."""
    chardevs = [one.chardev for one in command.monitors]
    chardevs += [command.agent.chardev] if command.agent else []
    return any("/run/qemu-server/" in (one.path or "") for one in chardevs)


def _describe(found: _Found, vm_id: VmId, namesakes: tuple[str, ...]) -> tuple[Vm, list[Note]]:
    vm = Vm(
        vm_id,
        process=found.qemu.process,
        peer=Peer(found.qemu.process, found.qemu.uid),
        locked_by=found.config.locked_by,
        freeze_disabled=found.config.freeze_disabled,
        user=found.user,
        title=found.title,
        selectors=found.selectors,
        namesakes=namesakes,
        # Anybody can start a QEMU with another VM's UUID, to pass for that VM's migration (P10).
        uuid=(found.command.uuid or None) if found.trusted else None,
        incoming=found.trusted and not _INCOMING.isdisjoint(found.qemu.argv),
    )
    if found.command.libvirt:
        advice = "frostwatch reaches it through that daemon, if it is named: -c qemu:///system."
        vm = vm._replace(
            out_of_reach=LIBVIRT,
            freeze_disabled=vm.freeze_disabled or LIBVIRT,
            domain=found.command.uuid or None,
        )
        return vm, [Note(str(vm_id), LIBVIRT, advice)]
    agent, out_of_reach = _agent(found)
    monitor, no_monitor = _monitor(found)
    vm = vm._replace(
        agent=agent,
        monitor=monitor,
        out_of_reach=out_of_reach,
        freeze_disabled=vm.freeze_disabled or out_of_reach,
    )
    texts = [*found.command.notes, out_of_reach, no_monitor, found.config.trouble]
    return vm, [Note(str(vm_id), text) for text in texts if text]


def _possible_agent(port: AgentPort, path: Path | str) -> str:
    """Return what a person can do about a port that is only perhaps an agent's."""
    where = path if isinstance(path, Path) else "PATH"
    return (
        f"its {port.transport} port {port.chardev.id} is perhaps an agent's (the word"
        f" {port.looks_like!r} is in its name): nothing is written on a guess. If it is, name it"
        f" with --vm name=NAME,agent={where},transport={port.transport}"
    )


def _agent(found: _Found) -> tuple[AgentChannel | None, str | None]:
    """Return the agent's channel, and why it can't be used if there is one that can't."""
    port, similar = found.command.agent, found.command.possible_agent
    if port is None:
        if similar is None:
            return None, None
        return None, _possible_agent(similar, _host_path(found, similar.chardev))
    path = _host_path(found, port.chardev)
    if isinstance(path, Path):
        return AgentChannel(path, port.chardev.id or None, port.transport), None
    return None, f"its agent's channel {port.chardev.id} can't be used: {path}"


def _monitor(found: _Found) -> tuple[MonitorChannel | None, str | None]:
    """Return the monitor, and why it can't be used if there is one that can't."""
    monitor = found.command.monitor
    if monitor is None:
        return None, None
    path = _host_path(found, monitor.chardev)
    if isinstance(path, Path):
        return MonitorChannel(path), None
    return None, f"its monitor {monitor.chardev.id} can't be used: {path}"


def _host_path(found: _Found, chardev: Chardev) -> Path | str:
    """Return the path of a chardev's socket as this process sees it, or why it is not known."""
    if chardev.unusable is not None:
        return chardev.unusable
    path = Path(chardev.path or "")
    if not path.is_absolute():
        if found.command.daemonized or found.command.chroot is not None:
            return f"its path {path} is relative to a folder that QEMU has left since"
        if found.qemu.directory is None:
            return f"its path {path} is relative, and the process's folder can't be seen"
        path = found.qemu.directory / path
    root = None if found.command.chroot is not None else found.qemu.root
    return path if root is None else _through(root, path)


def _through(root: Path, path: Path) -> Path:
    """Return a path inside of a container as this process sees it.

    Args:
        root: the container's root, as this process sees it.
        path: the path as the process in the container means it; returned if it is the same file.
    """
    inside = root / path.relative_to("/")
    try:
        return path if path.samefile(inside) else inside
    except OSError:
        return inside


def _shared(path: Path, found: Peer | None) -> str:
    shared = f"another QEMU process names the same agent's socket {path}"
    if found is None or found.process is None:
        return f"{shared}: which VM it is can't be told"
    return f"{shared}, and pid {found.process.pid} listens there"
