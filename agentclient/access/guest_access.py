"""How one guest is reached, whatever hypervisor it runs on: what a backend has to give.

Two kinds of access to an agent are told apart. A *stream* carries requests and replies in their
order, can be synchronised, and brings late replies. *Calls* bring one answer each, or none: what
they can't show is missing evidence, and is said to be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agentclient.model.snapshot import HeldBy, MonitorView
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.access.agent_session import AgentSession
    from agentclient.access.monitor import Monitor
    from agentclient.access.stream import Channel, ConnectProblem

# A visit to the same agent takes milliseconds; whoever holds its channel longer is hung.
CHANNEL_WAIT_S = 4.0


class AgentKind(StrEnum):
    """How an agent is talked to."""

    STREAM = "stream"  # requests and replies on one connection
    CALLS = "calls"  # one call a command, each with a bound of its own


class Capabilities(NamedTuple):
    """What an access to a guest can give.

    Attributes:
        kind: how its agent is talked to.
        resync: the connection can be synchronised, so that late replies are told from others.
        ordered: replies come in the order of their requests: a later one proves the loss of one
            before it.
        port_state: it can be seen whether an agent runs without asking it.
        inputs: keys and breaks can be sent to the guest, and a reset.
        handed_over: its connection can be given to another process as a descriptor.
    """

    kind: AgentKind
    resync: bool
    ordered: bool
    port_state: bool
    inputs: bool
    handed_over: bool


class GuestIdentity(NamedTuple):
    """Which guest was reached: opaque, comparable, and written down as one string.

    Attributes:
        host: where it runs; empty for this host.
        instance: which VM it is there.
        generation: which of its lives: another one after each start; empty if that is not known.
    """

    host: str
    instance: str
    generation: str

    def __str__(self) -> str:
        return "\t".join(self)

    @classmethod
    def parse(cls, text: str) -> GuestIdentity:
        """Return the identity that `str` has written.

        Raises:
            ValueError: this is none.
        """
        host, instance, generation = text.split("\t")
        return cls(host, instance, generation)


class ThawRecipe(NamedTuple):
    """What another process needs to thaw a guest without us.

    Attributes:
        vm: the VM, with nothing that may be another's.
        means: which kind of access it is; ``socket`` for a UNIX socket of this host.
        details: what that kind needs beside the VM, such as a connection's address.
    """

    vm: Vm
    means: str
    details: Mapping[str, str] = {}


SOCKET = "socket"


class Holders(NamedTuple):
    """Who holds an agent's channel.

    Attributes:
        words: their names; None if nobody was seen.
        frostwatch: which other frostwatch is among them; None if none is.
    """

    words: str | None
    frostwatch: HeldBy | None


class Absence(Protocol):
    """Whether a VM has gone whose agent can't be reached any more, as far as can be proven."""

    def tried(self, now: float, problem: ConnectProblem | None) -> bool | None:
        """Take one try to connect again; return whether the VM has gone.

        Args:
            now: seconds of the monotonic clock.
            problem: why nobody could be reached; None if somebody was.
        """


class GuestAccess(Protocol):
    """How one VM is reached; shared by the poller and every operation on it.

    Attributes:
        vm: the VM.
        channel_lock: whoever talks to the agent holds it: one command in flight, ever.
        plain: the agent is sent no 0xFF any more: it did not answer to it.
        fragile: it ended when it was asked, so that it is asked rarely.
        monitor: its QMP monitor, for what QEMU alone can do; None if it has none.
    """

    vm: Vm
    channel_lock: threading.Lock
    plain: bool
    fragile: bool

    @property
    def monitor(self) -> Monitor | None:
        """Its QMP monitor, for what only QEMU can do; None if there is none."""

    @property
    def capabilities(self) -> Capabilities:
        """What this access can give."""

    @property
    def identity(self) -> GuestIdentity:
        """Which guest is reached here."""

    @property
    def process(self) -> Process | None:
        """The VM's process on this host; None if it is not known, or elsewhere."""

    @property
    def has_agent(self) -> bool:
        """Whether there is an agent to talk to, as far as the VM's configuration tells."""

    @property
    def is_observable(self) -> bool:
        """Whether the VM can be observed without asking its agent."""

    @property
    def observes(self) -> bool:
        """Whether the VM can be looked at from outside, or should be."""

    @property
    def doubt(self) -> str | None:
        """Why what is observed may be about another VM, as a clause; None if it is not."""

    @property
    def where(self) -> str:
        """Where the guest of a VM runs that has taken it, as a clause."""

    def open_agent(self) -> AgentSession:
        """Open a session with the agent; nothing is asked yet.

        Raises:
            ConnectFailed: it can't be had.
        """

    def reopen(self, session: AgentSession, guarded: Callable[[Channel], Channel]) -> None:
        """Go on with a session that has broken, on a new connection.

        Args:
            session: one of this access.
            guarded: hands the connection to a holder where it has one that can be handed over;
                returns through which one to go on.

        Raises:
            ConnectFailed: it can't be had.
        """

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what can be seen without asking the agent.

        Args:
            timeout_s: how long that may take; None for as long as the access itself allows.
        """

    def observe_anew(self) -> MonitorView:
        """Observe before the agent is connected to: what was doubted is looked at once more."""

    def holds(self, view: MonitorView, before: MonitorView | None = None) -> MonitorView:
        """Judge what is observed while we have the agent's channel (P10).

        Args:
            view: observed after the agent has answered us.
            before: observed before we have asked anything.
        """

    def event_fd(self) -> int | None:
        """Return a descriptor that is readable when something is to be observed; None if none."""

    def holders(self) -> Holders | None:
        """Return who holds the agent's channel, as far as that can be told; None if it can't."""

    def is_gone(self) -> bool | None:
        """Return whether the VM has gone: True and False are proven, None is not known (P9).

        Never inferred from a connection that failed, or a socket that is away.
        """

    def is_another(self, meant: Vm) -> bool:
        """Return whether it is sure that another VM is in the place of one that was meant (P6).

        Args:
            meant: the VM, as it was then.
        """

    def doubt_anew(self) -> str | None:
        """Look whether what is observed may be about another VM; nothing is sent.

        Returns:
            Why it may, as a clause; None if nothing speaks for that.
        """

    def unproven(self) -> str | None:
        """Return why what is done to the VM may be done to another, as a clause; None if not."""

    def absence(self) -> Absence:
        """Return who judges, try by try, whether the VM has gone that we were connected to."""

    def serving_process(self, session: AgentSession) -> Process | None:
        """Return the process that serves a session on this host; None if it can't be told."""

    def uuid(self) -> str | None:
        """Return the VM's UUID; None if it can't be told."""

    def thaw_recipe(self) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""

    def successor(self, uuid: str | None) -> GuestAccess | None:
        """Return how the VM is reached to which this one has migrated; None if none is seen.

        Args:
            uuid: its UUID; None if that isn't known: then who has taken it isn't either.
        """

    def close(self) -> None:
        """End what is held open."""


class Opener(Protocol):
    """Who knows how a VM is reached, by where it comes from."""

    def open(self, vm: Vm) -> GuestAccess:
        """Return how a VM is reached; nothing is connected yet."""

    def successor(self, of: GuestAccess, uuid: str) -> GuestAccess | None:
        """Return how the VM is reached to which another has migrated; None if none is seen.

        Args:
            of: the VM that has migrated.
            uuid: its UUID.
        """
