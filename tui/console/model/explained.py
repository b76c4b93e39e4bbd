"""What outcomes mean, and what to do next; the tables behind it are imported with the first one."""

from __future__ import annotations

from agentclient.late import load
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import HeldBy, VmState
from agentclient.model.states import Phase
from agentclient.model.vm import Vm


def explained(outcome: Outcome, state: VmState) -> Outcome:
    """Return an outcome with what it means for its VM, and the next step.

    Args:
        outcome: a freeze's.
        state: the VM as it is now; while something is in flight the outcome is not final.
    """
    with_meaning = load("agentclient.model.meaning", "with_meaning")
    progress = state.progress
    thawing = progress is not None and progress.phase is Phase.THAWING
    said: Outcome = with_meaning(outcome, state.vm, final=progress is None, thawing=thawing)
    return said


def step_while_held(held: HeldBy, vm: Vm) -> str:
    """Return what to do about a VM that another frostwatch holds."""
    step: str = load("agentclient.model.next_step", "step_while_held")(held, vm)
    return step
