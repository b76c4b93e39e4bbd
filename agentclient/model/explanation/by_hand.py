"""Command lines for a person who does it without frostwatch, with the VM's own manager. Pure.

A VM of Proxmox has `qm`, one of libvirt `virsh`; any other has its sockets, to which `socat` talks.
Each socket serves one client at a time: a command waits there while another one is connected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from agentclient.model.explanation.entry import Hand
from agentclient.model.shell_words import quoted
from agentclient.model.vm import LIBVIRT_SOURCE, Vm


class Manager(StrEnum):
    """Who runs a VM, and so by which tool it is reached."""

    PROXMOX = "Proxmox"
    LIBVIRT = "libvirt"
    SOCKETS = "sockets"


class ByHand(NamedTuple):
    """One thing that can be done by hand.

    Attributes:
        what: what the command does.
        command: one line for a shell of the host; or of the guest, where `what` says so.
    """

    what: str
    command: str


class _Names(NamedTuple):
    """What the commands call a VM, as words of a shell; None for what it does not have."""

    manager: Manager
    domain: str
    vmid: str
    agent: str | None
    monitor: str | None


# Proxmox keeps its sockets there, named by the VM's number.
_PROXMOX: Final = re.compile(r"/run/qemu-server/(?P<vmid>[1-9][0-9]*)\.(?:qmp|qga)$")
_FOR_SOCAT: Final = re.compile(r"""([\\,:!"'()\[\]{}])""")
_AGENTS: Final[Mapping[Hand, tuple[str, str, int]]] = MappingProxyType(
    {
        # The agent's command, qm's word for it, and for how many seconds its answer is waited for.
        Hand.STATUS: ("guest-fsfreeze-status", "fsfreeze-status", 3),
        Hand.INFO: ("guest-info", "info", 3),
        Hand.FILE_SYSTEMS: ("guest-get-fsinfo", "get-fsinfo", 10),
        Hand.FREEZE: ("guest-fsfreeze-freeze", "fsfreeze-freeze", 600),
        Hand.THAW: ("guest-fsfreeze-thaw", "fsfreeze-thaw", 60),
    }
)
_SYSRQ_J: Final = tuple({"type": "qcode", "data": key} for key in ("alt", "sysrq", "j"))
_MONITORS: Final[Mapping[Hand, tuple[str, Mapping[str, object]]]] = MappingProxyType(
    {
        Hand.RUN_STATE: ("query-status", {}),
        Hand.PORT: ("query-chardev", {}),
        Hand.WRITES: ("query-blockstats", {}),
        Hand.JOBS: ("query-jobs", {}),
        Hand.RESUME: ("cont", {}),
        Hand.WAKE: ("system_wakeup", {}),
        Hand.RESET: ("system_reset", {}),
        Hand.SYSRQ: ("send-key", {"keys": _SYSRQ_J}),
        Hand.MIGRATION: ("query-migrate", {}),
    }
)
_VIRSH: Final[Mapping[Hand, str]] = MappingProxyType(
    {
        Hand.RUN_STATE: "domstate --reason {domain}",
        Hand.STATUS: 'qemu-agent-command {domain} \'{"execute":"guest-fsfreeze-status"}\'',
        Hand.INFO: 'qemu-agent-command {domain} \'{"execute":"guest-info"}\'',
        Hand.FILE_SYSTEMS: "domfsinfo {domain}",
        Hand.FREEZE: "domfsfreeze {domain}",
        Hand.THAW: "domfsthaw {domain}",
        Hand.PORT: "dumpxml {domain} | grep guest_agent",  # what asks QEMU itself taints
        Hand.WRITES: "domstats --block {domain}",
        Hand.JOBS: 'qemu-monitor-command {domain} \'{"execute":"query-jobs"}\'',
        Hand.RESUME: "resume {domain}",
        Hand.WAKE: "dompmwakeup {domain}",
        Hand.RESET: "reset {domain}",
        Hand.SYSRQ: "send-key {domain} KEY_LEFTALT KEY_SYSRQ KEY_J",
        Hand.START: "start {domain}",
        Hand.MIGRATION: "domjobinfo {domain}",
    }
)
_QM: Final[Mapping[Hand, str]] = MappingProxyType(
    {
        Hand.RUN_STATE: "status {vmid} --verbose",
        Hand.RESUME: "resume {vmid}",
        Hand.WAKE: "resume {vmid}",
        Hand.RESET: "reset {vmid}",
        Hand.SYSRQ: "sendkey {vmid} alt-sysrq-j",
        Hand.START: "start {vmid}",
        Hand.UNLOCK: "unlock {vmid}",
    }
    | {hand: f"guest cmd {{vmid}} {word}" for hand, (_, word, _) in _AGENTS.items()}
)
_GUEST: Final[Mapping[Hand, str]] = MappingProxyType(
    {
        Hand.IN_GUEST: "journalctl -u qemu-guest-agent -n 50",
        Hand.START_AGENT: "systemctl restart qemu-guest-agent",
        Hand.HOOKS: "ls -l /etc/qemu/fsfreeze-hook.d /etc/qemu/fsfreeze-hook",
    }
)
# What no VM of its own stands for.
_ANY: Final = (
    _Names(Manager.LIBVIRT, "DOMAIN", "VMID", None, None),
    _Names(Manager.PROXMOX, "DOMAIN", "VMID", "AGENT_SOCKET", "QMP_SOCKET"),
    _Names(Manager.SOCKETS, "DOMAIN", "VMID", "AGENT_SOCKET", "QMP_SOCKET"),
)


def by_hand(hands: Iterable[Hand], vm: Vm) -> tuple[ByHand, ...]:
    """Return the commands for some things, by the VM's own manager; what it can't do is left out.

    Args:
        hands: what is to be done.
        vm: the VM.
    """
    names = _names_of(vm)
    found = ((hand, _command(hand, names)) for hand in hands)
    return tuple(ByHand(hand.value, command) for hand, command in found if command is not None)


def by_any_hand(hand: Hand) -> Mapping[str, str]:
    """Return the command for one thing by each manager that can do it, with words in capitals."""
    found = {names.manager.value: _command(hand, names) for names in _ANY}
    told = {manager: command for manager, command in found.items() if command is not None}
    if hand in _GUEST or hand is Hand.CLIENTS:
        return {"any": next(iter(told.values()))}  # it is the same for all
    return told


def _names_of(vm: Vm) -> _Names:
    agent = _for_socat(str(vm.agent.path)) if vm.agent is not None else None
    monitor = _for_socat(str(vm.monitor.path)) if vm.monitor is not None else None
    if vm.source == LIBVIRT_SOURCE or vm.domain is not None:
        name = vm.domain or vm.uuid or vm.title or vm.name
        where = _daemon_of(vm) if vm.source == LIBVIRT_SOURCE else ""
        domain = quoted(name) if not name.startswith("-") else f"-- {quoted(name)}"
        connect = f"-c {quoted(where)} " if where else ""
        return _Names(Manager.LIBVIRT, f"{connect}\0{domain}", "", None, None)
    paths = [str(one.path) for one in (vm.monitor, vm.agent) if one is not None]
    numbers = [match["vmid"] for path in paths if (match := _PROXMOX.search(path)) is not None]
    if numbers:
        return _Names(Manager.PROXMOX, "", numbers[0], agent, monitor)
    return _Names(Manager.SOCKETS, "", "", agent, monitor)


def _daemon_of(vm: Vm) -> str:
    """Return the address of a domain's daemon; of another host's with the way that leads there."""
    return vm.far.address if vm.far is not None else (vm.generation or "").partition("#")[0]


def _command(hand: Hand, names: _Names) -> str | None:
    """Return the command for one thing; None where it can't be done by this manager."""
    if hand in _GUEST:
        return _GUEST[hand]
    if hand is Hand.CLIENTS:
        return "ss -xp"
    if names.manager is Manager.LIBVIRT:
        connect, _, domain = names.domain.rpartition("\0")
        row = _VIRSH.get(hand)
        return None if row is None else f"virsh {connect}{row.replace('{domain}', domain)}"
    if names.manager is Manager.PROXMOX and hand in _QM:
        return f"qm {_QM[hand].replace('{vmid}', names.vmid)}"
    return _by_socket(hand, names)


def _by_socket(hand: Hand, names: _Names) -> str | None:
    if hand in _AGENTS and names.agent is not None:
        command, _, seconds = _AGENTS[hand]
        return _socat([_json(command)], names.agent, seconds)
    if hand in _MONITORS and names.monitor is not None:
        command, arguments = _MONITORS[hand]
        return _socat([_json("qmp_capabilities"), _json(command, arguments)], names.monitor, 2)
    return None


def _socat(lines: Iterable[str], socket: str, seconds: int) -> str:
    """Return a command that sends some lines, and prints what comes back.

    It ends so many seconds after the last byte. QEMU leaves a client that has said its last word,
    so that socat must not tell it of the end of its own input (`ignoreeof`).
    """
    said = " ".join(quoted(line) for line in lines)
    where = quoted(f"UNIX-CONNECT:{socket}")
    return f"printf '%s\\n' {said} | socat -T{seconds} -,ignoreeof {where}"


def _json(command: str, arguments: Mapping[str, object] | None = None) -> str:
    body = {"execute": command} | ({"arguments": arguments} if arguments else {})
    return json.dumps(body, separators=(",", ":"))


def _for_socat(path: str) -> str:
    """Return a path as socat reads it, which has signs of its own."""
    return _FOR_SOCAT.sub(r"\\\1", path)
