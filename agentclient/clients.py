"""Who holds a UNIX socket of this host, and who waits for it: names and pids (protocol §8.9).

The kernel tells the two ends of every connection (sock_diag(7)), /proc whose they are. Both need no
word to anybody. Other users' processes are only seen by root.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentclient.text import printable

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHOW: Final = 0x1 | 0x4 | 0x8  # name, peer, connections that wait to be accepted
_NAME, _PEER, _ICONS = 0, 2, 3
_ALL_STATES: Final = 0xFFFFFFFF
_LISTEN: Final = 10
_ANSWER_S: Final = 1.0


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
        return f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class _Socket:
    """What the kernel tells of one socket; numbers are inodes."""

    listening: bool
    name: str
    peer: int
    waiting: tuple[int, ...]


def clients(path: Path) -> tuple[Client, ...]:
    """Return who is connected to the socket at `path`, the one that is served first.

    Returns:
        Nothing if it can't be told: another user's process, no such socket, an old kernel.
    """
    try:
        found = [one for one in _sockets() if one.name == str(path)]
    except (OSError, struct.error):
        return ()
    served = {one.peer for one in found if not one.listening and one.peer}
    waiting = {inode for one in found if one.listening for inode in one.waiting if inode}
    owners = _owners(served | waiting)
    return tuple(
        Client(*owners[inode], waiting=inode in waiting)
        for inode in (*sorted(served), *sorted(waiting - served))
        if inode in owners
    )


def in_words(found: tuple[Client, ...]) -> str | None:
    """Return who holds a channel and who waits for it, as a clause; None if nobody is known."""
    served = ", ".join(str(one) for one in found if not one.waiting)
    waiting = ", ".join(str(one) for one in found if one.waiting)
    parts = [f"held by {served}" if served else "", f"{waiting} waits for it" if waiting else ""]
    return "; ".join(filter(None, parts)) or None


def _sockets() -> Iterator[_Socket]:
    """Yield all UNIX sockets of this network namespace."""
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW, 0, 0)
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
    _family, _kind, state, _pad, _inode = struct.unpack_from("=BBBBI", body)
    attributes = dict(_attributes(body[16:]))
    peer = attributes.get(_PEER, b"\0\0\0\0")
    icons = attributes.get(_ICONS, b"")
    return _Socket(
        state == _LISTEN,
        attributes.get(_NAME, b"").rstrip(b"\0").decode(errors="surrogateescape"),
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
    found: dict[int, tuple[int, str]] = {}
    if not inodes:
        return found
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        for inode in _sockets_of(process) & inodes:
            found[inode] = (int(process.name), _name(process))
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
        return printable((process / "comm").read_text().strip(), 40)
    except OSError:
        return "a process that has ended"
