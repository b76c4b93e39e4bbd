"""Who holds a UNIX socket of this host, and who waits for it: names and pids (protocol §8.9).

The kernel tells the two ends of every connection (sock_diag(7)), /proc whose they are. Both need no
word to anybody. Other users' processes are only seen by root.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentclient.model.others import ChannelClient
from agentclient.model.text import printable

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHOW: Final = 0x2 | 0x4 | 0x8  # its file, peer, connections that wait to be accepted
_FILE, _PEER, _ICONS = 1, 2, 3
_ALL_STATES: Final = 0xFFFFFFFF
_LISTEN: Final = 10
_CONNECTED: Final = 1 << 1  # the state of both ends of a connection
_SHOW_FILE: Final = 0x2
_ANSWER_S: Final = 1.0
# Proxmox's workers name themselves by their task (protocol §10.4), which is longer than a `comm`.
_TASK: Final = "task UPID:"
_LONGEST_TASK: Final = 160


# What a socket is bound to: the device and the inode of a file.
File = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Client:
    """A process with a connection to a socket.

    Attributes:
        name: what the process is called; safe to show.
        waiting: another client is served, so that this one waits in silence.
    """

    pid: int
    name: str
    waiting: bool

    def __str__(self) -> str:
        return str(ChannelClient(self.name, self.pid))


@dataclass(frozen=True, slots=True)
class _Socket:
    """What the kernel tells of one socket; numbers are inodes, its own and others'.

    Attributes:
        file: what it is bound to: the device and the inode of a file; None if to nothing.
    """

    number: int
    listening: bool
    file: File | None
    peer: int
    waiting: tuple[int, ...]


def clients(path: Path) -> tuple[Client, ...]:
    """Return who is connected to the socket at `path`, the one that is served first.

    By whatever name: a socket is its file, not its path.

    Returns:
        Nothing if it can't be told: another user's process, no such socket, an old kernel.
    """
    return clients_of([path])[path]


def clients_of(paths: Iterable[Path]) -> Mapping[Path, tuple[Client, ...]]:
    """Return the same for many sockets, by one look at the sockets and processes of the host."""
    files = {path: file_of(path) for path in paths}
    wanted = {file for file in files.values() if file is not None}
    bound: dict[File, list[_Socket]] = {}
    try:
        for one in _sockets() if wanted else ():
            if one.file in wanted:
                assert one.file is not None, "it is one of those that are looked for"
                bound.setdefault(one.file, []).append(one)
    except (OSError, struct.error):
        bound = {}
    served = {one.peer for found in bound.values() for one in found if not one.listening}
    waiting = {inode for found in bound.values() for one in found for inode in one.waiting}
    owners = _owners((served | waiting) - {0})
    return {
        path: tuple(_clients_at(bound.get(file, ()) if file is not None else (), owners))
        for path, file in files.items()
    }


def _clients_at(
    found: Iterable[_Socket], owners: Mapping[int, tuple[int, str]]
) -> Iterator[Client]:
    """Yield who is connected to a socket, the one that is served first."""
    ends = list(found)
    served = {one.peer for one in ends if not one.listening}
    waiting = {inode for one in ends if one.listening for inode in one.waiting}
    for inode in (*sorted(served), *sorted(waiting - served)):
        if inode in owners:
            yield Client(*owners[inode], waiting=inode in waiting)


def listens(pid: int, path: Path) -> bool:
    """Return whether it is sure that a process has the socket at `path` on which it is listened."""
    numbers = {one.number for one in _bound_to(path) if one.listening}
    return not numbers.isdisjoint(_sockets_of(Path("/proc") / str(pid)))


def listeners(paths: Iterable[Path]) -> Mapping[Path, tuple[int, ...]]:
    """Return which processes have the sockets open on which they listen at `paths`.

    Nobody is connected to: what is connected to a socket that serves another client stays in its
    queue, also when it has been closed since.

    Returns:
        The processes that we may see; several where one has handed its socket to another one.
    """
    files = {file: path for path in paths if (file := file_of(path)) is not None}
    try:
        found = [one for one in _sockets() if one.listening and one.file in files]
    except (OSError, struct.error):
        return {}
    holders = _holders({one.number for one in found})
    result: dict[Path, tuple[int, ...]] = {}
    for one in found:
        assert one.file is not None, "it is one of those that are looked for"
        result[files[one.file]] = holders.get(one.number, ())
    return result


def connected() -> set[File]:
    """Return the files of all sockets of this host that somebody is connected to."""
    try:
        return {one.file for one in _sockets(_CONNECTED, _SHOW_FILE) if one.file is not None}
    except (OSError, struct.error):
        return set()


def in_words(found: tuple[Client, ...]) -> str | None:
    """Return who holds a channel and who waits for it, as a clause; None if nobody is known."""
    served = ", ".join(str(one) for one in found if not one.waiting)
    waiting = ", ".join(str(one) for one in found if one.waiting)
    parts = [f"held by {served}" if served else "", f"{waiting} waits for it" if waiting else ""]
    return "; ".join(filter(None, parts)) or None


def _bound_to(path: Path) -> list[_Socket]:
    file = file_of(path)
    try:
        return [one for one in _sockets() if one.file == file] if file is not None else []
    except (OSError, struct.error):
        return []


def file_of(path: Path) -> File | None:
    """Return a file's device and inode as the kernel tells them of sockets; None if it is away."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The kernel's own number of a device, and 32 bits of an inode's (unix_diag).
    return os.major(found.st_dev) << 20 | os.minor(found.st_dev), found.st_ino & 0xFFFFFFFF


def _sockets(states: int = _ALL_STATES, show: int = _SHOW) -> Iterator[_Socket]:
    """Yield the UNIX sockets of this network namespace."""
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, states, 0, show, 0, 0)
    head = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as ask:
        ask.settimeout(_ANSWER_S)
        ask.send(head + request)
        while True:
            data = ask.recv(1 << 18)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (_DONE, _ERROR) or length < 16:
                    return
                yield _socket(data[16:length])
                data = data[(length + 3) & ~3 :]


def _socket(body: bytes) -> _Socket:
    """Read a ``unix_diag_msg`` and its attributes."""
    _family, _kind, state, _pad, number = struct.unpack_from("=BBBBI", body)
    attributes = dict(_attributes(body[16:]))
    peer = attributes.get(_PEER, b"\0\0\0\0")
    icons = attributes.get(_ICONS, b"")
    inode, device = struct.unpack_from("=II", attributes.get(_FILE, bytes(8)))
    return _Socket(
        number,
        state == _LISTEN,
        (device, inode) if inode else None,
        struct.unpack_from("=I", peer)[0],
        struct.unpack(f"={len(icons) // 4}I", icons[: len(icons) // 4 * 4]),
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def _owners(inodes: set[int]) -> Mapping[int, tuple[int, str]]:
    """Return the process of each socket, as far as we may see it."""
    names = {inode: pids[-1] for inode, pids in _holders(inodes).items()}
    return {inode: (pid, _name(Path(f"/proc/{pid}"))) for inode, pid in names.items()}


def _holders(inodes: set[int]) -> Mapping[int, tuple[int, ...]]:
    """Return the processes that have each socket open, as far as we may see them."""
    found: dict[int, tuple[int, ...]] = {}
    if not inodes:
        return found
    with suppress(OSError):  # no descriptor is left to read it with
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            for inode in _sockets_of(process) & inodes:
                found[inode] = (*found.get(inode, ()), int(process.name))
    return found


def _sockets_of(process: Path) -> set[int]:
    """Return the inodes of a process's sockets; none if we may not see them."""
    inodes = set()
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):  # it has been closed meanwhile
                link = str(entry.readlink())
                if link.startswith("socket:["):
                    inodes.add(int(link[8:-1]))
    return inodes


def _name(process: Path) -> str:
    try:
        name = (process / "comm").read_text().strip()
        if name.startswith(_TASK):
            name = (process / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            return printable(name.strip(), _LONGEST_TASK)
        return printable(name, 40)
    except OSError:
        return "a process that has ended"
