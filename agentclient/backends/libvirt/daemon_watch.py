"""Watches one daemon of libvirt: connects, asks, and hands over what is told; in one thread.

That thread alone uses its connection, so that a daemon that hangs keeps nobody else waiting.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Final

from agentclient.backends.libvirt.binding import Binding, load_binding
from agentclient.backends.libvirt.daemon import Daemon
from agentclient.backends.libvirt.domain_xml import channel_of
from agentclient.backends.libvirt.ends import Birth, End, end_of_reason
from agentclient.backends.libvirt.error_codes import Trouble, trouble_of
from agentclient.backends.libvirt.events import Events
from agentclient.backends.libvirt.generation import generation_of, was_to_take_a_guest
from agentclient.backends.libvirt.link import NotConnected, opened
from agentclient.backends.libvirt.watched_copies import copies_in
from agentclient.backends.libvirt.watched_domain import WatchedDomain
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.text import printable

_STATISTICS: Final = 1 | 32  # virDomainStatsTypes: the state and the disks
_NO_WAIT: Final = 1 << 29  # leave out what a domain with a job can't tell at once
_OFF: Final = -1  # the number of a domain that does not run


class DaemonWatch:
    """Watches one daemon.

    Args:
        daemon: takes what is seen.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def start(self) -> None:
        """Begin to watch, in a thread, until the daemon is closed."""
        name = f"libvirt {self._daemon.uri.text}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except NO_THREAD as error:
            self._daemon.on_failed(f"it can't be watched: {why_no_thread(error)}")

    def _run(self) -> None:
        daemon = self._daemon
        while not daemon.closing:
            try:
                self._watch()
            except NotConnected as error:
                daemon.on_failed(f"{error}", lasting=error.reason.lasting)
            except Exception as error:  # noqa: BLE001 - P8: any error is this daemon's alone
                daemon.on_failed(f"{error}")
            daemon.rest()

    def _watch(self) -> None:
        daemon, binding = self._daemon, load_binding()
        with daemon.asking():
            connection, daemon.read_only = opened(binding, daemon.uri)
        events: Events | None = None
        try:
            daemon.on_connected()
            # Before the first list, so that none is missed.
            events = Events(connection, binding, daemon)
            while not daemon.closing:
                with daemon.asking():
                    self._look(connection, binding)
                daemon.wait_to_ask()
        finally:
            if events is not None:
                events.close()
            with suppress(Exception):
                connection.close()

    def _look(self, connection: Any, binding: Binding) -> None:
        """Ask about the domains that somebody wants to know about, or about all."""
        wanted, dirty = self._daemon.to_ask()
        now = time.monotonic()
        try:
            if wanted:
                asked = [connection.lookupByUUIDString(uuid) for uuid in wanted]
                found = connection.domainListGetStats(asked, _STATISTICS, _NO_WAIT)
            else:
                found = connection.getAllDomainStats(_STATISTICS, _NO_WAIT)
        except binding.libvirt.libvirtError as error:
            alive = bool(connection.isAlive())
            if trouble_of(error.get_error_code(), connected=alive) is not Trouble.DOMAIN:
                raise
            self._daemon.list_soon(wanted)  # one of them has gone
            return
        self._take(found, binding, now, dirty, whole=not wanted)

    def _take(
        self, found: Any, binding: Binding, now: float, dirty: frozenset[str], *, whole: bool
    ) -> None:
        """Take a list of domains with their statistics."""
        daemon = self._daemon
        running: dict[str, WatchedDomain] = {}
        off: dict[str, End | None] = {}
        changed: set[str] = set()
        for domain, figures in found:
            uuid, number = domain.UUIDString(), domain.ID()
            if number == _OFF:
                off[uuid] = end_of_reason(figures.get("state.reason"))
                continue
            with daemon.locked() as domains:
                known = domains.known(uuid, number)
            if known is None and not whole:
                daemon.list_soon((uuid,))  # it was started
                continue
            if known is None or uuid in dirty or known.name != domain.name():
                known = self._described(domain, known, binding)
                changed.add(uuid)
            with daemon.locked():
                known.take_statistics(figures, now)
            running[uuid] = known
        if whole:
            daemon.on_listed(running, off, changed)
        else:
            daemon.list_soon(off)
            daemon.on_looked(changed)

    def _described(
        self, domain: Any, known: WatchedDomain | None, binding: Binding
    ) -> WatchedDomain:
        """Return a domain with what its XML says of its agent."""
        daemon, name = self._daemon, domain.name()
        # Of a start that is known, the process may be about to end, and not be seen any more.
        generation = generation_of(domain, daemon.uri) if known is None else known.generation
        births = {True: Birth.INCOMING, False: Birth.BOOTED, None: None}
        begun = births[was_to_take_a_guest(generation)]
        with daemon.locked() as domains:
            known = domains.describe(domain.UUIDString(), name, domain.ID(), generation)
            known.birth = begun or known.birth
            before = known.openings
        try:
            xml = domain.XMLDesc()
            channel, copies = channel_of(xml), copies_in(xml)
        except (binding.libvirt.libvirtError, ValueError) as error:
            known.problem = f"its channel is not known: {printable(error, 200)}"
            return known
        with daemon.locked():
            known.name, known.copies = name, copies
            if known.openings == before:  # else an event has told something newer
                known.take_channel(channel)
        return known
