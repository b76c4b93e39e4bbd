"""How a VM is reached by calls of its backend alone: no socket of this host leads there.

Each call is made as a whole and answered as a whole, within a bound that it is given, in a thread
that may wait for it. There is no stream: nobody can say in which order a guest has answered, hear a
late answer, or hold the channel against others. What a call can't tell is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from agentclient.access.guest_access import Opener
from agentclient.access.local_access import LocalAccess
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import Vm

if TYPE_CHECKING:
    from agentclient.access.agent_probe import Said

OBSERVE_S: Final = 2.0


class GuestCalls(Protocol):
    """What a backend can ask for one VM; each call blocks."""

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


class CalledAccess(LocalAccess):
    """A VM that is reached by calls of its backend.

    Args:
        vm: the VM.
        calls: what its backend can ask.
        opener: who has opened it.
    """

    def __init__(self, vm: Vm, calls: GuestCalls, opener: Opener | None = None) -> None:
        super().__init__(vm, None, None, opener)
        self.calls = calls

    @property
    def is_observable(self) -> bool:
        """Whether the VM can be looked at from outside: by a call."""
        return True

    @property
    def observes(self) -> bool:
        """Whether the VM can be looked at from outside: by a call."""
        return True

    def is_gone(self) -> bool | None:
        """Return whether this start of the VM has ended, as its backend knows it."""
        return self.calls.is_gone()

    def is_another(self, meant: Vm) -> bool:
        """Return whether it is sure that another start of the VM is here than was meant (P6)."""
        return self.calls.is_gone() is True or meant.identity != self.vm.identity

    def observe(self, timeout_s: float | None = None) -> MonitorView:
        """Return what is seen of the VM from outside; blocking.

        Args:
            timeout_s: how long that may take; None for as long as usual.
        """
        if self.calls.is_gone():
            return MonitorView(RunState.GONE, problem="the VM has ended", gone=True)
        return self.calls.observe(OBSERVE_S if timeout_s is None else timeout_s)
