"""A guest in the holder that is reached by calls: the holder makes the console's calls.

It is imported for the first such guest alone. What its recipe names is imported and first called in
a thread of its own: both may hang, and no other guest waits for them.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Final

from agentclient.access.call_relay import MOST_BYTES, carry_out, told, told_end
from agentclient.access.call_session import CallSession, CallState, NotSent, ThawCalls
from agentclient.access.cancel import Wakeup
from agentclient.access.stream import StreamEnded
from agentclient.freeze.effects import Resync, Send
from agentclient.freeze.machine import ConnectAttempt, MachineInputs
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.holder.armed_guest import ArmedGuest, HolderServices, State
from agentclient.holder.messages import Body, text
from agentclient.late import load
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.text import printable
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST, THAW
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent

_FREEZES: Final = frozenset({FREEZE, FREEZE_LIST})
# The request that proves, before a freeze, that the agent can be reached.
_PROOF: Final = 0
# No more threads than that import modules, or hang in it; and one for each guest.
MOST_IMPORTS: Final = 8
# What the calls to each VM have shown; so those that hang pile up in no number of freezes.
_states: dict[str, CallState] = {}
_imports = threading.BoundedSemaphore(MOST_IMPORTS)
_waiting: deque[_Import] = deque()
_importing: set[str] = set()  # the names of the guests


class CalledGuest(ArmedGuest):
    """One guest whose calls the holder makes, and that it thaws if the console can't.

    Args:
        body: the console's message that armed it (`ConsoleMessage.ARM`), with its recipe.
        console: the holder's end of the channel to the console.
        services: what the holder provides.
    """

    def __init__(self, body: Body, console: socket.socket, services: HolderServices) -> None:
        super().__init__(body, services)
        console.setblocking(False)
        self._console: socket.socket | None = console
        self._unsaid: deque[bytes] = deque()
        self._sent = body.get("sent") is True
        self._freeze: int | None = None  # the number of the freeze's call
        self._freeze_answered = False
        self._highest = _PROOF
        self._session: CallSession | None = None
        self._broken = False
        self._import: _Import | None = None
        services.selector.register(console, selectors.EVENT_READ, self._hear_console)
        try:
            self._begin_import()
        except BaseException:  # whoever called closes its socket, which may not be registered then
            services.selector.unregister(console)
            raise

    # -- it is reached --------------------------------------------------------------------

    def _begin_import(self) -> None:
        """Begin to import what the recipe names."""
        begun = _Import(self.name, self.body)
        try:
            self._services.selector.register(begun.wakeup, selectors.EVENT_READ, self._imported)
        except BaseException:
            begun.wakeup.close()
            raise
        self._import = begun
        begun.start()

    def _imported(self, _events: int) -> None:
        """Take what the recipe's function has returned, and prove that the agent answers it."""
        found = self._import
        self._end_import()
        assert found is not None
        if found.calls is None:
            self._not_ready(found.problem)
            return
        self._calls = found.calls
        state = _states.setdefault(self.name, CallState())
        self._session = CallSession(found.calls, state)
        self._services.selector.register(self._session, selectors.EVENT_READ, self._hear_guest)
        if self.state is State.THAWING:
            self._step(MachineInputs())
        elif self._sent:
            self._services.ready(self, None)  # nothing is asked behind a freeze that may run
        else:
            self._session.sync(_PROOF, 0.0)

    def _not_ready(self, why: str) -> None:
        if self.state is State.THAWING:
            self._ended = StreamEnded(why)
            self._step(MachineInputs())
        else:
            self._services.ready(self, why)

    def _end_import(self) -> None:
        if self._import is not None:
            self._services.selector.unregister(self._import.wakeup)
            self._import.wakeup.close()
            self._import = None

    # -- between the console and the guest ------------------------------------------------

    def _hear_console(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._speak()
        if self._console is None or not events & selectors.EVENT_READ:
            return
        try:
            packet = self._console.recv(2 * MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._stop_relay()
        elif self._session is not None:
            self._obey(self._session, packet)

    def _obey(self, session: CallSession, packet: bytes) -> None:
        with suppress(StreamEnded):  # the console has been told, and will begin anew
            asked = carry_out(session, packet)
            if asked is None:
                self._broken = False
                return
            number, command = asked
            self._highest = max(self._highest, number)
            if command in _FREEZES:
                self._freeze, self._freeze_answered = number, False
            elif command == THAW:
                self._console_thaws = True

    def _hear_guest(self, _events: int) -> None:
        assert self._session is not None
        try:
            events = self._session.receive()
        except NotSent as error:
            self._not_sent(error)
            return
        except StreamEnded as error:
            self._session_ended(error)
            return
        for event in events:
            self._note(event)
        if self._machine is not None:
            self._step(MachineInputs(heard=events))
            return
        for event in events:
            if not self._proves(event):
                self._tell(told(event))

    def _note(self, event: WireEvent) -> None:
        if isinstance(event, Reply | Failure) and event.ticket == self._freeze:
            self._freeze_answered = True
            if self._machine is not None:
                self._machine.freeze_succeeded = isinstance(event, Reply)

    def _proves(self, event: WireEvent) -> bool:
        """Return whether an event is about the holder's own first call; report what it shows."""
        if not isinstance(event, Synced | PassedOver) or event.ticket != _PROOF:
            return False
        if isinstance(event, Synced):
            self._services.ready(self, None)
        else:
            busy = self._session.busy if self._session is not None else None
            self._services.ready(self, busy or "its agent has not answered")
        return True

    def _not_sent(self, error: NotSent) -> None:
        """Take that the freeze was not sent: what somebody else's command does is not ours (P4)."""
        self._freeze = None
        if self._machine is None:
            self._tell(told_end(error))
            return
        reason = f"nothing was sent to the guest: {error}"
        self._end()
        self._services.done(self, ThawReport(None, 0, None, True, reason, None, False))

    def _session_ended(self, error: StreamEnded) -> None:
        self._broken = True
        if self._machine is not None:
            self._ended = error
            self._step(MachineInputs())
        elif self._highest == _PROOF and not self._sent:
            self._services.ready(self, str(error))
        else:
            self._tell(told_end(error))

    def _tell(self, packet: bytes) -> None:
        if self._console is not None:
            self._unsaid.append(packet)
            self._speak()

    def _speak(self) -> None:
        """Send the console what is waiting; a console that is stopped gets it later."""
        assert self._console is not None
        try:
            while self._unsaid:
                self._console.send(self._unsaid[0])
                self._unsaid.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._stop_relay()
            return
        waits = selectors.EVENT_WRITE if self._unsaid else 0
        events = selectors.EVENT_READ | waits
        self._services.selector.modify(self._console, events, self._hear_console)

    def _stop_relay(self) -> None:
        if self._console is not None:
            self._services.selector.unregister(self._console)
            self._console.close()
            self._console = None

    # -- thawing --------------------------------------------------------------------------

    @property
    def _may_have_run(self) -> bool:
        return self._sent or self._freeze is not None

    @property
    def _answered(self) -> bool:
        return self._freeze_answered

    def _note_intent(self, *, sent: bool) -> None:
        self._sent = self._sent or sent

    def _take_channel(self) -> ThawPlan:
        # A thaw waits behind a freeze that is still running, and runs right after it.
        connected = self._session is not None and not self._broken
        return self._plan(connected=connected, owned=connected, clean=connected)

    def _tickets(self) -> itertools.count[int]:
        return itertools.count(self._highest + 1)

    def _do_due(self, _now: float) -> None:
        """Do nothing: the session has threads of its own."""

    def _send(self, effect: Send | Resync) -> None:
        if self._session is None or self._broken:
            return
        try:
            if isinstance(effect, Send):
                self._session.ask(effect.ticket, effect.command, effect.arguments, 0.0)
            else:
                self._session.sync(effect.ticket, 0.0)
        except StreamEnded as error:
            self._broken, self._ended = True, error

    def reconnect(self) -> ConnectAttempt:
        """Begin anew: the next call connects, if it has to."""
        if self._session is None:
            if self._import is None:
                self._begin_import()
            return ConnectAttempt(connected=False, why="what reaches the guest is not imported yet")
        if self._is_gone():
            return ConnectAttempt(connected=False, gone=True, why="the VM has ended")
        self._session.start_anew()
        self._broken = False
        return ConnectAttempt(connected=True)

    def _is_gone(self) -> bool | None:
        return None if self._session is None else self._calls.is_gone()

    def _close(self) -> None:
        self._stop_relay()
        self._end_import()
        if self._session is not None:
            self._services.selector.unregister(self._session)
            self._session.close()
            self._session = None


class _Import:
    """Imports the function that a recipe names, and calls it, in a thread of its own.

    Args:
        name: the guest's.
        body: the console's message with the recipe.

    Attributes:
        wakeup: is set when it has ended.
        calls: what the function has returned; None if that failed.
        problem: why it failed, as one clause.
    """

    def __init__(self, name: str, body: Body) -> None:
        self.name = name
        self.wakeup = Wakeup()
        self.calls: ThawCalls | None = None
        self.problem = ""
        self._body = body

    def start(self) -> None:
        """Start the thread, or wait for a place; where there is no thread, the problem says so.

        An import for the same guest that hangs has taken one already.
        """
        if self.name in _importing:
            self.problem = "an earlier import of what reaches the guest has not come back"
            self.wakeup.set()
            return
        _importing.add(self.name)
        _waiting.append(self)
        _start_waiting()

    def begin(self) -> None:
        """Begin, since there is a place."""
        try:
            threading.Thread(target=self._run, name="import", daemon=True).start()
        except NO_THREAD as error:
            self.problem = f"no thread could be had: {why_no_thread(error)}"
            self._end()

    def _run(self) -> None:
        try:
            self.calls = self._imported()
        except BaseException as error:  # noqa: BLE001 - a module may even call sys.exit
            self.problem = f"{text(self._body, 'means')}: {printable(repr(error), 300)}"
        finally:
            self._end()
            _start_waiting()

    def _end(self) -> None:
        _imports.release()
        _importing.discard(self.name)
        self.wakeup.set()

    def _imported(self) -> ThawCalls:
        paths = self._body.get("paths")
        for path in paths if isinstance(paths, list) else ():
            if isinstance(path, str) and path not in sys.path:
                sys.path.append(path)
        module, _, function = text(self._body, "means").partition(":")
        calls: ThawCalls = load(module, function)(self._body.get("details"))
        return calls


def _start_waiting() -> None:
    """Begin the imports that wait, as far as there are places."""
    while _waiting and _imports.acquire(blocking=False):
        try:
            one = _waiting.popleft()
        except IndexError:  # another thread was faster
            _imports.release()
            return
        one.begin()
