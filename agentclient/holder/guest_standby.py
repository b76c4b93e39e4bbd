"""The interface of a standby: a holder thaws one guest if this process dies (P4)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Protocol

from agentclient.access.agent_session import AgentSession
from agentclient.access.stream import Channel
from agentclient.freeze.thaw_plan import ThawReport


class ChannelEnd(StrEnum):
    """Why a channel through a holder has ended."""

    TAKEN = "taken"  # the holder has taken over, and talks to the guest itself
    LOST = "lost"  # the holder has died, or did not answer and was killed
    BROKEN = "broken"  # QEMU has closed the agent's channel


class AskedFor(NamedTuple):
    """What another process asks for, through the holder.

    Attributes:
        by: who asks, in words.
        longer_s: by how many seconds the window is to be held longer; None to thaw it now.
    """

    by: str
    longer_s: float | None = None


class GuestStandby(Protocol):
    """A holder's standby for one guest, whichever way the holder reaches it.

    Attributes:
        sent: a freeze may have been sent.
        hand_over_tried: `hand_over` was called before.
        thawed: how many file systems were thawed, for others that wait for it; None: not known.
        on_asked: is called, in another thread, with what another process asks for.
    """

    sent: bool
    hand_over_tried: bool
    thawed: int | None
    on_asked: Callable[[AskedFor], None]

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

    def hold(self, ends_at: float, latest_at: float) -> None:
        """Tell the holder when the window ends, and until when it may be held at the most.

        Both are seconds of the monotonic clock.
        """

    def keep(self) -> int | None:
        """Leave the window to the holder, which holds it to its end, and thaws then.

        Returns:
            The holder's pid; None if it does not take it.
        """

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
