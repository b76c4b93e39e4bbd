"""How a VM is reached by calls of its backend alone: no socket of this host leads there.

Each call is made as a whole and answered as a whole, within a bound that it is given, in a thread
that may wait for it. There is no stream: nobody can say in which order a guest has answered, hear a
late answer, or hold the channel against others. What a call can't tell is not known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from agentclient.access.agent_session import AgentSession
from agentclient.access.call_session import AgentCalls, CallSession, CallState
from agentclient.access.guest_access import (
    AgentKind,
    Capabilities,
    GuestAccess,
    GuestIdentity,
    Holders,
    Opener,
    ThawRecipe,
)
from agentclient.access.stream import Channel, ConnectFailed, ConnectProblem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.access.agent_probe import Said

OBSERVE_S: Final = 2.0
NO_PORT: Final = "its backend does not show the agent's port"


class GuestCalls(AgentCalls, Protocol):
    """What a backend can ask for one VM, and have its agent do; each call blocks."""

    @property
    def shows_port(self) -> bool:
        """Whether it is seen from outside if an agent runs."""

    def observe(self, timeout_s: float) -> MonitorView:
        """Return what is seen of the VM from outside.

        Args:
            timeout_s: how long it may take.
        """

    def ask(self, *, first: bool, timeout_s: float) -> Said:
        """Ask the agent for its freeze state.

        Args:
            first: ask as well who it is, and what it has mounted.
            timeout_s: how long it may take; without an answer until then it has said nothing.
        """

    def is_gone(self) -> bool | None:
        """Return whether this start of the VM has ended: True and False are proven; at once."""

    def thaw_recipe(self, vm: Vm) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""


class CalledAccess:
    """How one VM is reached by calls (see `GuestAccess`).

    Args:
        vm: the VM.
        calls: what its backend can ask.
        opener: who has opened it; None if nobody knows of another VM.
    """

    plain = True
    fragile = False
    monitor = None
    doubt: str | None = None

    def __init__(self, vm: Vm, calls: GuestCalls, opener: Opener | None = None) -> None:
        self.vm = vm
        self.calls = calls
        self.channel_lock = threading.Lock()
        self._opener = opener
        self._state = CallState()

    @property
    def capabilities(self) -> Capabilities:
        """What calls can give."""
        return Capabilities(
            AgentKind.CALLS,
            resync=False,
            ordered=False,
            port_state=self.calls.shows_port,
            inputs=False,
            handed_over=False,
        )

    @property
    def identity(self) -> GuestIdentity:
        """Which guest is reached here."""
        word = self.vm.instance or ""
        return GuestIdentity(self.vm.id.host, str(self.vm.id), word)

    @property
    def process(self) -> Process | None:
        """None: it is the hypervisor's."""
        return None

    @property
    def has_agent(self) -> bool:
        """Whether its configuration has an agent."""
        return self.vm.has_agent

    @property
    def is_observable(self) -> bool:
        """Whether it can be observed: the hypervisor tells."""
        return True

    @property
    def where(self) -> str:
        """Where the guest of a VM runs that has taken it, as a clause."""
        host = self.identity.host
        return f"it runs {f'on {host}' if host else 'on this host'} now, as {self.vm.id}"

    def open_agent(self) -> CallSession:
        """Begin a session; nothing is called yet.

        Raises:
            ConnectFailed: too many calls hang already.
        """
        self._check()
        self._state.answers = None
        return CallSession(self.calls, self._state)

    def reopen(self, session: AgentSession, _guarded: Callable[[Channel], Channel]) -> None:
        """Go on with a session that has broken (see `GuestAccess.reopen`)."""
        assert isinstance(session, CallSession), "it is one of this access"
        self._check()
        session.start_anew()

    def _check(self) -> None:
        if self._state.too_many:
            text = "too many calls to its agent hang in the hypervisor"
            raise ConnectFailed(ConnectProblem.QUEUE_FULL, text)

    @property
    def observes(self) -> bool:
        """Whether the VM can be looked at from outside: by a call."""
        return True

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what is seen of the VM from outside; blocking.

        Args:
            timeout_s: how long that may take; None for as long as usual.
        """
        if self.calls.is_gone():
            return MonitorView(RunState.GONE, problem="the VM has ended", gone=True)
        view = self.calls.observe(OBSERVE_S if timeout_s is None else timeout_s)
        if self.calls.shows_port:
            return view
        # What a call has told of its own agent is all that is known of its port.
        return view._replace(port_open=self._state.answers, problem=view.problem or NO_PORT)

    def observe_anew(self) -> MonitorView:
        """Observe: nothing was doubted."""
        return self.observe()

    def holds(self, view: MonitorView, _before: MonitorView | None = None) -> MonitorView:
        """Return the view: there is no connection of ours that it could show."""
        return view

    def event_fd(self) -> int | None:
        """Return None: nothing is told by itself."""
        return None

    def holders(self) -> Holders | None:
        """Return None: who else calls can't be seen."""
        return None

    def is_gone(self) -> bool | None:
        """Return whether the VM has gone, as far as the hypervisor has proven it."""
        return self.calls.is_gone()

    def is_another(self, meant: Vm) -> bool:
        """Return whether it is sure that another start of the VM is here than was meant (P6)."""
        return self.calls.is_gone() is True or meant.identity != self.vm.identity

    def doubt_anew(self) -> str | None:
        """Return None: the hypervisor knows one VM by this identity."""
        return None

    def unproven(self) -> str | None:
        """Return None, as `doubt_anew`."""
        return None

    def absence(self) -> _NotKnown:
        """Return who never concludes from a failed call that the VM has gone."""
        return _NotKnown()

    def serving_process(self, _session: AgentSession) -> Process | None:
        """Return None: it is the hypervisor's."""
        return None

    def uuid(self) -> str | None:
        """Return the VM's UUID; None if it is not known."""
        return self.vm.uuid

    def thaw_recipe(self) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""
        return self.calls.thaw_recipe(self.vm)

    def successor(self, uuid: str | None) -> GuestAccess | None:
        """Return how the VM is reached to which this one has migrated; None if none is seen."""
        if uuid is None or self._opener is None:
            return None
        return self._opener.successor(self, uuid)

    def close(self) -> None:
        """Nothing is held open."""


class _NotKnown:
    """A call that fails proves nothing of the VM (P9)."""

    def tried(self, _now: float, _problem: ConnectProblem | None) -> bool | None:
        """Return None: it is not known."""
        return None
