"""The console's side of its holder: arms it before each freeze, and hears what it does."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from agentclient.access.guest_access import ThawRecipe
from agentclient.access.stream import Channel, UnixChannel
from agentclient.freeze.effects import Tell
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.guest_standby import ChannelEnd, GuestStandby
from agentclient.holder.messages import Body, Do, Say, peer_in, text
from agentclient.holder.process import ACK_S, HolderProcess, NoHolder, started
from agentclient.journal.rows import Reference
from agentclient.model.next_command import thaw_command
from agentclient.model.states import Stuck
from agentclient.model.vm import Vm
from agentclient.protocol.qga_replies import freeze_state

__all__ = ["ACK_S", "ArmedChannel", "ChannelEnd", "HolderClient", "NoHolder"]

# The word of a take-over comes within a moment of the channel's end, by another socket.
WHY_ENDED_S: Final = 0.5
# The second one is new: the first has not answered, and was ended.
_HOLDERS_TRIED: Final = 2


@dataclass(slots=True)
class ArmedChannel:
    """The holder's care for one guest, as the console sees it.

    Attributes:
        channel: where the console talks to the guest from now on.
        spare: the connection itself, dormant, for the case that the holder dies.
        holder: in whose standby it is.
        taken: why the holder has taken over; None if it has not.
        over: the hold had come to its end by then.
        report: what its thaw came to, once it has ended.
        told_of_thaw: the holder was told that our own thaw may be sent.
        afterwards: is called, in another thread, with what its thaw came to.
        deserted: is called, in another thread, if it is lost before that.
    """

    key: str
    channel: Channel
    spare: Channel
    holder: HolderProcess | None = None
    taken: str | None = None
    over: bool = False
    report: ThawReport | None = None
    told_of_thaw: bool = False
    afterwards: Callable[[ThawReport], None] = lambda _: None
    deserted: Callable[[], None] = lambda: None
    _end: socket.socket | None = None
    _decided: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _why: ChannelEnd = ChannelEnd.BROKEN

    def why_ended(self, timeout_s: float = WHY_ENDED_S) -> ChannelEnd:
        """Return why the channel has ended; what the holder says of it comes another way.

        Args:
            timeout_s: how long to wait for a word of the holder.
        """
        self._decided.wait(timeout_s)
        return self._why

    @property
    def lost(self) -> bool:
        """Whether the holder is no more, and has not told that its thaw has ended."""
        return self.report is None and self._ended.is_set()

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return what the holder's thaw came to; None if it has not ended in time.

        Args:
            timeout_s: how long to wait.
        """
        self._ended.wait(timeout_s)
        return self.report

    def take(self, why: str, *, over: bool = False) -> None:
        """The holder has taken over; for the client alone."""
        self.taken, self.over = why, over
        self.decide(ChannelEnd.TAKEN)

    def lose(self) -> None:
        """The holder has gone; for the client alone."""
        self.decide(ChannelEnd.LOST)
        self._ended.set()
        if self._end is not None:  # one that can't die yet would keep its end open
            with suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
        if self.lost:
            self.deserted()

    def decide(self, end: ChannelEnd) -> None:
        """The channel ends for this reason, unless one was given before; for the client alone."""
        if not self._decided.is_set():
            self._why = end
            self._decided.set()

    def end(self, report: ThawReport) -> None:
        """The holder's thaw has ended; for the client alone."""
        self.report = report
        self._ended.set()
        self.afterwards(report)

    def close(self) -> None:
        """Close both channels; the holder's own ends stay open."""
        self.channel.close()
        self.spare.close()


class HolderClient:
    """One console's holder; thread-safe. Its process is started when it is first needed.

    One that does not acknowledge within 2 s is ended, since it is our own child, and what it had is
    as if it had died; the next freeze, or a guest that was in its standby, has a new one.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._holder: HolderProcess | None = None
        self._numbers = itertools.count(1)
        self._all_armed: dict[str, ArmedChannel] = {}
        self._left = False

    @property
    def pid(self) -> int | None:
        """The holder's process; None if none runs."""
        holder = self._holder
        return holder.pid if holder is not None else None

    def arm(
        self,
        vm: Vm,
        channel: Channel,
        thaw_s: float,
        window: Reference | None = None,
        *,
        sent: bool = False,
    ) -> ArmedChannel:
        """Hand a connection to the holder, which passes on what is said on it.

        Args:
            vm: the VM.
            channel: the connection to its agent; from now on it is the guard's spare.
            thaw_s: how long the holder's own thaw may take, in seconds.
            window: where the holder writes what it does; None for nowhere.
            sent: a freeze was sent already, on a connection before this one.

        Raises:
            NoHolder: it can't be started, or does not answer; the channel is as it was, and no
                holder has it.
        """
        said = {"thaw_s": thaw_s, "sent": sent, **_description(vm, window)}
        for _ in range(_HOLDERS_TRIED - 1):
            holder = self._started()
            try:
                return self._arm(holder, vm, channel, said)
            except NoHolder:
                if holder.pid is not None:
                    raise  # it has answered: another one would say the same
        return self._arm(self._started(), vm, channel, said)

    def standby_by(
        self,
        recipe: ThawRecipe,
        _thaw_s: float,
        _window: Reference | None,
        _tell: Callable[[Tell], None],
    ) -> GuestStandby:
        """Return who stands by for a guest whose connection can't be handed over.

        Args:
            recipe: what the holder needs to reach it by itself.

        Raises:
            NoHolder: it can't reach a guest by such means.
        """
        raise NoHolder(f"it can't thaw a guest that is reached by {recipe.means} without us")

    def _arm(
        self, holder: HolderProcess, vm: Vm, channel: Channel, said: Mapping[str, object]
    ) -> ArmedChannel:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise NoHolder(f"no channel can be made to it: {error.strerror}") from error
        key = f"{vm.id}#{next(self._numbers)}"
        armed = ArmedChannel(key, UnixChannel(ours), channel, holder, _end=ours)
        body = {"do": Do.ARM, "key": armed.key, **said}
        with self._lock:
            self._all_armed[armed.key] = armed
        try:
            holder.ask(body, [channel.fileno(), theirs.fileno()])
        except NoHolder:
            self.forget(armed)
            armed.channel.close()
            raise
        finally:
            theirs.close()
        return armed

    def intend(
        self,
        armed: ArmedChannel,
        *,
        bound_s: float,
        hold_s: float,
        sent: bool = False,
        thawing: bool = False,
    ) -> None:
        """Say that a freeze is about to be sent; after this it may be.

        Args:
            armed: the guest.
            bound_s: how long the freeze is waited for at the most.
            hold_s: how long its window is held.
            sent: it was sent already, on a connection before this one.
            thawing: and so was a thaw, perhaps.

        Raises:
            NoHolder: the holder has not heard it.
        """
        body = {"do": Do.INTENT, "bound_s": bound_s, "hold_s": hold_s, "sent": sent}
        armed.told_of_thaw = thawing
        self._ask(armed, {**body, "thawing": thawing})

    def hold(self, armed: ArmedChannel, seconds: float) -> None:
        """Say that the window ends in `seconds`; a holder that has gone shows elsewhere."""
        with suppress(NoHolder):
            self._ask(armed, {"do": Do.HOLD, "seconds": seconds})

    def thaws(self, armed: ArmedChannel) -> None:
        """Say that our own thaw is about to be sent; a holder that has gone shows elsewhere.

        Once is enough, and a holder that does not answer keeps no later thaw waiting.
        """
        if armed.told_of_thaw:
            return
        armed.told_of_thaw = True
        with suppress(NoHolder):
            self._ask(armed, {"do": Do.THAWING})

    def hand_over(self, armed: ArmedChannel) -> int:
        """Leave the guest to the holder, which thaws it as soon as its agent answers.

        Returns:
            The holder's pid.

        Raises:
            NoHolder: it has not acknowledged it; whatever it had, it has no more.
        """
        if armed.taken is None or armed.lost:
            self._ask(armed, {"do": Do.TAKE})
        pid = armed.holder.pid if armed.holder is not None else None
        if pid is None:
            raise NoHolder("the holder has gone")
        return pid

    def disarm(self, armed: ArmedChannel) -> None:
        """Say that the guest needs no care any more, and close everything that belonged to it."""
        if armed.taken is None:
            with suppress(NoHolder):
                self._ask(armed, {"do": Do.DISARM})
        self.forget(armed)
        armed.close()

    def close(self) -> None:
        """Leave; what is armed still is thawed by the holder."""
        with self._lock:
            self._left, holder = True, self._holder
        if holder is not None:
            holder.leave()

    def _started(self) -> HolderProcess:
        """Return the holder that runs, or a new one."""
        with self._starting:
            if self._left:
                raise NoHolder("frostwatch is leaving")
            if self._holder is None or self._holder.pid is None:
                self._holder = started(self._heard, self._lost)
            return self._holder

    def _heard(self, body: Body) -> None:
        with self._lock:
            armed = self._all_armed.get(text(body, "key"))
        if armed is None:
            return
        if body.get("say") == Say.TAKEN:
            armed.take(text(body, "why"), over=body.get("over") is True)
        elif body.get("say") == Say.BROKEN:
            armed.decide(ChannelEnd.BROKEN)
        elif body.get("say") == Say.DONE:
            self.forget(armed)
            armed.end(_report(body))

    def _lost(self, holder: HolderProcess) -> None:
        """A holder has gone, and with it its standby for its guests."""
        with self._lock:
            guards = [one for one in self._all_armed.values() if one.holder is holder]
        for armed in guards:
            armed.lose()

    def _ask(self, armed: ArmedChannel, body: Mapping[str, object]) -> None:
        if armed.holder is None:
            raise NoHolder("the holder has gone")
        armed.holder.ask({**body, "key": armed.key})

    def forget(self, armed: ArmedChannel) -> None:
        """Hear nothing of a guest any more."""
        with self._lock:
            self._all_armed.pop(armed.key, None)


def _description(vm: Vm, window: Reference | None) -> dict[str, object]:
    assert vm.agent is not None
    return {
        "journal": os.path.abspath(window.path) if window else "",  # noqa: PTH100 - it leaves our folder
        "window": window.key if window else "",
        "asked": window.asked if window else 0.0,
        "vm": str(vm.id),
        "command": thaw_command(vm, foreign=window is None),
        "vm_pid": vm.process.pid if vm.process else 0,
        "vm_ticks": vm.process.start_ticks if vm.process else 0,
        "agent": str(vm.agent.path),
        "peer": peer_in(vm.peer),
        "monitor_peer": peer_in(vm.monitor_peer or vm.peer),
        "label": vm.agent.label or "",
        "transport": str(vm.agent.transport),
        "monitor": str(vm.monitor.path) if vm.monitor else "",
    }


def _report(body: Body) -> ThawReport:
    count = body.get("count")
    return ThawReport(
        before=freeze_state(body.get("before")),
        count=count if isinstance(count, int) else None,
        error=text(body, "error") or None,
        settled=body.get("settled") is True,
        reason=text(body, "reason"),
        next=text(body, "next") or None,
        repeated=body.get("repeated") is True,
        stuck=_stuck(text(body, "stuck")),
        sent=body.get("sent") is True,
    )


def _stuck(word: str) -> Stuck | None:
    return Stuck(word) if word in list(Stuck) else None
