"""Who listens on a UNIX socket, and whether that is the VM that it is to be (P10).

The kernel tells a client who called ``listen()`` (SO_PEERCRED). With QEMU that is QEMU itself,
however it was started: plainly, with ``-daemonize``, in a container, or with a socket that was
handed to it, on which it calls ``listen()`` once more. With ``-runas`` it still was root.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from agentclient.access.host.process import (
    PROC,
    has_gone,
    is_qemu,
    socket_identity,
    start_ticks,
    stat_fields,
    user_name,
)
from agentclient.access.host.unix_socket import connect_to
from agentclient.late import load
from agentclient.model.vm import Peer, Process, Vm

_CREDENTIALS: Final = struct.Struct("3i")
_PEER_PIDFD: Final = 77  # SO_PEERPIDFD, Linux 6.5


class Listener(NamedTuple):
    """Who called ``listen()`` on a socket.

    Attributes:
        pid: 0 if the process is in a pid name space that we can't see into.
        uid: as it was then.
    """

    pid: int
    uid: int


def listener(connection: socket.socket) -> Listener:
    """Return who listens at the other end of a connected UNIX socket.

    Raises:
        OSError: the kernel doesn't tell.
    """
    size = _CREDENTIALS.size
    pid, uid, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return Listener(pid, uid)


def problem_with(connection: socket.socket, path: Path, expected: Peer) -> str | None:
    """Return why the other end of a connection is not who it has to be, as a clause; None if it is.

    It has to be the VM's own process. A process of the VM's user will do that is no other QEMU:
    somebody who passes on what is said, or who has ended since. Where somebody who passes it on
    was found, any QEMU is another one: it is not known which VM's it has to be.

    Args:
        connection: it; nothing was written to it yet.
        path: the socket's path.
        expected: who it has to be.
    """
    try:
        found = listener(connection)
    except (OSError, struct.error) as error:
        return f"who listens on the socket can't be told: {error}"
    process, uid = expected
    if process is not None and found.pid == process.pid:
        if found.uid == uid or _is_that_process(connection, path, process):
            return None
    elif found.uid == uid and not _is_a_qemu(found.pid):
        return None
    who = f"pid {found.pid}, user {user_name(found.uid)}"
    return f"it is not the VM that listens on the socket, but {who}: nothing was written to it"


def suits(found: Peer, expected: Peer) -> bool:
    """Return whether who was found at a socket may be the one who has to be there."""
    if found.process is not None and expected.process is not None:
        return found.process == expected.process
    return expected.uid is not None and found.uid == expected.uid


class PeersOfSockets:
    """Who listens on which socket; looked for once, until another socket is in its place."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[str, Peer]] = {}

    def of(self, path: Path) -> Peer | None:
        """Return who listens there; None if nobody does, or it can't be told."""
        return self.of_all((path,)).get(path)

    def of_all(self, paths: Iterable[Path]) -> Mapping[Path, Peer]:
        """Return who listens at each path, without those where nobody does or it can't be told."""
        which = {path: found for path in paths if (found := socket_identity(path)) is not None}
        for path, peer in find_peers(
            path for path in which if not self._knows(path, which)
        ).items():
            self._found[path] = (which[path], peer)
        return {path: self._found[path][1] for path in which if self._knows(path, which)}

    def _knows(self, path: Path, which: Mapping[Path, str]) -> bool:
        known = self._found.get(path)
        return known is not None and known[0] == which[path] and not has_gone(known[1].process)


def find_peers(paths: Iterable[Path]) -> Mapping[Path, Peer]:
    """Return who listens on each of several sockets, as far as that can be told.

    A process is only named if it is a QEMU: another one passes on what is said, and may be
    replaced while the VM lives.
    """
    wanted = tuple(paths)
    pids = _of_all_processes("listeners")(wanted) if wanted else {}
    found = {path: _among(pids.get(path, ())) or _connected_to(path) for path in wanted}
    return {path: peer for path, peer in found.items() if peer is not None}


def find_peer(path: Path) -> Peer | None:
    """Return who listens on a socket (see `find_peers`); None if nobody does."""
    return find_peers((path,)).get(path)


def _among(pids: Sequence[int]) -> Peer | None:
    """Return who of those that have a socket open listens there; None if that can't be told."""
    processes = [process for process in map(qemu_process, pids) if process is not None]
    if len(processes) == 1:
        return Peer(processes[0], user_of(processes[0]))
    if processes or len(pids) != 1:
        return None
    return Peer(None, user_of(Process(pids[0], 0)))


def _connected_to(path: Path) -> Peer | None:
    """Ask who listens by connecting and closing again without a byte: in containers, say."""
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_UNIX, kind) as connection:
            connect_to(connection, path)
            found = listener(connection)
    except (OSError, ValueError, struct.error):
        return None
    return Peer(qemu_process(found.pid), found.uid)


def sockets_of(vm: Vm) -> tuple[str | None, ...]:
    """Return what tells a VM's sockets from later ones in their place; None for what is away."""
    channels = [channel for channel in (vm.agent, vm.monitor) if channel is not None]
    return tuple(socket_identity(channel.path) for channel in channels)


def is_another(vm: Vm) -> bool:
    """Return whether it is sure that another VM is in the place of the one that was captured."""
    if has_gone(vm.process):
        return True
    now = sockets_of(vm) if vm.sockets else ()
    return any(
        None not in pair and pair[0] != pair[1] for pair in zip(vm.sockets, now, strict=False)
    )


def qemu_process(pid: int, proc: Path = PROC) -> Process | None:
    """Return a process's identity if it is a QEMU, as far as we may see that; None if not."""
    folder = proc / str(pid)
    try:
        _, fields = stat_fields(folder)
        if pid <= 0 or not is_qemu(_program(folder)):
            return None
        return Process(pid, start_ticks(fields))
    except (OSError, ValueError, IndexError):
        return None


def user_of(process: Process, proc: Path = PROC) -> int | None:
    """Return the user who runs a process; None if that can't be told.

    It is the real one: a program that takes another user's rights when it is started runs with
    somebody else's arguments.
    """
    folder = proc / str(process.pid)
    try:
        for line in (folder / "status").read_bytes().splitlines():
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _is_a_qemu(pid: int) -> bool:
    return qemu_process(pid) is not None


def _program(folder: Path) -> str:
    try:
        return str((folder / "exe").readlink())
    except PermissionError:
        # Its arguments are all that we may see of another user's process.
        return os.fsdecode((folder / "cmdline").read_bytes().split(b"\0")[0])


def _is_that_process(connection: socket.socket, path: Path, process: Process) -> bool:
    """Return whether a VM's process has called ``listen()`` as another user (``-runas``).

    The pid alone proves nothing: the one who listened may have ended, and somebody else may have
    got its pid since.
    """
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, _PEER_PIDFD)
    except OSError:
        return bool(_of_all_processes("listens")(process.pid, path))
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)  # it is readable when the process has ended
    finally:
        os.close(pidfd)


def _of_all_processes(name: str) -> Any:
    """Return a function that looks through all processes: few hosts need it, a holder never."""
    return load("agentclient.access.host.socket_clients", name)
