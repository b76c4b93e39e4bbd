"""What a freeze needs of whoever thaws its guest if we die, however that reaches it (P4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from agentclient.access.agent_session import AgentSession
from agentclient.access.stream import Channel
from agentclient.freeze.thaw_plan import ThawReport


class ChannelEnd(StrEnum):
    """Why a guarded channel has ended."""

    TAKEN = "taken"  # the holder talks to the guest now
    LOST = "lost"  # the holder has died, or did not answer and was ended
    BROKEN = "broken"  # the guest's own end has closed


class GuestStandby(Protocol):
    """Who thaws one guest if we die, however a holder reaches it.

    Attributes:
        sent: a freeze may have been sent.
        tried_to_leave: it was tried to hand the guest over.
    """

    sent: bool
    tried_to_leave: bool

    @property
    def taken(self) -> str | None:
        """Why the holder has taken over; None if it has not, or has died since."""

    @property
    def over(self) -> bool:
        """Whether the hold had come to its end when the holder took over."""

    def guard(self, session: AgentSession) -> None:
        """Have a holder stand by.

        Raises:
            NoHolder: nobody would thaw; the session is as it was.
        """

    def mend_guard(self, session: AgentSession) -> None:
        """Have a holder stand by again where none could be had before."""

    def intend(self, *, bound_s: float, hold_s: float) -> None:
        """Say that a freeze is about to be sent; after this it may be.

        Raises:
            NoHolder: the holder has not heard it.
        """

    def hold(self, ends_at: float) -> None:
        """Say when the window ends (seconds of the monotonic clock)."""

    def thaws(self) -> None:
        """Say that our own thaw is about to be sent."""

    def why_ended(self) -> ChannelEnd:
        """Return why the channel has ended."""

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return what the holder's thaw came to; None if it has not ended in time."""

    def spare(self) -> Channel | None:
        """Return the connection itself, if the holder has gone and left us that."""

    def renewed(self, channel: Channel) -> Channel:
        """Have a holder stand by with another connection; return through which one to go on."""

    def hand_over(self, session: AgentSession) -> int | None:
        """Hand the guest over; return the process that thaws it, None if there is nobody."""

    def end(self) -> None:
        """It is settled, or nothing was sent, or somebody else has it."""
