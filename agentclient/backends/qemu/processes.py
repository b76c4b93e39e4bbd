"""Finds the QEMU processes of this host in ``/proc``.

A process may end between two reads, belong to another user, or be hidden. It is then left out, or
listed with what could be read and a note; the other processes are not affected.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from agentclient.access.host.peer import user_of
from agentclient.access.host.process import is_qemu, start_ticks, stat_fields
from agentclient.backends.base import Note
from agentclient.model.errors import FrostwatchError
from agentclient.model.vm import Process

# With -run-with async-teardown=on, QEMU starts a clone with the VM's command line, and names it so.
_CLEANUP = b"cleanup/"

_DROPS_RIGHTS = frozenset({"runas", "run-with"})


class QemuProcess(NamedTuple):
    """A running QEMU process.

    Attributes:
        process: its pid and start time.
        argv: its command line; bytes that are no UTF-8 are decoded with ``surrogateescape``.
        parent: its parent's pid.
        directory: its working directory, None if we may not read it.
        root: the path of its root folder as this process sees it; None if both have the same root,
            or if we may not read it.
        uid: the user who runs it; None if that can't be read.
    """

    process: Process
    argv: tuple[str, ...]
    parent: int = 0
    directory: Path | None = None
    root: Path | None = None
    uid: int | None = None


def find_qemu(
    proc: Path = Path("/proc"), known: Iterable[QemuProcess] = ()
) -> tuple[list[QemuProcess], list[Note]]:
    """Return the QEMU processes, sorted by pid, and notes about what could not be read.

    Args:
        proc: the proc file system.
        known: the result of an earlier call; of these, only the identity is read again.

    Raises:
        FrostwatchError: `proc` can't be listed at all.
    """
    try:
        names = os.listdir(proc)  # noqa: PTH208 - hundreds of names, and no paths
    except OSError as error:
        raise FrostwatchError(f"can't list the processes in {proc}: {error.strerror}") from error
    pids = sorted(int(name) for name in names if name.isdecimal())
    scan = _Scan(proc, {one.process: one for one in known})
    found = [process for pid in pids if (process := scan.look_at(pid))]
    return without_forked_copies(found), [*scan.notes, *scan.hidden()]


def without_forked_copies(processes: Iterable[QemuProcess]) -> list[QemuProcess]:
    """Remove the short-lived copies that QEMU makes of itself by ``fork``.

    A child with its parent's command line is a helper (a network script) before its ``exec``: the
    parent is the VM. With ``-daemonize``, the first process waits until its grandchild is ready:
    the grandchild is the VM.
    """
    groups: dict[tuple[str, ...], list[QemuProcess]] = defaultdict(list)
    for process in processes:
        groups[process.argv].append(process)
    kept: list[QemuProcess] = []
    for argv, group in groups.items():
        pids = {one.process.pid for one in group}
        heads = [one for one in group if one.parent not in pids]
        if "-daemonize" in argv or "--daemonize" in argv:
            heads = heads and [max(heads, key=_age)]
        kept += heads
    return sorted(kept, key=lambda one: one.process.pid)


def _age(one: QemuProcess) -> tuple[int, int]:
    return one.process.start_ticks, one.process.pid


class _Scan:
    """One pass over ``/proc``, and what it could not read."""

    def __init__(self, proc: Path, known: Mapping[Process, QemuProcess]) -> None:
        self._proc = proc
        self._known = known
        self._our_names = _link(proc / "self" / "ns" / "mnt")
        self._unreadable = 0
        self.notes: list[Note] = []

    def look_at(self, pid: int) -> QemuProcess | None:
        """Return the process if it is a QEMU; None if not, or if it has gone."""
        try:
            return self._look_at(pid)
        except PermissionError:
            self._unreadable += 1
        except (OSError, ValueError, IndexError):
            pass  # it ended between two reads, or is no VM (a zombie, a helper)
        return None

    def _look_at(self, pid: int) -> QemuProcess | None:
        certain = True
        try:
            if not is_qemu(os.readlink(f"{self._proc}/{pid}/exe")):  # noqa: PTH115 - hundreds
                return None
        except PermissionError:
            certain = False
        folder = self._proc / str(pid)
        process, parent = _stat(folder)
        if certain and process in self._known:
            return self._with_its_user(self._known[process])
        argv = _command_line(folder)
        # Anybody can choose a program's argv[0]: it counts only where nothing better can be read.
        if not argv or not (certain or is_qemu(argv[0])):
            return None
        if _stat(folder)[0] != process:
            return None  # the pid was used again between the two reads
        if not certain:
            self._note_foreign(pid)
        uid = user_of(process, self._proc)
        return QemuProcess(process, argv, parent, self._directory(folder), self._root(folder), uid)

    def _with_its_user(self, known: QemuProcess) -> QemuProcess:
        """Read a QEMU's user again: QEMU may change to another user after its start."""
        if not any(word.lstrip("-") in _DROPS_RIGHTS for word in known.argv):
            return known
        return known._replace(uid=user_of(known.process, self._proc))

    def _note_foreign(self, pid: int) -> None:
        self.notes.append(
            Note(
                f"process {pid}",
                "it is another user's, and taken for a QEMU by its command line alone: its program"
                " and its working directory can't be read",
                "Run frostwatch as root, or as the user that runs this VM.",
            )
        )

    def _directory(self, folder: Path) -> Path | None:
        found = _link(folder / "cwd")
        return Path(found) if found else None

    def _root(self, folder: Path) -> Path | None:
        """Return the path of a process's root if it runs in a container or a chroot."""
        names, root = _link(folder / "ns" / "mnt"), _link(folder / "root")
        same_names = not names or not self._our_names or names == self._our_names
        if same_names and root in (None, "/"):
            return None
        return folder / "root"

    def hidden(self) -> list[Note]:
        """Return a note if processes are hidden from us."""
        if self._unreadable == 0 and os.access(self._proc / "1", os.F_OK):
            return []
        return [
            Note(
                "source qemu",
                "other users' processes are hidden here, so their VMs are not seen",
                "Run frostwatch as root (the proc file system is mounted with hidepid, or"
                " frostwatch is confined).",
                may_hide_vms=True,
            )
        ]


def _link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:
        return None


def _stat(folder: Path) -> tuple[Process, int]:
    """Return the process's identity and its parent's pid.

    Raises:
        ValueError, IndexError: the file is not as in proc_pid_stat(5), or the process is no VM's.
    """
    name, fields = stat_fields(folder)
    if name.startswith(_CLEANUP):
        raise ValueError("QEMU's helper that outlives it to free its memory")
    return Process(int(folder.name), start_ticks(fields)), int(fields[1])


def _command_line(folder: Path) -> tuple[str, ...]:
    raw = (folder / "cmdline").read_bytes()
    return tuple(os.fsdecode(word) for word in raw.removesuffix(b"\0").split(b"\0")) if raw else ()
