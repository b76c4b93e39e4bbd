"""A guest in the holder on a connection: its bytes are relayed until the holder takes over."""

from __future__ import annotations

import selectors
import socket
import time
from pathlib import Path
from typing import Final

from agentclient.access.monitor import Monitor
from agentclient.access.presence import GoneCheck, Server, is_gone, server_of
from agentclient.access.stream import Channel, ConnectFailed, StreamEnded, UnixChannel, UnixEndpoint
from agentclient.freeze.effects import Resync, Send
from agentclient.freeze.machine import ConnectAttempt, MachineInputs
from agentclient.freeze.thaw_machine import WATCH_S
from agentclient.freeze.thaw_plan import ThawPlan
from agentclient.holder.armed_guest import ArmedGuest, HolderServices, State
from agentclient.holder.messages import Body, number, peer_of, text
from agentclient.holder.relay import Relay
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, Process
from agentclient.protocol.qga import AgentWire, pause_s

# After a long while, the monitor is looked at as rarely as that of any VM (P5).
LONG_S: Final = 600.0
SELDOM_S: Final = 2.0
# A send to a frozen guest never waits: the socket takes the bytes at once, or the send fails.
SEND_S: Final = 0.0


class StreamGuest(ArmedGuest):
    """One guest that the holder relays to, and thaws if the console can't.

    Args:
        body: the console's message that armed it (`ConsoleMessage.ARM`).
        guest: the connection to the guest's agent.
        console: the holder's end of the socket pair to the console.
        services: what the holder provides.
    """

    def __init__(
        self, body: Body, guest: socket.socket, console: socket.socket, services: HolderServices
    ) -> None:
        super().__init__(body, services)
        self._guest = guest
        # Bytes sent to the guest before the freeze; -1: the freeze went over another connection.
        self._sent_before: int | None = -1 if body.get("sent") is True else None
        self._heard_before = 0
        self._listening = False
        self._read_from = float("inf")
        process = _process(body)
        simulated = body.get("simulated") is True  # then who serves it is the VM
        served = Server(process) if process else None
        self._server = served or server_of(UnixChannel(guest), simulated=simulated)
        self._gone_check = GoneCheck(self._server)
        self._monitor = self._make_monitor()
        self._look_at = 0.0
        self._taken_at = float("inf")
        # Last: whoever called closes the sockets if this fails, and none may be registered then.
        self._relay = Relay(services.selector, guest, console, self._side_ended)

    @property
    def wakes_at(self) -> float:
        """When `tick` must be called at the latest, by the monotonic clock."""
        if self._machine is None:
            return super().wakes_at
        return min(super().wakes_at, self._look_at, self._read_from)

    # -- relayed --------------------------------------------------------------------------

    def _note_intent(self, *, sent: bool) -> None:
        self._sent_before = -1 if sent else self._relay.to_guest
        self._heard_before = self._relay.from_guest

    @property
    def _may_have_run(self) -> bool:
        return self._sent_before is not None and self._relay.to_guest > self._sent_before

    @property
    def _answered(self) -> bool:
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

    def _stop_relay(self) -> None:
        self._relay.stop()

    # -- thawing --------------------------------------------------------------------------

    def _take_channel(self) -> ThawPlan:
        self._taken_at = self.now()
        if self.state is State.RELAYED:
            self._talk_through(UnixChannel(self._guest))
        return self._plan(connected=self._listening)

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
            self._broken(error)
            self._step(MachineInputs())
            return
        if self._wire.noisy:
            self._pause(began)
        self._step(MachineInputs(heard=events))

    def _do_due(self, now: float) -> None:
        if now >= self._read_from:
            self._listen()
        if now >= self._look_at:
            self._look_at = now + (WATCH_S if now < self._taken_at + LONG_S else SELDOM_S)
            self._look()

    def _send(self, effect: Send | Resync) -> None:
        if isinstance(effect, Send):
            self._write(self._wire.request(effect.ticket, effect.command, effect.arguments))
        else:
            self._write(self._wire.sync(effect.ticket))

    def _write(self, data: bytes) -> None:
        if not self._listening:
            return  # the channel broke while an earlier effect was applied
        try:
            self._channel.send(data, SEND_S)
        except TimeoutError:
            pass  # the machine resends it, since no reply comes
        except StreamEnded as error:
            self._broken(error)

    def _broken(self, why: StreamEnded) -> None:
        """Close a channel that has ended, and note why, for the thaw machine's next step."""
        self._hang_up()
        self._ended = why

    def _is_gone(self) -> bool | None:
        return is_gone(self._server.process)

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

    def _close(self) -> None:
        if self.state is State.THAWING:
            self._hang_up()
        elif self.state is State.RELAYED:
            self._relay.stop()
            self._guest.close()


def _process(body: Body) -> Process | None:
    """Return the guest's QEMU process; None if the console didn't know it."""
    pid, ticks = number(body, "vm_pid"), number(body, "vm_ticks")
    return Process(int(pid), int(ticks)) if pid else None
