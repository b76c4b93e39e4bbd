"""The interface of a standby: a holder thaws one guest if this process dies (P4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from agentclient.access.agent_session import AgentSession
from agentclient.access.stream import Channel
from agentclient.freeze.thaw_plan import ThawReport


class ChannelEnd(StrEnum):
    """Why a channel through a holder has ended."""

    TAKEN = "taken"  # the holder has taken over, and talks to the guest itself
    LOST = "lost"  # the holder has died, or did not answer and was killed
    BROKEN = "broken"  # QEMU has closed the agent's channel


class GuestStandby(Protocol):
    """A holder's standby for one guest, whichever way the holder reaches it.

    Attributes:
        sent: a freeze may have been sent.
        hand_over_tried: `hand_over` was called before.
    """

    sent: bool
    hand_over_tried: bool

    @property
    def taken(self) -> str | None:
        """Why the holder has taken over; None if it has not, or has died since."""

    @property
    def over(self) -> bool:
        """Whether the hold was over when the holder took over."""

    def guard(self, session: AgentSession) -> None:
        """Arm a holder for the guest of a session.

        Raises:
            NoHolder: no holder stands by; the session is unchanged.
        """

    def retry_guard(self, session: AgentSession) -> None:
        """Arm a holder again if none could be armed before."""

    def intend(self, *, bound_s: float, hold_s: float) -> None:
        """Tell the holder that a freeze is about to be sent; it must not be sent before.

        Args:
            bound_s: how long the freeze's reply is waited for, in seconds.
            hold_s: how long the window is held, in seconds.

        Raises:
            NoHolder: the holder has not acknowledged it.
        """

    def hold(self, ends_at: float) -> None:
        """Tell the holder when the window ends (seconds of the monotonic clock)."""

    def thaws(self) -> None:
        """Tell the holder that this process is about to send a thaw."""

    def why_ended(self) -> ChannelEnd:
        """Return why the channel has ended."""

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return the report of the holder's thaw; None if it has not ended in time."""

    def spare(self) -> Channel | None:
        """Return the direct connection to the agent if the holder has gone; else None."""

    def renewed(self, channel: Channel) -> Channel:
        """Arm a holder with a new connection; return the channel to use from now on."""

    def hand_over(self, session: AgentSession) -> int | None:
        """Leave the thaw to a holder; return its pid, None if no holder takes it."""

    def end(self) -> None:
        """End the standby: the guest is thawed, was never frozen, or was handed over."""
