"""The access to one guest, on any hypervisor: the protocols that a backend implements.

There are two kinds of access to an agent. A *stream* carries requests and replies in their order,
can be synchronised, and delivers late replies. *Calls* return one reply each, or none: what they
can't show is missing evidence, and is reported as missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agentclient.model.others import ChannelClient
from agentclient.model.snapshot import HeldBy, MonitorView
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.access.agent_session import AgentSession
    from agentclient.access.buttons import Buttons
    from agentclient.access.disk_calls import DiskCalls
    from agentclient.access.monitor import Monitor
    from agentclient.access.stream import Channel, ConnectProblem

# A probe of the same agent takes milliseconds; whoever keeps its channel longer is hung.
CHANNEL_WAIT_S = 4.0


class AgentKind(StrEnum):
    """How requests reach an agent."""

    STREAM = "stream"  # requests and replies on one connection
    CALLS = "calls"  # one call for each command, with a bound of its own


class Capabilities(NamedTuple):
    """What an access to a guest can do.

    Attributes:
        kind: how requests reach its agent.
        resync: the connection can be synchronised, so that late replies are told from others.
        ordered: replies come in the order of their requests, so that a reply proves that an
            earlier one, still missing, is lost.
        port_state: the access shows whether an agent runs, without asking it.
        inputs: keys, serial breaks and a reset can be sent to the guest.
        handed_over: its connection can be passed to another process as a descriptor.
    """

    kind: AgentKind
    resync: bool
    ordered: bool
    port_state: bool
    inputs: bool
    handed_over: bool


class ThawRecipe(NamedTuple):
    """What another process needs to thaw a guest without us.

    Attributes:
        vm: the VM, without a monitor that may be another VM's.
        means: the kind of access: ``socket`` for a UNIX socket of this host, else
            ``package.module:function``, which the other process imports. The function is called
            with `details` and returns the guest's `ThawCalls`; it does not wait for anything.
        details: what that kind needs beside the VM, such as a connection's address.
    """

    vm: Vm
    means: str
    details: Mapping[str, str] = {}


SOCKET = "socket"


class Holders(NamedTuple):
    """Who holds an agent's channel.

    Attributes:
        words: their names, as text; None if no holder was found.
        frostwatch: another frostwatch among them; None if there is none.
        client: the one that is served; None if it can't be told.
    """

    words: str | None
    frostwatch: HeldBy | None
    client: ChannelClient | None = None


class GoneCheck(Protocol):
    """Decides whether a VM has gone whose agent can't be reached any more; only on proof."""

    def tried(self, now: float, problem: ConnectProblem | None) -> bool | None:
        """Take the result of one try to reconnect; return whether the VM has gone, None: not known.

        Args:
            now: seconds of the monotonic clock.
            problem: why the try failed; None if it succeeded.
        """


class GuestAccess(Protocol):
    """The access to one VM, shared by the poller and all operations on it.

    Attributes:
        vm: the VM.
        channel_lock: is held while the agent is asked: at most one command is in flight.
        plain: syncs are sent without 0xFF: the agent did not answer one with it.
        fragile: the agent ended when it was asked, so that it is asked rarely.
        monitor: its QMP monitor, for what only QEMU can do; None if it has none.
    """

    vm: Vm
    channel_lock: threading.Lock
    plain: bool
    fragile: bool

    @property
    def monitor(self) -> Monitor | None:
        """Its QMP monitor, for what only QEMU can do; None if there is none."""

    @property
    def buttons(self) -> Buttons | None:
        """What can be pressed at the VM without its agent; None if nothing can."""

    @property
    def disk_calls(self) -> DiskCalls | None:
        """Its manager's calls about its disks; None if the monitor is asked, or nobody can be."""

    @property
    def capabilities(self) -> Capabilities:
        """What this access can do."""

    @property
    def process(self) -> Process | None:
        """The VM's process; None if it is not known, or not on this host."""

    @property
    def has_agent(self) -> bool:
        """Whether the VM's configuration has a channel to an agent."""

    @property
    def is_observable(self) -> bool:
        """Whether the VM can be observed without asking its agent."""

    @property
    def observes(self) -> bool:
        """Whether `observe` tells anything: a view, or why there is none."""

    @property
    def doubt(self) -> str | None:
        """Why what is observed may be about another VM, as a clause; None if it is not."""

    @property
    def where(self) -> str:
        """Where this VM runs, as a clause about the one that has migrated to it."""

    def open_agent(self) -> AgentSession:
        """Open a session with the agent; nothing is sent yet.

        Raises:
            ConnectFailed: the agent can't be reached.
        """

    def reopen(self, session: AgentSession, guarded: Callable[[Channel], Channel]) -> None:
        """Continue a session that has broken, on a new connection.

        Args:
            session: a session of this access.
            guarded: passes the new connection to a holder, if the session has one to pass on;
                returns the channel on which to continue.

        Raises:
            ConnectFailed: the agent can't be reached.
        """

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what can be seen without asking the agent; blocking.

        Args:
            timeout_s: how long that may take, in seconds; None for the access's own bound.
        """

    def observe_anew(self) -> MonitorView:
        """Observe before connecting to the agent, also what an earlier look has put in doubt."""

    def holds(self, view: MonitorView, before: MonitorView | None = None) -> MonitorView:
        """Check that a view is of this VM, while we hold the agent's channel (P10).

        Args:
            view: what was observed after the agent has answered us.
            before: what was observed before we sent anything.

        Returns:
            The view; an empty one if it may be another VM's.
        """

    def event_fd(self) -> int | None:
        """Return a descriptor that is readable when there is an event; None if none are sent."""

    def holders(self) -> Holders | None:
        """Return who holds the agent's channel; None if that can't be seen."""

    def suspect(self) -> str | None:
        """Return whose command may keep an agent that does not answer, as a clause: a guess.

        None where nobody's is seen, or where `holders` tells for sure.
        """

    def is_gone(self) -> bool | None:
        """Return whether the VM has gone: True and False are proven, None is not known (P9).

        A failed connection or a missing socket is no proof.
        """

    def is_another(self, meant: Vm) -> bool:
        """Return whether this access provably reaches another VM than the one that was meant (P6).

        Args:
            meant: the VM as it was when a person or an operation chose it.
        """

    def doubt_anew(self) -> str | None:
        """Check again whether what is observed may be about another VM; nothing is sent.

        Returns:
            Why it may be, as a clause; None if nothing indicates that.
        """

    def unproven(self) -> str | None:
        """Return why the monitor is not proven to be this VM's, as a clause; None if it is."""

    def gone_check(self) -> GoneCheck:
        """Return what decides, after each try to reconnect, whether the VM has gone."""

    def serving_process(self, session: AgentSession) -> Process | None:
        """Return the process that serves a session on this host; None if it can't be told."""

    def uuid(self) -> str | None:
        """Return the VM's UUID; None if it can't be told."""

    @property
    def qemu_version(self) -> str | None:
        """The version of its QEMU; None if it can't be told."""

    def thaw_recipe(self) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""

    def successor(self, uuid: str | None) -> GuestAccess | None:
        """Return the access to the VM to which this one has migrated; None if none is found.

        Args:
            uuid: its UUID; None if that isn't known: then none is found.
        """

    def close(self) -> None:
        """Close what is held open."""


class Opener(Protocol):
    """Makes the access to a VM, by the backend that has listed it."""

    def open(self, vm: Vm) -> GuestAccess:
        """Return the access to a VM; nothing is connected yet."""

    def successor(self, of: GuestAccess, uuid: str) -> GuestAccess | None:
        """Return the access to the VM to which another has migrated; None if none is found.

        Args:
            of: the access to the VM that has migrated.
            uuid: its UUID.
        """


def successor_of(
    access: GuestAccess, uuid: str | None, opener: Opener | None
) -> GuestAccess | None:
    """Return the access to the VM to which another has migrated; None if none is found.

    Args:
        access: the access to the VM that has migrated.
        uuid: its UUID; None if that isn't known: then none is found.
        opener: finds it; None if nothing does.
    """
    return None if uuid is None or opener is None else opener.successor(access, uuid)
