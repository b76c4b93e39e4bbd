"""The shared handles on each VM: one lock for its channel, one session for its monitor (P5)."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agentclient.presence import Server, is_gone, server_of
from agentclient.vm import MonitorView, Process, RunState, Vm, VmId

if TYPE_CHECKING:
    from agentclient.channel import Channel, Endpoint
    from agentclient.monitor import Monitor

# The watcher's visit to the same agent takes milliseconds; whoever holds it longer is hung.
CHANNEL_WAIT_S: Final = 4.0


class Link:
    """How one VM is reached; shared by the watcher and every operation on it.

    Args:
        vm: the VM.
        agent: where its agent's channel is; None if it has none.
        monitor: its monitor; None if it has none.

    Attributes:
        channel_lock: whoever talks to the agent holds it: one command in flight, ever.
    """

    def __init__(self, vm: Vm, agent: Endpoint | None, monitor: Monitor | None) -> None:
        self.vm = vm
        self.agent = agent
        self.monitor = monitor
        self.channel_lock = threading.Lock()
        self.server = Server()

    @property
    def process(self) -> Process | None:
        """The VM's process, from its source or from who serves its sockets; None if not known."""
        of_monitor = self.monitor.process if self.monitor is not None else None
        return self.vm.process or of_monitor or self.server.process

    def gone(self) -> bool | None:
        """Return whether the VM that was reached here last has gone, as far as its process tells.

        One that is known by its sockets alone may have been started anew since.
        """
        return is_gone(self.process)

    def connect(self) -> Channel:
        """Connect to the agent, and remember who serves it.

        Raises:
            ConnectFailed: it can't be had.
        """
        assert self.agent is not None, "who has no agent is not connected to"
        channel = self.agent.connect()
        if self.vm.process is None:
            self.server = server_of(channel)
        return channel

    def look(self, timeout_s: float | None = None) -> MonitorView:
        """Return what the monitor shows; without a monitor, a view in which nothing is known.

        Args:
            timeout_s: how long that may take; None for as long as the monitor itself allows.
        """
        gone = is_gone(self.vm.process)
        if gone:  # whoever has its sockets now is another VM
            return MonitorView(RunState.GONE, problem="the VM's process has ended", gone=True)
        if self.monitor is None:
            return MonitorView(problem=self.vm.no_monitor or "no monitor", gone=gone)
        return self.monitor.look() if timeout_s is None else self.monitor.look(timeout_s)

    def close(self) -> None:
        """End a held monitor session."""
        if self.monitor is not None:
            self.monitor.close()


class Links:
    """All links, made when they are first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[VmId, Link] = {}

    def of(self, vm: Vm) -> Link:
        """Return the VM's link; a VM that came back as another process gets a new one."""
        with self._lock:
            link = self._links.get(vm.id)
            if link is None or _reached_otherwise(link.vm, vm):
                if link is not None:
                    link.close()
                link = self._links[vm.id] = connect(vm)
            return link

    def forget(self, vm_id: VmId) -> None:
        """Drop the link of a VM that has left."""
        with self._lock:
            link = self._links.pop(vm_id, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        """End all held sessions."""
        with self._lock:
            links, self._links = list(self._links.values()), {}
        for link in links:
            with suppress(OSError):
                link.close()


def connect(vm: Vm) -> Link:
    """Return a new link to a VM of this host; nothing is connected yet."""
    # What talks is imported by the first who has to: a list of VMs is on the screen before that.
    from agentclient.channel import UnixEndpoint  # noqa: PLC0415
    from agentclient.monitor import Monitor  # noqa: PLC0415

    agent = UnixEndpoint(vm.agent.path, vm.peer) if vm.agent else None
    monitor = None
    if vm.monitor:
        monitor = Monitor(
            UnixEndpoint(vm.monitor.path, vm.monitor_peer or vm.peer),
            vm.agent,
            ours=vm.monitor.ours,
            process=vm.process,
        )
    return Link(vm, agent, monitor)


def _reached_otherwise(old: Vm, new: Vm) -> bool:
    return _reached(old) != _reached(new)


def _reached(vm: Vm) -> tuple[object, ...]:
    """Return how a VM is reached."""
    return (vm.agent, vm.monitor, vm.process, vm.peer, vm.monitor_peer, vm.sockets, vm.no_monitor)
