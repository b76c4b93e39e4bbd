"""One daemon of libvirt, watched by a thread of its own: what runs there, and whether it answers.

That thread alone uses the connection: a daemon that hangs keeps nobody else waiting, since everyone
else takes what was seen last, or waits with a bound. Events come in the binding's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from agentclient.backends.libvirt.binding import Binding, connected, load_binding
from agentclient.backends.libvirt.domain_xml import channel_of
from agentclient.backends.libvirt.error_codes import Trouble, trouble_of
from agentclient.backends.libvirt.events import Events
from agentclient.backends.libvirt.generation import generation_of
from agentclient.backends.libvirt.uris import Uri
from agentclient.backends.libvirt.watched_domain import WatchedDomain
from agentclient.model.clock import now as wall_now
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.text import printable

# A daemon that takes longer than that for any answer counts as hanging.
PATIENCE_S: Final = 3.0
# Seconds between two tries to connect.
AGAIN_S: Final = 2.0
# Seconds between two looks at all domains while somebody watches, and while nobody does.
LOOK_EVERY_S: Final = 2.0
LIST_EVERY_S: Final = 30.0
_STATISTICS: Final = 1 | 32  # virDomainStatsTypes: the state and the disks
_ACTIVE: Final = 1
_NO_WAIT: Final = 1 << 29  # leave out what a domain with a job can't tell at once


class Daemon:
    """One daemon of libvirt, and the domains that run there.

    Args:
        uri: its address.
        changed: is called, in any thread, with the UUID of a domain that has changed.

    Attributes:
        read_only: why nothing can be asked of its agents; None if it can.
        seen: its domains have been listed at least once.
        followed: frostwatch goes on to watch it, so that it is true that it is tried again.
    """

    def __init__(self, uri: Uri, changed: Callable[[str], None] = lambda _: None) -> None:
        self.uri = uri
        self.read_only: str | None = None
        self.seen = False
        self._changed = changed
        self._condition = threading.Condition()
        self._domains: dict[str, WatchedDomain] = {}
        self.followed = False
        self._problem: str | None = None
        self._since: datetime | None = None
        self._busy_since: float | None = None
        self._busy_at: datetime | None = None
        self._connected = False
        self._tried = False
        self._dirty: set[str] = set()
        self._wanted: set[str] = set()
        self._new: dict[str, WatchedDomain] = {}  # those that are described now, by their UUIDs
        self._starts: dict[str, str] = {}  # the newest start of each domain, by its UUID
        self._moved: dict[str, str] = {}  # that of which the guest has migrated, or was saved
        self._asked_at = 0.0
        self._closing = False
        self._lost: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; a second call does nothing."""
        with self._condition:
            if self._thread is not None or self._closing:
                return
            name = f"libvirt {self.uri.text}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                self._thread.start()
            except NO_THREAD as error:
                self._thread = None
                self._fail(f"it can't be watched: {why_no_thread(error)}")
                self._tried = True

    def close(self) -> None:
        """End the watching; a call that hangs ends by itself."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()

    def wait_tried(self, until: float) -> bool:
        """Wait until it was listed, or can't be; return whether that is so.

        Args:
            until: seconds of the monotonic clock.
        """
        with self._condition:
            return self._condition.wait_for(lambda: self._tried, max(0.0, until - time.monotonic()))

    @property
    def problem(self) -> str | None:
        """Why what is known of it is old, as one clause; None if nothing is wrong."""
        with self._condition:
            return self._told_problem()

    @property
    def domains(self) -> tuple[WatchedDomain, ...]:
        """The domains that run there, or that did when it was last seen."""
        with self._condition:
            return tuple(self._domains.values())

    def is_gone(self, uuid: str, generation: str) -> bool | None:
        """Return whether a start of a domain has ended; None if it can't tell now (P9)."""
        with self._condition:
            if not self._connected or self._told_problem() is not None:
                return None
            if self._has_moved(uuid, generation):
                return None
            found = self._domains.get(uuid)
            return found is None or found.generation != generation

    def has_moved(self, uuid: str, generation: str) -> bool:
        """Return whether the guest of a start of a domain has migrated, or was saved."""
        with self._condition:
            return self._has_moved(uuid, generation)

    def glance(self, uuid: str, generation: str) -> MonitorView:
        """Return what is known of a start of a domain, without asking anybody."""
        with self._condition:
            self._asked_at = time.monotonic()
            return self._view(uuid, generation)

    def look(self, uuid: str, generation: str, timeout_s: float) -> MonitorView:
        """Ask libvirt about a domain; what is known of it if there is no answer in time."""
        began = time.monotonic()

        def seen() -> bool:
            found = self._domains.get(uuid)
            away = not self._connected or self._told_problem() is not None
            return away or found is None or found.looked_at >= began

        with self._condition:
            self._asked_at = began
            if self._connected:
                self._wanted.add(uuid)
                self._condition.notify_all()
            answered = self._condition.wait_for(seen, timeout_s)
            view = self._view(uuid, generation)
        if answered or view.problem is not None:
            return view
        return MonitorView(problem=f"{self._called} has not answered within {timeout_s:g} s")

    # -- what others read; the lock is held ---------------------------------------------------

    @property
    def _called(self) -> str:
        return f"libvirt ({printable(self.uri.text, 80)})"

    def _has_moved(self, uuid: str, generation: str) -> bool:
        return self._moved.get(uuid) == generation

    def _view(self, uuid: str, generation: str) -> MonitorView:
        if self._has_moved(uuid, generation):
            return MonitorView(RunState.MIGRATED)
        problem = self._told_problem()
        if problem is not None:
            return MonitorView(problem=f"{self._called}: {problem}")
        found = self._domains.get(uuid)
        if found is None or found.generation != generation:
            return MonitorView(gone=True if self._connected else None)
        return found.view

    def _told_problem(self) -> str | None:
        began, at = self._busy_since, self._busy_at
        if began is not None and at is not None and time.monotonic() - began > PATIENCE_S:
            return f"it has not answered since {at:%H:%M:%S}"
        if self._problem is None or self._since is None:
            return self._problem
        again = f"; tried every {AGAIN_S:g} s" if self.followed else ""
        return f"{self._problem} (since {self._since:%H:%M:%S}{again})"

    def _push(self, uuid: str) -> None:
        """Tell that a domain has changed; what comes of that is no affair of the daemon's (P8)."""
        with suppress(Exception):
            self._changed(uuid)

    def _fail(self, why: str) -> None:
        if self._problem is None:
            self._since = wall_now()
        self._problem = printable(why, 300)

    # -- the watching thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001 - P8: any error is this daemon's alone
                self._end_watch(error)
            with self._condition:
                self._condition.wait_for(lambda: self._closing, AGAIN_S)

    def _end_watch(self, error: Exception) -> None:
        with self._condition:
            self._fail(str(error) if isinstance(error, FrostwatchError) else f"{error}")
            self._connected = False
            self._tried = True
            self._busy_since = None
            self._new.clear()
            self._condition.notify_all()
            known = tuple(self._domains)
        for uuid in known:
            self._push(uuid)

    def _watch(self) -> None:
        binding = load_binding()
        connection = self._timed(lambda: self._open(binding))
        events: Events | None = None
        try:
            self._lost = None
            # Before the first list, so that none is missed.
            events = Events(connection, binding, self)
            while not self._closing:
                self._timed(lambda: self._look(connection, binding))
                self._wait()
        finally:
            if events is not None:
                events.close()
            with suppress(Exception):
                connection.close()

    def _timed(self, call: Callable[[], Any]) -> Any:
        """Make a call to the daemon, by whose length others see that it hangs."""
        with self._condition:
            self._busy_since, self._busy_at = time.monotonic(), wall_now()
        value = call()
        with self._condition:
            self._busy_since = None
        return value

    def _open(self, binding: Binding) -> Any:
        """Connect, if need be without the right to do anything.

        Raises:
            libvirtError: neither can be done.
        """
        try:
            connection = connected(binding, self.uri.address)
        except binding.libvirt.libvirtError as error:
            try:
                connection = connected(binding, self.uri.address, read_only=True)
            except binding.libvirt.libvirtError:
                raise error from None
            self.read_only = f"libvirt lets us look alone: {printable(error, 200)}"
        else:
            self.read_only = None
        return connection

    def _wait(self) -> None:
        """Wait until there is something to ask."""
        with self._condition:
            began = time.monotonic()
            while not self._condition.wait_for(self._has_to_do, LOOK_EVERY_S):
                now = time.monotonic()
                watched = now - self._asked_at < 2 * LOOK_EVERY_S
                if watched or now - began >= LIST_EVERY_S:
                    break
            if self._lost is not None:
                raise FrostwatchError(self._lost)

    def _has_to_do(self) -> bool:
        return self._closing or bool(self._dirty or self._wanted) or self._lost is not None

    def _look(self, connection: Any, binding: Binding) -> None:
        """Ask about the domains that somebody wants to know about, or about all."""
        with self._condition:
            wanted = tuple(self._wanted) if self._connected and not self._dirty else ()
            dirty = set(self._dirty)
            self._wanted.clear()
            self._dirty.clear()
        now = time.monotonic()
        try:
            if wanted:
                asked = [connection.lookupByUUIDString(uuid) for uuid in wanted]
                found = connection.domainListGetStats(asked, _STATISTICS, _NO_WAIT)
            else:
                found = connection.getAllDomainStats(_STATISTICS, _ACTIVE | _NO_WAIT)
        except binding.libvirt.libvirtError as error:
            connected = bool(connection.isAlive())
            if trouble_of(error.get_error_code(), connected=connected) is not Trouble.DOMAIN:
                raise
            with self._condition:
                self._dirty.update(wanted)  # one of them has gone: all are listed
            return
        self._take(found, binding, now, dirty, whole=not wanted)

    def _take(
        self, found: Any, binding: Binding, now: float, dirty: set[str], *, whole: bool
    ) -> None:
        """Take a list of domains with their statistics."""
        listed: dict[str, WatchedDomain] = {}
        changed: set[str] = set()
        for domain, figures in found:
            uuid, number = domain.UUIDString(), domain.ID()
            with self._condition:
                known = self._domains.get(uuid)
                anew = known is None or known.number != number or not self._connected
            if anew and not whole:
                with self._condition:
                    self._dirty.add(uuid)  # it has ended, or was started: all are listed
                continue
            if known is None or anew or uuid in dirty or known.name != domain.name():
                known = self._described(domain, known, binding)
                changed.add(uuid)
            with self._condition:
                known.take_statistics(figures, now)
            listed[uuid] = known
        with self._condition:
            self._new.clear()
            if whole:
                changed |= self._domains.keys() - listed.keys()
                self._domains = listed
                self._connected, self._tried, self._problem = True, True, None
                self.seen = True
            self._condition.notify_all()
        for uuid in changed:
            self._push(uuid)

    def _described(
        self, domain: Any, known: WatchedDomain | None, binding: Binding
    ) -> WatchedDomain:
        """Return a domain with what its XML says of its agent."""
        generation = generation_of(domain, self.uri)
        if known is None or known.generation != generation:
            known = WatchedDomain(domain.UUIDString(), domain.name(), domain.ID(), generation)
        with self._condition:
            self._starts[known.uuid] = generation
            self._new[known.uuid] = known  # it takes events from now on
        before = known.openings
        try:
            channel = channel_of(domain.XMLDesc())
        except (binding.libvirt.libvirtError, ValueError) as error:
            known.problem = f"its channel is not known: {printable(error, 200)}"
            return known
        with self._condition:
            known.name = domain.name()
            if known.openings == before:  # else an event has told something newer
                known.take_channel(channel)
        return known

    # -- events, in the binding's thread ------------------------------------------------------

    def on_close(self) -> None:
        """Take that the connection has ended."""
        with self._condition:
            self._lost = "the connection to its daemon has ended"
            self._connected = False
            self._fail(self._lost)
            self._condition.notify_all()

    def on_lifecycle(self, uuid: str, *, moved: bool) -> None:
        """Take that a domain was started, stopped or renamed; see `Listener`."""
        with self._condition:
            if moved and uuid in self._starts:
                self._moved[uuid] = self._starts[uuid]
            self._dirty.add(uuid)
            self._condition.notify_all()

    def on_reset(self, uuid: str) -> None:
        """Take that a domain was reset."""
        with self._condition:
            if uuid not in self._domains:
                return
            self._domains[uuid].resets += 1
            self._condition.notify_all()
        self._push(uuid)

    def on_port(self, uuid: str, alias: str | None, *, is_open: bool) -> None:
        """Take that the port of an agent has opened or closed; see `Listener`."""
        with self._condition:
            known = self._new.get(uuid) or self._domains.get(uuid)
            if known is not None and known.channel is None:
                # Its XML may be of before: a channel was added, or it is being read.
                self._dirty.add(uuid)
                self._condition.notify_all()
                return
            if known is None or known.channel is None or alias not in (None, known.channel.alias):
                return
            known.take_port(is_open=is_open)
            self._condition.notify_all()
        self._push(uuid)
