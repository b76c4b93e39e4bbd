"""Observes a VM through its QMP monitor, without asking its guest, in short visits.

A visit connects, sends all commands in one write, and closes; it takes about a millisecond. The
session is held open only where the configuration says that the monitor is ours; then QEMU's events
are received as well (protocol §1.5). All users of a VM's monitor share one `Monitor` (P5).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agentclient.access.exchange import Exchange, Steps, releasing, run
from agentclient.access.monitor_port import find_port, queue_asks, traffic_asks
from agentclient.access.presence import Server, is_gone, server_of
from agentclient.access.qmp_session import Ask, MonitorError, QmpSession
from agentclient.access.stream import ConnectFailed, Endpoint, hang_up
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState, Transport
from agentclient.model.text import printable
from agentclient.model.vm import AgentChannel, Process
from agentclient.protocol import qemu_port as ports
from agentclient.protocol.qemu_port import Port
from agentclient.protocol.qmp import QmpEvent, QmpFailure, QmpReply, value_of
from agentclient.protocol.qmp_block import running
from agentclient.protocol.qmp_status import run_state

DEFAULT_VISIT_S = 0.5
# A held session is kept so long while QEMU is busy (with a reset, say): to close it loses events.
LATE_S = 5.0


class Monitor:
    """One VM's monitor; thread-safe.

    Args:
        endpoint: where it listens.
        agent: the agent's channel, to find its port; None if the VM has none.
        ours: whether a session may be held open.
        process: the VM's process; None if not known: then the QEMU that answers first is taken.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        agent: AgentChannel | None,
        *,
        ours: bool = False,
        process: Process | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._agent = agent
        self._ours = ours
        self._held = False
        self._process = process
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._session: QmpSession | None = None
        self._port: Port | None = None
        self._sole = True
        self._looked_for_port = False
        self._queues_visible = True
        self._jobs_visible = True
        self._openings = 0
        self._resets = 0
        self._late_since: float | None = None
        self._to_close = False
        self._version: tuple[int, int, int] | None = None

    @property
    def version(self) -> str | None:
        """The version of its QEMU, as it was last greeted with; None if that isn't known."""
        known = self._version is not None and any(self._version)
        return ".".join(map(str, self._version or ())) if known else None

    def look(self, timeout_s: float = DEFAULT_VISIT_S) -> MonitorView:
        """Visit the monitor and return all that it shows; never raises.

        Args:
            timeout_s: how long the visit may take, in seconds.
        """
        with self._lock:
            deadline = time.monotonic() + timeout_s
            try:
                session = self._open()
            except ConnectFailed as error:
                return self.unreachable(error)
            return run(self._visit(session, full=True), session.channel, deadline)

    def begin(
        self,
        timeout_s: float = DEFAULT_VISIT_S,
        *,
        full: bool = False,
        traffic: bool = False,
        writes: bool = False,
    ) -> Exchange[MonitorView] | None:
        """Return a look for the caller to run, who must run its first step at once.

        Args:
            timeout_s: how long the visit may take, in seconds.
            full: look also at what only a freeze or thaw needs: writes, the port's openings, reads.
            traffic: look at what is counted at the agent's port instead, while others hold it.
            writes: look also at how much the guest has written.

        Returns:
            None if somebody else is looking just now.

        Raises:
            ConnectFailed: the monitor can't be reached (see `unreachable`).
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            session = self._open()
        except BaseException:
            self._lock.release()
            raise
        if traffic:
            visit = self._watch_traffic(session, writes=writes)
        else:
            visit = self._visit(session, full=full, writes=writes)
        steps = releasing(self._lock, visit)
        return Exchange(session.channel, steps, time.monotonic() + timeout_s)

    def ask(
        self, asks: Sequence[Ask], timeout_s: float = DEFAULT_VISIT_S
    ) -> list[QmpReply | QmpFailure]:
        """Send commands to the monitor in one visit; return their replies in order.

        Args:
            asks: the commands; if one fails, those before it are not undone.
            timeout_s: how long the visit may take, in seconds.

        Raises:
            MonitorError: the monitor can't be reached, or did not answer everything in time: QEMU
                may still execute the commands.
        """
        with self._lock:
            deadline = time.monotonic() + timeout_s
            try:
                session = self._open()
            except ConnectFailed as error:
                raise MonitorError(str(error)) from error
            return run(self._exchange(session, asks), session.channel, deadline)

    @contextmanager
    def held(self, timeout_s: float = DEFAULT_VISIT_S) -> Iterator[int]:
        """Keep one connection for the block, which another process may share.

        Whatever fails meanwhile, all is asked through it, and nobody connects anew (`let_go`).

        Args:
            timeout_s: how long QEMU may take to serve it, in seconds.

        Yields:
            Its descriptor.

        Raises:
            MonitorError: the monitor can't be reached, or serves another client.
        """
        self._held = True
        try:
            self.ask([Ask("query-status")], timeout_s)
            assert self._session is not None, "it is held"
            yield self._session.channel.fileno()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """End what `held` keeps, also for whoever shares it: the next visit connects anew."""
        with self._lock:
            if self._held and not self._ours and self._session is not None:
                hang_up(self._session.channel)
            self._held = False
            self._leave(keep=self._ours)

    @property
    def process(self) -> Process | None:
        """The VM's process; None if it isn't known."""
        return self._process or (self._server.process if self._server is not None else None)

    def unreachable(self, error: ConnectFailed) -> MonitorView:
        """Return the view of a VM whose monitor can't be connected to."""
        return unseen(error, is_gone(self.process))

    def event_fd(self) -> int | None:
        """Return a descriptor that is readable when QEMU has sent an event; None if not held."""
        with self._lock:
            return self._session.channel.fileno() if self._session is not None else None

    def close(self) -> None:
        """Close a session that is held open; never waits: a visit in flight closes it at its end.

        The thread that closes may be the one that has to take the visit's next step.
        """
        self._to_close = True
        if self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _open(self) -> QmpSession:
        if self._session is None:
            channel = self._endpoint.connect()
            if self._process is None and (self._server is None or is_gone(self.process)):
                self._server = server_of(channel)
            self._session = QmpSession(channel)
        return self._session

    def _visit(
        self, session: QmpSession, *, full: bool, writes: bool = False
    ) -> Steps[MonitorView]:
        keep = False
        try:
            yield from session.greet()
            self._version = session.version
            view = yield from self._ask_all(session, full=full, writes=writes)
            keep, self._late_since = self._ours, None
        except MonitorError as error:
            keep = self._ours and error.late and self._waits_on()
            view = unseen(error, is_gone(self.process))
            # The events that came before QEMU stopped answering would be lost with the session.
            return self._with_resets(view, session.received_events()) if self._ours else view
        else:
            return view
        finally:
            self._leave(keep=keep)

    def _watch_traffic(self, session: QmpSession, *, writes: bool) -> Steps[MonitorView]:
        """Look at the port as `_visit` does, and at what is counted there, in as many commands."""
        keep = False
        try:
            yield from session.greet()
            if not self._looked_for_port:
                yield from self._find_port(session)
            asks = [Ask("query-status"), Ask("query-chardev")]
            asks += [Ask("query-blockstats")] if writes else []
            asks += self._queue_asks(traffic=True)
            status, chardevs, *rest = yield from session.ask(asks)
            view = self._view(run_state(value_of(status), None), value_of(chardevs))
            if writes:
                view = view._replace(written_bytes=ports.written_bytes(value_of(rest.pop(0))))
            if rest:
                view = self._with_queues(view, rest[:2])
                view = view._replace(traffic=ports.traffic(*map(value_of, rest[1:])))
            keep = self._ours
        except MonitorError as error:
            return unseen(error, is_gone(self.process))
        else:
            return self._with_events(view, session.take_events()) if self._ours else view
        finally:
            self._leave(keep=keep)

    def _exchange(
        self, session: QmpSession, asks: Sequence[Ask]
    ) -> Steps[list[QmpReply | QmpFailure]]:
        keep = False
        try:
            yield from session.greet()
            answers = yield from session.ask(asks)
            keep = self._ours
        finally:
            self._leave(keep=keep)
        return answers

    def _waits_on(self) -> bool:
        """Whether to keep a held session that did not answer in time, and wait longer."""
        now = time.monotonic()
        if self._late_since is None:
            self._late_since = now
        return now - self._late_since < LATE_S

    def _leave(self, *, keep: bool) -> None:
        """End a visit: its session is kept, unless the monitor was closed meanwhile."""
        if not keep or self._to_close:
            self._drop()

    def _drop(self) -> None:
        self._late_since = None
        if self._session is not None:
            if self._held:
                return  # `let_go` ends it
            self._session.close()
            self._session = None
        self._to_close = False

    def _ask_all(self, session: QmpSession, *, full: bool, writes: bool) -> Steps[MonitorView]:
        if not self._looked_for_port and (full or self._port_is_unknown):
            yield from self._find_port(session)
        asks = [Ask("query-status"), Ask("query-migrate"), Ask("query-chardev")]
        asks += [Ask("query-blockstats")] if full or writes else []
        if full:
            asks += self._queue_asks()
        elif self._jobs_visible:
            asks.append(Ask("query-jobs"))
        answers = yield from session.ask(asks)
        status, migration, chardevs, *rest = answers
        view = self._view(run_state(value_of(status), value_of(migration)), value_of(chardevs))
        if full or writes:
            view = view._replace(written_bytes=ports.written_bytes(value_of(rest.pop(0))))
        if full:
            view = self._with_queues(view, rest)
        elif rest:
            view = self._with_jobs(view, rest[0])
        return self._with_events(view, session.take_events()) if self._ours else view

    @property
    def _port_is_unknown(self) -> bool:
        return self._agent is not None and self._agent.transport is Transport.UNKNOWN

    def _queue_asks(self, *, traffic: bool = False) -> list[Ask]:
        if self._port is None or not self._queues_visible:
            return []
        asks = queue_asks(self._port)
        return [*asks, *traffic_asks(self._port)] if traffic else asks

    def _view(self, run_state: RunState, value: object) -> MonitorView:
        """Return what every look shows: the run state, and both ends of the agent's channel."""
        if self._agent is None:
            return MonitorView(run_state, gone=False)
        chardev = ports.agent_chardev(ports.chardevs(value), self._agent)
        if chardev is None:
            path = printable(str(self._agent.path))
            problem = f"monitor: it knows no chardev for {path}"
            return MonitorView(run_state, problem=problem, gone=False)
        # QEMU itself opens the frontend of an isa-serial agent, so that says nothing (§1.9).
        virtio = self._port is not None or self._agent.transport is Transport.VIRTIO_SERIAL
        is_open = chardev.open if virtio else None
        return MonitorView(run_state, port_open=is_open, client=chardev.client, gone=False)

    def _with_jobs(self, view: MonitorView, answer: QmpReply | QmpFailure) -> MonitorView:
        found = running(value_of(answer))
        if found is None:  # a QEMU before 3.0
            self._jobs_visible = False
            return view
        jobs = (one._replace(left=bool(is_gone(one.process))) for one in found)
        return view._replace(block_jobs=tuple(jobs))

    def _with_queues(self, view: MonitorView, answers: list[QmpReply | QmpFailure]) -> MonitorView:
        if not answers:
            return view
        control, receive = (value_of(answer) for answer in answers)
        openings = ports.queue_index(control, "used-idx")
        if openings is None:
            self._no_queues(answers[0])
            return view
        reads = ports.index_of_reads(receive)
        return view._replace(openings=openings, reads=reads, sole_port=self._sole)

    def _no_queues(self, answer: QmpReply | QmpFailure) -> None:
        """Stop asking for the queues if QEMU is too old for it; find the port again if it moved."""
        if isinstance(answer, QmpFailure) and answer.error_class != "CommandNotFound":
            self._looked_for_port = False
        else:
            self._queues_visible = False

    def _with_events(self, view: MonitorView, events: list[QmpEvent]) -> MonitorView:
        view = self._with_resets(view, events)
        if view.openings is not None or self._port is None or self._port.id is None:
            return view
        mine = [
            event.data.get("open") is True
            for event in events
            if event.name == "VSERPORT_CHANGE" and event.data.get("id") == self._port.id
        ]
        # The event's rate limit hides a closing between two openings (protocol §1.5), so every
        # event counts as an opening, of whatever kind it is.
        self._openings += len(mine)
        return view._replace(openings=self._openings)

    def _with_resets(self, view: MonitorView, events: list[QmpEvent]) -> MonitorView:
        self._resets += sum(event.name == "RESET" for event in events)
        return view._replace(resets=self._resets)

    def _find_port(self, session: QmpSession) -> Steps[None]:
        """Find the agent's port; about five more round trips, once."""
        if self._agent is not None:
            self._port, self._sole = yield from find_port(session, self._agent)
        self._looked_for_port = True


def unseen(error: Exception, gone: bool | None) -> MonitorView:
    """Return the view of a VM whose monitor could not be asked.

    Args:
        error: why it could not be.
        gone: whether the VM has gone; None if that is not known.
    """
    run_state = RunState.GONE if gone else RunState.UNKNOWN
    late = isinstance(error, MonitorError) and (error.late or error.ungreeted)
    return MonitorView(run_state, problem=f"monitor: {error}", late=late, gone=gone)
