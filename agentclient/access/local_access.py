"""The access to a VM of this host, by the UNIX sockets of its agent and its monitor (P5)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from agentclient.access import monitor_proof
from agentclient.access.agent_probe import ProbeResult, probe_exchange
from agentclient.access.agent_session import AgentSession, StreamSession
from agentclient.access.buttons import Buttons, MonitorButtons
from agentclient.access.exchange import Exchange
from agentclient.access.guest_access import (
    SOCKET,
    AgentKind,
    Capabilities,
    GuestAccess,
    Holders,
    Opener,
    ThawRecipe,
    successor_of,
)
from agentclient.access.host.other_holders import seen_among
from agentclient.access.host.peer import is_another
from agentclient.access.host.process import owner_of, started_at
from agentclient.access.host.socket_clients import Client, clients, clients_of, in_words
from agentclient.access.monitor import Monitor
from agentclient.access.presence import GoneCheck, Server, is_gone, server_of
from agentclient.access.self_check import uuid_of
from agentclient.access.stream import Channel, ConnectFailed, Endpoint, UnixEndpoint
from agentclient.model.others import ChannelClient
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState, Transport
from agentclient.model.vm import Process, Vm, VmId
from agentclient.protocol.qga import AgentWire

NOT_SHOWN: Final = (
    "the monitor does not show our connection to the agent: it may be another VM's, and counts for"
    " nothing"
)
ANOTHERS_MONITOR: Final = "the monitor is another VM's than the agent, and counts for nothing"


class LocalAccess:
    """The access to one VM of this host by UNIX sockets (see `GuestAccess`).

    Args:
        vm: the VM.
        agent: the endpoint of its agent; None if it has none.
        monitor: its monitor; None if it has none.
        opener: finds the VM to which this one migrates; None if nothing does.

    Attributes:
        channel_lock: is held while the agent is asked: at most one command is in flight.
        plain: syncs are sent without 0xFF: the agent did not answer one with it.
        fragile: the agent ended when it was asked, so that it is asked rarely.
        simulated_clients: who is connected, in the place of those that the kernel tells; None but
            in a drill, whose clients of others are no processes.
    """

    disk_calls = None  # the monitor is asked

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
        self.simulated_clients: tuple[Client, ...] | None = None
        self.server = Server()
        self._doubt: str | None = None

    @property
    def process(self) -> Process | None:
        """The VM's process, as its source or the server of its sockets; None if not known."""
        if self.vm.process or self.server.process or self.monitor is None:
            return self.vm.process or self.server.process
        return None if self.doubt else self.monitor.process

    @property
    def buttons(self) -> Buttons | None:
        """What can be pressed through the monitor; None if there is none."""
        return None if self.monitor is None else MonitorButtons(self.monitor)

    @property
    def capabilities(self) -> Capabilities:
        """What this access can do."""
        seen = self.monitor is not None
        serial = self.vm.agent is not None and self.vm.agent.transport is Transport.ISA_SERIAL
        return Capabilities(
            AgentKind.STREAM,
            resync=True,
            ordered=True,
            port_state=seen and not serial,
            inputs=seen,
            handed_over=True,
        )

    @property
    def has_agent(self) -> bool:
        """Whether there is an agent's channel."""
        return self.agent is not None

    @property
    def is_observable(self) -> bool:
        """Whether there is a monitor."""
        return self.monitor is not None

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
        """The VM, without its monitor if that may be another VM's."""
        return self.vm if self.doubt is None else self.vm._replace(monitor=None)

    def holds(self, view: MonitorView, before: MonitorView | None = None) -> MonitorView:
        """Check that the monitor is this VM's, while we hold the agent's channel (P10).

        Args:
            view: what the monitor showed after the agent has answered us.
            before: what it showed before we sent anything.

        Returns:
            The view; an empty one if the monitor does not show our connection.
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
        """Whether `observe` tells anything: a view, or why there is none."""
        return self.monitor is not None or self.vm.no_monitor is not None

    def is_gone(self) -> bool | None:
        """Return whether the VM that was reached last has gone: True and False are proven.

        A VM that is known only by its sockets may have been started again since.
        """
        return is_gone(self.process)

    def is_another(self, meant: Vm) -> bool:
        """Return whether this access provably reaches another VM than the one that was meant (P6).

        Args:
            meant: the VM as it was when a person or an operation chose it.
        """
        return is_another(meant)

    def doubt_anew(self) -> str | None:
        """Check who listens on both sockets (see `GuestAccess.doubt_anew`)."""
        return monitor_proof.doubt_of(self)

    def unproven(self) -> str | None:
        """Return why the monitor is not proven to be this VM's, as a clause; None if it is."""
        return monitor_proof.unproven(self)

    def gone_check(self) -> GoneCheck:
        """Return what decides, by the server of our last connection, whether the VM has gone."""
        return GoneCheck(self.server)

    def serving_process(self, session: AgentSession) -> Process | None:
        """Return the QEMU at the other end of a session; None if it is no QEMU."""
        return server_of(session.channel).process if session.channel is not None else None

    def uuid(self) -> str | None:
        """Return the VM's UUID as its monitor tells it."""
        return uuid_of(self.monitor)

    @property
    def qemu_version(self) -> str | None:
        """The version of its QEMU, as its monitor has told it."""
        return self.monitor.version if self.monitor is not None else None

    def holders(self) -> Holders | None:
        """Return who holds the agent's channel; None if that can't be seen.

        This looks at all processes of the host, so don't call it often.
        """
        if self.vm.agent is None:
            return None
        simulated = self.simulated_clients
        return _holders(clients(self.vm.agent.path) if simulated is None else simulated)

    def suspect(self) -> None:
        """Return None: `holders` tells it for sure."""

    def thaw_recipe(self) -> ThawRecipe:
        """Return the VM, without its monitor if that may be another VM's."""
        return ThawRecipe(self.trusted, SOCKET)

    def successor(self, uuid: str | None) -> GuestAccess | None:
        """Return the access to the VM to which this one has migrated (see `successor_of`)."""
        return successor_of(self, uuid, self._opener)

    @property
    def where(self) -> str:
        """Where this VM runs, as a clause about the one that has migrated to it."""
        pid = self.vm.process.pid if self.vm.process is not None else 0
        return f"it runs on this host now, as {self.vm.id} (pid {pid})"

    def connect(self) -> Channel:
        """Connect to the agent, and remember who serves it.

        Raises:
            ConnectFailed: the agent can't be reached.
        """
        assert self.agent is not None, "who has no agent is not connected to"
        channel = self.agent.connect()
        if self.vm.process is None:
            self.server = server_of(channel)
        return channel

    def open_agent(self) -> StreamSession:
        """Connect to the agent, and begin a session on the connection.

        Raises:
            ConnectFailed: the agent can't be reached.
        """
        return StreamSession(self.connect(), AgentWire(plain=self.plain))

    def reopen(self, session: AgentSession, guarded: Callable[[Channel], Channel]) -> None:
        """Continue a session that has broken, on a new connection (see `GuestAccess.reopen`).

        Raises:
            ConnectFailed: the agent can't be reached.
        """
        session.start_anew_on(guarded(self.connect()))

    def begin_probe(self, *, first: bool) -> Exchange[ProbeResult]:
        """Connect to the agent, and begin to probe it.

        Args:
            first: ask also for its version and the mounted file systems.

        Raises:
            ConnectFailed: the agent can't be reached.
        """
        return probe_exchange(self.connect(), first=first, plain=self.plain)

    def begin_observation(
        self, *, traffic: bool = False, writes: bool = False
    ) -> Exchange[MonitorView] | MonitorView | None:
        """Begin a look at the monitor.

        Args:
            traffic: look at what is counted at the agent's port, while others hold it.
            writes: look also at how much the guest has written.

        Returns:
            The look; a view if there can be none; None if somebody else is looking just now.
        """
        if self.monitor is None or self.doubt is not None:
            problem = self.doubt or self.vm.no_monitor or "no monitor"
            return MonitorView(problem=problem, gone=self.is_gone())
        try:
            return self.monitor.begin(traffic=traffic, writes=writes)
        except ConnectFailed as error:
            return self.monitor.unreachable(error)

    def event_fd(self) -> int | None:
        """Return a descriptor that is readable when QEMU has sent an event; None if it can't."""
        return self.monitor.event_fd() if self.monitor is not None else None

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what the monitor shows; without a monitor, a view in which nothing is known.

        Args:
            timeout_s: how long that may take, in seconds; None for the monitor's own bound.
        """
        gone = is_gone(self.vm.process)
        if gone:  # whatever listens on its sockets now is another VM
            return MonitorView(RunState.GONE, problem="the VM's process has ended", gone=True)
        if self.monitor is None:
            return MonitorView(problem=self.vm.no_monitor or "no monitor", gone=gone)
        if self.doubt is not None:
            return MonitorView(problem=self.doubt, gone=self.is_gone())
        return self.monitor.look() if timeout_s is None else self.monitor.look(timeout_s)

    def observe_anew(self) -> MonitorView:
        """Observe before connecting to the agent, also a monitor that was in doubt last time."""
        self._doubt = None
        return self.observe()

    def close(self) -> None:
        """Close a monitor session that is held open."""
        if self.monitor is not None:
            self.monitor.close()


def local_access(vm: Vm, opener: Opener | None = None) -> LocalAccess:
    """Return the access to a VM of this host; nothing is connected yet.

    Args:
        vm: the VM.
        opener: finds the VM to which this one migrates; None if nothing does.
    """
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


def holders_of(accesses: Iterable[LocalAccess]) -> Mapping[VmId, Holders]:
    """Return who holds each agent's channel, as `LocalAccess.holders` does, by one look at all."""
    known = {access.vm.id: access for access in accesses if access.vm.agent}
    simulated = {vm_id: one.simulated_clients for vm_id, one in known.items()}
    paths = {one.vm.id: one.vm.agent.path for one in known.values() if one.vm.agent}
    found = clients_of(path for vm_id, path in paths.items() if simulated[vm_id] is None)
    return {
        vm_id: _holders(found[path] if told is None else told)
        for vm_id, path in paths.items()
        for told in [simulated[vm_id]]
    }


def _holders(found: tuple[Client, ...]) -> Holders:
    return Holders(in_words(found), seen_among(found), _served(found))


def _served(found: tuple[Client, ...]) -> ChannelClient | None:
    """Return the client that is served; None if it can't be told."""
    for one in found:
        if not one.waiting:
            return ChannelClient(one.name, one.pid, owner_of(one.pid), started_at(one.pid))
    return None
