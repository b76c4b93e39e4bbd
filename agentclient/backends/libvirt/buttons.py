"""The keyboard and the reset button of a domain, pressed through libvirt; neither taints it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from agentclient.access.call_session import AgentGone
from agentclient.access.qmp_session import MonitorError
from agentclient.backends.libvirt.connections import Connections
from agentclient.backends.libvirt.generation import number_of
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.text import printable

# Where another caller's job has the domain, libvirt waits for it for half a minute.
ASK_S: Final = 5.0
_LINUX: Final = 0  # virKeycodeSet
_CODES: Final = {"alt": 56, "sysrq": 99, "j": 36}  # linux/input-event-codes.h
_HELD_MS: Final = 100


class LibvirtButtons:
    """The buttons of one start of a domain (see `Buttons`).

    Args:
        connections: leads to its daemon.
        uuid: the domain's.
        generation: which start of it.
    """

    keyboard: bool | None = None
    no_break: str | None = "libvirt sends no break to a serial port"

    def __init__(self, connections: Connections, uuid: str, generation: str) -> None:
        self._connections = connections
        self._uuid = uuid
        self._number = number_of(generation)

    def press(self, keys: tuple[str, ...]) -> None:
        """Press keys together (see `Buttons`)."""
        codes = [_CODES[key] for key in keys]
        self._do(lambda domain: domain.sendKey(_LINUX, _HELD_MS, codes, len(codes), 0))

    def reset(self) -> None:
        """Press the reset button (see `Buttons`)."""
        self._do(lambda domain: domain.reset(0))

    def _do(self, act: Callable[[Any], object]) -> None:
        """Do something in a thread, and wait for it for a moment."""
        ended, problems = threading.Event(), list[MonitorError]()

        def run() -> None:
            try:
                self._act(act)
            except MonitorError as error:
                problems.append(error)
            finally:
                ended.set()

        try:
            threading.Thread(target=run, name="libvirt button", daemon=True).start()
        except NO_THREAD as error:
            raise MonitorError(f"no thread could be had: {why_no_thread(error)}") from error
        if not ended.wait(ASK_S):
            raise MonitorError(f"libvirt has not done it within {ASK_S:g} s: it may do it yet")
        if problems:
            raise problems[0]

    def _act(self, act: Callable[[Any], object]) -> None:
        try:
            with self._connections.one() as (connection, binding):
                try:
                    domain = connection.lookupByUUIDString(self._uuid)
                    if domain.ID() != self._number:
                        raise MonitorError("the domain has ended, or was started anew")
                    act(domain)
                except binding.libvirt.libvirtError as error:
                    raise MonitorError(f"libvirt refused it: {printable(error, 200)}") from error
        except AgentGone as error:
            raise MonitorError(str(error)) from error
