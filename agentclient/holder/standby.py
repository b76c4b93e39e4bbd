"""Who thaws one guest if we die, from before its freeze is sent until it is settled (P4).

Every way out of a freeze ends with somebody who thaws: the console, a holder that has acknowledged
it within 2 s, or a new one; else it is said loudly. What is not settled is handed over, never let
go. docs/architecture.md has the table.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agentclient.access.agent_session import AgentSession
from agentclient.access.guest_access import SOCKET, ThawRecipe
from agentclient.access.stream import Channel, UnixChannel
from agentclient.freeze.effects import Tell
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.client import ArmedChannel, ChannelEnd, HolderClient, NoHolder
from agentclient.holder.guest_standby import GuestStandby
from agentclient.journal.rows import Reference
from agentclient.model.events import EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.states import Level
from agentclient.model.vm import Vm

# A holder that could not be had may be had a little later.
AGAIN_S: Final = 5.0


class Standby:
    """The holder's care for one guest, renewed with each connection to it.

    Args:
        holder: the console's holder.
        vm: the VM.
        thaw_s: how long the holder's own thaw may take, in seconds.
        window: where the holder writes what it does; None for nowhere.
        tell: is told when nobody stands by, and what the holder does once we have left.
    """

    def __init__(
        self,
        holder: HolderClient,
        vm: Vm,
        thaw_s: float,
        window: Reference | None,
        tell: Callable[[Tell], None],
    ) -> None:
        self._holder = holder
        self._vm = vm
        self._thaw_s = thaw_s
        self._window = window
        self._tell = tell
        self._armed: ArmedChannel | None = None
        self._bound_at = 0.0
        self._hold_s = 0.0
        self._hold_ends_at: float | None = None
        self._thawing = False
        self._alone = False
        self._again_at = 0.0
        self.tried_to_leave = False
        self.sent = False
        """A freeze may have been sent."""
        self.left_to: int | None = None
        """The process that thaws it in our place; None if we have not left it to anybody."""

    # -- for who has a session ---------------------------------------------------------------

    def guard(self, session: AgentSession) -> None:
        """Hand a session's connection to a holder, and have it go on through that.

        Raises:
            NoHolder: nobody would thaw; the session is as it was.
        """
        session.switch_to(self.begin(_connection(session)))

    def mend_guard(self, session: AgentSession) -> None:
        """Have a session guarded again where no holder could be had before (see `mend`)."""
        armed = self.mend(_connection(session))
        if armed is not None:
            session.switch_to(armed)

    def hand_over(self, session: AgentSession) -> int | None:
        """Hand the guest over to whoever thaws it in our place (see `leave`)."""
        return self.leave(_connection(session))

    # -- before the freeze ----------------------------------------------------------------

    def begin(self, channel: Channel) -> Channel:
        """Hand the connection to a holder, and return through which one we talk from now on.

        Raises:
            NoHolder: nobody would thaw; the connection is as it was, and nobody else has it.
        """
        self._armed = self._holder.arm(self._vm, channel, self._thaw_s, self._window)
        return self._armed.channel

    def intend(self, *, bound_s: float, hold_s: float) -> None:
        """Say that a freeze is about to be sent; after this it may be.

        Args:
            bound_s: how long the freeze is waited for at the most.
            hold_s: how long its window is held.

        Raises:
            NoHolder: the holder has not heard it.
        """
        assert self._armed is not None
        self._bound_at, self._hold_s = time.monotonic() + bound_s, hold_s
        self._holder.intend(self._armed, bound_s=bound_s, hold_s=hold_s)

    # -- while it lasts -------------------------------------------------------------------

    def hold(self, ends_at: float) -> None:
        """Say when the window ends (seconds of the monotonic clock), if that is news."""
        if ends_at == self._hold_ends_at:
            return
        self._hold_ends_at = ends_at
        if self._armed is not None:
            self._holder.hold(self._armed, max(0.0, ends_at - time.monotonic()))

    def thaws(self) -> None:
        """Say that our own thaw is about to be sent: whoever thaws in our place asks first."""
        self._thawing = True
        if self._armed is not None:
            self._holder.thaws(self._armed)

    def why_ended(self) -> ChannelEnd:
        """Return why the channel has ended."""
        return self._armed.why_ended() if self._armed is not None else ChannelEnd.BROKEN

    @property
    def taken(self) -> str | None:
        """Why the holder has taken over; None if it has not, or has died since."""
        armed = self._armed
        return armed.taken if armed is not None and not armed.lost else None

    @property
    def over(self) -> bool:
        """Whether the hold had come to its end when the holder took over."""
        return self._armed is not None and self._armed.over

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return what the holder's thaw came to; None if it has not ended in time."""
        return self._armed.wait(timeout_s) if self._armed is not None else None

    def spare(self) -> Channel | None:
        """Return the connection itself, if the holder has gone and left us that.

        Otherwise it is closed: it is broken, and QEMU would take it for its one client.
        """
        armed = self._armed
        if armed is None:
            return None
        if armed.lost or armed.why_ended() is ChannelEnd.LOST:
            return armed.spare
        armed.spare.close()
        return None

    def renewed(self, channel: Channel) -> Channel:
        """Arm a holder again, with the connection that we go on with.

        Returns:
            Through which one we talk from now on; the same where no holder can be had, which is
            told, and tried again (`mend`).
        """
        old, self._armed = self._armed, None
        if old is not None:
            self._let_go(old, channel)
        return self._arm_again(channel)

    def mend(self, channel: Channel) -> Channel | None:
        """Arm a holder where none could be had before, from time to time.

        Args:
            channel: the connection that we talk through now, without a holder.

        Returns:
            Through which one we talk from now on; None if nothing has changed.
        """
        if not self._alone or time.monotonic() < self._again_at:
            return None
        armed = self._arm_again(channel)
        return None if armed is channel else armed

    def _arm_again(self, channel: Channel) -> Channel:
        now = time.monotonic()
        try:
            given = channel if channel.fileno() >= 0 else _ended_channel()
            armed = self._holder.arm(self._vm, given, self._thaw_s, self._window, sent=self.sent)
        except (NoHolder, OSError) as error:
            self._go_alone(error)
            return channel
        try:
            self._holder.intend(
                armed,
                bound_s=max(0.0, self._bound_at - now),
                hold_s=self._hold_s,
                sent=self.sent,
                thawing=self._thawing,
            )
        except NoHolder as error:
            armed.channel.close()
            self._go_alone(error)
            return channel
        if self._alone:
            self._tell(Tell(EventKind.NOTE, Level.INFO, "a holder stands by again"))
        self._armed, self._alone = armed, False
        if self._hold_ends_at is not None:
            self._holder.hold(armed, max(0.0, self._hold_ends_at - now))
        return armed.channel

    def _go_alone(self, error: Exception) -> None:
        self._again_at = time.monotonic() + AGAIN_S
        if not self._alone:
            self._alone = True
            text = f"nobody would thaw the guest if frostwatch died now: {error}"
            self._tell(Tell(EventKind.NOTE, Level.ERROR, text))

    def _let_go(self, old: ArmedChannel, channel: Channel) -> None:
        """Forget a armed whose connection has ended; the one that we go on with stays open."""
        if channel is not old.spare:
            self._holder.disarm(old)
            return
        self._holder.forget(old)
        old.channel.close()

    # -- the end --------------------------------------------------------------------------

    def leave(self, channel: Channel) -> int | None:
        """Hand the guest over to whoever thaws it in our place.

        Args:
            channel: the connection to its agent, where no holder has it.

        Returns:
            Its process; None if there is nobody: then it has to be said loudly.
        """
        if self.tried_to_leave:
            return self.left_to
        self.tried_to_leave = True
        armed = self._armed
        if armed is not None:
            channel = armed.spare
            try:
                self.left_to = self._hand_over(armed)
            except NoHolder:  # it has been ended, or has refused
                self._armed = None
                armed.channel.close()
        if self.left_to is None:
            self.left_to = self._leave_to_another(channel)
        return self.left_to

    def _leave_to_another(self, channel: Channel) -> int | None:
        if self._arm_again(channel) is channel or self._armed is None:
            return None
        try:
            return self._hand_over(self._armed)
        except NoHolder:
            return None

    def _hand_over(self, armed: ArmedChannel) -> int:
        armed.afterwards = self._tell_afterwards
        pid = self._holder.hand_over(armed)
        armed.deserted = self._deserted
        if armed.lost:
            raise NoHolder("the holder has gone")
        return pid

    def _deserted(self) -> None:
        """The holder that had it is no more: leave it to another one, which connects itself."""
        self.left_to = None
        with suppress(OSError):
            self.left_to = self._leave_to_another(_ended_channel())
        if self._armed is not None:
            self._armed.close()
        if self.left_to is None:
            text = f"the holder has gone: NOBODY STANDS BY. NEXT: {thaw_command(self._vm)}"
            self._tell(Tell(EventKind.NOTE, Level.ERROR, text))
            return
        text = f"the holder has gone: another one (pid {self.left_to}) goes on with the thaw"
        self._tell(Tell(EventKind.NOTE, Level.WARNING, text))

    def end(self) -> None:
        """It is settled, or nothing was sent, or somebody else has it: close what is ours."""
        armed, self._armed = self._armed, None
        if armed is None:
            return
        if self.left_to is None:
            self._holder.disarm(armed)
        else:
            armed.close()

    def _tell_afterwards(self, report: ThawReport) -> None:
        level = Level.GOOD if report.settled else Level.ERROR
        step = f". NEXT: {report.next}" if report.next else ""
        text = f"the holder, after we had left the guest to it: {report.reason}{step}"
        self._tell(Tell(EventKind.NOTE, level, text))


def _connection(session: AgentSession) -> Channel:
    """Return what can be handed over.

    Raises:
        NoHolder: nothing: its agent is not on a connection.
    """
    if session.channel is None:
        raise NoHolder("its agent is on no connection that could be handed over")
    return session.channel


def _ended_channel() -> Channel:
    """Return a channel whose other side has ended: a holder opens the guest's anew in its place.

    Raises:
        OSError: there is no descriptor for it.
    """
    ours, theirs = socket.socketpair()
    theirs.close()
    return UnixChannel(ours)


def stand_by(
    holder: HolderClient,
    recipe: ThawRecipe,
    thaw_s: float,
    window: Reference | None,
    tell: Callable[[Tell], None],
) -> GuestStandby:
    """Return who has a holder stand by, whichever way that reaches the guest.

    Args:
        holder: the console's holder.
        recipe: how the guest is thawed without us.
        thaw_s: how long the holder's own thaw may take, in seconds.
        window: where the holder writes what it does; None for nowhere.
        tell: is told when nobody stands by, and what the holder does once we have left.

    Raises:
        NoHolder: it can't reach it.
    """
    if recipe.means == SOCKET:
        return Standby(holder, recipe.vm, thaw_s, window, tell)
    return holder.standby_by(recipe, thaw_s, window, tell)
