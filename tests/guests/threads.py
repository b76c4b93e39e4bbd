"""The threads in which a guest's QEMU reads and writes files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.guests.lab import Guest


def threads_kept(guest: Guest, loop: str | None = None) -> int:
    """How many threads an event loop keeps at the least; None for the main loop."""
    for one in guest.qmp("qom-list", path="/objects"):
        if one["name"] == loop or (loop is None and one["type"] == "child<main-loop>"):
            return int(
                guest.qmp("qom-get", path=f"/objects/{one['name']}", property="thread-pool-min")
            )
    return 0


def waits(guest: Guest) -> list[str]:
    """In which function of the kernel each thread of QEMU's waits."""
    found = []
    for task in Path(f"/proc/{guest.qemu_pid}/task").iterdir():
        with suppress(OSError):
            found.append((task / "wchan").read_text())
    return found
