"""A session with an agent to which each command is one blocking call with a bound of its own.

One call runs at a time, each in a thread of its own, so that a call that hangs blocks no other:
after its bound it is abandoned, and the next one begins. A call has no late reply and says nothing
about the one before it; what a stream would have shown is missing evidence.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from agentclient.access.agent import timeout_of
from agentclient.access.cancel import Wakeup
from agentclient.access.stream import StreamEnded
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.states import Cause
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST, STATUS, THAW
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent

# Seconds beyond the bound in which the hypervisor itself may report the timeout.
GRACE_S: Final = 0.5
# With so many abandoned calls no further one begins, until one of them has returned.
MOST_HANGING: Final = 3
BUSY_AGAIN_S: Final = 0.25
# A thaw that waits behind others in the hypervisor is called again after so long (protocol §5.5).
THAW_S: Final = 30.0
_FREEZES: Final = frozenset({FREEZE, FREEZE_LIST})


class CallFailed(Exception):
    """The agent has answered a call with an error.

    Args:
        error_class: the class of the error; empty where the hypervisor does not pass it on.
        desc: the agent's text.
    """

    def __init__(self, error_class: str, desc: str) -> None:
        self.error_class = error_class
        self.desc = desc
        super().__init__(desc)


class CallTimedOut(Exception):
    """The agent has not answered within the call's bound; the command may still run."""


class AgentBusy(Exception):
    """The command was not sent: the agent runs somebody else's; the text is one clause."""


class AgentGone(Exception):
    """The agent, or the connection to it, has gone: no answer will come.

    Args:
        text: what the hypervisor has told, as one clause.
        cause: why no answer will come, where the hypervisor tells it. That the VM has ended counts
            only if `is_gone` proves it.
    """

    def __init__(self, text: str, cause: Cause = Cause.CHANNEL_BROKEN) -> None:
        self.cause = cause
        super().__init__(text)


class NotSent(Exception):
    """A freeze was not sent, since somebody else's command runs; the text is one clause."""


class AgentCalls(Protocol):
    """The agent of one VM, reached by calls of its hypervisor."""

    def call(
        self, command: str, arguments: Mapping[str, object] | None, timeout_s: float
    ) -> object:
        """Send one command to the agent, and return the value of its reply; blocking.

        Args:
            command: the agent's command.
            arguments: its arguments.
            timeout_s: how long it may take, in seconds.

        Raises:
            CallFailed: the agent has answered with an error.
            CallTimedOut: it has not answered in time.
            AgentBusy: the command was not sent: the agent runs somebody else's.
            AgentGone: it will not answer.
        """


class ThawCalls(AgentCalls, Protocol):
    """The calls that a holder thaws a guest by, in a process of its own.

    A call connects if it has to, within its bound, and connects again after a connection has gone.
    """

    def is_gone(self) -> bool | None:
        """Return at once whether this start of the VM has ended; None if that is not proven."""


class CallState:
    """What the calls to one agent have shown, in all sessions; thread-safe.

    Attributes:
        answers: False once a call has shown that the agent has gone; True once a later call was
            answered; None until the agent has gone for the first time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.answers: bool | None = None

    @property
    def too_many(self) -> bool:
        """Whether so many calls hang that no further one may begin."""
        return self._count >= MOST_HANGING

    def answered(self) -> None:
        """Note that a call was answered: an agent that had gone is back."""
        if self.answers is False:
            self.answers = True

    def add(self, number: int) -> None:
        """Count a call that was abandoned (1), or one of those that has returned (-1)."""
        with self._lock:
            self._count += number


@dataclass(slots=True, eq=False)
class _Call:
    """One call, waiting or running.

    Attributes:
        sync: the command only shows whether the agent answers.
        ends_at: when the call is abandoned (monotonic clock); 0 while it waits for its turn.
    """

    ticket: int
    command: str
    arguments: Mapping[str, object] | None
    bound_s: float
    sync: bool = False
    ends_at: float = 0.0
    over: bool = False
    timer: threading.Timer | None = None


class CallSession:
    """A session whose requests are calls that this process makes (see `AgentSession`).

    Args:
        calls: the agent.
        state: what its calls have shown, in all sessions.
    """

    busy: str | None = None

    def __init__(self, calls: AgentCalls, state: CallState) -> None:
        self._calls = calls
        self._state = state
        self._tickets = itertools.count(1)
        self._wakeup = Wakeup()
        self._lock = threading.Lock()
        self._queue: deque[_Call] = deque()
        self._running: _Call | None = None
        self._events: list[WireEvent] = []
        self._broken: StreamEnded | None = None
        self._refused: str | None = None
        self._bounds: dict[str, float] = {THAW: THAW_S}
        self._closed = False

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""
        return self._wakeup.fileno()

    def ticket(self) -> int:
        """Return a fresh number for a request."""
        return next(self._tickets)

    def allow(self, command: str, seconds: float) -> None:
        """Set the bound of a command, in seconds."""
        self._bounds[command] = seconds

    def sync(self, ticket: int, _deadline: float) -> None:
        """Call a cheap command to see if the agent answers, unless another call will show it."""
        with self._lock:
            if self._running is None and not self._queue:
                self._begin(_Call(ticket, STATUS, None, timeout_of(STATUS), sync=True))

    def ask(
        self,
        ticket: int,
        command: str,
        arguments: Mapping[str, object] | None,
        _deadline: float,
    ) -> None:
        """Queue a call behind the one that runs; see `AgentSession.ask`."""
        bound_s = self._bounds.get(command, timeout_of(command))
        with self._lock:
            self._begin(_Call(ticket, command, arguments, bound_s))

    def receive(self) -> list[WireEvent]:
        """Return the events that have come, without waiting.

        Raises:
            StreamEnded: the agent, or the connection to it, has gone.
            NotSent: the freeze that was asked for has not been sent.
        """
        with self._lock:
            self._wakeup.clear()
            events, self._events = self._events, []
            if events:
                if self._broken is not None or self._refused is not None:
                    self._wakeup.set()  # that comes behind them
                return events
            if self._refused is not None:
                raise NotSent(self._refused)
            if self._broken is not None:
                raise self._broken
            return events

    def start_anew(self) -> None:
        """Continue after the agent had gone; earlier requests are not answered any more."""
        with self._lock:
            self._drop_all()
            self._broken = None
            self._wakeup.clear()

    def close(self) -> None:
        """Close the session, and abandon a call that hangs."""
        with self._lock:
            self._closed = True
            self._drop_all()
            self._wakeup.close()

    # -- one call after the other; the lock is held -------------------------------------------

    def _begin(self, call: _Call) -> None:
        if self._broken is not None:
            raise self._broken
        self._queue.append(call)
        self._next()

    def _next(self) -> None:
        if self._running is not None or not self._queue or self._closed:
            return
        call = self._queue.popleft()
        if self._state.too_many:
            self._break(f"{MOST_HANGING} calls to this agent hang in the hypervisor")
            return
        call.ends_at = time.monotonic() + call.bound_s
        call.timer = threading.Timer(call.bound_s + GRACE_S, self._overdue, (call,))
        call.timer.daemon = True
        name = f"call {call.command}"
        try:
            call.timer.start()
            threading.Thread(target=self._run, args=(call,), name=name, daemon=True).start()
        except NO_THREAD as error:
            call.timer.cancel()
            self._break(f"no thread could be had for a call: {why_no_thread(error)}")
        else:
            self._running = call

    def _ended(self, call: _Call, *events: WireEvent) -> None:
        if call is not self._running:
            return  # nobody waits for it any more
        call.over, self._running = True, None
        self._events += events
        self._next()
        self._wakeup.set()

    def _break(self, why: str, cause: Cause = Cause.CHANNEL_BROKEN) -> None:
        self._drop_all()
        self._broken = StreamEnded(why, cause)
        self._wakeup.set()

    def _drop_all(self) -> None:
        self._queue.clear()
        if self._running is not None:
            self._leave_alone(self._running)
        self._running = None

    def _leave_alone(self, call: _Call) -> None:
        if not call.over:
            call.over = True
            self._state.add(1)
            if call.timer is not None:
                call.timer.cancel()

    # -- in threads of their own ----------------------------------------------------------

    def _run(self, call: _Call) -> None:
        try:
            self._call(call)
        finally:
            if call.timer is not None:
                call.timer.cancel()

    def _call(self, call: _Call) -> None:
        while True:
            left_s = call.ends_at - time.monotonic()
            try:
                value = self._calls.call(call.command, call.arguments, max(0.0, left_s))
            except AgentBusy as error:
                self.busy = str(error)
                if self._goes_on(call, error):
                    time.sleep(BUSY_AGAIN_S)
                    continue
            except AgentGone as error:
                self._state.answers = False
                self._gone(call, str(error), error.cause)
            except CallFailed as error:
                self._state.answered()
                self._came(call, Failure(call.ticket, error.error_class, error.desc))
            except CallTimedOut:
                self._came(call, PassedOver(call.ticket))
            except Exception as error:  # noqa: BLE001 - whatever it is, the guest must be thawed
                self._gone(call, f"the call failed: {error!r}")
            else:
                self._state.answered()
                self._came(call, Reply(call.ticket, value))
            return

    def _goes_on(self, call: _Call, error: AgentBusy) -> bool:
        """Return whether to repeat a call that was not sent, since somebody else's command ran.

        A freeze is never repeated: the other command may be a freeze, which ours must not end (P4).
        """
        with self._lock:
            if call.over:
                self._state.add(-1)
                return False
            if call.command in _FREEZES:
                call.over, self._running = True, None
                self._refused = str(error)
                self._wakeup.set()
                return False
        if time.monotonic() + BUSY_AGAIN_S < call.ends_at:
            return True
        self._came(call, PassedOver(call.ticket))
        return False

    def _came(self, call: _Call, event: WireEvent) -> None:
        with self._lock:
            if call.over:
                self._state.add(-1)
                return
            if call.sync and isinstance(event, Reply | Failure):
                event = Synced(call.ticket)
            # A freeze whose bound is over has no answer: the schedule says so.
            silent = call.command in _FREEZES and isinstance(event, PassedOver)
            self._ended(call, *(() if silent else (event,)))

    def _gone(self, call: _Call, why: str, cause: Cause = Cause.CHANNEL_BROKEN) -> None:
        with self._lock:
            if call.over:
                self._state.add(-1)
                return
            call.over, self._running = True, None
            self._break(why, cause)

    def _overdue(self, call: _Call) -> None:
        """Abandon a call that hangs beyond its bound."""
        with self._lock:
            if call is not self._running:
                return
            self._leave_alone(call)
            self._running = None
            if call.command not in _FREEZES:
                self._events.append(PassedOver(call.ticket))
            self._next()
            self._wakeup.set()
