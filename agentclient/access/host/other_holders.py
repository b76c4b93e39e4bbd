"""Other frostwatches at work: which of them freezes, holds or thaws a guest now (O1).

The journal knows it best; where it is another one's, such as another user's, the process that holds
the agent's channel tells whose it is. Neither needs a word to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import process_of, user_name
from agentclient.access.host.socket_clients import Client
from agentclient.model.snapshot import HeldBy
from agentclient.model.vm import Process

HOLDER: Final = "frostwatch-hold"
_PROC: Final = Path("/proc")


def seen_among(clients: Iterable[Client], proc: Path = _PROC) -> HeldBy | None:
    """Return which frostwatch has a channel, by the processes that are connected to it.

    Args:
        clients: who is connected.
        proc: where the proc file system is.

    Returns:
        None if none of them is the holder of another frostwatch.
    """
    for client in clients:
        if client.name == HOLDER and not client.waiting:
            with suppress(OSError, ValueError, IndexError):
                return _by_process(client.pid, proc)
    return None


def holders_for(pid: int, proc: Path = _PROC) -> list[Process]:
    """Return the holders that stand by for a frostwatch, the newest first.

    Args:
        pid: its process, which may have ended.
        proc: where the proc file system is.
    """
    found = []
    with suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdecimal():
                with suppress(OSError, ValueError, IndexError):
                    if _is_holder(folder) and _console_of(folder) == pid:
                        found += [one for one in [process_of(int(folder.name), proc)] if one]
    return sorted(found, key=lambda one: one.start_ticks, reverse=True)


def _is_holder(folder: Path) -> bool:
    return (folder / "comm").read_bytes().strip() == HOLDER.encode()


def _console_of(folder: Path) -> int:
    """Return whose holder a process is: its last argument."""
    return int((folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")[-1])


def _by_process(holder: int, proc: Path) -> HeldBy:
    folder = proc / str(holder)
    pid = _console_of(folder)
    ended = not (proc / str(pid)).exists()
    return HeldBy(pid, user_name(folder.stat().st_uid), holder=holder, ended=ended)
