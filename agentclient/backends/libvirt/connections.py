"""Connections to a daemon of libvirt for calls to agents: each call has one for itself.

Five pending calls block a connection, and twenty starve the daemon (protocol §5.4). So freezes are
limited, and a thaw never waits behind one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from agentclient.access.call_session import AgentBusy, AgentGone, CallFailed
from agentclient.access.disk_calls import DisksRefused
from agentclient.backends.libvirt.binding import Binding, load_binding
from agentclient.backends.libvirt.link import NotConnected, connected
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.errors import FrostwatchError

# So many freezes are pending in one daemon at the most, as far as this process is concerned.
MOST_FREEZES: Final = 8
_MOST_IDLE: Final = 2
_lock = threading.Lock()
_known: dict[str, Connections] = {}


def connections_to(uri: str) -> Connections:
    """Return this process's connections to a daemon."""
    with _lock:
        return _known.setdefault(uri, Connections(uri))


class Connections:
    """The connections to one daemon; thread-safe.

    Args:
        uri: its address.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._freezes: set[str] = set()  # the domains

    @contextmanager
    def one(self) -> Iterator[tuple[Any, Binding]]:
        """Take a connection for a call; blocking, while a new one is made.

        Raises:
            AgentGone: the daemon can't be reached.
        """
        try:
            binding = load_binding()
        except FrostwatchError as error:
            raise AgentGone(str(error)) from error
        connection = self._take(binding)
        try:
            yield connection, binding
        except (AgentBusy, CallFailed, DisksRefused):
            self._keep(connection)  # libvirt has answered: it is as good as before
            raise
        except BaseException:
            _close(connection)
            raise
        self._keep(connection)

    @contextmanager
    def freeze(self, uuid: str) -> Iterator[None]:
        """Take one of the places for freezes; a domain has one at the most, also if that hangs.

        Args:
            uuid: the domain's.

        Raises:
            AgentBusy: the domain has one already, or all are taken.
        """
        with self._lock:
            if uuid in self._freezes:
                raise AgentBusy("an earlier freeze of this domain has not come back from libvirt")
            if len(self._freezes) >= MOST_FREEZES:
                raise AgentBusy(
                    f"{MOST_FREEZES} freezes are pending in this daemon of libvirt already, and"
                    " more would keep thaws waiting"
                )
            self._freezes.add(uuid)
        try:
            yield
        finally:
            with self._lock:
                self._freezes.discard(uuid)

    def close_idle(self) -> None:
        """Close the connections that no call uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def _keep(self, connection: Any) -> None:
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        _close(connection)

    def _take(self, binding: Binding) -> Any:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            with suppress(binding.libvirt.libvirtError):
                if connection.isAlive():
                    return connection
            _close(connection)
        try:
            return connected(binding, Uri(self.uri, named=True))
        except NotConnected as error:
            raise AgentGone(f"libvirt can't be reached: {error}") from error


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()
