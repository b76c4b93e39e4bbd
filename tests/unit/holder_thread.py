"""A holder that runs in a thread of the test's process, so that it reaches guests in memory."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, cast

from agentclient.holder.client import HolderClient
from agentclient.holder.main import Holder
from agentclient.holder.messages import Body, ConsoleMessage
from agentclient.holder.process import HolderProcess


class _Holder(Holder):
    """The holder's event loop, until it is killed.

    Attributes:
        did: what the console has asked of it, without hellos and heartbeats.
    """

    def __init__(self, console: socket.socket) -> None:
        super().__init__(console, os.getpid())
        self.did: list[str] = []
        self.killed = threading.Event()
        self.ended = threading.Event()

    def live(self) -> None:
        while not self.killed.is_set() and (not self._alone or self._guests):
            self._turn()
        if self.killed.is_set():  # the kernel closes what a killed process has open
            for key in list(self._selector.get_map().values()):
                self._selector.unregister(key.fd)
                closing: Any = key.fileobj
                if hasattr(closing, "close"):
                    closing.close()
        self.ended.set()

    def _try(self, body: Body, descriptors: list[int]) -> str | None:
        if body.get("do") not in (ConsoleMessage.HELLO, ConsoleMessage.BEAT):
            self.did.append(str(body.get("do")))
        return super()._try(body, descriptors)


class _Process:
    """Stands in for the process that the holder usually is."""

    pid = 4711

    def __init__(self, holder: _Holder) -> None:
        self._holder = holder

    def poll(self) -> int | None:
        return -9 if self._holder.ended.is_set() else None

    def kill(self) -> None:
        self._holder.killed.set()

    def wait(self, timeout: float) -> int | None:
        self._holder.ended.wait(timeout)
        return self.poll()


class HolderThread(HolderClient):
    """A console's holder in a thread.

    Attributes:
        holders: each holder that was started, oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holders: list[_Holder] = []

    @property
    def did(self) -> list[str]:
        """What the holders were asked, in its order."""
        return [word for holder in self.holders for word in holder.did]

    def kill(self) -> None:
        """Kill the last holder."""
        self.holders[-1].killed.set()

    def _started(self) -> HolderProcess:
        with self._starting:
            if self._holder is None or self._holder.pid is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                holder = _Holder(theirs)
                self.holders.append(holder)
                threading.Thread(target=holder.live, name="a holder", daemon=True).start()
                process = cast(Any, _Process(holder))
                self._holder = HolderProcess(ours, process, self._heard, self._lost)
                self._holder.start_listening()
            return self._holder
