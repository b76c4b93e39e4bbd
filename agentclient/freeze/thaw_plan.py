"""What a thaw is to do, where it is, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentclient.model.states import FreezeState, Stuck


@dataclass(frozen=True, slots=True)
class ThawPlan:
    """How a guest is to be thawed.

    Attributes:
        vm: the VM's id, for the command that a person is told.
        timeout_s: the bound, counted from when the agent is free to run the thaw.
        patience_s: how much longer a pending freeze before it may take.
        owned: a sync was answered on this channel; before that nothing else may be written.
        clean: the channel is owned and nothing is outstanding on it.
        connected: there is a channel; else one must be opened first.
        ask: thaw only if the agent says frozen, since the thaw hook would run unpaired
            otherwise (protocol §3.8): after a reset, or where it isn't known to be frozen.
        allowed: what is found frozen may be thawed: it is ours, or a person decided (P4).
        after_reset: the guest was reset, so that nothing can be frozen any more.
        dead: the VM has gone or shut down, so that there is nothing to thaw.
        command: what a person runs to thaw it after all; empty: by its id.
        freeze_succeeded: the freeze before it was answered, and not with an error. Else its hook
            may have failed, so that an agent that says thawed may still owe the hook of a thaw
            (protocol §3.8).
    """

    vm: str
    timeout_s: float
    patience_s: float = 0.0
    owned: bool = True
    clean: bool = False
    connected: bool = True
    ask: bool = False
    allowed: bool = True
    after_reset: bool = False
    dead: bool = False
    command: str = ""
    freeze_succeeded: bool = True


class ThawStage(StrEnum):
    """Where a thaw is."""

    RECONNECTING = "reconnecting"  # there is no channel
    ACQUIRING = "acquiring"  # a channel that is not proven to be ours yet
    ASKING = "asking"  # whether there is anything to thaw
    THAWING = "thawing"  # the thaw was sent, or waits for an agent
    CHECKING = "checking"  # whether the thaw has thawed everything
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ThawReport:
    """What the thaw procedure found, for the final outcome.

    Attributes:
        before: the status that an agent gave before the thaw, None if none did.
        count: how many file systems the acknowledged thaws counted; None if none was answered.
        error: the thaw's error text, where the agent answered with one.
        settled: nothing is frozen any more, as far as evidence goes.
        reason: one sentence about how that is known, or why it isn't.
        next: what a person should do now; None if nothing.
        repeated: an earlier thaw was lost with its agent or channel, and may have run: what it
            thawed is not in the count.
        sent: a thaw was sent; only where none was, no count means that nothing had to be thawed.
        stuck: why it isn't settled; None if it is.
        holder: the process that goes on in our place; None if there is none.
    """

    before: FreezeState | None
    count: int | None
    error: str | None
    settled: bool
    reason: str
    next: str | None
    repeated: bool = False
    stuck: Stuck | None = None
    sent: bool = False
    holder: int | None = None

    @property
    def thawed(self) -> int | None:
        """How many file systems were thawed; None if that isn't known."""
        return 0 if self.count is None and self.settled and not self.sent else self.count
