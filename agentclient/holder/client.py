"""The console's client of its holder: arms guests before a freeze, and receives reports."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from agentclient.access.called_session import NO_CHANNEL
from agentclient.access.guest_access import ThawRecipe
from agentclient.access.stream import Channel, UnixChannel
from agentclient.holder.armed_channel import ArmedChannel
from agentclient.holder.guest_standby import AskedFor, ChannelEnd
from agentclient.holder.messages import (
    Body,
    ConsoleMessage,
    HolderMessage,
    HolderRequest,
    number,
    peer_in,
    text,
)
from agentclient.holder.process import ACK_S, HolderProcess, NoHolder, started
from agentclient.holder.thaw_message import report_of
from agentclient.journal.rows import Reference
from agentclient.model.next_command import thaw_command
from agentclient.model.vm import DRILL_SOURCE, Vm

__all__ = ["ACK_S", "ArmedChannel", "ChannelEnd", "HolderClient", "NoHolder"]

# How long a holder may take to import what reaches a guest, and to reach it.
CONNECT_S: Final = 10.0
# If the first holder doesn't answer, it is killed, and a new one is tried.
_HOLDERS_TRIED: Final = 2


class HolderClient:
    """The client of one console's holder; thread-safe. The holder starts when first needed.

    A holder that does not acknowledge within 2 s is killed, and its guests are treated as if it had
    died. A new holder is started for the next freeze, or for a guest that the old one had.
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
        """Hand the connection to a VM's agent to the holder, which relays it from then on.

        Args:
            vm: the VM.
            channel: the connection to its agent; it becomes the armed channel's `spare`.
            thaw_s: how long the holder's own thaw may take, in seconds.
            window: the journal's window that the holder writes to; None for no journal.
            sent: a freeze was already sent, on an earlier connection.

        Raises:
            NoHolder: no holder can be started, or none answers; the channel is unchanged, and no
                holder has it.
        """
        said = {"thaw_s": thaw_s, "sent": sent, **_described(vm, window), **_sockets(vm)}
        return self._arm(said, channel)

    def arm_by(
        self,
        recipe: ThawRecipe,
        thaw_s: float,
        window: Reference | None = None,
        *,
        sent: bool = False,
        connect_s: float = CONNECT_S,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> ArmedChannel:
        """Let the holder reach a guest by calls; it makes the console's calls from then on.

        Args:
            recipe: what the holder needs for that.
            thaw_s: how long the holder's own thaw may take, in seconds.
            window: the journal's window that the holder writes to; None for no journal.
            sent: a freeze was already sent: the holder does not prove that it reaches the agent,
                which may be at work on it.
            connect_s: how long the holder may take to reach the guest, in seconds.
            cancelled: ends the wait for the holder early.

        Raises:
            NoHolder: no holder can be started, none answers, or it does not reach the guest.
        """
        by = {"means": recipe.means, "details": dict(recipe.details), "paths": _import_paths()}
        said = {"thaw_s": thaw_s, "sent": sent, **_described(recipe.vm, window), **by}
        armed = self._arm(said, NO_CHANNEL)
        try:
            armed.connect(connect_s, cancelled)
        except NoHolder:
            self.disarm(armed)
            raise
        return armed

    def _arm(self, said: Mapping[str, object], channel: Channel) -> ArmedChannel:
        for _ in range(_HOLDERS_TRIED - 1):
            holder = self._started()
            try:
                return self._arm_at(holder, said, channel)
            except NoHolder:
                if holder.pid is not None:
                    raise  # it refused: a new holder would refuse as well
        return self._arm_at(self._started(), said, channel)

    def _arm_at(
        self, holder: HolderProcess, said: Mapping[str, object], channel: Channel
    ) -> ArmedChannel:
        called = channel is NO_CHANNEL
        kind = socket.SOCK_SEQPACKET if called else socket.SOCK_STREAM
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        except OSError as error:
            raise NoHolder(f"no channel can be made to it: {error.strerror}") from error
        key = f"{said['vm']}#{next(self._numbers)}"
        armed = ArmedChannel(key, UnixChannel(ours), channel, holder, _end=ours)
        body = {"do": ConsoleMessage.ARM, "key": armed.key, **said}
        with self._lock:
            self._all_armed[armed.key] = armed
        try:
            given = [] if called else [channel.fileno()]
            holder.ask(body, [*given, theirs.fileno()])
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
        """Tell the holder that a freeze is about to be sent; it must not be sent before.

        Args:
            armed: the guest.
            bound_s: how long the console waits for the freeze's reply, in seconds.
            hold_s: how long the window is held, in seconds.
            sent: the freeze was already sent, on an earlier connection.
            thawing: the console may have sent a thaw as well.

        Raises:
            NoHolder: the holder has not acknowledged it.
        """
        body = {"do": ConsoleMessage.INTENT, "bound_s": bound_s, "hold_s": hold_s, "sent": sent}
        armed.thaw_announced = thawing
        self._ask(armed, {**body, "thawing": thawing})

    def hold(self, armed: ArmedChannel, seconds: float, most_s: float) -> None:
        """Tell the holder when the window ends; a lost holder is no error here.

        Args:
            armed: the guest.
            seconds: in how many seconds the window ends.
            most_s: in how many it ends at the latest, if it is held for as long as it may be.
        """
        with suppress(NoHolder):
            self._ask(armed, {"do": ConsoleMessage.HOLD, "seconds": seconds, "most_s": most_s})

    def keep(self, armed: ArmedChannel) -> int:
        """Leave the window to the holder, which holds it to its end; return the holder's pid.

        Raises:
            NoHolder: the holder has not acknowledged it, or its window is not open.
        """
        self._ask(armed, {"do": ConsoleMessage.KEEP})
        pid = armed.holder.pid if armed.holder is not None else None
        if pid is None:
            raise NoHolder("the holder has gone")
        return pid

    def thaws(self, armed: ArmedChannel) -> None:
        """Tell the holder that the console is about to send a thaw; a lost one is no error here.

        It is told once: a holder that does not answer must not delay a later thaw.
        """
        if armed.thaw_announced:
            return
        armed.thaw_announced = True
        with suppress(NoHolder):
            self._ask(armed, {"do": ConsoleMessage.THAWING})

    def hand_over(self, armed: ArmedChannel) -> int:
        """Leave the guest to the holder, which thaws it as soon as its agent answers.

        Returns:
            The holder's pid.

        Raises:
            NoHolder: the holder has not acknowledged it, and has the guest no more.
        """
        if armed.taken is None or armed.lost:
            self._ask(armed, {"do": ConsoleMessage.TAKE})
        pid = armed.holder.pid if armed.holder is not None else None
        if pid is None:
            raise NoHolder("the holder has gone")
        return pid

    def disarm(self, armed: ArmedChannel) -> None:
        """Tell the holder that the guest needs no standby any more, and close its channels."""
        if armed.taken is None:
            with suppress(NoHolder):
                self._ask(armed, {"do": ConsoleMessage.DISARM, "thawed": armed.thawed})
        self.forget(armed)
        armed.close()

    def close(self) -> None:
        """Leave the holder: it thaws the guests that are still armed."""
        with self._lock:
            self._left, holder = True, self._holder
        if holder is not None:
            holder.leave()

    def _started(self) -> HolderProcess:
        """Return the running holder, or start a new one."""
        with self._starting:
            self._stays()
            holder = self._holder
            if holder is None or holder.pid is None:
                holder = started(self._heard, self._lost)
                with self._lock:
                    self._holder = holder
                try:
                    self._stays()
                except NoHolder:  # who left meanwhile knew nothing of it
                    holder.leave()
                    raise
            return holder

    def _stays(self) -> None:
        if self._left:
            raise NoHolder("frostwatch is leaving")

    def _heard(self, body: Body) -> None:
        with self._lock:
            armed = self._all_armed.get(text(body, "key"))
        if armed is None:
            return
        if body.get("say") == HolderMessage.TAKEN:
            armed.take(text(body, "why"), over=body.get("over") is True)
        elif body.get("say") == HolderMessage.READY:
            armed.reach(text(body, "why") or None)
        elif body.get("say") == HolderMessage.BROKEN:
            armed.decide(ChannelEnd.BROKEN)
        elif body.get("say") == HolderMessage.ASKED:
            armed.on_asked(_asked_for(body))
        elif body.get("say") == HolderMessage.DONE:
            self.forget(armed)
            armed.end(report_of(body))

    def _lost(self, holder: HolderProcess) -> None:
        """Tell the guests of a holder that it has gone."""
        with self._lock:
            guards = [one for one in self._all_armed.values() if one.holder is holder]
        for armed in guards:
            armed.lose()

    def _ask(self, armed: ArmedChannel, body: Mapping[str, object]) -> None:
        if armed.holder is None:
            raise NoHolder("the holder has gone")
        armed.holder.ask({**body, "key": armed.key})

    def forget(self, armed: ArmedChannel) -> None:
        """Ignore further messages about a guest."""
        with self._lock:
            self._all_armed.pop(armed.key, None)


def _asked_for(body: Body) -> AskedFor:
    longer = body.get("ask") == HolderRequest.EXTEND
    return AskedFor(text(body, "by"), number(body, "seconds") if longer else None)


def _described(vm: Vm, window: Reference | None) -> dict[str, object]:
    return {
        "journal": os.path.abspath(window.path) if window else "",  # noqa: PTH100 - the holder changes its folder
        "window": window.key if window else "",
        "asked": window.asked if window else 0.0,
        "vm": str(vm.id),
        "command": thaw_command(vm, foreign=window is None),
    }


def _import_paths() -> list[str]:
    """Return the folders from which this process imports: a holder starts without most of them."""
    return [path for path in sys.path if path.startswith("/")]


def _sockets(vm: Vm) -> dict[str, object]:
    assert vm.agent is not None
    return {
        "vm_pid": vm.process.pid if vm.process else 0,
        "vm_ticks": vm.process.start_ticks if vm.process else 0,
        "agent": str(vm.agent.path),
        "peer": peer_in(vm.peer),
        "monitor_peer": peer_in(vm.monitor_peer or vm.peer),
        "label": vm.agent.label or "",
        "transport": str(vm.agent.transport),
        "monitor": str(vm.monitor.path) if vm.monitor else "",
        "simulated": vm.source == DRILL_SOURCE,
    }
