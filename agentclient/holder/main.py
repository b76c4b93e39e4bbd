"""The holder's process: ``python -S -E -I -c … DESCRIPTOR PID``; see the package's docstring."""

from __future__ import annotations

import errno
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agentclient.access.multiplexer import Multiplexer
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.armed_guest import ArmedGuest, HolderServices, State
from agentclient.holder.messages import (
    SILENCE_S,
    VERSION,
    Body,
    ConsoleMessage,
    HolderMessage,
    receive,
    send,
    text,
)
from agentclient.holder.outside_requests import HolderActions, OutsideRequests
from agentclient.holder.records import Records
from agentclient.holder.relay import SHORT
from agentclient.holder.stream_guest import StreamGuest
from agentclient.holder.system_log import SystemLog
from agentclient.holder.thaw_message import done
from agentclient.late import load

LONGEST_TURN_S: Final = 0.25
# Descriptors not used for guests: for monitors, a new channel to a guest, the journal, and others.
RESERVE: Final = 20
# Messages kept for a stopped console, which does not read; a running one reads them at once.
MOST_UNSAID: Final = 10_000
CONSOLE_STOPPED: Final = "the console is stopped, and the hold is over"
NAME: Final = b"frostwatch-hold"
_IGNORED: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTSTP, signal.SIGQUIT)


class Holder:
    """The holder of one console: its event loop, and all of its guests.

    Args:
        console: the control channel to the console; it is made non-blocking.
        pid: the console's process.
    """

    def __init__(self, console: socket.socket, pid: int) -> None:
        console.setblocking(False)
        self._console: socket.socket | None = console
        self._selector = selectors.DefaultSelector()
        self._multiplexer = Multiplexer()
        self._guests: dict[str, ArmedGuest] = {}
        self._records = Records()
        self._log = SystemLog()
        self._unsaid: deque[Body] = deque(maxlen=MOST_UNSAID)
        self._alone = False
        self._told_to_end = False
        self._heard_at = time.monotonic()
        self._services = HolderServices(
            self._selector, self._multiplexer, self._broken, self._done, self._ready
        )
        self._requests = OutsideRequests(
            self._selector,
            self._guests,
            HolderActions(self._take_over, self._ask_console, self._changed, _is_spare),
            pid,
        )
        self._selector.register(console, selectors.EVENT_READ, self._hear)
        self._selector.register(self._multiplexer, selectors.EVENT_READ, self._visit)
        self._pidfd = self._watch_process(pid)

    def run(self) -> None:
        """Run the event loop until the console has gone and no guest is left to thaw."""
        self._requests.open()
        while not self._alone or self._guests:
            self._turn()
        self._records.close()
        self._log.close()
        self._requests.close()

    def end(self) -> None:
        """Take over all guests, and end when they are thawed; safe in a signal handler."""
        self._told_to_end = True

    def _take_over_all(self, why: str, *, kept: bool = False) -> None:
        """Take over all guests; those whose windows were left to the holder only with `kept`."""
        self._alone = True
        for armed in list(self._guests.values()):
            if kept or not armed.kept:
                self._take_over(armed, why)

    # -- the loop -------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        wakes_at = min((armed.wakes_at for armed in self._guests.values()), default=now + 1.0)
        wait = max(0.0, min(wakes_at - now, LONGEST_TURN_S))
        for key, events in self._selector.select(wait):
            handler: Callable[[int], None] = key.data
            # An earlier handler of this round may have unregistered this socket.
            if self._selector.get_map().get(key.fd) is key:
                self._handle(key, handler, events)
        now = time.monotonic()
        self._visit(0)
        self._speak()
        if self._told_to_end:
            self._take_over_all("the holder was told to end", kept=True)
        self._for_others(lambda: self._requests.tick(now))
        stopped = now - self._heard_at > SILENCE_S
        for armed in list(self._guests.values()):
            try:
                if armed.overdue(now) and (stopped or armed.kept):
                    why = "its hold is over" if armed.kept else CONSOLE_STOPPED
                    self._take_over(armed, why)
                armed.tick(now)
                self._tell_late(armed, now)
            except Exception as error:  # noqa: BLE001 - P8: a bug with one guest must not stop the rest
                self._failed(armed, error)
        thawing = any(armed.state is State.THAWING for armed in self._guests.values())
        self._records.flush(thawing=thawing)

    def _for_others(self, answer: Callable[[], None]) -> None:
        """Answer others; an error in that costs them alone."""
        try:
            answer()
        except Exception as error:  # noqa: BLE001 - P8, as above
            self._log.tell(f"a bug of ours: {error!r}")

    def _tell_late(self, armed: ArmedGuest, now: float) -> None:
        """Tell once, in the journal, that a thaw is later than any console would wait."""
        late = armed.late(now)
        if late is not None:
            self._records.noted(armed.body, late)
            if self._console is None:
                self._log.tell(f"{armed.name}: {late}")

    def _handle(
        self, key: selectors.SelectorKey, handler: Callable[[int], None], events: int
    ) -> None:
        try:
            handler(events)
        except Exception as error:  # noqa: BLE001 - P8, as above
            # It would be called again at once, for ever.
            with suppress(KeyError, ValueError):
                self._selector.unregister(key.fd)
            self._log.tell(f"a bug of ours: {error!r}")

    def _failed(self, armed: ArmedGuest, error: Exception) -> None:
        try:
            armed.fail(repr(error))
        except Exception as another:  # noqa: BLE001 - P8, as above
            self._log.tell(f"{armed.name}: a bug of ours: {error!r}, then {another!r}")
            self._guests.pop(armed.key, None)

    def _visit(self, _events: int) -> None:
        self._multiplexer.turn(0.0)

    def _watch_process(self, pid: int) -> int | None:
        """Watch the console's pidfd: its children may keep the control channel open."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None  # the console has gone already: the control channel shows it
        self._selector.register(pidfd, selectors.EVENT_READ, self._died)
        return pidfd

    def _died(self, _events: int) -> None:
        if self._pidfd is not None:
            self._selector.unregister(self._pidfd)
            self._pidfd = None
        try:
            while self._console is not None and self._hear_next():
                pass  # messages sent before its death decide what each guest needs
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._console is not None:
            with suppress(KeyError):  # `_handle` has unregistered it after a bug
                self._selector.unregister(self._console)
            self._console.close()
            self._console = None
        self._take_over_all("the console has gone")

    # -- the console ----------------------------------------------------------------------

    def _hear(self, _events: int) -> None:
        self._hear_next()

    def _hear_next(self) -> bool:
        """Handle the console's next message; return whether there may be more."""
        if self._console is None:
            return False
        try:
            message = receive(self._console)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # A console that was killed with unread packets resets the channel. The kernel reports
            # that once, before the packets that the console had sent.
            return True
        except OSError as error:
            if error.errno in SHORT:
                return False
            message = None
        if message is None:
            self._hang_up()
            return False
        self._heard_at = time.monotonic()
        body, descriptors = message
        refusal = self._try(body, descriptors)
        answer = {"done": refusal is None, "why": refusal, "version": VERSION}
        self._say({"say": HolderMessage.ACK, "number": body.get("number"), **answer})
        return True

    def _try(self, body: Body, descriptors: list[int]) -> str | None:
        """Carry out a request; return why it was refused, None if it was done."""
        sockets: list[socket.socket] = []
        try:
            while descriptors:
                sockets.append(socket.socket(fileno=descriptors[0]))
                descriptors.pop(0)
            if body.get("do") == ConsoleMessage.ARM:
                return self._arm(body, sockets)
            return self._obey(body)
        except Exception as error:  # noqa: BLE001 - P8: a bug costs this request, not the others
            return f"the holder failed: {error!r}"
        finally:
            for each in sockets:
                each.close()  # `_arm` has taken out those that an armed guest uses
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)

    def _arm(self, body: Body, sockets: list[socket.socket]) -> str | None:
        called = bool(text(body, "means"))
        if len(sockets) != (1 if called else 2):
            return "the holder has no descriptor left for another guest: raise ulimit -n"
        if not all(_is_spare(each.fileno()) for each in sockets):
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return f"the holder has too few descriptors for another guest: ulimit -n is {limit}"
        armed: ArmedGuest
        if called:  # most holders have no such guest: they don't import what it needs
            made = load("agentclient.holder.called_guest", "CalledGuest")
            armed = made(body, sockets[0], self._services)
        else:
            armed = StreamGuest(body, sockets[0], sockets[1], self._services)
        self._guests[armed.key] = armed
        sockets.clear()
        return None

    def _obey(self, body: Body) -> str | None:
        now = time.monotonic()
        if body.get("do") in (ConsoleMessage.HELLO, ConsoleMessage.BEAT):
            return None
        held = self._guests.get(text(body, "key"))
        if held is None:
            return "the holder does not know this guest"
        match body.get("do"):
            case ConsoleMessage.INTENT:
                held.intend(body, now)
            case ConsoleMessage.HOLD:
                held.hold(body, now)
                self._for_others(lambda: self._requests.held(held))
            case ConsoleMessage.THAWING:
                held.console_thaws()
            case ConsoleMessage.TAKE:
                self._take_over(held, "the console was left in a hurry")
            case ConsoleMessage.KEEP:
                return held.keep()
            case ConsoleMessage.DISARM if held.state is not State.THAWING:
                held.disarm()
                del self._guests[held.key]
                self._has_ended(held.key, {"count": body.get("thawed")}, own=False)
            case ConsoleMessage.DISARM:
                return "the holder thaws this guest itself"
            case _:
                return "the holder does not know what this means"
        return None

    def _say(self, body: Body) -> None:
        if self._console is not None:
            self._unsaid.append(body)
            self._speak()

    def _speak(self) -> None:
        """Send the queued messages, as far as the console reads; a stopped one gets them later."""
        while self._console is not None and self._unsaid:
            try:
                send(self._console, self._unsaid[0])
            except OSError as error:
                # The console has gone: reading the channel shows that, after its last messages.
                if error.errno in (errno.EPIPE, errno.ECONNRESET):
                    self._unsaid.clear()
                return
            self._unsaid.popleft()

    # -- what others ask ------------------------------------------------------------------

    def _ask_console(self, body: Body) -> bool:
        """Pass on to the console what another process asks; False if it would not act on it."""
        if self._console is None or time.monotonic() - self._heard_at > SILENCE_S:
            return False
        self._say(body)
        return True

    def _changed(self, armed: ArmedGuest, what: str, more_s: float) -> None:
        self._records.changed(armed.body, what, more_s)

    # -- taking over ----------------------------------------------------------------------

    def _take_over(self, armed: ArmedGuest, why: str) -> None:
        if armed.state not in (State.RELAYED, State.BROKEN):
            return
        now = time.monotonic()
        self._say(
            {"say": HolderMessage.TAKEN, "key": armed.key, "why": why, "over": armed.overdue(now)}
        )
        self._records.taken(armed.body, why, kept=armed.kept)
        if not armed.take_over(now):
            del self._guests[armed.key]
            report = ThawReport(None, 0, None, True, "nothing was sent to the guest", None, False)
            self._tell(armed, report)

    def _broken(self, armed: ArmedGuest) -> None:
        # The console arms the guest anew with a new connection. If it dies before that, the holder
        # connects to the guest itself, and thaws it.
        self._say({"say": HolderMessage.BROKEN, "key": armed.key})
        if armed.state is State.DONE:
            self._guests.pop(armed.key, None)
            self._has_ended(armed.key, {}, own=False)

    def _ready(self, armed: ArmedGuest, why: str | None) -> None:
        if why is not None:
            armed.disarm()
            self._guests.pop(armed.key, None)
            self._has_ended(armed.key, {}, own=False)
        self._say({"say": HolderMessage.READY, "key": armed.key, "why": why})

    def _done(self, armed: ArmedGuest, report: ThawReport) -> None:
        self._guests.pop(armed.key, None)
        self._tell(armed, report)

    def _tell(self, armed: ArmedGuest, report: ThawReport) -> None:
        self._records.done(armed.body, report)
        if self._console is None and not report.settled:
            self._log.tell(f"{armed.name}: {report.reason}. NEXT: {report.next}")
        said = done(armed.key, report)
        self._say(said)
        self._has_ended(armed.key, said, own=True)

    def _has_ended(self, key: str, report: Body, *, own: bool) -> None:
        """Tell others who wait for it that a guest is in our care no more."""
        self._for_others(lambda: self._requests.ended(key, report, own=own))


def _is_spare(descriptor: int) -> bool:
    """Return whether a descriptor is none of those that are kept for thaws."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return descriptor < limit - RESERVE


def main(descriptor: int, pid: int) -> None:
    """Run a holder in this process, until it has nothing left to do.

    Args:
        descriptor: the inherited descriptor of the control channel.
        pid: the console's process.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _be_named()
    os.chdir("/")
    holder = Holder(socket.socket(fileno=descriptor), pid)
    # On SIGTERM thaw first: a guest that can't be thawed keeps the holder running until SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: holder.end())
    holder.run()


def _be_named() -> None:
    """Set the name that process lists show."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as comm:  # noqa: PTH123 - smaller than pathlib
            comm.write(NAME)
    except OSError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
