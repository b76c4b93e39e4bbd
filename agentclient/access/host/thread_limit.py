"""How many threads a process may still start: QEMU ends, and its guest with it, if one can't be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.model.vm import Process

CGROUPS: Final = Path("/sys/fs/cgroup")
_NO_LIMIT: Final = "max"


def threads_left(process: Process | None, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how many threads the control groups of a process let it start.

    Args:
        process: the process; None if it is not known.
        proc: where the proc file system is.
        cgroups: where the control groups are.

    Returns:
        The number; None if there is no limit, or none is known.
    """
    if process is None:
        return None
    try:
        lines = (proc / str(process.pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    return min((left for line in lines for left in _left(line, cgroups)), default=None)


def _left(line: str, cgroups: Path) -> Iterator[int]:
    """Yield what each group of one hierarchy lets it start; a line of cgroups(7)."""
    _, _, rest = line.partition(":")
    controllers, _, name = rest.partition(":")
    if controllers not in ("", "pids") or ".." in name:
        return
    root = cgroups / controllers
    group = root / name.lstrip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):
            most = (folder / "pids.max").read_text().strip()
            if most != _NO_LIMIT:
                yield max(0, int(most) - int((folder / "pids.current").read_text()))
        if folder == root:
            return
