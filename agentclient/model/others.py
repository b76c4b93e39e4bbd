"""Who holds an agent's channel, and what they have pending in its guest."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from agentclient.model.states import Cause, OthersState

# What Proxmox's programs call themselves; each command of theirs has a connection of its own.
_PROXMOX: Final = ("qm", "vzdump", "pvesh", "pvesr")
_PROXMOX_DAEMONS: Final = ("pvedaemon", "pveproxy", "pvescheduler", "pvestatd", "pve-ha-")
FREEZING_LOCKS: Final = frozenset({"backup", "snapshot", "snapshot-delete"})


class ChannelClient(NamedTuple):
    """The process that holds an agent's channel.

    Attributes:
        program: what it calls itself; safe to show.
        pid: its number.
        user: who runs it; None if that can't be told.
        started: when it was started, in clock ticks since the host's boot; None if that can't be
            told.
    """

    program: str
    pid: int
    user: str | None = None
    started: int | None = None

    @property
    def task(self) -> str | None:
        """The Proxmox task that it works on (its UPID); None if it is none of Proxmox's workers."""
        found = self.program.removeprefix("task ")
        return found if found.startswith("UPID:") else None

    @property
    def short(self) -> str:
        """Its name where there is little room: the program's, or the kind of the task."""
        if self.task is None:
            return self.program
        words = self._task_words
        return (words[5] if len(words) > 5 else "") or "task"

    @property
    def asked_by(self) -> str | None:
        """Who asked for the task, or else runs the process; None if that can't be told."""
        words = self._task_words
        return (words[7] if len(words) > 7 else None) or self.user

    @property
    def _task_words(self) -> list[str]:
        """A task's parts: UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER@REALM: (protocol §10.4)."""
        return self.task.split(":") if self.task is not None else []

    @property
    def in_full(self) -> str:
        """What, which process, and for whom."""
        return f"{self._what} (pid {self.pid}{f', {self.asked_by}' if self.asked_by else ''})"

    @property
    def _what(self) -> str:
        if self.task is None:
            return self.program
        words = self._task_words
        return f"Proxmox's {' '.join(filter(None, words[5:7])) if len(words) > 6 else 'task'}"

    def __str__(self) -> str:
        return f"{self._what} (pid {self.pid})"


class WritesSeen(StrEnum):
    """The closed list of what the host's counter of a guest's writes tells while others wait."""

    STOPPED = "stopped"  # it wrote steadily before, and has written nothing for much longer
    GO_ON = "go-on"  # it has written since
    SPARSE = "sparse"  # it hardly wrote before: that it writes nothing proves nothing


class Others(NamedTuple):
    """What somebody else, who holds the agent's channel, has pending in the guest.

    Attributes:
        state: what, as far as the monitor shows it.
        since: since when; of a lost command, since when it was pending. It may be older.
        by: who holds the channel; None while that isn't known.
        cause: why their command is lost; None if it is not.
        took_s: how long their last command took that was pending for a second or more, in seconds.
        certain: with *pending*: proven, and not only likely.
        why_blind: why it can't be told what is pending, as a clause; None if it can.
        overdue: why it is more than what goes on every day, as a clause: it waits for longer than
            usual; None if it is not.
        has_left: who has lost the command, or left it pending, does not wait for it any more.
        writes: what the host's counter of the guest's writes tells meanwhile; None if nothing yet.
        wrote_at: with *stopped*: when it was last seen to have written.
    """

    state: OthersState
    since: datetime
    by: ChannelClient | None = None
    cause: Cause | None = None
    took_s: float | None = None
    certain: bool = False
    why_blind: str | None = None
    overdue: str | None = None
    has_left: bool = False
    writes: WritesSeen | None = None
    wrote_at: datetime | None = None

    @property
    def waits(self) -> bool:
        """Whether they are connected yet: with what is lost, they wait in vain."""
        return not self.has_left and self.state is not OthersState.LEFT

    @property
    def matters(self) -> bool:
        """Whether a person has to know of it: a command is pending, or lost."""
        return self.state in (OthersState.PENDING, OthersState.LOST, OthersState.LEFT)

    def __str__(self) -> str:
        """Return it as a clause."""
        who = "somebody" if self.by is None else str(self.by)
        at = f"{self.since:%H:%M:%S}"
        match self.state:
            case OthersState.PENDING:
                likely = "" if self.certain else "likely "
                return f"held by {who}: a command of theirs is {likely}pending since {at}"
            case OthersState.LOST:
                cause = f" ({self.cause})" if self.cause is not None else ""
                if self.has_left:
                    return f"{who} has left: their command of {at} is lost{cause}"
                return f"held by {who}: their command of {at} is lost{cause}, and they wait on"
            case OthersState.LEFT:
                return f"{who} left at {at} with a command pending, which may run yet"
            case OthersState.ANSWERED:
                return f"held by {who}: their command was answered after {self.took_s or 0:.1f} s"
        return f"held by {who}"


def waits_while_connected(client: ChannelClient | None, locked_by: str | None) -> bool:
    """Return whether a client connects for one command at a time, so that it waits while it stays.

    Args:
        client: who holds the channel; None if that isn't known.
        locked_by: what the VM's manager has locked it for; that is Proxmox alone.
    """
    if client is None:
        return locked_by in FREEZING_LOCKS
    name = client.program
    return client.task is not None or name in _PROXMOX or name.startswith(_PROXMOX_DAEMONS)
