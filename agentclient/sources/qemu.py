"""The source ``qemu``: the QEMU processes of this host, with Proxmox's names and locks.

VMs of libvirt are listed, so that nobody misses them, but without agent and monitor: libvirt
serves both sockets itself, and a visitor would break into its conversation (protocol §1.7). They
carry `Vm.out_of_reach` and `Vm.freeze_disabled`, so that a freeze is refused with the reason.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentclient.sources.base import Abilities, Note
from agentclient.sources.cmdline import parse_command_line
from agentclient.sources.command import AgentPort, Chardev, QemuCommand
from agentclient.sources.processes import QemuProcess, find_qemu
from agentclient.sources.proxmox import ProxmoxConfig, read_config
from agentclient.vm import AgentChannel, MonitorChannel, Peer, Process, Vm, VmId

SOURCE = "qemu"
LIBVIRT = "libvirt owns this VM and its agent's channel, which nobody else may open"


class _Found(NamedTuple):
    """One process with all that is written about it."""

    qemu: QemuProcess
    command: QemuCommand
    config: ProxmoxConfig

    @property
    def name(self) -> str:
        vmid, pid = self.command.vmid, self.qemu.process.pid
        fallback = f"pid{pid}" if vmid is None else f"vm{vmid}"
        return self.config.name or self.command.name or fallback


class QemuSource:
    """QEMU processes found in ``/proc``.

    A process keeps the id under which it was first listed for as long as it lives: a second VM of
    the same name, or a new name in Proxmox, must not turn an operation's VM into another one.

    Args:
        proc: where the proc file system is.
        pve: where Proxmox keeps its configuration.
    """

    name = SOURCE

    def __init__(self, proc: Path = Path("/proc"), pve: Path = Path("/etc/pve")) -> None:
        self._proc = proc
        self._pve = pve
        self._lock = threading.Lock()
        self._ids: dict[Process, VmId] = {}
        self._known: list[QemuProcess] = []
        self._commands: dict[Process, QemuCommand] = {}
        self._notes: tuple[Note, ...] = ()

    def abilities(self) -> Abilities:
        """Return what can be done with the VMs found here."""
        return Abilities(freeze=True, monitor=True, port_state=True, processes=True, locks=True)

    def notes(self) -> tuple[Note, ...]:
        """Return what the last `list_vms` could not see."""
        return self._notes

    def list_vms(self) -> list[Vm]:
        """Return the VMs of the QEMU processes that run now, lowest pid first.

        Raises:
            FrostwatchError: ``/proc`` can't be listed.
        """
        with self._lock:
            processes, notes = find_qemu(self._proc, self._known)
            self._parse(processes)
            self._known = processes
            # QEMU without a machine is a program that asks QEMU what it can do.
            found = [
                self._found(one) for one in processes if not self._commands[one.process].no_machine
            ]
            names = {one.qemu.process: one.name for one in found}
            self._ids = give_ids(names, self._ids)
            described = [_describe(one, self._ids[one.qemu.process]) for one in found]
            self._notes = (*notes, *(note for _, more in described for note in more))
            return _without_shared_channels([vm for vm, _ in described])

    def _parse(self, processes: Sequence[QemuProcess]) -> None:
        """Parse what is new, and forget what has gone."""
        # One that was seen between its fork and its start as QEMU has another command line now.
        old = {one.process: one.argv for one in self._known}
        self._commands = {
            one.process: self._commands[one.process]
            if old.get(one.process) == one.argv
            else parse_command_line(one.argv)
            for one in processes
        }

    def _found(self, qemu: QemuProcess) -> _Found:
        command = self._commands[qemu.process]
        vmid = command.vmid
        config = ProxmoxConfig() if vmid is None else read_config(self._pve, vmid)
        return _Found(qemu, command, config)


def give_ids(names: Mapping[Process, str], known: Mapping[Process, VmId]) -> dict[Process, VmId]:
    """Return an id for each process: its name if that is unique, else with ``#PID`` behind it.

    Args:
        names: the name of each process that runs now.
        known: the ids given before; they are kept.
    """
    ids = {process: known[process] for process in names if process in known}
    taken = {vm_id.name for vm_id in ids.values()}
    counts = Counter(names.values())
    for process, name in names.items():
        if process in ids:
            continue
        unique = name if counts[name] == 1 else f"{name}#{process.pid}"
        while unique in taken:
            unique += f"#{process.pid}"
        taken.add(unique)
        ids[process] = VmId(SOURCE, unique)
    return ids


def _describe(found: _Found, vm_id: VmId) -> tuple[Vm, list[Note]]:
    vm = Vm(
        vm_id,
        process=found.qemu.process,
        peer=Peer(found.qemu.process, found.qemu.uid),
        locked_by=found.config.locked_by,
        freeze_disabled=found.config.freeze_disabled,
    )
    if found.command.libvirt:
        advice = "Use libvirt's own tools for this VM: frostwatch only lists it."
        vm = vm._replace(out_of_reach=LIBVIRT, freeze_disabled=vm.freeze_disabled or LIBVIRT)
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
    texts.append(_guess(found.command.agent))
    return vm, [Note(str(vm_id), text) for text in texts if text]


def _guess(port: AgentPort | None) -> str | None:
    if port is None or port.guessed_from is None:
        return None
    return (
        f"its {port.transport} port {port.chardev.id} is taken for the agent's because of the word"
        f" {port.guessed_from!r} in its name"
    )


def _agent(found: _Found) -> tuple[AgentChannel | None, str | None]:
    """Return the agent's channel, or why there is one that we can't use."""
    port = found.command.agent
    if port is None:
        return None, None
    path = _host_path(found, port.chardev)
    if isinstance(path, Path):
        return AgentChannel(path, port.chardev.id or None, port.transport), None
    return None, f"its agent's channel {port.chardev.id} can't be used: {path}"


def _monitor(found: _Found) -> tuple[MonitorChannel | None, str | None]:
    """Return the monitor, or why there is one that we can't use."""
    monitor = found.command.monitor
    if monitor is None:
        return None, None
    path = _host_path(found, monitor.chardev)
    if isinstance(path, Path):
        return MonitorChannel(path), None
    return None, f"its monitor {monitor.chardev.id} can't be used: {path}"


def _host_path(found: _Found, chardev: Chardev) -> Path | str:
    """Return where a chardev's socket is for us, or why that can't be told."""
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
    """Return `path` as a process in a container means it; unchanged if that is the same file."""
    inside = root / path.relative_to("/")
    try:
        return path if path.samefile(inside) else inside
    except OSError:
        return inside


def _without_shared_channels(vms: Sequence[Vm]) -> list[Vm]:
    """Forbid freezes where two processes name one agent's socket: only one can own it."""
    counts = Counter(vm.agent.path for vm in vms if vm.agent is not None)
    return [
        vm._replace(freeze_disabled=vm.freeze_disabled or _shared(vm.agent.path))
        if vm.agent is not None and counts[vm.agent.path] > 1
        else vm
        for vm in vms
    ]


def _shared(path: Path) -> str:
    return (
        f"another QEMU process names the same agent's socket {path}: which VM it is can't be told"
    )
