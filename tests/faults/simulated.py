"""One simulated guest, served by a thread of the test's own process: its disks are the truth."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from agentclient.backends.drill.plan import GuestPlan
from agentclient.backends.drill.server import GuestServer, Server
from agentclient.backends.drill.troubles import FreezeBehaviour
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId

LEAVING_S = 60.0
_LATER = 1e5


class Simulated:
    """A guest with an agent and a monitor; while it is entered.

    Args:
        folder: for its sockets.
        hook_s: how long its freeze hook takes.
    """

    def __init__(self, folder: Path, hook_s: float = 0.1) -> None:
        self._agent, self._monitor = folder / "agent", folder / "monitor"
        self._server = Server(1.0)
        plan = GuestPlan("simulated")
        paths = {"agent": str(self._agent), "monitor": str(self._monitor)}
        self._guest_server = GuestServer(self._server, {**plan.to_json(), **paths})
        self._guest_server.guest._freeze_behaviour = FreezeBehaviour(hook_s)
        self._work: list[Callable[[], None]] = []
        self._stop_fd, self._stop = os.pipe()
        self._work_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._server.loop.watch(self._work_fd, select.EPOLLIN, self._do_work)
        self._thread = threading.Thread(target=self._server.run, args=(self._stop_fd,))

    def __enter__(self) -> Self:
        self._guest_server.flush()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stop)
        self._thread.join(LEAVING_S)
        assert not self._thread.is_alive()
        for fd in (self._stop_fd, self._work_fd):
            os.close(fd)
        for listening_socket in self._guest_server.sockets:
            listening_socket.close()
            listening_socket.remove()
        self._server.loop.close()

    @property
    def vm(self) -> Vm:
        """The VM, as a source would describe it."""
        channel = AgentChannel(self._agent, None, Transport.VIRTIO_SERIAL)
        return Vm(VmId("socket", "simulated"), channel, MonitorChannel(self._monitor))

    @property
    def frozen(self) -> bool:
        """Whether any of its file systems is frozen now."""
        return bool(self._guest_server.guest.disks.frozen)

    @property
    def works(self) -> bool:
        """Whether its agent is at work on a command."""
        return bool(self._guest_server.guest._task)

    def drop_client(self) -> None:
        """QEMU drops whoever is connected to the agent's channel."""
        self._do(self._guest_server.sockets[0].drop)

    def stop(self) -> None:
        """Stop its agent (SIGSTOP): what is written to it waits."""
        self._do(lambda: self._guest_server.guest._task.append((_LATER, lambda _: None, None)))

    def go_on(self) -> None:
        """Let its agent go on."""

        def awake() -> None:
            self._guest_server.guest._task.clear()
            self._guest_server.woke()

        self._do(awake)

    def _do(self, work: Callable[[], None]) -> None:
        self._work.append(work)
        os.eventfd_write(self._work_fd, 1)

    def _do_work(self, _: int) -> None:
        os.eventfd_read(self._work_fd)
        while self._work:
            self._work.pop()()
