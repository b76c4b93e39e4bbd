"""What a thaw says: what it waits for, how it ended, and what a person should do then. Pure."""

from __future__ import annotations

from typing import Final

from agentclient.freeze.coverage import count
from agentclient.freeze.port_watch import RELEASED_BY, PortWatch
from agentclient.freeze.thaw_plan import ThawPlan, ThawStage
from agentclient.model.durations import in_words
from agentclient.model.states import Cause, FreezeState, RunState, Stuck

GONE: Final = "the VM has gone: nothing is frozen any more"
MIGRATED: Final = (
    "the VM has migrated away (QEMU does not tell where to): its file systems may be "
    "frozen where it runs now"
)
PANICKED: Final = "the guest has panicked: nothing in it can be thawed"
RESET: Final = "the guest was reset: nothing can be frozen; its agent has not come back"
DIED: Final = "the thaw died with an agent: it is sent again"


def waiting_for(stage: ThawStage, watch: PortWatch, *, free: bool, why_broken: str) -> str:
    """Return what a thaw waits for, one clause.

    Args:
        stage: where it is.
        watch: the port and the run state.
        free: the agent is not busy with a freeze any more.
        why_broken: why there is no channel, where there is none.
    """
    if watch.blocked:
        return f"the VM is {watch.run_state}: {RELEASED_BY[watch.run_state]}"
    if stage is ThawStage.RECONNECTING:
        return f"the agent's channel to be had again ({why_broken})"
    if watch.open is False:
        return "an agent to come back"
    if stage is ThawStage.ACQUIRING:
        return "the agent to answer a sync"
    if not free:
        return "the agent to finish the freeze, then the thaw"
    return "the agent's answer to the thaw"


def thawed(number: int | None, error: str | None) -> str:
    """Return how a thaw ended after which the agent says thawed.

    Args:
        number: how many file systems it counted; None if it gave no number.
        error: the thaw's own error, where it was answered with one.
    """
    counted = f"thawed {count(number)}" if number is not None else "thawed"
    tail = ""
    if error:
        tail = f"; the thaw itself was answered with an error: {error}"
        tail += "" if number is not None else "; how many it thawed is not known"
    return f"{counted}, and the agent says thawed{tail}"


def nothing_to_thaw(*, reset: bool) -> str:
    """Return why no thaw was sent: the agent says thawed.

    Args:
        reset: the guest was reset before.
    """
    why = "the guest was reset: " if reset else ""
    return f"{why}nothing to thaw: the agent says thawed"


def not_ours(state: FreezeState | None) -> str:
    """Return why a thaw is not sent that a person has to decide."""
    said = "is frozen" if state else "does not tell its state"
    return f"the guest {said}, and not provably by us: a person must decide"


def still_frozen(thaws: int, state: FreezeState | None) -> str:
    """Return how a thaw ended after which the agent does not say thawed.

    Args:
        thaws: how many were answered.
        state: what the agent says instead; None if that can't be read.
    """
    return f"after {thaws} thaws the agent still says {state or 'nothing that can be read'}"


def not_acknowledged(seconds: float, waited_for: str) -> str:
    """Return how a thaw ended whose bound ran out.

    Args:
        seconds: how long it was waited for.
        waited_for: what for, one clause.
    """
    return (
        f"the thaw was not acknowledged within {in_words(seconds)}, waiting for "
        f"{waited_for}: THE GUEST MAY STILL BE FROZEN"
    )


def next_command(plan: ThawPlan, watch: PortWatch) -> str:
    """Return what a person should do about a guest that may still be frozen."""
    command = plan.command or f"frostwatch thaw --foreign {plan.vm}"
    if watch.blocked:
        return f"{RELEASED_BY[watch.run_state]}, then: {command}"
    if watch.open is False:
        return f"start the agent in the guest (or reset the guest), then: {command}"
    return command


def why_stuck(watch: PortWatch, *, still_frozen: bool, connected: bool) -> Stuck:
    """Return why a guest is not known to be thawed.

    Args:
        watch: the port and the run state.
        still_frozen: the agent has run the thaw again and again, and says frozen.
        connected: there is a channel to the agent.
    """
    for holds, why in (
        (watch.cause is Cause.MIGRATED, Stuck.MIGRATED),
        (watch.run_state is RunState.PANICKED, Stuck.PANICKED),
        (still_frozen, Stuck.STILL_FROZEN),
        (watch.blocked, Stuck.BLOCKED),
        (watch.open is False, Stuck.NO_AGENT),
        (not connected, Stuck.CHANNEL),
    ):
        if holds:
            return why
    return Stuck.SILENT
