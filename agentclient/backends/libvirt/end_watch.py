"""Hears how domains end, where nobody lists them: in a holder, by a connection of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from agentclient.backends.libvirt.binding import load_binding
from agentclient.backends.libvirt.ends import Birth, End, ToldEnds
from agentclient.backends.libvirt.events import Events
from agentclient.backends.libvirt.link import connected
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.errors import FrostwatchError

_lock = threading.Lock()
_known: dict[str, EndWatch] = {}


def end_watch_of(uri: str) -> EndWatch:
    """Return what hears of a daemon's domains in this process."""
    with _lock:
        return _known.setdefault(uri, EndWatch(uri))


class EndWatch:
    """Hears how the domains of one daemon end; thread-safe (see `Ends`).

    Args:
        uri: the daemon's address.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._told = ToldEnds()
        self._connection: Any = None
        self._events: Events | None = None

    def listen(self) -> None:
        """Listen from now on, if it does not yet; blocking, while it connects.

        Where that can't be, it is not known how a domain ends.
        """
        with self._connecting, suppress(FrostwatchError):
            if self._connection is not None:
                return
            if self._events is not None:
                self._events.close()
                self._events = None
            binding = load_binding()
            with suppress(binding.libvirt.libvirtError):
                connection = connected(binding, Uri(self._uri, named=True))
                self._events = Events(connection, binding, self)
                self._connection = connection

    def runs(self, generation: str) -> None:
        """Take that a start was seen to run, after `listen`."""
        with self._lock:
            if self._connection is not None:
                self._told.runs(generation)

    def end_of(self, _uuid: str, generation: str) -> End | None:
        """Return how a start has ended (see `Ends`)."""
        with self._lock:
            return self._told.get(generation)

    # -- events, in the binding's thread (see `Listener`) -------------------------------------

    def on_close(self) -> None:
        """Take that the connection has ended: the next call connects anew."""
        with self._lock:
            self._connection = None
            self._told.miss()

    def on_started(self, uuid: str, number: int, _birth: Birth | None) -> None:
        """Take that a domain was started."""
        with self._lock:
            self._told.on_started(uuid, number)

    def on_stopped(self, uuid: str, end: End) -> None:
        """Take that a domain has stopped."""
        with self._lock:
            self._told.on_stopped(uuid, end)

    def on_powered_off(self, uuid: str) -> None:
        """Do nothing: its end is told."""

    def on_lifecycle(self, uuid: str) -> None:
        """Do nothing: what matters here was told."""

    def on_reset(self, uuid: str) -> None:
        """Do nothing: the agent's calls show it."""

    def on_port(self, uuid: str, alias: str | None, *, is_open: bool) -> None:
        """Do nothing: the agent's calls show it."""
