"""Which other client of a daemon may keep a domain's agent, by what it was started to do.

libvirt itself tells whose call has an agent half a minute after another one began to wait for it,
and nothing before: no job information has it, nor the administrator's interface. A `virsh` says it
on its command line, to whoever may see it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from agentclient.access.host.socket_clients import clients_of
from agentclient.model.others import ChannelClient
from agentclient.model.text import printable

EVERY_S: Final = 1.0
_PROC: Final = Path("/proc")
_LONGEST: Final = 64 * 1024
# Virsh's commands that ask an agent; some do with an option alone.
_ALWAYS: Final = frozenset(
    {
        "domfsfreeze",
        "domfsinfo",
        "domfsthaw",
        "domfstrim",
        "domtime",
        "get-user-sshkeys",
        "guestinfo",
        "guestvcpus",
        "qemu-agent-command",
        "set-user-password",
        "set-user-sshkeys",
    }
)
_WITH: Final = {
    "snapshot-create": "--quiesce",
    "snapshot-create-as": "--quiesce",
    "domifaddr": "agent",
    "domhostname": "agent",
    "setvcpus": "--guest",
    "shutdown": "agent",
    "reboot": "agent",
}


class Callers:
    """The other clients of one daemon; thread-safe.

    Args:
        sockets: where the daemon listens on this host.
    """

    def __init__(self, sockets: Iterable[Path]) -> None:
        self._sockets = tuple(sockets)
        self._lock = threading.Lock()
        self._seen_at = float("-inf")
        self._lines: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def likely(self, names: Collection[str]) -> str | None:
        """Return who may keep a domain's agent, as words; None if nobody is seen that may.

        Args:
            names: what the domain is called: its name, its UUID, its number.
        """
        for pid, words in self._seen():
            asks = asked_by(words, names)
            if asks is not None:
                program = printable(Path(words[0]).name, 60)
                return str(ChannelClient(f"{program} {asks}", pid))
        return None

    def _seen(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Return the command lines of all clients: looked for once a second for all domains."""
        with self._lock:
            if time.monotonic() - self._seen_at >= EVERY_S:
                found = clients_of(self._sockets).values() if self._sockets else ()
                pids = {client.pid for each in found for client in each} - {os.getpid()}
                self._lines = tuple((pid, _command_line(pid)) for pid in sorted(pids))
                self._seen_at = time.monotonic()
            return self._lines


def asked_by(words: Collection[str], names: Collection[str]) -> str | None:
    """Return which command of virsh's asks a domain's agent; None if a command line has none.

    Args:
        words: the command line.
        names: what the domain is called.
    """
    one_line = [word for each in words for word in each.split()]  # also virsh 'domfsfreeze db1'
    if not {name for word in one_line for name in (word, word.partition("=")[2])} & {*names}:
        return None
    for word in one_line:
        option = _WITH.get(word)
        if word in _ALWAYS or (option is not None and any(option in each for each in one_line)):
            return word
    return None


def _command_line(pid: int) -> tuple[str, ...]:
    try:
        with (_PROC / str(pid) / "cmdline").open("rb") as file:
            data = file.read(_LONGEST)
    except OSError:
        return ()
    return tuple(word.decode("utf-8", "replace") for word in data.split(b"\0") if word)
