"""Connects to a daemon of libvirt: within a bound, and by ssh where it is on another host.

What can't be reached is told with its reason, and with what to do (`Reason`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.reasons import Reason, hanging, reason_of
from agentclient.backends.libvirt.ssh import wrapped
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.errors import NO_THREAD, FrostwatchError
from agentclient.model.text import printable

# Seconds between two questions to a daemon whether it is there, and how many may stay unanswered.
_KEEP_ALIVE: Final = (5, 3)
_KEEP_ALIVE_FAR: Final = (2, 2)
# How often the kernel is asked for the children of a thread.
_LOOKS: Final = 3
# So long may a connection take, with hosts on the way to it; ssh's own bounds are shorter, but end
# neither a shared connection that hangs nor what its configuration starts.
OPEN_S: Final = 20.0
_lock = threading.Lock()
# The addresses of which the operator's own shared connection has hung: the next try shares none.
_hung: set[str] = set()


class NotConnected(FrostwatchError):
    """There is no connection to a daemon; the text is one clause.

    Args:
        reason: why not.
    """

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.text)


def connected(binding: Binding, uri: Uri, *, read_only: bool = False) -> Any:
    """Return a new connection to a daemon, by which it is noticed when the daemon hangs; blocking.

    Args:
        binding: the binding.
        uri: the daemon's address.
        read_only: ask for no right to do anything.

    Raises:
        NotConnected: there can be none.
    """
    connect = binding.libvirt.openReadOnly if read_only else binding.libvirt.open
    ended = threading.Event()
    try:
        with _ssh_ended_after(OPEN_S, ended) if uri.program else nullcontext():
            connection = connect(_way(uri))
    except binding.libvirt.libvirtError as error:
        _note_hung(uri, hung=ended.is_set())
        reason = hanging(uri, OPEN_S) if ended.is_set() else reason_of(uri, f"{error}")
        raise NotConnected(reason) from error
    with suppress(binding.libvirt.libvirtError):
        connection.setKeepAlive(*(_KEEP_ALIVE_FAR if uri.host else _KEEP_ALIVE))
    return connection


def opened(binding: Binding, uri: Uri) -> tuple[Any, str | None]:
    """Return a new connection, if need be without the right to do anything, and why it has none.

    Raises:
        NotConnected: there can be neither.
    """
    try:
        return connected(binding, uri), None
    except NotConnected as error:
        if error.reason.host:
            raise  # nobody else gets through either
        with suppress(NotConnected):
            why = f"libvirt lets us look alone: {printable(error, 200)}"
            return connected(binding, uri, read_only=True), why
        raise


def _way(uri: Uri) -> str:
    """Return the address to connect to, by way of a program that can't ask anybody."""
    program = uri.program
    if program is None:
        return uri.address
    with _lock:
        alone = uri.text in _hung
    return uri.by(wrapped(program, alone=alone))


def _note_hung(uri: Uri, *, hung: bool) -> None:
    """Share no connection in the next try if this one has hung; else perhaps again."""
    with _lock:
        (_hung.add if hung else _hung.discard)(uri.text)


@contextmanager
def _ssh_ended_after(seconds: float, ended: threading.Event) -> Iterator[None]:
    """End the ssh that libvirt starts for this thread, if it has not connected by then.

    Args:
        seconds: the bound.
        ended: is set when it was ended.
    """
    thread = threading.get_native_id()
    before = _children_of(thread)

    def end() -> None:
        for pid in _children_of(thread) - before:
            ended.set()
            with suppress(OSError):
                # It leads a group with all that it has started, if it has a session of its own.
                own = os.getpgid(pid) == pid
                (os.killpg if own else os.kill)(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    with suppress(*NO_THREAD):  # then ssh's own bounds have to do
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _children_of(thread: int) -> set[int]:
    """Return the processes that one of our threads has started, and that have not been reaped.

    The kernel's list may lack some while another one ends: it is read more than once.
    """
    found: set[int] = set()
    with suppress(OSError):
        for _ in range(_LOOKS):
            text = Path(f"/proc/self/task/{thread}/children").read_text()
            found.update(int(word) for word in text.split())
    return found
