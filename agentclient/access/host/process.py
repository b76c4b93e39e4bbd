"""Is it still the VM that was meant? A pid alone may be used again by another process (P6)."""

from __future__ import annotations

import pwd
from pathlib import Path

from agentclient.model.text import printable
from agentclient.model.vm import Process

PROC = Path("/proc")
# Zombie, dead: its parent has not asked for its end yet, which changes nothing about it.
_ENDED = (b"Z", b"X")
_DELETED = " (deleted)"


def stat_fields(folder: Path) -> tuple[bytes, list[bytes]]:
    """Return a process's name and the fields behind it in its ``stat`` (proc_pid_stat(5)).

    Args:
        folder: the process's folder, ``/proc/4711``.

    Raises:
        OSError: it has gone, or may not be read.
        ValueError: this is not what the kernel writes.
    """
    text = (folder / "stat").read_bytes()
    # The second field is the program's name in parentheses, and may itself contain ") 1 (".
    end = text.rindex(b")")
    return text[text.index(b"(") + 1 : end], text[end + 1 :].split()


def start_ticks(fields: list[bytes]) -> int:
    """Return when a process was started, in clock ticks since the host's boot.

    Raises:
        ValueError, IndexError: this is not what the kernel writes.
    """
    return int(fields[19])


def started_at(pid: int, proc: Path = PROC) -> int | None:
    """Return when a process was started, in clock ticks since the host's boot; None: not known."""
    try:
        return start_ticks(stat_fields(proc / str(pid))[1])
    except (OSError, ValueError, IndexError):
        return None


def process_of(pid: int, proc: Path = PROC) -> Process | None:
    """Return a process with its start time; None if it has ended, or that can't be told."""
    ticks = started_at(pid, proc)
    return None if ticks is None else Process(pid, ticks)


def is_qemu(program: str) -> bool:
    """Return whether a program's path, as ``/proc`` shows it, is a system emulator of QEMU's."""
    # After an upgrade the old program goes on running from a deleted file.
    name = program.removesuffix(_DELETED).rpartition("/")[2].removeprefix(".")
    kind = name.removeprefix("qemu-system-")
    return name in ("qemu-kvm", "kvm") or (kind != name and bool(kind))


def has_gone(process: Process | None, proc: Path = PROC) -> bool:
    """Return whether it is sure that this process has ended, perhaps replaced by another.

    Args:
        process: None where the source doesn't know it: then nothing is sure.
        proc: where the proc file system is.
    """
    if process is None:
        return False
    try:
        _, fields = stat_fields(proc / str(process.pid))
        return fields[0] in _ENDED or start_ticks(fields) != process.start_ticks
    except FileNotFoundError:
        return (proc / "self").exists()
    except (OSError, ValueError, IndexError):
        return False


def socket_identity(path: Path) -> str | None:
    """Return what tells a socket's file from a later one in its place; None if it isn't there."""
    try:
        return file_identity(path)
    except (OSError, ValueError):
        return None


def file_identity(path: Path) -> str:
    """Return what tells a file from a later one in its place.

    Raises:
        OSError: it isn't there, or we may not look.
        ValueError: this is no path.
    """
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"


def owner_of(pid: int, proc: Path = PROC) -> str | None:
    """Return the name of the user who runs a process; None if it has ended.

    It is looked up each time: in weeks a pid is another process's.
    """
    try:
        return user_name((proc / str(pid)).stat().st_uid)
    except OSError:
        return None


def user_name(uid: int) -> str:
    """Return a user's name; the number where it has none."""
    try:
        return printable(pwd.getpwuid(uid).pw_name, 60)
    except KeyError:
        return str(uid)
