"""Keeps a holder armed for one guest, from before its freeze is sent until it is thawed (P4).

A guest that may be frozen is thawed by the console, by a holder that has acknowledged it within
2 s, or by a new holder; if there is none of these, an error is reported. A guest that is not known
to be thawed is handed over, never dropped. docs/architecture.md has the table of all cases.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agentclient.access.agent_session import AgentSession
from agentclient.access.stream import Channel, UnixChannel
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.client import ArmedChannel, ChannelEnd, HolderClient, NoHolder
from agentclient.holder.guest_standby import AskedFor
from agentclient.journal.rows import Reference
from agentclient.model.events import EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.states import Level
from agentclient.model.vm import Vm

# Seconds until arming a holder is tried again.
AGAIN_S: Final = 5.0


class Standby:
    """The standby for one guest, which is armed anew with each connection to it.

    Args:
        holder: the console's holder.
        vm: the VM.
        thaw_s: how long the holder's own thaw may take, in seconds.
        window: the journal's window that the holder writes to; None for no journal.
        report_event: is called when no holder stands by, and with the holder's report after
            `leave`.
    """

    def __init__(
        self,
        holder: HolderClient,
        vm: Vm,
        thaw_s: float,
        window: Reference | None,
        report_event: Callable[[ReportEvent], None],
    ) -> None:
        self._holder = holder
        self._vm = vm
        self._thaw_s = thaw_s
        self._window = window
        self._report_event = report_event
        self._armed: ArmedChannel | None = None
        self._bound_at = 0.0
        self._hold_s = 0.0
        self._hold_ends_at: float | None = None
        self._latest_at = 0.0
        self._thawing = False
        self._alone = False
        self._again_at = 0.0
        self.hand_over_tried = False
        self.sent = False
        """A freeze may have been sent."""
        self.thawed: int | None = None
        self.on_asked: Callable[[AskedFor], None] = lambda _: None
        self.handed_over_to: int | None = None
        """The pid of the holder that the guest was handed over to; None if it was not."""

    # -- for callers with a session -----------------------------------------------------

    def guard(self, session: AgentSession) -> None:
        """Arm a holder with a session's connection, and switch the session to the relayed channel.

        Raises:
            NoHolder: no holder stands by; the session is unchanged.
        """
        session.switch_to(self.begin(_connection(session)))

    def retry_guard(self, session: AgentSession) -> None:
        """Arm a holder for a session if none could be armed before (see `retry_arming`)."""
        armed = self.retry_arming(_connection(session))
        if armed is not None:
            session.switch_to(armed)

    def hand_over(self, session: AgentSession) -> int | None:
        """Leave the thaw of a session's guest to a holder; return its pid (see `leave`)."""
        return self.leave(_connection(session))

    # -- before the freeze ----------------------------------------------------------------

    def begin(self, channel: Channel) -> Channel:
        """Arm a holder with the connection; return the relayed channel to use from now on.

        Raises:
            NoHolder: no holder stands by; the connection is unchanged, and no holder has it.
        """
        self._armed = self._arm(channel)
        self._armed.on_asked = self._pass_on
        return self._armed.channel

    def _pass_on(self, asked: AskedFor) -> None:
        self.on_asked(asked)

    def _arm(self, channel: Channel, *, again: bool = False) -> ArmedChannel:
        if again and channel.fileno() < 0:
            channel = self._no_connection()
        sent = again and self.sent
        return self._holder.arm(self._vm, channel, self._thaw_s, self._window, sent=sent)

    def _no_connection(self) -> Channel:
        return _ended_channel()

    def intend(self, *, bound_s: float, hold_s: float) -> None:
        """Tell the holder that a freeze is about to be sent; it must not be sent before.

        Args:
            bound_s: how long the freeze's reply is waited for, in seconds.
            hold_s: how long the window is held, in seconds.

        Raises:
            NoHolder: the holder has not acknowledged it.
        """
        assert self._armed is not None
        self._bound_at, self._hold_s = time.monotonic() + bound_s, hold_s
        self._holder.intend(self._armed, bound_s=bound_s, hold_s=hold_s)

    # -- while it lasts -------------------------------------------------------------------

    def hold(self, ends_at: float, latest_at: float) -> None:
        """Tell the holder when the window ends, if that has changed.

        Args:
            ends_at: when it ends (seconds of the monotonic clock).
            latest_at: when it ends if it is held for as long as it may be.
        """
        if ends_at == self._hold_ends_at:
            return
        self._hold_ends_at, self._latest_at = ends_at, latest_at
        if self._armed is not None:
            self._tell_hold(self._armed, ends_at)

    def _tell_hold(self, armed: ArmedChannel, ends_at: float) -> None:
        now = time.monotonic()
        self._holder.hold(armed, max(0.0, ends_at - now), max(0.0, self._latest_at - now))

    def keep(self) -> int | None:
        """Leave the window to the holder, which holds it to its end; return the holder's pid.

        Returns:
            None if there is no holder, or it does not take the window.
        """
        armed = self._armed
        if armed is None or armed.lost or armed.taken is not None:
            return None
        try:
            self.handed_over_to = self._holder.keep(armed)
        except NoHolder:
            return None
        self.hand_over_tried = True
        armed.on_holder_lost = self._on_holder_lost
        return self.handed_over_to

    def thaws(self) -> None:
        """Tell the holder that a thaw comes next: a thaw of its own asks for the status first."""
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
        """Whether the hold was over when the holder took over."""
        return self._armed is not None and self._armed.over

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return the report of the holder's thaw; None if it has not ended in time."""
        return self._armed.wait(timeout_s) if self._armed is not None else None

    def spare(self) -> Channel | None:
        """Return the direct connection to the agent if the holder has gone; else close it.

        It is closed because it is broken, and QEMU would count it as the socket's one client.
        """
        armed = self._armed
        if armed is None:
            return None
        if armed.lost or armed.why_ended() is ChannelEnd.LOST:
            return armed.spare
        armed.spare.close()
        return None

    def renewed(self, channel: Channel) -> Channel:
        """Arm a holder again, with a new connection.

        Returns:
            The channel to use from now on; `channel` itself if no holder can be armed, which is
            reported, and tried again by `retry_arming`.
        """
        old, self._armed = self._armed, None
        if old is not None:
            self._let_go(old, channel)
        return self._arm_again(channel)

    def retry_arming(self, channel: Channel) -> Channel | None:
        """Try to arm a holder if none could be armed before, every `AGAIN_S` seconds at most.

        Args:
            channel: the connection in use, without a holder.

        Returns:
            The relayed channel to use from now on; None if nothing has changed.
        """
        if not self._alone or time.monotonic() < self._again_at:
            return None
        armed = self._arm_again(channel)
        return None if armed is channel else armed

    def _arm_again(self, channel: Channel) -> Channel:
        now = time.monotonic()
        try:
            armed = self._arm(channel, again=True)
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
            self._let_go(armed, channel)
            self._go_alone(error)
            return channel
        if self._alone:
            self._report_event(ReportEvent(EventKind.NOTE, Level.INFO, "a holder stands by again"))
        self._armed, self._alone = armed, False
        armed.on_asked = self._pass_on
        if self._hold_ends_at is not None:
            self._tell_hold(armed, self._hold_ends_at)
        return armed.channel

    def _go_alone(self, error: Exception) -> None:
        self._again_at = time.monotonic() + AGAIN_S
        if not self._alone:
            self._alone = True
            text = f"nobody would thaw the guest if frostwatch died now: {error}"
            self._report_event(ReportEvent(EventKind.NOTE, Level.ERROR, text))

    def _let_go(self, old: ArmedChannel, channel: Channel) -> None:
        """Disarm an old channel; keep the connection open if it is the one in use."""
        if channel is not old.spare:
            self._holder.disarm(old)
            return
        self._holder.forget(old)
        old.channel.close()

    # -- the end --------------------------------------------------------------------------

    def leave(self, channel: Channel) -> int | None:
        """Leave the thaw to the guest's holder, or to a new one.

        Args:
            channel: the connection to the agent; used if no holder has one.

        Returns:
            The holder's pid; None if there is no holder: the caller must report that.
        """
        if self.hand_over_tried:
            return self.handed_over_to
        self.hand_over_tried = True
        armed = self._armed
        if armed is not None:
            channel = armed.spare
            try:
                self.handed_over_to = self._hand_over(armed)
            except NoHolder:  # the holder was killed, or has refused
                self._armed = None
                armed.channel.close()
        if self.handed_over_to is None:
            self.handed_over_to = self._leave_to_another(channel)
        return self.handed_over_to

    def _leave_to_another(self, channel: Channel) -> int | None:
        if self._arm_again(channel) is channel or self._armed is None:
            return None
        try:
            return self._hand_over(self._armed)
        except NoHolder:
            return None

    def _hand_over(self, armed: ArmedChannel) -> int:
        armed.on_report = self._tell_afterwards
        pid = self._holder.hand_over(armed)
        armed.on_holder_lost = self._on_holder_lost
        if armed.lost:
            raise NoHolder("the holder has gone")
        return pid

    def _on_holder_lost(self) -> None:
        """Leave the thaw to a new holder, which connects by itself, since the old one has gone."""
        self.handed_over_to = None
        with suppress(OSError):
            self.handed_over_to = self._leave_to_another(self._no_connection())
        if self._armed is not None:
            self._armed.close()
        if self.handed_over_to is None:
            text = f"the holder has gone: NOBODY STANDS BY. NEXT: {thaw_command(self._vm)}"
            self._report_event(ReportEvent(EventKind.NOTE, Level.ERROR, text))
            return
        text = f"the holder has gone: another one (pid {self.handed_over_to}) goes on with the thaw"
        self._report_event(ReportEvent(EventKind.NOTE, Level.WARNING, text))

    def end(self) -> None:
        """Disarm, and close the channels: the guest is thawed, was never frozen, or handed over."""
        armed, self._armed = self._armed, None
        if armed is None:
            return
        if self.handed_over_to is None:
            armed.thawed = self.thawed
            self._holder.disarm(armed)
        else:
            armed.close()

    def _tell_afterwards(self, report: ThawReport) -> None:
        level = Level.GOOD if report.settled else Level.ERROR
        step = f". NEXT: {report.next}" if report.next else ""
        text = f"the holder, after we had left the guest to it: {report.reason}{step}"
        self._report_event(ReportEvent(EventKind.NOTE, level, text))


def _connection(session: AgentSession) -> Channel:
    """Return a session's connection.

    Raises:
        NoHolder: the session has none that can be handed over.
    """
    if session.channel is None:
        raise NoHolder("its agent is on no connection that could be handed over")
    return session.channel


def _ended_channel() -> Channel:
    """Return a channel whose other end is closed, so that a holder connects by itself.

    Raises:
        OSError: no descriptor is available.
    """
    ours, theirs = socket.socketpair()
    theirs.close()
    return UnixChannel(ours)
