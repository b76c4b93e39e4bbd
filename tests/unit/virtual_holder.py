"""A holder in virtual time: it passes bytes on, takes over, refuses or dies, as a test says."""

from __future__ import annotations

from typing import Any

from agentclient.access.stream import Channel, StreamEnded
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.client import FATE_S, Fate, Guard, HolderClient, NoHolder
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


class VirtualGuard(Guard):
    """A guard whose waits take virtual time."""

    host: VirtualHost

    def fate(self, timeout_s: float = FATE_S) -> Fate:
        self.host.wait_until(self._decided.is_set, timeout_s)
        return self._fate

    def wait(self, timeout_s: float) -> ThawReport | None:
        self.host.wait_until(self._ended.is_set, timeout_s)
        return self.report


class VirtualHolder(HolderClient):
    """A console's holder.

    Attributes:
        refusal: why none can be armed; None if one can.
        deaf: it does not hear what is intended.
        keeps_nothing: it does not acknowledge what is handed over.
        said: what it was told, with the number of the guard.
    """

    def __init__(self, host: VirtualHost) -> None:
        super().__init__()
        self.host = host
        self.refusal: str | None = None
        self.deaf = False
        self.keeps_nothing = False
        self.guards: list[VirtualGuard] = []
        self.armed_as: list[dict[str, object]] = []
        self.said: list[tuple[str, int, dict[str, object]]] = []

    @property
    def guard(self) -> VirtualGuard:
        """The last that was armed."""
        return self.guards[-1]

    def words(self) -> list[str]:
        return [word for word, _, _ in self.said]

    def arm(
        self, vm: Vm, channel: Channel, thaw_s: float, window: object = None, *, sent: bool = False
    ) -> Guard:
        if self.refusal is not None:
            raise NoHolder(self.refusal)
        guard = VirtualGuard(f"a#{len(self.guards)}", RelayedChannel(self.host, channel), channel)
        guard.host = self.host
        self.guards.append(guard)
        self.armed_as.append({"thaw_s": thaw_s, "window": window, "sent": sent})
        self._hear("arm", guard)
        return guard

    def intend(self, guard: Guard, **more: object) -> None:
        self._hear("intend", guard, **more)
        if self.deaf:
            raise NoHolder("the holder has not acknowledged within 2 s, and was ended")

    def hold(self, guard: Guard, seconds: float) -> None:
        self._hear("hold", guard, seconds=seconds)

    def thaws(self, guard: Guard) -> None:
        self._hear("thaws", guard)

    def hand_over(self, guard: Guard) -> int:
        self._hear("take", guard)
        if self.keeps_nothing:
            raise NoHolder("the holder has gone")
        return PID

    def disarm(self, guard: Guard) -> None:
        self._hear("disarm", guard)
        guard.close()

    def forget(self, guard: Guard) -> None:
        self._hear("forget", guard)

    def _hear(self, word: str, guard: Guard, **more: object) -> None:
        number = next(number for number, one in enumerate(self.guards) if one is guard)
        self.said.append((word, number, more))

    # -- what happens to it ---------------------------------------------------------------

    def die(self) -> None:
        """It is killed: its ends close, the connection itself stays."""
        self._cut()
        self.guard.lose()

    def take(
        self,
        why: str,
        *,
        over: bool = False,
        thaws_in_s: float | None = 0.2,
        found: ThawReport | None = None,
    ) -> None:
        """It takes over, and thaws the guest after a while; None for never."""
        guard = self.guard
        self._cut()
        guard.take(why, over=over)
        if thaws_in_s is not None:
            self.host.after(thaws_in_s, lambda: self._thaw(guard, found or report()))

    def _thaw(self, guard: Guard, found: ThawReport) -> None:
        if self.host.guest.task and found.settled:  # its thaw waits behind the freeze
            self.host.after(0.2, lambda: self._thaw(guard, found))
            return
        if found.settled:
            self.host.guest.frozen.clear()
            self.host.guest.flag = False
            self.host.guest.thaw_runs += 1
        guard.end(found)

    def guests_end(self) -> None:
        """The guest's own end closes; it tells that."""
        self.host.cut()
        self.guard.decide(Fate.BROKEN)

    def _cut(self) -> None:
        channel = self.guard.channel
        assert isinstance(channel, RelayedChannel)
        channel.ended = True
