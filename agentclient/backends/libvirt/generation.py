"""What tells one start of a domain from its next one."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agentclient.access.host.process import PROC, process_of
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.vm import Process

_LONGEST_NUMBER: Final = 32
_LONGEST_COMMAND: Final = 1 << 20
_FEWEST_WORDS: Final = 3  # a process that is ending has none


def generation_of(domain: Any, uri: Uri) -> str:
    """Return the word for a start of a domain.

    A daemon that was restarted may give a number once more, so that the QEMU process is part of the
    word, where that can be seen.

    Args:
        domain: the domain, which runs.
        uri: its daemon's address.
    """
    word = f"{uri.word}#{domain.UUIDString()}#{domain.ID()}"
    folder = uri.run_folder
    if folder is None:
        return word
    process = _process_in(folder, domain.name())
    return word if process is None else f"{word}#{process.pid}.{process.start_ticks}"


def _process_in(folder: Path, name: str) -> Process | None:
    """Return the process of a domain, by the file that its daemon keeps; None if it is not known.

    The folder may be another user's, who may put anything in there: a pipe, a device, or the number
    of a process that is somebody else's.
    """
    if "/" in name:
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError, ValueError):
        handle = os.open(folder / f"{name}.pid", flags)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return None
            process = process_of(int(os.read(handle, _LONGEST_NUMBER)))
        finally:
            os.close(handle)
        if process is None:
            return None
        return process if found.st_uid in (0, (PROC / str(process.pid)).stat().st_uid) else None
    return None


def daemon_of(generation: str) -> str:
    """Return what the daemon is called that a start of a domain is of (`Uri.word`)."""
    return generation.split("#", maxsplit=1)[0]


def uuid_of(generation: str) -> str:
    """Return the UUID of a start's domain; empty if the word has none."""
    return (*generation.split("#"), "")[1]


def process_of_start(generation: str) -> str:
    """Return what tells the process of a start on this host; empty if that was not seen."""
    return (*generation.split("#"), "", "", "", "")[3]


def was_to_take_a_guest(generation: str) -> bool | None:
    """Return whether the process of a start on this host was started to go on with a guest.

    Its command line says so for as long as it runs; why the domain runs is another thing once it
    was paused.

    Returns:
        False if it was started for a new guest; None if that can't be seen.
    """
    pid = process_of_start(generation).partition(".")[0]
    if not pid.isdecimal():
        return None
    try:
        with (PROC / pid / "cmdline").open("rb") as file:
            words = frozenset(file.read(_LONGEST_COMMAND).split(b"\0"))
    except OSError:
        return None
    if b"-incoming" in words:
        return True
    return None if b"-loadvm" in words or len(words) < _FEWEST_WORDS else False


def number_of(generation: str) -> int:
    """Return libvirt's number of a start; -1 if the word has none."""
    parts = generation.split("#")
    return int(parts[2]) if len(parts) > 2 and parts[2].isdecimal() else -1
