"""What is known of one daemon of libvirt: for everyone, and nobody waits for it without a bound.

A thread of its own watches the daemon (`daemon_watch`): one that hangs keeps nobody else waiting,
since everyone else takes what was seen last. Events come in the binding's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final, NamedTuple

from agentclient.backends.libvirt.callers import Callers
from agentclient.backends.libvirt.ends import Birth, End
from agentclient.backends.libvirt.known_domains import Heard, KnownDomains
from agentclient.backends.libvirt.uris import Uri
from agentclient.backends.libvirt.watched_copies import with_left
from agentclient.backends.libvirt.watched_domain import WatchedDomain
from agentclient.model.clock import now as wall_now
from agentclient.model.errors import FrostwatchError
from agentclient.model.snapshot import MonitorView
from agentclient.model.text import printable

# A daemon that takes longer than that for any answer counts as hanging.
PATIENCE_S: Final = 3.0
# So long may it take to reach one on another host, by ssh and hosts on the way.
FAR_PATIENCE_S: Final = 12.0
# Seconds between two tries to connect; and where only a person can mend what is in the way: a host
# that is asked again and again by somebody whom it does not let in may well shut everybody out.
AGAIN_S: Final = 2.0
MENDED_S: Final = 30.0
# Seconds between two looks at all domains while somebody watches, and while nobody does.
LOOK_EVERY_S: Final = 2.0
LIST_EVERY_S: Final = 30.0


class ToAsk(NamedTuple):
    """What the daemon is to be asked.

    Attributes:
        wanted: the UUIDs of the domains that somebody wants to know about; empty for all domains.
        dirty: those of the domains of which more has changed than their figures.
    """

    wanted: tuple[str, ...]
    dirty: frozenset[str]


class Daemon:
    """What is known of one daemon of libvirt, and of the domains that run there.

    Args:
        uri: its address.
        changed: is called, in any thread, with the UUID of a domain that has changed.

    Attributes:
        read_only: why nothing can be asked of its agents; None if it can.
        seen: its domains have been listed at least once.
        followed: frostwatch goes on to watch it, so that it is true that it is tried again.
        closing: its watching is to end.
        callers: its other clients.
        again_s: seconds until the next try to connect.
    """

    def __init__(self, uri: Uri, changed: Callable[[str], None] = lambda _: None) -> None:
        self.uri = uri
        self.read_only: str | None = None
        self.seen = False
        self.followed = False
        self.closing = False
        self.again_s = AGAIN_S
        self.callers = Callers(uri.sockets)
        self._changed = changed
        self._condition = threading.Condition()
        self._known = KnownDomains()
        self._problem: str | None = None
        self._since: datetime | None = None
        self._busy_since: float | None = None
        self._busy_at: datetime | None = None
        self._tried = False
        self._dirty: set[str] = set()
        self._wanted: set[str] = set()
        self._asked_at = 0.0
        self._lost: str | None = None

    def close(self) -> None:
        """End the watching; a call that hangs ends by itself."""
        with self._condition:
            self.closing = True
            self._condition.notify_all()

    # -- for everyone -------------------------------------------------------------------------

    @property
    def patience_s(self) -> float:
        """How long it may take to reach it, in seconds."""
        return FAR_PATIENCE_S if self.uri.host else PATIENCE_S

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
            return tuple(self._known.running.values())

    def name_of(self, uuid: str) -> str:
        """Return a domain's name; empty if it does not run."""
        with self._condition:
            found = self._known.running.get(uuid)
            return "" if found is None else found.name

    def is_gone(self, uuid: str, generation: str) -> bool | None:
        """Return whether the guest of a start has ended; None if it can't be told now (P9)."""
        with self._condition:
            gone = self._known.is_gone(uuid, generation)
            return gone if gone or self._told_problem() is None else None

    def end_of(self, uuid: str, generation: str) -> End | None:
        """Return how a start of a domain has ended (see `Ends`)."""
        with self._condition:
            return self._known.end_of(uuid, generation)

    def has_moved(self, uuid: str, generation: str) -> bool:
        """Return whether the guest of a start of a domain has migrated, or was saved."""
        return self.end_of(uuid, generation) is End.MOVED

    def glance(self, uuid: str, generation: str) -> MonitorView:
        """Return what is known of a start of a domain, without asking anybody."""
        with self._condition:
            self._asked_at = time.monotonic()
            return self._view(uuid, generation)

    def look(self, uuid: str, generation: str, timeout_s: float) -> MonitorView:
        """Ask libvirt about a domain; what is known of it if there is no answer in time."""
        began = time.monotonic()

        def seen() -> bool:
            found = self._known.running.get(uuid)
            away = not self._known.current or self._told_problem() is not None
            return away or found is None or found.looked_at >= began

        with self._condition:
            self._asked_at = began
            if self._known.current:
                self._wanted.add(uuid)
                self._condition.notify_all()
            answered = self._condition.wait_for(seen, timeout_s)
            view = self._view(uuid, generation)
        if answered or view.problem is not None:
            return view
        return MonitorView(problem=f"{self._called} has not answered within {timeout_s:g} s")

    @property
    def _called(self) -> str:
        return f"libvirt ({printable(self.uri.text, 80)})"

    def _view(self, uuid: str, generation: str) -> MonitorView:
        problem = self._told_problem()
        if problem is not None and self._known.end_of(uuid, generation) is None:
            return MonitorView(problem=f"{self._called}: {problem}")
        return with_left(self._known.view(uuid, generation))

    def _told_problem(self) -> str | None:
        began, at = self._busy_since, self._busy_at
        if began is not None and at is not None and time.monotonic() - began > PATIENCE_S:
            return f"it has not answered since {at:%H:%M:%S}"
        if self._problem is None or self._since is None:
            return self._problem
        again = f"; tried every {self.again_s:g} s" if self.followed else ""
        return f"{self._problem} (since {self._since:%H:%M:%S}{again})"

    def _push(self, uuids: Iterable[str]) -> None:
        """Tell that domains have changed; what comes of that is no affair of the daemon's (P8)."""
        for uuid in uuids:
            with suppress(Exception):
                self._changed(uuid)

    def _fail(self, why: str) -> None:
        if self._problem is None:
            self._since = wall_now()
        self._problem = printable(why, 300)

    # -- for the watching thread --------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[KnownDomains]:
        """Read or change what is known of the domains, while nobody else does."""
        with self._condition:
            yield self._known

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Mark that the daemon is asked: by how long that takes others see that it hangs."""
        with self._condition:
            self._busy_since, self._busy_at = time.monotonic(), wall_now()
        yield
        with self._condition:
            self._busy_since = None

    def on_connected(self) -> None:
        """Take that a new connection is there, whose events are about to be heard."""
        with self._condition:
            self._lost = None
            self._known.miss()

    def on_failed(self, why: str, *, lasting: bool = False) -> None:
        """Take that the daemon can't be watched now.

        Args:
            why: one clause.
            lasting: until a person mends it.
        """
        with self._condition:
            self.again_s = MENDED_S if lasting else AGAIN_S
            self._fail(why)
            self._known.miss()
            self._tried, self._busy_since = True, None
            self._condition.notify_all()
            known = tuple(self._known.running)
        self._push(known)

    def rest(self) -> None:
        """Wait for the next try, until it is closed at the latest."""
        with self._condition:
            self._condition.wait_for(lambda: self.closing, self.again_s)

    def wait_to_ask(self) -> None:
        """Wait until there is something to ask.

        Raises:
            FrostwatchError: the connection has ended.
        """
        with self._condition:
            began = time.monotonic()
            while not self._condition.wait_for(self._has_to_ask, LOOK_EVERY_S):
                now = time.monotonic()
                watched = now - self._asked_at < 2 * LOOK_EVERY_S
                if watched or now - began >= LIST_EVERY_S:
                    break
            if self._lost is not None:
                raise FrostwatchError(self._lost)

    def _has_to_ask(self) -> bool:
        return self.closing or bool(self._dirty or self._wanted) or self._lost is not None

    def to_ask(self) -> ToAsk:
        """Return what is to be asked now; it is not returned again."""
        with self._condition:
            wanted = tuple(self._wanted) if self._known.current and not self._dirty else ()
            found = ToAsk(wanted, frozenset(self._dirty))
            self._wanted.clear()
            self._dirty.clear()
            return found

    def list_soon(self, uuids: Iterable[str]) -> None:
        """Note that all domains are to be listed, since these are not what they were."""
        with self._condition:
            self._dirty.update(uuids)

    def on_looked(self, changed: set[str]) -> None:
        """Take that some domains were asked about.

        Args:
            changed: the UUIDs of those that others have to hear of.
        """
        with self._condition:
            self._known.take()
            self._condition.notify_all()
        self._push(changed)

    def on_listed(
        self, running: dict[str, WatchedDomain], off: dict[str, End | None], changed: set[str]
    ) -> None:
        """Take a list of all domains (see `KnownDomains.take_all`)."""
        with self._condition:
            changed |= self._known.take_all(running, off)
            self._tried, self._problem = True, None
            self.seen = True
            self._condition.notify_all()
        self._push(changed)

    # -- events, in the binding's thread (see `Listener`) -------------------------------------

    def on_close(self) -> None:
        """Take that the connection has ended."""
        with self._condition:
            self._lost = self.uri.broken
            self._known.miss()
            self._fail(self._lost)
            self._condition.notify_all()

    def on_started(self, uuid: str, number: int, birth: Birth | None) -> None:
        """Take that a domain was started."""
        with self._condition:
            self._known.on_started(uuid, number, birth)

    def on_stopped(self, uuid: str, end: End) -> None:
        """Take that a domain has stopped."""
        with self._condition:
            self._known.on_stopped(uuid, end)

    def on_powered_off(self, uuid: str) -> None:
        """Take that a domain's guest has shut down."""
        with self._condition:
            self._known.on_powered_off(uuid)

    def on_lifecycle(self, uuid: str) -> None:
        """Take that a domain is not what it was: it was started, has stopped, or was renamed."""
        with self._condition:
            self._dirty.add(uuid)
            self._condition.notify_all()

    def on_reset(self, uuid: str) -> None:
        """Take that a domain was reset."""
        with self._condition:
            if not self._known.on_reset(uuid):
                return
            self._condition.notify_all()
        self._push((uuid,))

    def on_port(self, uuid: str, alias: str | None, *, is_open: bool) -> None:
        """Take that the port of an agent has opened or closed."""
        with self._condition:
            heard = self._known.on_port(uuid, alias, is_open=is_open)
            if heard is Heard.NOTHING:
                return
            if heard is Heard.NOT_KNOWN:
                self._dirty.add(uuid)
            self._condition.notify_all()
        if heard is Heard.TAKEN:
            self._push((uuid,))
