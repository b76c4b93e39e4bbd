"""Other frostwatches at work: which of them freezes, holds or thaws a guest now (O1).

The journal knows it best; where it is another one's, such as another user's, the process that holds
the agent's channel tells whose it is. Neither needs a word to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import user_name
from agentclient.access.host.socket_clients import Client
from agentclient.model.snapshot import HeldBy

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


def _by_process(holder: int, proc: Path) -> HeldBy:
    folder = proc / str(holder)
    words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    pid = int(words[-1])  # whose holder it is: its last argument
    ended = not (proc / str(pid)).exists()
    return HeldBy(pid, user_name(folder.stat().st_uid), holder=holder, ended=ended)
