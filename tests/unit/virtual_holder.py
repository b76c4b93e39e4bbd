"""A holder in virtual time: it passes bytes on, takes over, refuses or dies, as a test says."""

from __future__ import annotations

from typing import Any

from agentclient.access.stream import Channel, StreamEnded
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.armed_channel import WHY_ENDED_S
from agentclient.holder.client import ArmedChannel, ChannelEnd, HolderClient, NoHolder
from agentclient.model.vm import Vm
from tests.unit.virtual_host import VirtualHost

PID = 4711


def report(*, settled: bool = True, count: int | None = 2, reason: str = "thawed 2") -> ThawReport:
    return ThawReport(None, count, None, settled, reason, None if settled else "look", sent=True)


class RelayedChannel:
    """The console's end of a channel whose bytes a holder passes on."""

    def __init__(self, host: VirtualHost, spare: Channel) -> None:
        self.host = host
        self.fd = host.new_fd()
        host.channels[self.fd] = self
        self.spare = spare
        self.ended = False
        self.closed = False

    @property
    def readable(self) -> bool:
        spare: Any = self.spare
        return self.ended or bool(spare.readable)

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def send(self, data: bytes, deadline: float) -> None:
        assert not self.closed, "nothing is written to a channel that is closed"
        if self.ended:
            raise StreamEnded("broken pipe")
        self.spare.send(data, deadline)

    def receive(self) -> bytes:
        assert not self.closed, "nothing is read from a channel that is closed"
        if self.ended:
            raise StreamEnded("the other side has closed the connection")
        return self.spare.receive()

    def close(self) -> None:
        self.closed = True


class VirtualArmed(ArmedChannel):
    """A armed whose waits take virtual time."""

    host: VirtualHost

    def why_ended(self, timeout_s: float = WHY_ENDED_S) -> ChannelEnd:
        self.host.wait_until(self._decided.is_set, timeout_s)
        return self._why

    def wait(self, timeout_s: float) -> ThawReport | None:
        self.host.wait_until(self._ended.is_set, timeout_s)
        return self.report


class VirtualHolder(HolderClient):
    """A console's holder.

    Attributes:
        refusal: why none can be armed; None if one can.
        ignores_intent: it does not hear what is intended.
        never_acknowledges: it does not acknowledge what is handed over.
        said: what it was told, with the number of the armed.
    """

    def __init__(self, host: VirtualHost) -> None:
        super().__init__()
        self.host = host
        self.refusal: str | None = None
        self.ignores_intent = False
        self.never_acknowledges = False
        self.all_armed: list[VirtualArmed] = []
        self.armed_as: list[dict[str, object]] = []
        self.said: list[tuple[str, int, dict[str, object]]] = []

    @property
    def armed(self) -> VirtualArmed:
        """The last that was armed."""
        return self.all_armed[-1]

    def words(self) -> list[str]:
        return [word for word, _, _ in self.said]

    def arm(
        self, vm: Vm, channel: Channel, thaw_s: float, window: object = None, *, sent: bool = False
    ) -> ArmedChannel:
        if self.refusal is not None:
            raise NoHolder(self.refusal)
        armed = VirtualArmed(
            f"a#{len(self.all_armed)}", RelayedChannel(self.host, channel), channel
        )
        armed.host = self.host
        self.all_armed.append(armed)
        self.armed_as.append({"thaw_s": thaw_s, "window": window, "sent": sent})
        self._hear("arm", armed)
        return armed

    def intend(self, armed: ArmedChannel, **more: object) -> None:
        self._hear("intend", armed, **more)
        if self.ignores_intent:
            raise NoHolder("the holder has not acknowledged within 2 s, and was ended")

    def hold(self, armed: ArmedChannel, seconds: float, most_s: float) -> None:
        self._hear("hold", armed, seconds=seconds, most_s=most_s)

    def keep(self, armed: ArmedChannel) -> int:
        self._hear("keep", armed)
        if self.never_acknowledges:
            raise NoHolder("the holder has gone")
        return PID

    def thaws(self, armed: ArmedChannel) -> None:
        self._hear("thaws", armed)

    def hand_over(self, armed: ArmedChannel) -> int:
        self._hear("take", armed)
        if self.never_acknowledges:
            raise NoHolder("the holder has gone")
        return PID

    def disarm(self, armed: ArmedChannel) -> None:
        self._hear("disarm", armed)
        armed.close()

    def forget(self, armed: ArmedChannel) -> None:
        self._hear("forget", armed)

    def _hear(self, word: str, armed: ArmedChannel, **more: object) -> None:
        number = next(number for number, one in enumerate(self.all_armed) if one is armed)
        self.said.append((word, number, more))

    # -- what happens to it ---------------------------------------------------------------

    def die(self) -> None:
        """It is killed: its ends close, the connection itself stays."""
        self._cut()
        self.armed.lose()

    def take(
        self,
        why: str,
        *,
        over: bool = False,
        thaws_in_s: float | None = 0.2,
        found: ThawReport | None = None,
    ) -> None:
        """It takes over, and thaws the guest after a while; None for never."""
        armed = self.armed
        self._cut()
        armed.take(why, over=over)
        if thaws_in_s is not None:
            self.host.after(thaws_in_s, lambda: self._thaw(armed, found or report()))

    def _thaw(self, armed: ArmedChannel, found: ThawReport) -> None:
        if self.host.guest.task and found.settled:  # its thaw waits behind the freeze
            self.host.after(0.2, lambda: self._thaw(armed, found))
            return
        if found.settled:
            self.host.guest.frozen.clear()
            self.host.guest.flag = False
            self.host.guest.thaw_runs += 1
        armed.end(found)

    def guests_end(self) -> None:
        """The guest's own end closes; it tells that."""
        self.host.cut()
        self.armed.decide(ChannelEnd.BROKEN)

    def _cut(self) -> None:
        channel = self.armed.channel
        assert isinstance(channel, RelayedChannel)
        channel.ended = True
