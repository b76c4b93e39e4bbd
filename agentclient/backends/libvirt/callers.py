"""Which other client of a daemon may keep a domain's agent, by what it was started to do.

libvirt itself tells whose call has an agent half a minute after another one began to wait for it,
and nothing before: no job information has it, nor the administrator's interface. A `virsh` says it
on its command line, to whoever may see it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from agentclient.access.host.socket_clients import clients_of
from agentclient.model.others import ChannelClient
from agentclient.model.text import printable

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


def likely_caller(sockets: Iterable[Path], names: Collection[str]) -> str | None:
    """Return who may keep a domain's agent, as words; None if nobody is seen that may.

    Args:
        sockets: where the daemon listens.
        names: what the domain is called: its name, its UUID, its number.
    """
    ours = os.getpid()
    seen = clients_of(tuple(sockets))
    for pid in sorted({client.pid for found in seen.values() for client in found} - {ours}):
        words = _command_line(pid)
        asks = asked_by(words, names)
        if asks is not None:
            program = printable(Path(words[0]).name, 60)
            return str(ChannelClient(f"{program} {asks}", pid))
    return None


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
