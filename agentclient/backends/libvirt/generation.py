"""What tells one start of a domain from its next one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from agentclient.access.host.process import process_of
from agentclient.backends.libvirt.uris import Uri


def generation_of(domain: Any, uri: Uri) -> str:
    """Return the word for a start of a domain.

    A daemon that was restarted may give a number once more, so that the QEMU process is part of the
    word, where that can be seen.

    Args:
        domain: the domain, which runs.
        uri: its daemon's address.
    """
    word = f"{uri.text}#{domain.UUIDString()}#{domain.ID()}"
    folder = uri.run_folder
    if folder is None:
        return word
    with suppress(OSError, ValueError):
        process = process_of(int(Path(folder, f"{domain.name()}.pid").read_text()))
        if process is not None:
            return f"{word}#{process.pid}.{process.start_ticks}"
    return word


def daemon_of(generation: str) -> str:
    """Return the address of the daemon that a start of a domain is of."""
    return generation.split("#", maxsplit=1)[0]


def uuid_of(generation: str) -> str:
    """Return the UUID of a start's domain; empty if the word has none."""
    return (*generation.split("#"), "")[1]


def process_of_start(generation: str) -> str:
    """Return what tells the process of a start on this host; empty if that was not seen."""
    return (*generation.split("#"), "", "", "", "")[3]


def number_of(generation: str) -> int:
    """Return libvirt's number of a start; -1 if the word has none."""
    parts = generation.split("#")
    return int(parts[2]) if len(parts) > 2 and parts[2].isdecimal() else -1
