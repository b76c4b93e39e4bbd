"""Finds the QEMU processes of this host in ``/proc``.

A process may vanish between two reads, belong to another user, or be hidden: it is left out or
listed with what could be read, with a note, and the others are not affected.
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

# -run-with async-teardown=on: a clone with the VM's command line, named so by QEMU.
_CLEANUP = b"cleanup/"

_DROPS_RIGHTS = frozenset({"runas", "run-with"})


class QemuProcess(NamedTuple):
    """A running QEMU.

    Attributes:
        argv: its command line; bytes that are no UTF-8 as Python's file names carry them.
        parent: its parent's pid.
        directory: its working directory, None if we may not see it.
        root: the folder under which its files are found from here; None if it is ours, or if that
            can't be seen.
        uid: the user who runs it; None if that can't be seen.
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
    """Return the QEMU processes, lowest pid first, and what could not be read.

    Args:
        proc: where the proc file system is.
        known: what an earlier call returned; of these only the identity is read again.

    Raises:
        FrostwatchError: `proc` can't be listed at all.
    """
    try:
        pids = sorted(int(one.name) for one in proc.iterdir() if one.name.isdecimal())
    except OSError as error:
        raise FrostwatchError(f"can't list the processes in {proc}: {error.strerror}") from error
    scan = _Scan(proc, {one.process: one for one in known})
    found = [process for pid in pids if (process := scan.look_at(pid))]
    return without_twins(found), [*scan.notes, *scan.hidden()]


def without_twins(processes: Iterable[QemuProcess]) -> list[QemuProcess]:
    """Leave out the short-lived copies that QEMU makes of itself.

    A child with its parent's command line is a helper (a network script) just before it becomes
    another program: the parent is the VM. With ``-daemonize`` the process that was started waits
    until its grandchild is ready: the later one is the VM.
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
            pass  # it vanished while we were looking, or is no VM's (a zombie, a helper)
        return None

    def _look_at(self, pid: int) -> QemuProcess | None:
        folder = self._proc / str(pid)
        certain = True
        try:
            if not is_qemu(str((folder / "exe").readlink())):
                return None
        except PermissionError:
            certain = False
        process, parent = _stat(folder)
        if certain and process in self._known:
            return self._with_its_user(self._known[process])
        argv = _command_line(folder)
        # Anybody can give a program any argv[0]: it only counts where nothing better can be read.
        if not argv or not (certain or is_qemu(argv[0])):
            return None
        if _stat(folder)[0] != process:
            return None  # the pid was used again between the two reads
        if not certain:
            self._note_foreign(pid)
        uid = user_of(process, self._proc)
        return QemuProcess(process, argv, parent, self._directory(folder), self._root(folder), uid)

    def _with_its_user(self, known: QemuProcess) -> QemuProcess:
        """Look again who runs a QEMU that gives up its user's rights once it has started."""
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
        """Return the way to a process's files if it lives in a container or a changed root."""
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
                hides=True,
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
        ValueError, IndexError: not what the kernel writes (proc_pid_stat(5)), or no VM's process.
    """
    name, fields = stat_fields(folder)
    if name.startswith(_CLEANUP):
        raise ValueError("QEMU's helper that outlives it to free its memory")
    return Process(int(folder.name), start_ticks(fields)), int(fields[1])


def _command_line(folder: Path) -> tuple[str, ...]:
    raw = (folder / "cmdline").read_bytes()
    return tuple(os.fsdecode(word) for word in raw.removesuffix(b"\0").split(b"\0")) if raw else ()
