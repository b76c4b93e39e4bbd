"""Drives the pure freeze and thaw machines: does their I/O, and waits for events."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

from agentclient.access.agent_session import SEND_S, AgentSession
from agentclient.access.guest_access import GuestAccess
from agentclient.access.stream import Channel, ConnectFailed, StreamEnded, wait_any
from agentclient.freeze.effects import Effect, ReportEvent, Resync, Send
from agentclient.freeze.machine import ConnectAttempt, Machine, MachineInputs, step
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.guest_standby import ChannelEnd, GuestStandby
from agentclient.model.events import EventKind
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, Level, RunState
from agentclient.operations.control import Control
from agentclient.operations.reporter_interface import Reporter
from agentclient.protocol.qga import pause_s
from agentclient.protocol.qga_commands import THAW
from agentclient.protocol.qga_events import Dropped

# A look must not delay reading the agent's reply; a busy monitor is looked at again soon.
LOOK_S = 0.3
# A look that a machine waits for is repeated after this if it showed nothing.
LOOK_AGAIN_S = 0.02
# How long a QEMU that has closed our channel may take to end.
LEAVING_S = 0.5
LEAVING_STEP_S = 0.1
# An incomplete line is reported after so long: agents write a line at once.
UNFINISHED_S = 1.0
# The longest single wait, so that the screen's progress is never older than this.
LONGEST_WAIT_S = 1.0


# Limit for all operations that look often: each look takes about 1 ms of our time and QEMU's.
CLOSE_LOOKS_A_SECOND = 250
CLOSELY_S = 0.04


class LookRateLimit:
    """Shares the limit of looks a second between the operations that look often."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._who: weakref.WeakSet[Driver] = weakref.WeakSet()

    def every_s(self, who: Driver, wanted_s: float) -> float:
        """Return after how many seconds `who` may look again, at least `wanted_s`."""
        with self._lock:
            if wanted_s >= CLOSELY_S:
                self._who.discard(who)
                return wanted_s
            self._who.add(who)
            return max(wanted_s, len(self._who) / CLOSE_LOOKS_A_SECOND)


_LOOK_RATE_LIMIT = LookRateLimit()


class Driver:
    """Drives one operation: the agent's session, the VM's monitor, and the operator's control.

    Args:
        access: the access to the VM.
        session: the connection to its agent; the driver closes it.
        control: the operator's instructions.
        reporter: receives the machines' events.
        standby: the holder's guard; None without one. It is armed again for each new connection.
        before_thaw: is called before a thaw is sent: if this process dies then, whoever thaws in
            its place has to know that a thaw may already run.
    """

    def __init__(
        self,
        access: GuestAccess,
        session: AgentSession,
        control: Control,
        reporter: Reporter,
        standby: GuestStandby | None = None,
        *,
        before_thaw: Callable[[], None] = lambda: None,
    ) -> None:
        self._access = access
        self._standby = standby
        self._before_thaw = before_thaw
        self._session = session
        self._control = control
        self._reporter = reporter
        self._looked_at = time.monotonic()
        self._looked_for = False
        self._broken: StreamEnded | None = None
        self._owned = False  # the agent has answered: the channel is ours
        self._read_from = 0.0
        self._unfinished_at: float | None = None
        self._told_broken = False
        self._gone_check = access.gone_check()

    @property
    def connected(self) -> bool:
        """Whether there is a channel that has not ended."""
        return self._broken is None

    def perform(self, effects: list[Effect]) -> None:
        """Carry out a machine's effects; a broken channel is noticed in the next round."""
        for effect in effects:
            match effect:
                case ReportEvent():
                    self._reporter.event(effect)
                case Send(ticket, command, arguments):
                    if command == THAW:
                        self._before_thaw()
                    self._write(ticket, command, arguments)
                case Resync(ticket):
                    self._write(ticket, None, None)

    def thaw(
        self, machine: ThawMachine, before_each: Callable[[], None] = lambda: None
    ) -> ThawReport:
        """Drive a thaw from its start to its end; blocking.

        Args:
            machine: the thaw, not started yet.
            before_each: is called before each wait.
        """
        self.perform(machine.start(time.monotonic()))
        while machine.report is None:
            before_each()
            self.turn(machine)
        return machine.report

    def turn(self, machine: Machine, taken: Callable[[], bool] = lambda: False) -> None:
        """Wait once, and pass what happened to a machine, in the order in which it happened.

        Args:
            machine: a freeze, a thaw, or both.
            taken: is called when the channel has ended, before the machine is told: returns whether
                the holder has taken the guest over, whose own thaw may explain what is seen.
        """
        inputs = self.wait(machine.wakes_at, machine.watch_every_s, look_now=machine.wants_look)
        step(machine, inputs, self, taken)

    def now(self) -> float:
        """Return the time of the monotonic clock."""
        return time.monotonic()

    def wait(
        self, wakes_at: float, watch_every_s: float, *, look_now: bool = False
    ) -> MachineInputs:
        """Wait until something happens, but not beyond `wakes_at`.

        Args:
            wakes_at: time of the monotonic clock at which the machine wants its tick.
            watch_every_s: how often the monitor is looked at.
            look_now: the machine waits for a look.
        """
        result = MachineInputs()
        every_s = _LOOK_RATE_LIMIT.every_s(self, watch_every_s)
        look_at = self._look_at(look_now=look_now, every_s=every_s)
        if not self._access.is_observable:
            look_at = float("inf")
        readable = self._poll(min(wakes_at, look_at, time.monotonic() + LONGEST_WAIT_S))
        if self._broken is None and readable:
            self._read(result)
        self._tell_unfinished(result)
        result.flood = self._session.flood
        if self._broken is not None and not self._told_broken:
            self._told_broken = True
            self._gone_check = self._access.gone_check()
            result.view = self._look_for_death() if self._may_be_leaving else self._look_once()
            result.ended, result.cause = str(self._broken), self._broken.cause
            result.gone = result.view.gone
        elif time.monotonic() >= look_at or self._told(readable):
            result.view = self._look()
            self._looked_for = look_now
            if self._hung_up():
                # If this process was stopped, the holder may have thawed before the look: the
                # channel's end is read first, and tells why (P3).
                result.view = None
        result.instructions = self._control.take()
        return result

    def reconnect(self) -> ConnectAttempt:
        """Try to connect again after the channel broke; the new one is not proven ours yet."""
        spare = self._standby.spare() if self._standby is not None else None
        if spare is not None:
            self._session.start_anew_on(self._guarded(spare))
            return self._go_on()
        if not self._access.has_agent:
            return ConnectAttempt(connected=False, why="there is no agent channel")
        view = self._look()
        if view.client:
            return ConnectAttempt(connected=False, gone=False, why="another client holds it")
        try:
            self._access.reopen(self._session, self._guarded)
        except ConnectFailed as error:
            absent = self._gone_check.tried(time.monotonic(), error.problem)
            known = self._access.is_gone() if view.gone is None else view.gone
            return ConnectAttempt(
                connected=False, gone=absent if known is None else known, why=str(error)
            )
        self._gone_check.tried(time.monotonic(), None)
        return self._go_on()

    def _guarded(self, channel: Channel) -> Channel:
        """Let the holder guard a new connection, as it guarded the one before."""
        return self._standby.renewed(channel) if self._standby is not None else channel

    def _go_on(self) -> ConnectAttempt:
        self._broken, self._told_broken, self._owned = None, False, False
        self._read_from = 0.0
        return ConnectAttempt(connected=True)

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _write(self, ticket: int, command: str | None, arguments: object) -> None:
        if self._broken is not None:
            return
        deadline = time.monotonic() + SEND_S
        try:
            if command is None:
                self._session.sync(ticket, deadline)
            else:
                given = arguments if isinstance(arguments, dict) else None
                self._session.ask(ticket, command, given, deadline)
        except StreamEnded as error:
            self._broken = error
        except TimeoutError as error:
            # The guest does not read (paused, or hung in its kernel): without a reply the machine
            # sends it again by its own schedule.
            text = f"{command or 'a sync'} could not be written: {error}"
            self._reporter.event(ReportEvent(EventKind.NOTE, Level.WARNING, text))

    def _look_at(self, *, look_now: bool, every_s: float) -> float:
        """Return when the monitor is to be looked at.

        What begins to wait for a look has one at once, since a guest may stand still meanwhile; if
        it showed nothing, the next one comes a moment later.
        """
        self._looked_for = self._looked_for and look_now
        if not look_now:
            return self._looked_at + every_s
        return self._looked_at + LOOK_AGAIN_S if self._looked_for else time.monotonic()

    def _poll(self, until: float) -> set[int]:
        waited_for = [self._control.fileno()]
        if time.monotonic() < self._read_from:
            until = min(until, self._read_from)
        elif self._broken is None:
            waited_for.append(self._session.fileno())
        event_fd = self._access.event_fd()
        if event_fd is not None:
            waited_for.append(event_fd)
        return wait_any(waited_for, max(0.0, until - time.monotonic()))

    def _hung_up(self) -> bool:
        """Return whether the channel has ended, even if unread bytes remain."""
        if self._broken is not None:
            return False
        return bool(wait_any([self._session.fileno()], 0.0, 0))

    def _told(self, readable: set[int]) -> bool:
        event_fd = self._access.event_fd()
        return event_fd is not None and event_fd in readable

    def _read(self, result: MachineInputs) -> None:
        now = time.monotonic()
        if now < self._read_from:
            return
        try:
            result.heard = self._session.receive()
            self._owned = self._owned or bool(result.heard)
        except StreamEnded as error:
            self._broken = error
        self._unfinished_at = now if self._session.unfinished else None
        if self._session.noisy:
            after = time.monotonic()
            self._read_from = after + pause_s(after - now)

    def _tell_unfinished(self, result: MachineInputs) -> None:
        """Report an incomplete line once: it may be the awaited reply."""
        if self._unfinished_at is None or time.monotonic() < self._unfinished_at + UNFINISHED_S:
            return
        self._unfinished_at = None
        result.heard.append(Dropped(f"a line without an end for {UNFINISHED_S:g} s", True))

    @property
    def _guests_end(self) -> bool:
        """Whether the guest's end of the channel broke, not the holder's."""
        return self._standby is None or self._standby.why_ended() is ChannelEnd.BROKEN

    @property
    def _may_be_leaving(self) -> bool:
        """Whether the VM may be about to end; where that was told, it is not waited for.

        What comes to be known later revises the cause (P2).
        """
        told = self._broken is not None and self._broken.cause is not Cause.CHANNEL_BROKEN
        return self._guests_end and not told

    def _look_once(self) -> MonitorView:
        return self._look_at_the_broken() if self._guests_end else self._look()

    def _look_for_death(self) -> MonitorView:
        """Look until the VM has gone, for a moment: QEMU closes its channels before it ends."""
        until = time.monotonic() + LEAVING_S
        view = self._look_at_the_broken()
        while not view.gone and time.monotonic() < until:
            time.sleep(LEAVING_STEP_S)
            view = self._look_at_the_broken()
        return view

    def _look_at_the_broken(self) -> MonitorView:
        """Look at the monitor, and whether the VM's process has ended."""
        view = self._look()
        if self._access.is_gone():
            return view._replace(gone=True, run_state=RunState.GONE)
        return view

    def _look(self) -> MonitorView:
        view = self._access.observe(LOOK_S)
        if self._owned and self._broken is None:
            view = self._access.holds(view)
        self._looked_at = time.monotonic()
        if view.run_state is not RunState.UNKNOWN:
            self._reporter.run_state(view.run_state)
        if view.port_open is not None:
            self._reporter.port(is_open=view.port_open)
        return view
