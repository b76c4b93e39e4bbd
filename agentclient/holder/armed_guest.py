"""One guest in the holder: its bytes are relayed until the holder takes over and thaws it."""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from agentclient.access.monitor import Monitor
from agentclient.access.multiplexer import Multiplexer
from agentclient.access.presence import GoneCheck, Server, is_gone, server_of
from agentclient.access.stream import Channel, ConnectFailed, StreamEnded, UnixChannel, UnixEndpoint
from agentclient.freeze.effects import Effect, Resync, Send
from agentclient.freeze.machine import ConnectAttempt, MachineInputs, step
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.thaw_machine import WATCH_S, ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.holder.messages import Body, number, peer_of, text
from agentclient.holder.relay import Relay
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, Process
from agentclient.protocol.qga import AgentWire, pause_s

# A send to a frozen guest never waits: the socket takes the bytes at once, or the send fails.
SEND_S: Final = 0.0
# Seconds after the hold's end in which the console may still thaw the guest itself.
GRACE_S: Final = 0.25


class State(StrEnum):
    """Who talks to the guest: the console, nobody, or the holder."""

    RELAYED = "relayed"
    BROKEN = "broken"  # the guest's end has closed, and the console has been told
    THAWING = "thawing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class HolderServices:
    """What the holder provides to each armed guest.

    Attributes:
        selector: where sockets are registered, with the method to call as data.
        multiplexer: runs the exchanges with monitors.
        broken: is called with an armed guest whose QEMU has closed the agent's channel.
        done: is called with an armed guest and the report of its thaw.
    """

    selector: selectors.BaseSelector
    multiplexer: Multiplexer
    broken: Callable[[ArmedGuest], None]
    done: Callable[[ArmedGuest, ThawReport], None]


class ArmedGuest:
    """One guest that the holder relays to, and thaws if the console can't.

    Args:
        body: the console's message that armed it (`Do.ARM`).
        guest: the connection to the guest's agent.
        console: the holder's end of the socket pair to the console.
        services: what the holder provides.
    """

    def __init__(
        self, body: Body, guest: socket.socket, console: socket.socket, services: HolderServices
    ) -> None:
        self.key = text(body, "key")
        self.name = text(body, "vm")
        self.body = body
        self._guest = guest
        self._services = services
        self._relay = Relay(services.selector, guest, console, self._side_ended)
        self.state = State.RELAYED
        # Bytes sent to the guest before the freeze; -1: the freeze went over another connection.
        self._sent_before: int | None = -1 if body.get("sent") is True else None
        self._heard_before = 0
        self._console_thaws = False
        self._listening = False
        self._read_from = float("inf")
        self._hold_s = 0.0
        self._bound_at = float("inf")
        self._deadline = self._late_at = float("inf")
        process = _process(body)
        self._server = Server(process) if process else server_of(UnixChannel(guest))
        self._gone_check = GoneCheck(self._server)
        self._monitor = self._make_monitor()
        self._look_at = 0.0
        self._machine: ThawMachine | None = None
        self._ended: str | None = None  # why the channel ended, until the machine was told

    # -- what the console says ------------------------------------------------------------

    def intend(self, body: Body, now: float) -> None:
        """Note that a freeze comes next, or was sent on an earlier connection (`Do.INTENT`)."""
        sent = body.get("sent") is True
        self._sent_before = -1 if sent else self._relay.to_guest
        self._heard_before = self._relay.from_guest
        self._console_thaws = body.get("thawing") is True
        self._hold_s = number(body, "hold_s")
        self._bound_at = now + number(body, "bound_s")
        self._deadline = self._bound_at + GRACE_S

    def hold(self, body: Body, now: float) -> None:
        """Note that the window is open, and in how many seconds it ends (`Do.HOLD`)."""
        self._deadline = now + number(body, "seconds") + GRACE_S

    def console_thaws(self) -> None:
        """Note that the console may have sent a thaw; a second one runs the hook again."""
        self._console_thaws = True

    def disarm(self) -> None:
        """Close both ends: the console has seen that the guest is thawed."""
        self._end()

    # -- what the holder decides ----------------------------------------------------------

    @property
    def wakes_at(self) -> float:
        """When `tick` must be called at the latest, by the monotonic clock."""
        if self._machine is not None:
            return min(self._machine.wakes_at, self._look_at, self._read_from)
        # Past the deadline, only a console that has fallen silent makes the holder take over.
        return self._deadline if self._deadline > time.monotonic() else float("inf")

    def overdue(self, now: float) -> bool:
        """Return whether the window should have ended by `now`."""
        if self.state not in (State.RELAYED, State.BROKEN):
            return False
        self._notice_answer(now)
        return now >= self._deadline

    def take_over(self, now: float) -> bool:
        """Close the console's end, and begin to thaw the guest if it may be frozen.

        Returns:
            False if nothing was sent that could have frozen the guest.
        """
        self._relay.stop()
        if not self._may_have_run:
            self._end()
            return False
        connected = self.state is State.RELAYED
        self.state = State.THAWING
        self._late_at = max(now, self._bound_at) + number(
            self.body, "thaw_s", DEFAULT_POLICY.thaw_timeout_s
        )
        self._tickets = itertools.count(1)
        if connected:
            self._talk_through(UnixChannel(self._guest))
        view = MonitorView(problem="not looked at yet")
        self._watch = PortWatch(view, now)
        self._machine = ThawMachine(self._plan(), self._watch, self._tickets.__next__, now)
        self.perform(self._machine.start(now))
        self._step(MachineInputs())
        return True

    def late(self, now: float) -> bool:
        """Return True once, as soon as the thaw is later than any console would wait."""
        if self.state is not State.THAWING or now < self._late_at:
            return False
        self._late_at = float("inf")
        return True

    def fail(self, why: str) -> None:
        """Report a bug in the holder as a thaw that has failed."""
        step = text(self.body, "command")
        report = ThawReport(None, None, None, False, f"the holder failed: {why}", step)
        self._end()
        self._services.done(self, report)

    def tick(self, now: float) -> None:
        """Do what is due: look at the port, and let the thaw machine resend or give up."""
        if self._machine is None:
            return
        if now >= self._read_from:
            self._listen()
        if now >= self._look_at:
            self._look_at = now + WATCH_S
            self._look()
        self._step(MachineInputs())

    @property
    def _may_have_run(self) -> bool:
        """Whether anything was sent that could have frozen the guest."""
        return self._sent_before is not None and self._relay.to_guest > self._sent_before

    # -- relayed --------------------------------------------------------------------------

    def _notice_answer(self, now: float) -> None:
        """Start the hold at the freeze's reply, which a stopped console can't report."""
        if self._answered and self._deadline > self._bound_at:
            self._deadline = now + self._hold_s + GRACE_S

    @property
    def _answered(self) -> bool:
        """Whether the guest has sent anything since the freeze."""
        return self._sent_before is not None and self._relay.from_guest > self._heard_before

    def _side_ended(self, side: str) -> None:
        # The console's end closes when the console dies, which the control channel shows as well,
        # or just before it disarms. The guest's end closing doesn't mean that the guest is thawed:
        # until the console has a new channel, the holder must thaw it if the console dies.
        self._relay.stop()
        if side == "guest":
            self._guest.close()
            self.state = State.BROKEN
            if is_gone(self._server.process) or not self._may_have_run:
                self._end()
            self._services.broken(self)

    # -- thawing --------------------------------------------------------------------------

    def _plan(self) -> ThawPlan:
        return ThawPlan(
            vm=self.name,
            timeout_s=number(self.body, "thaw_s", DEFAULT_POLICY.thaw_timeout_s),
            # A freeze that is still queued will run, whatever its bound was: the holder stays until
            # the agent has processed it.
            patience_s=0.0 if self._answered else float("inf"),
            owned=False,
            connected=self._listening,
            ask=self._console_thaws,
            command=text(self.body, "command"),
            freeze_succeeded=self._answered,
        )

    def _make_monitor(self) -> Monitor | None:
        path, agent = text(self.body, "monitor"), text(self.body, "agent")
        if not path:
            return None
        known = [one for one in Transport if one == text(self.body, "transport")]
        transport = known[0] if known else Transport.UNKNOWN
        label = text(self.body, "label") or None
        channel = AgentChannel(Path(agent), label, transport)
        endpoint = UnixEndpoint(Path(path), peer_of(self.body, "monitor_peer"))
        return Monitor(endpoint, channel, process=self._server.process)

    def _talk_through(self, channel: Channel) -> None:
        self._channel, self._wire = channel, AgentWire()
        self._listen()

    def _listen(self) -> None:
        self._read_from = float("inf")
        self._services.selector.register(self._channel.fileno(), selectors.EVENT_READ, self._read)
        self._listening = True

    def _pause(self, began: float) -> None:
        """Stop reading for a moment: a guest that sends without end must not use all the CPU."""
        self._services.selector.unregister(self._channel.fileno())
        now = time.monotonic()
        self._read_from = now + pause_s(now - began)

    def _hang_up(self) -> None:
        """Close the channel if it is open."""
        if self._listening:
            self._listening = False
            if self._read_from == float("inf"):
                self._services.selector.unregister(self._channel.fileno())
            self._read_from = float("inf")
            self._channel.close()

    def _read(self, _events: int) -> None:
        began = time.monotonic()
        try:
            events = self._wire.feed(self._channel.receive())
        except StreamEnded as error:
            self._broken(str(error))
            self._step(MachineInputs())
            return
        if self._wire.noisy:
            self._pause(began)
        self._step(MachineInputs(heard=events))

    def _step(self, inputs: MachineInputs) -> None:
        """Step the thaw machine; if the channel broke meanwhile, step it again with that."""
        if self._machine is not None:
            step(self._machine, inputs, self)
        while self._machine is not None and self._ended is not None:
            ended, self._ended = self._ended, None
            gone = is_gone(self._server.process)
            step(self._machine, MachineInputs(ended=ended, gone=gone), self)

    def now(self) -> float:
        """Return the time of the monotonic clock."""
        return time.monotonic()

    def perform(self, effects: list[Effect]) -> None:
        """Apply the thaw machine's effects, and finish when it has a report."""
        for effect in effects:
            if self.state is State.DONE:
                return
            match effect:
                case Send(ticket, command, arguments):
                    self._write(self._wire.request(ticket, command, arguments))
                case Resync(ticket):
                    self._write(self._wire.sync(ticket))
                case _:
                    pass
        if self._machine is not None and self._machine.report is not None:
            report = self._machine.report
            self._end()
            self._services.done(self, report)

    def _write(self, data: bytes) -> None:
        if not self._listening:
            return  # the channel broke while an earlier effect was applied
        try:
            self._channel.send(data, SEND_S)
        except TimeoutError:
            pass  # the machine resends it, since no reply comes
        except StreamEnded as error:
            self._broken(str(error))

    def _broken(self, why: str) -> None:
        """Close a channel that has ended, and note why, for the thaw machine's next step."""
        self._hang_up()
        self._ended = why

    def reconnect(self) -> ConnectAttempt:
        """Try once to open a new channel, unless another client is connected (P5)."""
        if self._watch.view.client:
            return ConnectAttempt(connected=False, gone=False, why="another client holds it")
        now = self.now()
        try:
            path = Path(text(self.body, "agent"))
            channel = UnixEndpoint(path, peer_of(self.body)).connect()
        except ConnectFailed as error:
            absent = self._gone_check.tried(now, error.problem)
            known = is_gone(self._server.process)
            gone = absent if known is None else known
            return ConnectAttempt(connected=False, gone=gone, why=str(error))
        self._gone_check.tried(now, None)
        self._talk_through(channel)
        return ConnectAttempt(connected=True)

    def _look(self) -> None:
        if self._monitor is None:
            return
        try:
            exchange = self._monitor.begin(full=True)
        except ConnectFailed as error:
            self._saw(self._monitor.unreachable(error))
            return
        if exchange is not None:
            self._services.multiplexer.begin(exchange, self._saw, lambda _: None)

    def _saw(self, view: MonitorView) -> None:
        if self._machine is not None and self.state is State.THAWING:
            self._step(MachineInputs(view=view))

    def _end(self) -> None:
        if self.state is State.THAWING:
            self._hang_up()
        elif self.state is State.RELAYED:
            self._relay.stop()
            self._guest.close()
        self.state = State.DONE
        self._machine, self._deadline = None, float("inf")


def _process(body: Body) -> Process | None:
    """Return the guest's QEMU process; None if the console didn't know it."""
    pid, ticks = number(body, "vm_pid"), number(body, "vm_ticks")
    return Process(int(pid), int(ticks)) if pid else None
