"""How each VM of this host is reached: one lock for its channel, one monitor session (P5)."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from agentclient.access.host.other_holders import seen_among
from agentclient.access.host.peer import is_another
from agentclient.access.host.socket_clients import clients, in_words
from agentclient.access.presence import Server, is_gone, server_of
from agentclient.access.stream import Channel, Endpoint, UnixEndpoint
from agentclient.model.snapshot import HeldBy, MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import Process, Vm, VmId

if TYPE_CHECKING:
    from agentclient.access.monitor import Monitor

# The watcher's visit to the same agent takes milliseconds; whoever holds it longer is hung.
CHANNEL_WAIT_S: Final = 4.0


NOT_SHOWN: Final = (
    "the monitor does not show our connection to the agent: it may be another VM's, and counts for"
    " nothing"
)
ANOTHERS_MONITOR: Final = "the monitor is another VM's than the agent, and counts for nothing"


class Holders(NamedTuple):
    """Who holds an agent's channel.

    Attributes:
        words: their names; None if nobody was seen.
        frostwatch: which other frostwatch is among them; None if none is.
    """

    words: str | None
    frostwatch: HeldBy | None


class Opener(Protocol):
    """Who knows how a VM is reached, by where it comes from."""

    def open(self, vm: Vm) -> LocalAccess:
        """Return how a VM is reached; nothing is connected yet."""

    def successor(self, of: LocalAccess, uuid: str) -> LocalAccess | None:
        """Return how the VM is reached to which another has migrated; None if none is seen.

        Args:
            of: the VM that has migrated.
            uuid: its UUID.
        """


class LocalAccess:
    """How one VM is reached; shared by the watcher and every operation on it.

    Args:
        vm: the VM.
        agent: where its agent's channel is; None if it has none.
        monitor: its monitor; None if it has none.
        opener: who has opened it; None if nobody knows of another VM.

    Attributes:
        channel_lock: whoever talks to the agent holds it: one command in flight, ever.
        plain: the agent is sent no 0xFF any more: it did not answer to it.
        fragile: it ended when it was sent that, so that it is asked rarely.
    """

    def __init__(
        self,
        vm: Vm,
        agent: Endpoint | None,
        monitor: Monitor | None,
        opener: Opener | None = None,
    ) -> None:
        self._opener = opener
        self.vm = vm
        self.agent = agent
        self.monitor = monitor
        self.channel_lock = threading.Lock()
        self.plain = False
        self.fragile = False
        self.server = Server()
        self._doubt: str | None = None

    @property
    def process(self) -> Process | None:
        """The VM's process, from its source or from who serves its sockets; None if not known."""
        if self.vm.process or self.server.process or self.monitor is None:
            return self.vm.process or self.server.process
        return None if self.doubt else self.monitor.process

    @property
    def doubt(self) -> str | None:
        """Why what the monitor says may be about another VM, as a clause; None if it is not.

        It is about this one if the same QEMU serves both sockets, or if the monitor shows our own
        connection to the agent (see `holds`). As long as neither is known, there is no doubt.
        """
        if self.monitor is None or self._one_process is True:
            return None
        return ANOTHERS_MONITOR if self._one_process is False else self._doubt

    @property
    def _one_process(self) -> bool | None:
        """Whether one QEMU serves the agent and the monitor; None if that is not known."""
        assert self.monitor is not None, "it is asked about"
        agents, monitors = self.vm.process or self.server.process, self.monitor.process
        if self.vm.monitor_peer is not None:
            monitors = self.vm.monitor_peer.process
        return None if agents is None or monitors is None else agents == monitors

    @property
    def trusted(self) -> Vm:
        """The VM with the monitor only if nothing speaks against its being this VM's."""
        return self.vm if self.doubt is None else self.vm._replace(monitor=None)

    def holds(self, view: MonitorView, before: MonitorView | None = None) -> MonitorView:
        """Judge what the monitor shows while we hold the agent's channel (P10).

        Args:
            view: looked at after the agent has answered us on it.
            before: looked at before we have asked anything.

        Returns:
            The view; without anything in it if the monitor does not show our connection.
        """
        if self.monitor is None or view.gone or view.run_state is RunState.UNKNOWN:
            return view  # nothing that could be another's
        one = self._one_process
        shown = view.client is True or (one is True and view.client is None)
        if shown and one is None and before is not None and before.reads is not None:
            shown = before.reads != view.reads
        self._doubt = None if shown else NOT_SHOWN
        if shown:
            return view
        return MonitorView(problem=NOT_SHOWN, gone=self.is_gone())

    @property
    def observes(self) -> bool:
        """Whether the VM can be looked at from outside, or should be."""
        return self.monitor is not None or self.vm.no_monitor is not None

    def is_gone(self) -> bool | None:
        """Return whether the VM that was reached here last has gone: True and False are proven.

        One that is known by its sockets alone may have been started anew since.
        """
        return is_gone(self.process)

    def is_another(self, meant: Vm) -> bool:
        """Return whether it is sure that another VM is in the place of one that was meant (P6).

        Args:
            meant: the VM, as it was then.
        """
        return is_another(meant)

    def holders(self) -> Holders | None:
        """Return who holds the agent's channel, as far as that can be told; None if it can't.

        All of this host's processes are looked at: not often.
        """
        if self.vm.agent is None:
            return None
        found = clients(self.vm.agent.path)
        return Holders(in_words(found), seen_among(found))

    def successor(self, uuid: str | None) -> LocalAccess | None:
        """Return how the VM is reached to which this one has migrated; None if none is seen.

        Args:
            uuid: its UUID; None if that isn't known: then who has taken it isn't either.
        """
        if uuid is None or self._opener is None:
            return None
        return self._opener.successor(self, uuid)

    @property
    def where(self) -> str:
        """Where the guest of a VM runs that has taken it, as a clause."""
        pid = self.vm.process.pid if self.vm.process is not None else 0
        return f"it runs on this host now, as {self.vm.id} (pid {pid})"

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
        if self.doubt is not None:
            return MonitorView(problem=self.doubt, gone=self.is_gone())
        return self.monitor.look() if timeout_s is None else self.monitor.look(timeout_s)

    def look_anew(self) -> MonitorView:
        """Look before the agent is connected to: what was doubted last time is seen once more."""
        self._doubt = None
        return self.look()

    def close(self) -> None:
        """End a held monitor session."""
        if self.monitor is not None:
            self.monitor.close()


class AccessPool:
    """How all VMs are reached: one access for each, made when it is first asked for.

    Args:
        opener: who knows how VMs are reached; None where all are of this host.
    """

    def __init__(self, opener: Opener | None = None) -> None:
        self._open = connect if opener is None else opener.open
        self._lock = threading.Lock()
        self._accesses: dict[VmId, LocalAccess] = {}

    def of(self, vm: Vm) -> LocalAccess:
        """Return the VM's access; a VM that came back as another process gets a new one."""
        with self._lock:
            access = self._accesses.get(vm.id)
            if access is None or _reached_otherwise(access.vm, vm):
                if access is not None:
                    access.close()
                access = self._accesses[vm.id] = self._open(vm)
            return access

    def forget(self, vm_id: VmId) -> None:
        """Drop the access to a VM that has left."""
        with self._lock:
            access = self._accesses.pop(vm_id, None)
        if access is not None:
            access.close()

    def close(self) -> None:
        """End all held sessions."""
        with self._lock:
            accesses, self._accesses = list(self._accesses.values()), {}
        for access in accesses:
            with suppress(OSError):
                access.close()


def connect(vm: Vm, opener: Opener | None = None) -> LocalAccess:
    """Return how a VM of this host is reached; nothing is connected yet.

    Args:
        vm: the VM.
        opener: who opens it; None if nobody knows of another VM.
    """
    # Only who connects needs it: a list of VMs is on the screen before that.
    from agentclient.access.monitor import Monitor  # noqa: PLC0415

    agent = UnixEndpoint(vm.agent.path, vm.peer) if vm.agent else None
    monitor = None
    if vm.monitor:
        monitor = Monitor(
            UnixEndpoint(vm.monitor.path, vm.monitor_peer or vm.peer),
            vm.agent,
            ours=vm.monitor.ours,
            process=vm.process,
        )
    return LocalAccess(vm, agent, monitor, opener)


def _reached_otherwise(old: Vm, new: Vm) -> bool:
    return _reached(old) != _reached(new)


def _reached(vm: Vm) -> tuple[object, ...]:
    """Return how a VM is reached."""
    sockets = (vm.agent, vm.monitor, vm.peer, vm.monitor_peer, vm.sockets, vm.no_monitor)
    return (vm.process, vm.identity, *sockets)
