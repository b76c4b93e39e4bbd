"""The VM under the finger (P6): captured at the key press, checked again before anything is sent.

Whatever happens to the table between the key and the dialog's Enter, the action hits the VM that
was meant, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from agentclient.model.vm import Process, Vm
from tui.shared.fit import safe

_Identity = tuple[Process | None, str | None, Path | None, Path | None, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Target:
    """A VM as it was when the key was pressed."""

    state: VmState

    @property
    def vm(self) -> Vm:
        """The VM that was meant."""
        return self.state.vm

    @property
    def label(self) -> str:
        """The VM's id, safe to show."""
        return safe(str(self.vm.id), 120)

    @property
    def foreign(self) -> bool:
        """Whether it was frozen by somebody else, so that a thaw breaks their window."""
        stranger = self.state.freeze.foreign and self.state.freeze.state is FreezeState.FROZEN
        return stranger or self.held_elsewhere

    @property
    def held_elsewhere(self) -> bool:
        """Whether another frostwatch that lives freezes or holds it."""
        held = self.state.held_by
        ends = held is None or held.ended or held.state is FreezeState.THAWING
        return self.state.progress is None and not ends

    @property
    def extends_elsewhere(self) -> bool:
        """Whether another frostwatch, or its holder, has a window open that can be held longer."""
        held = self.state.held_by
        if held is None or self.state.progress is not None:
            return False
        return held.kept or (not held.ended and held.state in (FreezeState.FROZEN, None))

    @property
    def left_to_holder(self) -> bool:
        """Whether a frostwatch has left its window to its holder."""
        held = self.state.held_by
        return held is not None and held.kept and self.state.progress is None


Targets = tuple[Target, ...]


class TargetChanged(FrostwatchError):
    """The VM is not the one that was meant any more; the message says what became of it."""


def resolve(target: Target, fleet: Fleet) -> Vm:
    """Return the VM that was meant, as its source describes it now (it may be locked meanwhile).

    Raises:
        TargetChanged: it has gone, or something else has its name.
    """
    try:
        now = fleet.get(target.vm.id)
    except KeyError:
        raise TargetChanged(f"{target.label} has vanished since the key was pressed") from None
    if not now.present:
        raise TargetChanged(f"{target.label} has gone since the key was pressed")
    if _identity(now.vm) == _identity(target.vm):
        return now.vm
    before, after = target.vm.process, now.vm.process
    if before is not None and after is not None and before != after:
        change = f"is another process now (pid {before.pid} before, {after.pid} now)"
    else:
        change = "is reached in another way now"
    raise TargetChanged(f"{target.label} {change}; look at it, and press the key again")


def check_same_freeze(target: Target, fleet: Fleet) -> None:
    """Make sure that a foreign freeze is the one that was asked about (P4, P6).

    Whose window it breaks was decided for that one. One that is known to have begun earlier is the
    same, known better.

    Raises:
        TargetChanged: that one is over, and the VM is frozen anew.
    """
    if not target.foreign:
        return
    now, before = fleet.get(target.vm.id), target.state
    windows = {one.window for one in (before.held_by, now.held_by) if one is not None}
    windows.discard(None)
    since, then = now.freeze.since, before.freeze.since
    later = since is not None and then is not None and since > then
    if len(windows) > 1 or (later and now.freeze.state is FreezeState.FROZEN):
        text = f"{target.label} is frozen anew since the key was pressed, perhaps by somebody else"
        raise TargetChanged(f"{text}; look at it, and press the key again")


def _identity(vm: Vm) -> _Identity:
    agent = vm.agent.path if vm.agent is not None else None
    monitor = vm.monitor.path if vm.monitor is not None else None
    return (vm.process, vm.generation, agent, monitor, vm.sockets)
