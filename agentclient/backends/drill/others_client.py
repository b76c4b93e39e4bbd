"""A simulated client of others, such as a backup's: when it comes, what it sends, when it leaves.

It speaks to the simulated agent without a socket. Which process it seems to be is told in the
place of what the kernel tells of a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from agentclient.access.host.socket_clients import Client
from agentclient.backends.drill.agent_replies import FREEZE, STATUS, THAW, line
from agentclient.backends.drill.troubles import Trouble

NEVER: Final = float("inf")
AGAIN_S: Final = 60.0
"""How long after it has left it comes again, once the guest is thawed, in seconds."""
SENDS_S: Final = 3.0
_ASKS_EVERY_S: Final = 600.0
_HOUR_S: Final = 3600.0
_SOON_S: Final = 1.0
# No kernel has a process of this number, so that nobody ends a real one for a simulated one.
_NO_PID: Final = (1 << 22) + 1


@dataclass(frozen=True, slots=True)
class OthersBehaviour:
    """What a client of others does; times in seconds after it has come.

    Attributes:
        vmid: the VM that its task backs up.
        leaves_s: when it leaves.
        thaws_s: when it comes again to thaw; None if it never does.
    """

    vmid: int
    leaves_s: float
    thaws_s: float | None = None


OTHERS: Final[Mapping[Trouble, OthersBehaviour]] = {
    # Proxmox's helper asks five times for the status behind its freeze (protocol §4).
    Trouble.BACKUP_STUCK: OthersBehaviour(101, _HOUR_S),
    # The first status is answered by the new agent, which says thawed: the backup fails.
    Trouble.BACKUP_LOST: OthersBehaviour(102, SENDS_S + _ASKS_EVERY_S + 1.0),
    Trouble.BACKUP_LEFT: OthersBehaviour(103, 12.0),
    Trouble.BACKUP_WORKS: OthersBehaviour(104, 6.0, thaws_s=36.0),
}


def clients_of(trouble: Trouble) -> tuple[Client, ...]:
    """Return who seems to be connected to a guest's agent; nobody where there are no others."""
    others = OTHERS.get(trouble)
    if others is None:
        return ()
    task = f"task UPID:drill:{_NO_PID:08X}:00C0FFEE:65000000:vzdump:{others.vmid}:root@pam:"
    return (Client(_NO_PID, task, waiting=False),)


class HeldGuest(Protocol):
    """The guest whose channel the client uses.

    Attributes:
        client: some client is connected.
        flag: its agent believes that it is frozen.
        alive: an agent runs.
    """

    client: bool
    flag: bool
    alive: bool

    def receive(self, now: float, data: bytes) -> None:
        """Take the client's bytes."""

    def others_left(self) -> None:
        """Serve the client no more."""


class OthersClient:
    """One client of others, for a guest that it freezes again and again.

    Args:
        behaviour: what it does.
        begins_s: when it comes for the first time.

    Attributes:
        connected: it holds the guest's channel.
        wakes_at: the time of its next step.
    """

    __slots__ = ("_behaviour", "_came_at", "_sent", "_thaws", "connected", "wakes_at")

    def __init__(self, behaviour: OthersBehaviour, begins_s: float = 0.0) -> None:
        self._behaviour = behaviour
        self._thaws = False
        self._came_at = 0.0
        self._sent = 0
        self.connected = False
        self.wakes_at = begins_s

    def step(self, guest: HeldGuest, now: float) -> None:
        """Come, send the next command, or leave.

        Args:
            guest: whose channel it uses.
            now: the time of the guest's clock.
        """
        if not self.connected:
            self._come(guest, now)
        elif now - self._came_at >= self._behaviour.leaves_s:
            self._leave(guest, now)
        else:
            command = STATUS if self._sent else THAW if self._thaws else FREEZE
            self._sent += 1
            asks_at = self._came_at + SENDS_S + self._sent * _ASKS_EVERY_S
            self.wakes_at = min(asks_at, self._came_at + self._behaviour.leaves_s)
            guest.receive(now, line(execute=command))

    def wait(self, until: float) -> None:
        """Come no sooner: somebody else is served."""
        if not self.connected:
            self.wakes_at = max(self.wakes_at, until)

    def _leave(self, guest: HeldGuest, now: float) -> None:
        self.connected = False
        guest.others_left()
        thaws_s = self._behaviour.thaws_s
        if thaws_s is None:
            self.wakes_at = now + AGAIN_S
        elif self._thaws:
            self.wakes_at = NEVER  # its backup is over
        else:
            self._thaws = True
            self.wakes_at = self._came_at + thaws_s

    def _come(self, guest: HeldGuest, now: float) -> None:
        frozen = guest.flag and not self._thaws
        if guest.client or frozen or not guest.alive:
            self.wakes_at = now + (_SOON_S if self._thaws else AGAIN_S)
            return
        self.connected, self._came_at, self._sent = True, now, 0
        guest.client = True
        self.wakes_at = now + SENDS_S
