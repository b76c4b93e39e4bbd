"""The console's side of its holder: starts it, arms it before each freeze, and hears from it."""

from __future__ import annotations

import itertools
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from agentclient.answers import freeze_state
from agentclient.channel import Channel, UnixChannel
from agentclient.commands import thaw_command
from agentclient.holder.messages import (
    BEAT_S,
    SILENCE_S,
    Body,
    Do,
    Say,
    peer_in,
    receive,
    send,
    text,
)
from agentclient.journal.rows import Reference
from agentclient.thaw import ThawReport
from agentclient.vm import Stuck, Vm

START_S: Final = 5.0
ACK_S: Final = 2.0
# The word of a take-over comes within a moment of the channel's end, by another socket.
FATE_S: Final = 0.5
_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentclient.holder.main import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)


class NoHolder(Exception):
    """No holder stands by; the text is one clause for a person."""


class Fate(StrEnum):
    """Why a guarded channel has ended."""

    TAKEN = "taken"  # the holder talks to the guest now
    LOST = "lost"  # the holder has died
    BROKEN = "broken"  # the guest's own end has closed


@dataclass(slots=True)
class Guard:
    """The holder's care for one guest, as the console sees it.

    Attributes:
        channel: where the console talks to the guest from now on.
        spare: the connection itself, dormant, for the case that the holder dies.
        taken: why the holder has taken over; None if it has not.
        over: the hold had come to its end by then.
        report: what its thaw came to, once it has ended.
        told_of_thaw: the holder was told that our own thaw may be sent.
    """

    key: str
    channel: Channel
    spare: Channel
    taken: str | None = None
    over: bool = False
    report: ThawReport | None = None
    told_of_thaw: bool = False
    _decided: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _fate: Fate = Fate.BROKEN

    def fate(self, timeout_s: float = FATE_S) -> Fate:
        """Return why the channel has ended; what the holder says of it comes another way.

        Args:
            timeout_s: how long to wait for a word of the holder.
        """
        self._decided.wait(timeout_s)
        return self._fate

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
        self.decide(Fate.TAKEN)

    def lose(self) -> None:
        """The holder has gone; for the client alone."""
        self.decide(Fate.LOST)
        self._ended.set()

    def decide(self, fate: Fate) -> None:
        """The channel ends for this reason, unless one was given before; for the client alone."""
        if not self._decided.is_set():
            self._fate = fate
            self._decided.set()

    def end(self, report: ThawReport) -> None:
        """The holder's thaw has ended; for the client alone."""
        self.report = report
        self._ended.set()


class HolderClient:
    """One console's holder; thread-safe. Its process is started when it is first needed."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._acks: dict[int, threading.Event] = {}
        self._guards: dict[str, Guard] = {}
        self._beat_at = 0.0

    @property
    def pid(self) -> int | None:
        """The holder's process; None if none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def arm(
        self, vm: Vm, channel: Channel, thaw_s: float, window: Reference | None = None
    ) -> Guard:
        """Hand a connection to the holder, which passes on what is said on it.

        Args:
            vm: the VM.
            channel: the connection to its agent; from now on it is the guard's spare.
            thaw_s: how long the holder's own thaw may take, in seconds.
            window: where the holder writes what it does; None for nowhere.

        Raises:
            NoHolder: it can't be started, or does not answer; the channel is as it was.
        """
        self._start()
        ours, theirs = socket.socketpair()
        guard = Guard(f"{vm.id}#{next(self._numbers)}", UnixChannel(ours), channel)
        body = {"do": Do.ARM, "key": guard.key, "thaw_s": thaw_s, **_description(vm, window)}
        with self._lock:
            self._guards[guard.key] = guard
        try:
            self._ask(body, [channel.fileno(), theirs.fileno()])
        except NoHolder:
            self._forget(guard)
            guard.channel.close()
            raise
        finally:
            theirs.close()
        return guard

    def intend(self, guard: Guard, *, bound_s: float, hold_s: float) -> None:
        """Say that a freeze is about to be sent; after this it may be.

        Args:
            guard: the guest.
            bound_s: how long the freeze is waited for at the most.
            hold_s: how long its window is held.

        Raises:
            NoHolder: the holder has not heard it.
        """
        body = {"do": Do.INTENT, "key": guard.key, "bound_s": bound_s, "hold_s": hold_s}
        self._ask(body)

    def hold(self, guard: Guard, seconds: float) -> None:
        """Say that the window ends in `seconds`; a holder that has gone shows elsewhere."""
        with suppress(NoHolder):
            self._ask({"do": Do.HOLD, "key": guard.key, "seconds": seconds})

    def thaws(self, guard: Guard) -> None:
        """Say that our own thaw is about to be sent; a holder that has gone shows elsewhere.

        Once is enough, and a holder that does not answer keeps no later thaw waiting.
        """
        if guard.told_of_thaw:
            return
        guard.told_of_thaw = True
        with suppress(NoHolder):
            self._ask({"do": Do.THAWING, "key": guard.key})

    def hand_over(self, guard: Guard) -> None:
        """Leave the guest to the holder, which thaws it as soon as its agent answers."""
        with suppress(NoHolder):
            self._ask({"do": Do.TAKE, "key": guard.key})
        guard.channel.close()
        guard.spare.close()

    def disarm(self, guard: Guard) -> None:
        """Say that the guest needs no care any more, and close everything that belonged to it."""
        if guard.taken is None:
            with suppress(NoHolder):
                self._ask({"do": Do.DISARM, "key": guard.key})
        self._forget(guard)
        guard.channel.close()
        guard.spare.close()

    def close(self) -> None:
        """Leave; what is armed still is thawed by the holder."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # -- the process ----------------------------------------------------------------------

    def _start(self) -> None:
        with self._starting:
            if self._connection is not None:
                return
            reasons = []
            for command in _commands():
                try:
                    self._start_as(command)
                except (NoHolder, OSError) as error:
                    reasons.append(str(error))
                else:
                    return
            raise NoHolder(f"the holder can't be started: {'; '.join(reasons)}")

    def _start_as(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection = ours
        threading.Thread(target=self._listen, args=(ours,), name="holder", daemon=True).start()
        try:
            self._ask({"do": Do.HELLO}, timeout_s=START_S)
        except NoHolder:
            self._lost(ours)
            raise

    def _listen(self, connection: socket.socket) -> None:
        """Hear what the holder says, and tell it that we live."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while True:
            try:
                poll.poll(BEAT_S * 1000)
                self._beat(connection)
                message = receive_now(connection)
            except OSError:
                message = None
            if message is None:
                self._lost(connection)
                return
            self._heard(message)

    def _beat(self, connection: socket.socket) -> None:
        now = time.monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            with suppress(BlockingIOError):
                send(connection, {"do": Do.BEAT})

    def _heard(self, body: Body) -> None:
        if body.get("say") == Say.ACK:
            number = body.get("number")
            event = self._acks.get(number) if isinstance(number, int) else None
            if event is not None:
                event.set()
            return
        guard = self._guards.get(text(body, "key"))
        if guard is None:
            return
        if body.get("say") == Say.TAKEN:
            guard.take(text(body, "why"), over=body.get("over") is True)
        elif body.get("say") == Say.BROKEN:
            guard.decide(Fate.BROKEN)
        elif body.get("say") == Say.DONE:
            guard.end(_report(body))

    def _lost(self, connection: socket.socket) -> None:
        """The holder has gone, or was left: nobody waits for it any more."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
            guards = list(self._guards.values())
            waiting = list(self._acks.values())
        connection.close()
        for guard in guards:
            guard.lose()
        for event in waiting:
            event.set()
        process = self._process
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(SILENCE_S)

    def _ask(
        self, body: Body, descriptors: Sequence[int] = (), *, timeout_s: float = ACK_S
    ) -> None:
        number, acknowledged = next(self._numbers), threading.Event()
        connection = self._connection
        if connection is None:
            raise NoHolder("the holder has gone")
        self._acks[number] = acknowledged
        try:
            send(connection, {**body, "number": number}, descriptors)
            in_time = acknowledged.wait(timeout_s)
        except OSError as error:
            raise NoHolder(f"the holder can't be reached: {error}") from error
        finally:
            del self._acks[number]
        if self._connection is not connection:
            raise NoHolder("the holder has gone")
        if not in_time:
            raise NoHolder(f"the holder does not answer within {timeout_s:g} s")

    def _forget(self, guard: Guard) -> None:
        with self._lock:
            self._guards.pop(guard.key, None)


def receive_now(connection: socket.socket) -> dict[str, object] | None:
    """Return what has come; an empty message if nothing has, None at the end.

    Raises:
        OSError: the other side was killed.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(0):
        return {}
    message = receive(connection)
    return None if message is None else message[0]


def _commands() -> list[list[str]]:
    """Return the ways to start a holder, the best first.

    The library path can't come from the environment, which ``-E`` and ``-I`` keep out; ``-S``
    spares what a small process does not need.
    """
    plain = [sys.executable, "-S", "-E", "-I", "-c", _BOOT, _PACKAGES]
    scope = shutil.which("systemd-run")
    if scope is None or not Path("/run/systemd/system").is_dir():
        return [plain]
    # A scope of its own: ending the terminal's control group does not end the holder.
    user = [] if os.geteuid() == 0 else ["--user"]
    return [[scope, *user, "--scope", "--quiet", "--collect", "--no-ask-password", *plain], plain]


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
