"""The standby for a guest that is reached by calls; and which kind of standby a guest needs."""

from __future__ import annotations

from collections.abc import Callable

from agentclient.access.agent_session import AgentSession
from agentclient.access.called_session import NO_CHANNEL, CalledSession
from agentclient.access.guest_access import SOCKET, ThawRecipe
from agentclient.access.stream import Channel
from agentclient.freeze.effects import ReportEvent
from agentclient.holder.client import ACK_S, ArmedChannel, ChannelEnd, HolderClient
from agentclient.holder.guest_standby import GuestStandby
from agentclient.holder.standby import Standby
from agentclient.journal.rows import Reference


class CalledStandby(Standby):
    """The standby for one guest to whose agent no connection leads that could be handed over.

    The holder reaches the guest by its recipe, and makes the session's calls. If it dies, the calls
    are made here again.

    Args:
        holder: the console's holder.
        recipe: what a holder needs to reach the guest by itself.
        thaw_s: how long the holder's own thaw may take, in seconds.
        window: the journal's window that the holder writes to; None for no journal.
        report_event: is called when no holder stands by, and with the holder's report after
            `leave`.
        cancelled: ends the wait for the holder early.
    """

    def __init__(
        self,
        holder: HolderClient,
        recipe: ThawRecipe,
        thaw_s: float,
        window: Reference | None,
        report_event: Callable[[ReportEvent], None],
        *,
        cancelled: Callable[[], bool],
    ) -> None:
        super().__init__(holder, recipe.vm, thaw_s, window, report_event)
        self._recipe = recipe
        self._cancelled = cancelled
        self._session: CalledSession | None = None

    def guard(self, session: AgentSession) -> None:
        """Let a holder reach the guest, and make the session's calls from now on.

        Raises:
            NoHolder: no holder stands by; the session is unchanged.
        """
        assert isinstance(session, CalledSession), "a recipe for calls is that of a guest by calls"
        self._session = session
        session.switch_to(self.begin(NO_CHANNEL))

    def retry_guard(self, _session: AgentSession) -> None:
        """Arm a holder if none could be armed before; this process goes on with the calls.

        Its freeze was sent, so that nothing comes of two who call: one that thaws once more.
        """
        self.retry_arming(NO_CHANNEL)

    def hand_over(self, _session: AgentSession) -> int | None:
        """Leave the thaw to a holder; return its pid (see `leave`)."""
        return self.leave(NO_CHANNEL)

    def spare(self) -> Channel | None:
        """Return None: without its holder the session makes its calls itself."""
        return None

    def why_ended(self) -> ChannelEnd:
        """Return why the session has broken: its agent has gone, unless its holder has."""
        if self._session is None or not self._session.relay_lost:
            return ChannelEnd.BROKEN
        return super().why_ended()

    def renewed(self, channel: Channel) -> Channel:
        """Arm a holder again if the one before has gone.

        Returns:
            The channel of a holder that makes the calls from now on; `channel` if nothing changes,
            or if no holder can be armed, which is reported, and tried again by `retry_arming`.
        """
        armed = self._armed
        if self._alone or (armed is not None and not armed.lost):
            return channel
        self._armed = None
        if armed is not None:
            self._let_go(armed, armed.spare)
        return self._arm_again(channel)

    def _arm(self, _channel: Channel, *, again: bool = False) -> ArmedChannel:
        given = (self._recipe, self._thaw_s, self._window)
        if again:  # in the middle of a freeze, which must not wait for long
            return self._holder.arm_by(*given, sent=self.sent, connect_s=ACK_S)
        return self._holder.arm_by(*given, cancelled=self._cancelled)

    def _no_connection(self) -> Channel:
        return NO_CHANNEL


def stand_by(
    holder: HolderClient,
    recipe: ThawRecipe,
    thaw_s: float,
    window: Reference | None,
    report_event: Callable[[ReportEvent], None],
    *,
    cancelled: Callable[[], bool],
) -> GuestStandby:
    """Return the standby for a guest, of the kind that its way of access needs.

    Args:
        holder: the console's holder.
        recipe: what a holder needs to thaw the guest by itself.
        thaw_s: how long the holder's own thaw may take, in seconds.
        window: the journal's window that the holder writes to; None for no journal.
        report_event: is called when no holder stands by, and with the holder's report after
            `leave`.
        cancelled: ends the wait for a holder that has to reach the guest first.
    """
    if recipe.means == SOCKET:
        return Standby(holder, recipe.vm, thaw_s, window, report_event)
    return CalledStandby(holder, recipe, thaw_s, window, report_event, cancelled=cancelled)
