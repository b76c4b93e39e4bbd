"""Finds the keyboard and the serial ports of a guest, for SysRq keys and serial breaks.

``query-chardev`` lists labels, not the devices behind them, so that these are looked up in QEMU's
object tree: a break may go to a serial port of the guest, never to its agent's port or a monitor.
Which of several ports is the kernel's console can't be seen: a person names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC, has_gone, socket_identity, user_name
from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.access.stream import (
    Channel,
    ConnectFailed,
    ConnectProblem,
    StreamEnded,
    UnixChannel,
    UnixEndpoint,
)
from agentclient.model.text import printable
from agentclient.model.vm import Peer, Process, Vm
from agentclient.protocol.qemu_port import (
    PERIPHERALS,
    Chardev,
    agent_chardev,
    chardevs,
    socket_path,
)
from agentclient.protocol.qmp import QmpFailure, QmpReply, value_of

FOLDERS: Final = (*PERIPHERALS, "/machine/unattached")
_SERIAL_TYPES: Final = frozenset(
    {"isa-serial", "pci-serial", "serial-mm", "pl011", "spapr-vty", "sclpconsole", "sclplmconsole"}
)
_KEYBOARD_TYPES: Final = ("i8042", "usb-kbd", "virtio-keyboard", "adb-keyboard")
_PTY: Final = re.compile(r"pty:/dev/pts/(0|[1-9][0-9]{0,6})")
# The kernel's numbers of the kind of device that /dev/pts/N is (Documentation/admin-guide).
_MAJORS_OF_PTYS: Final = range(136, 144)


@dataclass(frozen=True, slots=True)
class Serial:
    """A serial port of the guest.

    Attributes:
        label: its chardev's id in QEMU.
        filename: its other end on the host, as ``query-chardev`` tells it.
    """

    label: str
    filename: str

    @property
    def place(self) -> Path | None:
        """The path of its socket or terminal on the host; None if it has none."""
        if _PTY.fullmatch(self.filename):
            return Path(self.filename.removeprefix("pty:"))
        path = socket_path(self.filename)
        return Path(path) if path and ",server" in self.filename else None

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent to it now, as a clause; None if it can."""
        name = printable(self.label, 60)
        if self.place is None:
            where = printable(self.filename, 60)
            return f"nothing can be typed at {name} from here (it is {where})"
        if not self.filename.startswith(("pty:", "disconnected:")):
            return f"somebody else is at the serial port {name}: leave it, or type there"
        return None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was found of a VM's keyboards and serial ports.

    Attributes:
        keyboard: whether it has a keyboard; None if that can't be seen.
        serials: its serial ports, without one that is the agent's channel.
        trouble: why the devices could not be listed; None if they could.
        no_break: why no break can be sent to a serial port, as a clause; None if one can.
    """

    keyboard: bool | None = None
    serials: tuple[Serial, ...] = ()
    trouble: str | None = None
    no_break: str | None = None

    def console(self, label: str | None) -> Serial | str:
        """Return the guest's console, or why it is not known, as a clause.

        Args:
            label: what a person named; None for the only serial port.
        """
        if self.trouble is not None:
            return self.trouble
        labels = ", ".join(printable(one.label, 60) for one in self.serials) or "none"
        if label is not None:
            named = next((one for one in self.serials if one.label == label), None)
            named_it = printable(label, 60)
            return named or f"{named_it} is no serial port of the guest (they are: {labels})"
        if len(self.serials) == 1:
            return self.serials[0]
        if not self.serials:
            return "the guest has no serial port"
        return f"which serial port is the guest's console can't be told: name one of {labels}"


def find_inputs(monitor: Monitor, vm: Vm) -> Inputs:
    """Find a VM's keyboards and serial ports in three short visits to its monitor; never raises.

    Args:
        monitor: the VM's monitor.
        vm: the VM, whose agent's channel is left out.
    """
    try:
        listings = monitor.ask([Ask("qom-list", {"path": folder}) for folder in FOLDERS])
        devices = _devices(listings)
        paths = [path for path, kind in devices if kind in _SERIAL_TYPES]
        gets = [Ask("qom-get", {"path": path, "property": "chardev"}) for path in paths]
        *labels, backends = monitor.ask([*gets, Ask("query-chardev")])
    except MonitorError as error:
        return Inputs(trouble=f"monitor: {error}")
    # A listing that is refused or empty says nothing: every machine has devices.
    seen = all(isinstance(one, QmpReply) and one.value for one in listings[-1:])
    keyboard = any(kind.startswith(_KEYBOARD_TYPES) for _, kind in devices)
    found = _serials([value_of(one) for one in labels], chardevs(value_of(backends)), vm)
    return Inputs(keyboard if seen or keyboard else None, found)


def _devices(listings: Sequence[QmpReply | QmpFailure]) -> list[tuple[str, str]]:
    """Return the path and the type of each device in the replies to ``qom-list``."""
    found = []
    for folder, answer in zip(FOLDERS, listings, strict=True):
        value = value_of(answer)
        for item in value if isinstance(value, list) else []:
            kind = item.get("type") if isinstance(item, dict) else None
            if isinstance(kind, str) and kind.startswith("child<"):
                found.append((f"{folder}/{item.get('name')}", kind[len("child<") : -1]))
    return found


def _serials(labels: Sequence[object], backends: list[Chardev], vm: Vm) -> tuple[Serial, ...]:
    agent = agent_chardev(backends, vm.agent) if vm.agent else None
    taken = {agent.label} if agent else set()
    if vm.monitor is not None:
        # A monitor behind a multiplexer may share a serial port's backend.
        taken |= {one.label for one in backends if _leads_to(one, vm.monitor.path)}
    return tuple(
        Serial(one.label, one.filename)
        for one in backends
        if one.label in labels and one.label not in taken
    )


def _leads_to(chardev: Chardev, path: Path) -> bool:
    """Return whether a chardev's socket is the one at `path`, also under another name."""
    found = socket_path(chardev.filename)
    if found is None or found == str(path):
        return found is not None
    which = socket_identity(Path(found))
    return which is not None and which == socket_identity(path)


class _Terminal:
    """An open terminal as a channel that is only written to.

    Args:
        fd: its descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes, deadline: float) -> None:  # noqa: ARG002 - a key fits at once
        try:
            os.write(self._fd, data)
        except OSError as error:
            raise StreamEnded(str(error)) from error

    def receive(self) -> bytes:
        return b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def connect_serial(serial: Serial, vm: Vm) -> Channel:
    """Connect to a serial port's socket or terminal, if the VM's own process serves it (P10).

    The port's path comes from the monitor, which may be another program's. So the process that
    serves the monitor has to serve the port too; the agent may be reached through a relay.

    Raises:
        ConnectFailed: its socket or terminal can't be reached, or is not the VM's.
        OSError: its terminal can't be opened.
    """
    place = serial.place
    assert place is not None, "see `Serial.problem`"
    if _PTY.fullmatch(serial.filename):
        return _Terminal(_open_pty(place, vm))
    connected: UnixChannel = UnixEndpoint(place, vm.monitor_peer or vm.peer).connect()
    return connected


def _open_pty(path: Path, vm: Vm) -> int:
    """Open ``/dev/pts/N``, and no other file that may be in its place.

    Raises:
        ConnectFailed: it is not the terminal of the VM's process.
        OSError: it can't be opened.
    """
    process, uid = vm.monitor_peer or vm.peer or Peer(vm.process, None)
    if process is None:
        raise _not_its_own(path, "which process is the VM's is not known")
    # Resolved in the process's root: in a container the same number may be another terminal.
    place = PROC / str(process.pid) / "root" / path.relative_to("/")
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    # Checked before it is opened for use, since opening some devices has effects.
    with closing(_Terminal(os.open(place, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW))) as seen:
        _check_pty(path, os.fstat(seen.fileno()), uid)
    fd = os.open(place, flags)
    try:
        _check_pty(path, os.fstat(fd), uid)
        if not _is_behind(process, int(path.name)):
            raise _not_its_own(path, f"pid {process.pid} is not behind it")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_pty(path: Path, found: os.stat_result, uid: int | None) -> None:
    is_pty = stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _MAJORS_OF_PTYS
    if not is_pty:
        raise _not_its_own(path, "it is no terminal of that kind")
    if uid is not None and found.st_uid != uid:
        raise _not_its_own(path, f"it belongs to user {user_name(found.st_uid)}")


def _is_behind(process: Process, number: int) -> bool:
    """Return whether a process has the other end of the terminal (proc(5), ``tty-index``)."""
    folder = PROC / str(process.pid) / "fdinfo"
    wanted = f"tty-index:\t{number}".encode()
    try:
        names = os.listdir(folder)  # noqa: PTH208 - hundreds of names, and no paths
    except OSError:
        return False
    return not has_gone(process) and any(wanted in _lines(folder / name) for name in names)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:  # it has been closed meanwhile
        return []


def _not_its_own(path: Path, why: str) -> ConnectFailed:
    text = f"{path} is not known to be the VM's own: {why}; nothing was written to it"
    return ConnectFailed(ConnectProblem.NOT_THE_VM, text)
