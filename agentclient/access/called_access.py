"""The access to a VM that only its backend's calls reach, not a socket of this host.

Each call sends one command and returns one reply, within a given bound, in a thread that may wait
for it. There is no stream: the order of the guest's replies is not known, a late reply is not
received, and the channel can't be held against other clients. What a call can't tell is not known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from agentclient.access.agent_session import AgentSession
from agentclient.access.call_session import CallState, ThawCalls
from agentclient.access.called_session import NO_CHANNEL, CalledSession
from agentclient.access.guest_access import (
    AgentKind,
    Capabilities,
    GuestAccess,
    Holders,
    Opener,
    ThawRecipe,
    successor_of,
)
from agentclient.access.stream import Channel, ConnectFailed, ConnectProblem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.access.agent_probe import ProbeResult
    from agentclient.access.buttons import Buttons
    from agentclient.access.disk_calls import DiskCalls

OBSERVE_S: Final = 2.0
NO_PORT: Final = "its backend does not show the agent's port"


class GuestCalls(ThawCalls, Protocol):
    """The calls that a backend offers for one VM and its agent; each of them blocks."""

    @property
    def shows_port(self) -> bool:
        """Whether the backend can tell if an agent runs without asking it."""

    @property
    def busy(self) -> str | None:
        """Whose command keeps the agent, as a clause; None if nobody's is known to."""

    @property
    def buttons(self) -> Buttons | None:
        """What can be pressed at the VM without its agent; None if nothing can."""

    def observe(self, timeout_s: float) -> MonitorView:
        """Return what the backend shows of the VM without asking its agent.

        Args:
            timeout_s: how long it may take, in seconds.
        """

    def glance(self) -> MonitorView | None:
        """Return at once what the backend has seen of the VM; None if it has to be asked."""

    def suspect(self) -> str | None:
        """Return whose command may keep an agent that does not answer, as a clause; None: nobody's.

        It is a guess, by what can be seen at once.
        """

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult:
        """Ask the agent for its freeze state.

        Args:
            first: ask also for its version and the mounted file systems.
            timeout_s: how long it may take, in seconds; then the agent has not answered.
        """

    def thaw_recipe(self, vm: Vm) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""

    @property
    def disk_calls(self) -> DiskCalls | None:
        """The calls about its disks; None if there are none, or nothing may be done to them."""


class CalledAccess:
    """The access to one VM by calls (see `GuestAccess`).

    Args:
        vm: the VM.
        calls: its backend's calls.
        opener: finds the VM to which this one migrates; None if nothing does.
        lane: what its calls share with those of other VMs, so that one that hangs may keep others
            of its lane waiting; None for all of its source.

    Attributes:
        lane: see above.
    """

    plain = True
    fragile = False
    monitor = None
    doubt: str | None = None

    def __init__(
        self, vm: Vm, calls: GuestCalls, opener: Opener | None = None, *, lane: str | None = None
    ) -> None:
        self.vm = vm
        self.lane = vm.source if lane is None else lane
        self.calls = calls
        self.channel_lock = threading.Lock()
        self._opener = opener
        self._state = CallState()

    @property
    def buttons(self) -> Buttons | None:
        """What the backend can press at the VM; None if nothing."""
        return self.calls.buttons

    @property
    def capabilities(self) -> Capabilities:
        """What an access by calls can do."""
        return Capabilities(
            AgentKind.CALLS,
            resync=False,
            ordered=False,
            port_state=self.calls.shows_port,
            inputs=self.calls.buttons is not None,
            handed_over=False,
        )

    @property
    def disk_calls(self) -> DiskCalls | None:
        """The calls about its disks; None if there are none."""
        return self.calls.disk_calls

    @property
    def process(self) -> Process | None:
        """None: the VM's process is not known here."""
        return None

    @property
    def has_agent(self) -> bool:
        """Whether its configuration has an agent."""
        return self.vm.has_agent

    @property
    def is_observable(self) -> bool:
        """Whether the VM can be observed: always, by a call."""
        return True

    @property
    def where(self) -> str:
        """Where this VM runs, as a clause about the one that has migrated to it."""
        host = self.vm.id.host
        return f"it runs {f'on {host}' if host else 'on this host'} now, as {self.vm.id}"

    def open_agent(self) -> CalledSession:
        """Begin a session; nothing is called yet.

        Raises:
            ConnectFailed: too many calls hang.
        """
        self._check()
        self._state.answers = None
        return CalledSession(self.calls, self._state)

    def reopen(self, session: AgentSession, guarded: Callable[[Channel], Channel]) -> None:
        """Continue a session that has broken (see `GuestAccess.reopen`).

        `guarded` is given `NO_CHANNEL`, and returns the channel of a holder that makes the calls
        from now on, or `NO_CHANNEL` if nothing changes.
        """
        assert isinstance(session, CalledSession), "it is one of this access"
        self._check()
        session.start_anew()
        channel = guarded(NO_CHANNEL)
        if channel is not NO_CHANNEL:
            session.switch_to(channel)

    def _check(self) -> None:
        if self._state.too_many:
            text = "too many calls to its agent hang in the hypervisor"
            raise ConnectFailed(ConnectProblem.QUEUE_FULL, text)

    @property
    def observes(self) -> bool:
        """Whether the VM can be observed: always, by a call."""
        return True

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what the backend shows of the VM without asking its agent; blocking.

        Args:
            timeout_s: how long that may take, in seconds; None for the usual bound.
        """
        if self.calls.is_gone():
            return MonitorView(RunState.GONE, problem="the VM has ended", gone=True)
        return self._seen(self.calls.observe(OBSERVE_S if timeout_s is None else timeout_s))

    def glance(self) -> MonitorView | None:
        """Return at once what the backend has seen of the VM; None if it has to be asked."""
        if self.calls.is_gone():
            return MonitorView(RunState.GONE, problem="the VM has ended", gone=True)
        view = self.calls.glance()
        return None if view is None else self._seen(view)

    def _seen(self, view: MonitorView) -> MonitorView:
        if self.calls.shows_port:
            return view
        # The port's state is known only from how the calls to the agent have ended.
        return view._replace(port_open=self._state.answers, problem=view.problem or NO_PORT)

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult | None:
        """Ask the agent for its freeze state, in one call; None if its channel is in use here.

        The channel is locked in the call's own thread: a call that waits for a thread, or gets
        none, keeps nobody from it.

        Args:
            first: ask also for its version and the mounted file systems.
            timeout_s: how long it may take, in seconds; then the agent has not answered.
        """
        if not self.channel_lock.acquire(blocking=False):
            return None
        try:
            return self.calls.ask(first=first, timeout_s=timeout_s)
        finally:
            self.channel_lock.release()

    def observe_anew(self) -> MonitorView:
        """Return what `observe` returns: this access never doubts it."""
        return self.observe()

    def holds(self, view: MonitorView, _before: MonitorView | None = None) -> MonitorView:
        """Return the view as it is: it can't show our connection, as there is none."""
        return view

    def event_fd(self) -> int | None:
        """Return None: the backend sends no events."""
        return None

    def holders(self) -> Holders | None:
        """Return whose command keeps the agent; None if nobody's is known to."""
        return None if self.calls.busy is None else Holders(self.calls.busy, None)

    def suspect(self) -> str | None:
        """Return whose command may keep an agent that does not answer (see `GuestCalls`)."""
        return self.calls.suspect()

    def is_gone(self) -> bool | None:
        """Return whether the hypervisor has proven that the VM has gone (P9)."""
        return self.calls.is_gone()

    def is_another(self, meant: Vm) -> bool:
        """Return whether the VM has provably been started again since it was listed (P6)."""
        return self.calls.is_gone() is True or meant.identity != self.vm.identity

    def doubt_anew(self) -> str | None:
        """Return None: for the hypervisor the identity names one VM."""
        return None

    def unproven(self) -> str | None:
        """Return None, as `doubt_anew`."""
        return None

    def gone_check(self) -> _NotKnown:
        """Return a `GoneCheck` that concludes nothing from failed calls."""
        return _NotKnown()

    def serving_process(self, _session: AgentSession) -> Process | None:
        """Return None: the hypervisor serves the session."""
        return None

    def uuid(self) -> str | None:
        """Return the VM's UUID; None if it is not known."""
        return self.vm.uuid

    @property
    def qemu_version(self) -> str | None:
        """It is not known: no call tells it."""
        return None

    def thaw_recipe(self) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""
        return self.calls.thaw_recipe(self.vm)

    def successor(self, uuid: str | None) -> GuestAccess | None:
        """Return the access to the VM to which this one has migrated (see `successor_of`)."""
        return successor_of(self, uuid, self._opener)

    def close(self) -> None:
        """Do nothing: nothing is held open."""


class _NotKnown:
    """A `GoneCheck` for calls: one that fails proves nothing about the VM (P9)."""

    def tried(self, _now: float, _problem: ConnectProblem | None) -> bool | None:
        """Return None: it is not known."""
        return None
