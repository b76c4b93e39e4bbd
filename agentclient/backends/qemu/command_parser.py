"""Parses a QEMU command line: the VM's name, its agent's channel and its monitors.

The parser is pure, and never raises: anybody on the host can start a process with any command line.
It does not see what is configured elsewhere: in files named by ``-readconfig`` (there is a note
then), and devices that were plugged in later.

Facts used: Proxmox 8 starts ``-chardev socket,id=qmp,path=…,server=on,wait=off`` with
``-mon chardev=qmp,mode=control`` and a second one, ``qmp-event``, on which QEMU is the *client* of
``qmeventd``. libvirt 9 passes its sockets to QEMU as descriptors (``fd=``) and calls its monitor
``charmonitor``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from agentclient.backends.option_string import is_on, options
from agentclient.backends.qemu.command import (
    AgentPort,
    Chardev,
    QemuCommand,
    QmpMonitor,
    preferred_monitor,
)
from agentclient.backends.socket_check import is_libvirts_path
from agentclient.model.states import Transport

AGENT_PORT_NAME = re.compile(r"org\.qemu\.guest_agent\.[0-9]+")
# Proxmox's name for the chardev of an agent on ``-device isa-serial``, whose port has no name.
ISA_AGENT_CHARDEV = "qga0"

# These options take the next word as their value, also if it looks like an option. After any other
# option, a word that starts with a dash is the next option: not all flags of QEMU are known here.
_TAKE_ANYTHING = frozenset(
    {"-name", "-id", "-chardev", "-device", "-qmp", "-qmp-pretty", "-mon", "-monitor", "-serial"}
    | {"-chroot", "-readconfig", "-object", "-append", "-kernel", "-initrd", "-drive", "-pidfile"}
    | {"-smbios", "-fw_cfg", "-D", "-uuid", "-runas"}
)
_AGENT_WORDS = re.compile(r"qga|qemu-ga|guest[-_.]?agent|(?<![a-z])agent(?![a-z])", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SERIAL_DRIVERS = frozenset({"isa-serial", "pci-serial"})


def parse_command_line(argv: Sequence[str]) -> QemuCommand:
    """Return the description of a QEMU command line, whose first word is the program's name."""
    reader = _Reader()
    for option, value in _pairs(argv):
        reader.take(option, value)
    return reader.result()


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    index = 1
    while index < len(argv):
        word = argv[index]
        index += 1
        if not word.startswith("-"):
            continue  # a disk image may be given without an option
        option = word[1:] if word.startswith("--") else word
        takes = index < len(argv) and (option in _TAKE_ANYTHING or not argv[index].startswith("-"))
        yield option, argv[index] if takes else ""
        index += takes


class _Reader:
    """Collects the options; `result` evaluates them at the end, since their order is free."""

    def __init__(self) -> None:
        self.name = ""
        self.vmid: int | None = None
        self.uuid = ""
        self.chroot: str | None = None
        self.daemonized = False
        self.machine = ""
        self.libvirt = False
        self.human_monitor = False
        self.serials = 0
        self.chardevs: dict[str, Chardev] = {}
        self.devices: list[dict[str, str]] = []
        self.monitors: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def take(self, option: str, value: str) -> None:
        match option:
            case "-name":
                self.name = options(value, "guest").get("guest", self.name)
            case "-id":
                # Ten digits at most, since it becomes part of a file's name.
                self.vmid = int(value) if re.fullmatch(r"[0-9]{1,10}", value) else self.vmid
            case "-chardev":
                self._chardev(value)
            case "-device":
                self.devices.append(options(value, "driver"))
            case "-serial":
                self._serial(value)
            case "-qmp" | "-qmp-pretty":
                self.monitors.append(
                    (self._compat(f"compat_monitor{len(self.monitors)}", value), option)
                )
            case "-mon":
                self._mon(value)
            case "-monitor":
                self.human_monitor = value != "none"
            case _:
                self._other(option, value)

    def _other(self, option: str, value: str) -> None:
        match option:
            case "-chroot":
                self.chroot = value
            case "-run-with":  # QEMU 8.1 and newer
                self.chroot = options(value).get("chroot", self.chroot)
            case "-daemonize":
                self.daemonized = True
            case "-machine" | "-M":
                self.machine = options(value, "type").get("type", self.machine)
            case "-uuid":
                self.uuid = value.lower()
            case "-smbios":
                self.uuid = options(value, "file").get("uuid", self.uuid).lower()
            case "-object":
                self.libvirt |= "masterKey0" in value and "/libvirt/" in value
            case "-readconfig":
                self.notes.append(
                    f"it reads more of its configuration from {value} (-readconfig), which is not"
                    " looked at: an agent or a monitor configured there is not seen"
                )

    def _chardev(self, value: str) -> None:
        chardev = _chardev(options(value, "backend"))
        self.chardevs[chardev.id] = chardev

    def _compat(self, label: str, value: str) -> str:
        """Take a device in the short syntax (``unix:PATH,server``); return its chardev's id."""
        kind, _, rest = value.partition(":")
        if kind == "chardev":
            return rest
        found = options(rest, "path") if kind == "unix" else {}
        # Other kinds (tcp:, pty, mon:stdio) are kept, so that a note can say why we can't use them.
        backend = "socket" if kind == "unix" else kind
        self.chardevs[label] = _chardev({**found, "id": label, "backend": backend})
        return label

    def _serial(self, value: str) -> None:
        # QEMU numbers all serial ports, also those that name a chardev of their own.
        chardev = self._compat(f"serial{self.serials}", value)
        self.serials += 1
        self.devices.append({"driver": "isa-serial", "chardev": chardev, "option": "-serial"})

    def _mon(self, value: str) -> None:
        found = options(value, "chardev")
        if found.get("mode") == "control":
            self.monitors.append((found.get("chardev", ""), "-mon"))
        else:
            self.human_monitor = True

    def result(self) -> QemuCommand:
        agent = self._agent()
        possible_agent = (
            None if agent else next(filter(None, map(self._similar_port, self.devices)), None)
        )
        monitors = tuple(
            QmpMonitor(self.chardevs[label], option)
            for label, option in self.monitors
            if label in self.chardevs
        )
        self._note_monitors(monitors)
        return QemuCommand(
            name=self.name,
            vmid=self.vmid,
            uuid=self.uuid if _UUID.fullmatch(self.uuid) else "",
            agent=agent,
            possible_agent=possible_agent,
            monitors=monitors,
            chroot=self.chroot,
            daemonized=self.daemonized,
            no_machine=self.machine == "none",
            libvirt=self.libvirt or _libvirts_chardevs(self.chardevs.values()),
            notes=tuple(self.notes),
        )

    def _note_monitors(self, monitors: Sequence[QmpMonitor]) -> None:
        if preferred_monitor(monitors) is not None:
            return
        self.notes += [
            f"its monitor {monitor.chardev.id} can't be used: {monitor.chardev.unusable}"
            for monitor in monitors
        ]
        if self.human_monitor and not monitors:
            self.notes.append("it has a monitor for people only, none that speaks QMP")

    def _agent(self) -> AgentPort | None:
        """Return the agent's port, which its name has to prove: nothing is written on a guess."""
        named = [port for port in map(self._named_port, self.devices) if port]
        named = named or [port for port in map(self._proxmox_isa_port, self.devices) if port]
        if len(named) > 1:
            self.notes.append(
                f"it has {len(named)} ports for agents; the first ({named[0].chardev.id}) is used"
            )
        return next(iter(named), None)

    def _named_port(self, device: dict[str, str]) -> AgentPort | None:
        name = AGENT_PORT_NAME.fullmatch(device.get("name", ""))
        if device.get("driver") != "virtserialport" or name is None:
            return None
        label = device.get("chardev", "")
        chardev = self.chardevs.get(label, Chardev(label, "unknown to the command line"))
        return AgentPort(chardev, Transport.VIRTIO_SERIAL)

    def _proxmox_isa_port(self, device: dict[str, str]) -> AgentPort | None:
        label = device.get("chardev")
        if device.get("driver") != "isa-serial" or "option" in device or label != ISA_AGENT_CHARDEV:
            return None
        chardev = self.chardevs.get(label)
        return AgentPort(chardev, Transport.ISA_SERIAL) if chardev else None

    def _similar_port(self, device: dict[str, str]) -> AgentPort | None:
        driver = device.get("driver", "")
        chardev = self.chardevs.get(device.get("chardev", ""))
        if chardev is None or device.get("name"):
            return None
        word = _agent_word(chardev)
        if word is None:
            return None
        if driver == "virtserialport":
            return AgentPort(chardev, Transport.VIRTIO_SERIAL, word)
        if driver in _SERIAL_DRIVERS:
            return AgentPort(chardev, Transport.ISA_SERIAL, word)
        return None


def _chardev(found: dict[str, str]) -> Chardev:
    path = found.get("path") if _is_path(found.get("path", "")) else None
    is_socket = found.get("backend") == "socket"
    return Chardev(
        id=found.get("id", ""),
        backend=f"{found.get('host', '')}:{found['port']}"
        if is_socket and "port" in found
        else found.get("backend", ""),
        path=path if is_socket else None,
        listens=is_on(found.get("server")),
        handed_over=is_socket and ("fd" in found or (path or "").startswith("/dev/fdset/")),
        abstract=is_on(found.get("abstract")),
        reconnect=found.get("reconnect", found.get("reconnect-ms", "0")) != "0",
    )


def _is_path(text: str) -> bool:
    """Whether it can be a file's path: JSON can name what no system takes."""
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _agent_word(chardev: Chardev) -> str | None:
    """Return the word in a chardev's id or file name that suggests an agent; None if none."""
    # Only the file's own name: a folder such as /srv/build-agent/ says nothing about the socket.
    for text in (chardev.id, (chardev.path or "").rpartition("/")[2]):
        found = _AGENT_WORDS.search(text)
        if found:
            return found.group()
    return None


def _libvirts_chardevs(chardevs: Iterable[Chardev]) -> bool:
    # If we are wrong, one VM can't be frozen; if we missed it, we would use libvirt's own channel.
    return any(
        chardev.id == "charmonitor" or is_libvirts_path(chardev.path or "") for chardev in chardevs
    )
