"""Accepts the connections of other processes to a holder, in a thread of its own.

The socket is in the abstract name space: it is gone with the holder, however that ends, and needs
no folder that can be written to. Everybody can connect to it, so that the kernel is asked who has
(SO_PEERCRED): the holder's own user and root are let in.

A stranger can leave descriptors in a connection, and whoever closes that closes them as well. The
last close of a TCP connection may wait for as long as its owner likes (SO_LINGER). So the holder's
loop, which has to thaw, closes no stranger's connection: this thread does, and may hang.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

from agentclient.access.cancel import Wakeup
from agentclient.access.host.peer import Listener, listener
from agentclient.access.host.process import process_of
from agentclient.holder.messages import refused, send, socket_name
from agentclient.model.errors import NO_THREAD

# How many wait to be accepted, and how many were accepted and not yet heard.
QUEUE: Final = 128
MOST_NEW: Final = 8
# Seconds without a new connection: after a stranger's, and where no descriptor is left.
STRANGER_S: Final = 0.02
PAUSE_S: Final = 0.25
_TAKEN_S: Final = 0.01


class Accepted(NamedTuple):
    """A connection that was accepted, and who has made it."""

    connection: socket.socket
    who: Listener


class RequestListener:
    """Listens for other processes.

    Attributes:
        wakeup: is set when somebody was accepted.
    """

    def __init__(self) -> None:
        self.wakeup = Wakeup()
        self._lock = threading.Lock()
        self._new: list[Accepted] = []
        self._listening: socket.socket | None = None
        self._closed = False

    @property
    def listens(self) -> bool:
        """Whether others can connect."""
        return self._listening is not None

    def open(self) -> None:
        """Listen from now on; without a socket or a thread, nobody is answered."""
        listening, us = None, process_of(os.getpid())
        if us is None:  # nobody could find the socket
            return
        try:
            self.wakeup.fileno()
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listening.bind(socket_name(us))
            listening.listen(QUEUE)
            thread = threading.Thread(
                target=self._run, args=(listening,), name="requests", daemon=True
            )
            thread.start()
        except (OSError, *NO_THREAD):
            if listening is not None:
                listening.close()
            return
        self._listening = listening

    def take(self) -> list[Accepted]:
        """Return who was accepted since the last call; never waits."""
        with self._lock:
            self.wakeup.clear()
            taken, self._new = self._new, []
            return taken

    def close(self) -> None:
        """Listen no more; the thread ends, unless it hangs."""
        with self._lock:
            self._closed = True
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()  # its name is free, also while the thread hangs
            self._listening = None
        for each in self.take():
            each.connection.close()
        self.wakeup.close()

    # -- in its thread -----------------------------------------------------------------------

    def _run(self, listening: socket.socket) -> None:
        with listening:
            while not self._closed:
                try:
                    connection, _ = listening.accept()
                except OSError:  # closed; or no descriptor is left: it would be told again at once
                    if not self._closed:
                        time.sleep(PAUSE_S)
                    continue
                with suppress(OSError):  # of a connection that has ended
                    self._accepted(connection)

    def _accepted(self, connection: socket.socket) -> None:
        """Let somebody in, or send them away."""
        try:
            connection.setblocking(False)
            who = listener(connection)  # of an accepted connection: who has connected
        except OSError:
            connection.close()
            raise
        if who.uid not in (0, os.geteuid()):
            with suppress(OSError):
                send(connection, refused("it answers to its own user and to root alone"))
            connection.close()  # this may hang
            time.sleep(STRANGER_S)
            return
        while not self._let_in(Accepted(connection, who)):
            time.sleep(_TAKEN_S)

    def _let_in(self, accepted: Accepted) -> bool:
        """Hand a connection to the holder's loop; False if that has enough of them for now."""
        with self._lock:
            if self._closed:
                accepted.connection.close()
                return True
            if len(self._new) >= MOST_NEW:
                return False
            self._new.append(accepted)
            self.wakeup.set()
            return True
