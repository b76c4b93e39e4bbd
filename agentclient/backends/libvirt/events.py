"""What a daemon of libvirt tells without being asked; it comes in the binding's own thread."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, Protocol

from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.ends import Birth, End, birth_of_event, end_of_event

_LIFECYCLE, _REBOOT, _AGENT, _METADATA = 0, 1, 18, 23  # virDomainEventID
_CONNECTED: Final = 1
_STARTED, _STOPPED, _SHUTDOWN = 2, 5, 6  # virDomainEventType
_BY_GUEST: Final = 1  # virDomainEventShutdownDetailType: else its QEMU was told to end
_PORT: Final = "VSERPORT_CHANGE"


class Listener(Protocol):
    """Who is told of events."""

    def on_close(self) -> None:
        """Take that the connection has ended."""

    def on_started(self, uuid: str, number: int, birth: Birth | None) -> None:
        """Take that a domain was started; `on_lifecycle` follows.

        Args:
            uuid: the domain's.
            number: libvirt's number of that start.
            birth: which guest it has begun with; None if that is not told.
        """

    def on_stopped(self, uuid: str, end: End) -> None:
        """Take that a domain has stopped; `on_lifecycle` follows.

        Args:
            uuid: the domain's.
            end: what has become of its guest.
        """

    def on_powered_off(self, uuid: str) -> None:
        """Take that a domain's guest has shut down; `on_lifecycle` follows."""

    def on_lifecycle(self, uuid: str) -> None:
        """Take that a domain is not what it was: started, stopped, renamed, or described anew."""

    def on_reset(self, uuid: str) -> None:
        """Take that a domain was reset."""

    def on_port(self, uuid: str, alias: str | None, *, is_open: bool) -> None:
        """Take that the port of an agent has opened or closed.

        Args:
            uuid: the domain's.
            alias: what QEMU calls the port; None if it is the agent's for sure.
            is_open: it is open now.
        """


class Events:
    """The events of one connection.

    Args:
        connection: the connection.
        binding: the binding.
        listener: is told of them, in the binding's thread.
    """

    def __init__(self, connection: Any, binding: Binding, listener: Listener) -> None:
        self._listener: Listener | None = listener
        self._connection = connection
        self._binding = binding
        self._registered: list[Any] = []
        self._port: Any = None
        connection.registerCloseCallback(self._on_close, None)
        events = ((_LIFECYCLE, self._on_lifecycle), (_REBOOT, self._on_reboot))
        more = ((_AGENT, self._on_agent), (_METADATA, self._on_metadata))
        for number, heard in (*events, *more):
            with suppress(binding.libvirt.libvirtError):  # such as a driver for tests
                found = connection.domainEventRegisterAny(None, number, heard, None)
                self._registered.append(found)
        with suppress(binding.libvirt.libvirtError):  # a read-only connection has no right to it
            self._port = binding.qemu.qemuMonitorEventRegister(
                connection, None, _PORT, self._on_port, None
            )

    def close(self) -> None:
        """Hear no more: a connection is closed only once nobody listens to it.

        Else it stays open in the daemon, and each event is told once more by each of them.
        """
        self._listener = None
        with suppress(Exception):
            self._connection.unregisterCloseCallback()
        for number in self._registered:
            with suppress(Exception):
                self._connection.domainEventDeregisterAny(number)
        if self._port is not None:
            with suppress(Exception):
                self._binding.qemu.qemuMonitorEventDeregister(self._connection, self._port)

    def _on_close(self, _connection: Any, _reason: int, _opaque: Any) -> None:
        if (listener := self._listener) is not None:
            listener.on_close()

    def _on_lifecycle(
        self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any
    ) -> None:
        listener, uuid = self._listener, domain.UUIDString()
        if listener is None:
            return
        if event == _STARTED:
            listener.on_started(uuid, domain.ID(), birth_of_event(detail))
        elif event == _STOPPED and (end := end_of_event(detail)) is not None:
            listener.on_stopped(uuid, end)
        elif event == _SHUTDOWN and detail == _BY_GUEST:
            listener.on_powered_off(uuid)
        listener.on_lifecycle(uuid)

    def _on_metadata(
        self, _connection: Any, domain: Any, _kind: int, _space: str, _opaque: Any
    ) -> None:
        if (listener := self._listener) is not None:
            listener.on_lifecycle(domain.UUIDString())

    def _on_reboot(self, _connection: Any, domain: Any, _opaque: Any) -> None:
        if (listener := self._listener) is not None:
            listener.on_reset(domain.UUIDString())

    def _on_agent(
        self, _connection: Any, domain: Any, state: int, _reason: int, _opaque: Any
    ) -> None:
        # One worker of the daemon's tells this of all domains, perhaps half a minute late, where
        # the monitor's own event comes at once (protocol §5.3).
        if self._port is None and (listener := self._listener) is not None:
            listener.on_port(domain.UUIDString(), None, is_open=state == _CONNECTED)

    def _on_port(
        self,
        _connection: Any,
        domain: Any,
        _event: str,
        _seconds: int,
        _micros: int,
        details: str,
        _opaque: Any,
    ) -> None:
        try:
            told = json.loads(details)
            alias, is_open = str(told["id"]), told["open"] is True
        except (ValueError, TypeError, KeyError):
            return
        if (listener := self._listener) is not None:
            listener.on_port(domain.UUIDString(), alias, is_open=is_open)
