"""What every state looks like: its sign, its word, its tone and what it means, in one place.

The table, the pane, the header, the dialogs and the help all read from here, so that a state is
called the same everywhere. The words are agentclient's own. A sign is one cell wide, and means one
thing wherever it stands: it reads without colour. What has a sign of its own has one in ASCII, too.
"""

from __future__ import annotations

import locale
import sys
from collections.abc import Mapping
from typing import NamedTuple

from agentclient.model import outcome
from agentclient.model.others_freeze import OthersFreeze
from agentclient.model.states import (
    AgentState,
    EvidenceResult,
    FreezeState,
    Level,
    OutcomeKind,
    Phase,
    RunState,
)
from tui.shared.terminal_features import ascii_alone
from tui.shared.tone import Tone


class Look(NamedTuple):
    """How a state is shown.

    Attributes:
        sign: one cell, for terminals with Unicode.
        ascii: one cell, for those without.
        word: the vocabulary's word.
        meaning: one clause, for the help.
    """

    sign: str
    ascii: str
    word: str
    tone: Tone
    meaning: str = ""


AGENT: Mapping[AgentState, Look] = {
    AgentState.ALIVE: Look("●", "@", "alive", Tone.GOOD, "answered within its deadline"),
    AgentState.OPEN: Look("○", "o", "open", Tone.NORMAL, "its port is open; not asked yet"),
    AgentState.CLOSED: Look("▽", "c", "closed", Tone.BAD, "its port is closed: no agent runs"),
    AgentState.SILENT: Look("⋯", "s", "silent", Tone.WARN, "its port is open; no answer in time"),
    AgentState.BUSY: Look("◆", "&", "busy", Tone.WARN, "somebody else holds the channel"),
    AgentState.NONE: Look("–", "-", "none", Tone.DIM, "no channel is configured"),
    AgentState.UNKNOWN: Look("?", "?", "unknown", Tone.DIM, "cannot tell"),
}

FREEZE: Mapping[FreezeState | None, Look] = {
    FreezeState.THAWED: Look("·", ".", "thawed", Tone.NORMAL, "the guest can write"),
    FreezeState.FREEZING: Look("◐", "(", "freezing", Tone.ACTIVE, "a freeze is on its way"),
    FreezeState.FROZEN: Look("❆", "*", "frozen", Tone.FROZEN, "frozen by this console"),
    FreezeState.THAWING: Look("◑", ")", "thawing", Tone.ACTIVE, "a thaw is on its way"),
    None: Look("?", "?", "unknown", Tone.DIM, "nobody has told us yet"),
}
LEFT = Look("!", "!", "frozen?", Tone.BAD, "its thaw was not acknowledged: may still be frozen")
LEFT_BY = Look("⚑", "L", "left", Tone.BAD, "frozen by a frostwatch that has ended; a thaw ends it")
FOREIGN = Look("◈", "F", "foreign", Tone.WARN, "frozen, and not provably by this console")
OTHERS_PENDING = Look(
    "◔",
    "w",
    OthersFreeze.PENDING.value,
    Tone.ACTIVE,
    "others wait for the agent's answer",
)
OTHERS_LOST = Look(
    "⊗", "X", OthersFreeze.LOST.value, Tone.BAD, "what others sent will not be answered"
)

RUN: Mapping[RunState, Look] = {
    RunState.RUNNING: Look("▸", "r", "running", Tone.NORMAL),
    RunState.PAUSED: Look("‖", "=", "paused", Tone.WARN),
    RunState.IO_ERROR: Look("‡", "E", "io-error", Tone.BAD),
    RunState.SUSPENDED: Look("☾", "z", "suspended", Tone.WARN),
    RunState.MIGRATING: Look("→", "m", "migrating", Tone.WARN),
    RunState.MIGRATED: Look("↗", "g", "migrated", Tone.DIM),
    RunState.SHUTDOWN: Look("□", "_", "shutdown", Tone.DIM),
    RunState.PANICKED: Look("▩", "P", "panicked", Tone.BAD),
    RunState.GONE: Look("⊠", "G", "gone", Tone.DIM),
    RunState.UNKNOWN: Look("?", "?", "unknown", Tone.DIM),
}

OUTCOME: Mapping[OutcomeKind, Look] = {
    OutcomeKind.VERIFIED: Look("✓", "+", "verified", Tone.GOOD, "frozen, with all the evidence"),
    OutcomeKind.UNVERIFIED: Look(
        "◇", "~", "unverified", Tone.WARN, "the agent says frozen; some evidence is missing"
    ),
    OutcomeKind.PARTIAL: Look(
        "◧", "%", "partial", Tone.BAD, "some file systems are frozen, or may not be"
    ),
    OutcomeKind.LOST: Look("✗", "x", "lost", Tone.BAD, "will never be answered"),
    OutcomeKind.TIMEOUT: Look("†", "T", "timeout", Tone.BAD, "no answer within the schedule"),
    OutcomeKind.REFUSED: Look("⊘", "/", "refused", Tone.DIM, "not sent; the reason is named"),
    OutcomeKind.FAILED: Look(
        "■", "#", "failed", Tone.BAD, "the agent answered with an error, or froze nothing"
    ),
    OutcomeKind.BROKEN: Look(
        "▼", "v", "broken", Tone.BAD, "thawed or written to while it was held"
    ),
}

NO_GROUP = Look(
    "≠", "N", outcome.NO_GROUP, Tone.BAD, "verified by itself; its group was not frozen together"
)

JOB = Look("⇣", "d", "copying", Tone.ACTIVE, "its disks are copied; the row says how far it is")
LEFT_JOB = Look(
    "↧",
    "D",
    "left copy",
    Tone.BAD,
    "left by a frostwatch that has ended; copy ends it",
)
UNENDED = Look(
    "∞", "8", "not ended", Tone.BAD, "a copy that QEMU can't end: its storage hangs; tried again"
)

PHASE: Mapping[Phase, Look] = {
    Phase.QUEUED: Look("⋮", ":", "queued", Tone.DIM),
    Phase.PREPARING: Look("◌", ",", "preparing", Tone.ACTIVE),
    Phase.PENDING: Look("◐", "(", "pending", Tone.ACTIVE),
    Phase.BLOCKED: Look("‖", "=", "blocked", Tone.WARN),
    Phase.DRAINING: Look("≋", "i", "draining", Tone.WARN),
    Phase.VERIFYING: Look("◎", "e", "verifying", Tone.ACTIVE),
    Phase.HELD: Look("❆", "*", "held", Tone.FROZEN),
    Phase.AT_RISK: Look("▲", "^", "at risk", Tone.WARN),
    Phase.THAWING: Look("◑", ")", "thawing", Tone.ACTIVE),
    Phase.DONE: Look("·", ".", "done", Tone.NORMAL),
}

EVIDENCE: Mapping[EvidenceResult, Look] = {
    EvidenceResult.FOR: Look("✓", "+", "for", Tone.GOOD),
    EvidenceResult.AGAINST: Look("✗", "x", "against", Tone.BAD),
    EvidenceResult.UNKNOWN: Look("?", "?", "unknown", Tone.DIM),
}

LEVEL: Mapping[Level, Look] = {
    Level.DEBUG: Look("·", ".", "debug", Tone.DIM),
    Level.INFO: Look(" ", " ", "info", Tone.NORMAL),
    Level.GOOD: Look("✓", "+", "good", Tone.GOOD),
    Level.WARNING: Look("▲", "^", "warning", Tone.WARN),
    Level.ERROR: Look("✗", "x", "error", Tone.BAD),
}


class Signs(NamedTuple):
    """The set of signs that this terminal can show.

    Args:
        ascii: nothing beyond ASCII.
    """

    ascii: bool = False

    def of(self, look: Look) -> str:
        """Return a state's sign."""
        return look.ascii if self.ascii else look.sign

    def labelled(self, look: Look) -> str:
        """Return a state's sign and word."""
        return f"{self.of(look)} {look.word}"

    @property
    def cursor(self) -> str:
        """What stands before the VM under the cursor."""
        return "|" if self.ascii else "▌"

    @property
    def mark(self) -> str:
        """What stands before a marked VM."""
        return "M" if self.ascii else "★"

    @property
    def returns(self) -> str:
        """What follows a freeze that is thawed as soon as it is answered."""
        return "u" if self.ascii else "↩"

    @property
    def descending(self) -> str:
        """What stands before the title of the column that the table is sorted by."""
        return "V" if self.ascii else "▾"

    @property
    def ascending(self) -> str:
        """The same, where it is sorted the other way round."""
        return "A" if self.ascii else "▴"

    @property
    def more_left(self) -> str:
        """What stands where columns have been scrolled away."""
        return "<" if self.ascii else "‹"

    @property
    def more_right(self) -> str:
        """What stands where there are more columns than fit."""
        return ">" if self.ascii else "›"

    @property
    def dot(self) -> str:
        """What stands between two facts of one line."""
        return "-" if self.ascii else "·"

    @property
    def rule(self) -> str:
        """What a rule across the screen is made of."""
        return "-" if self.ascii else "─"

    @property
    def yes(self) -> str:
        """What stands before something that is allowed."""
        return self.of(EVIDENCE[EvidenceResult.FOR])

    @property
    def no(self) -> str:
        """What stands before something that is not allowed, or can't be."""
        return self.of(EVIDENCE[EvidenceResult.AGAINST])

    @property
    def freezes(self) -> str:
        """What stands before a file system that can be frozen."""
        return self.of(FREEZE[FreezeState.FROZEN])

    @property
    def at_least(self) -> str:
        """What stands before a clock that may have begun earlier."""
        return ">=" if self.ascii else "≥"


def detect_signs() -> Signs:
    """Return the set of signs for this terminal and this locale."""
    if ascii_alone():
        return Signs(ascii=True)
    terminal = sys.__stderr__.encoding if sys.__stderr__ is not None else None
    names = (locale.getpreferredencoding(do_setlocale=False), terminal)
    return Signs(ascii=any("utf" not in name.lower() for name in names if name))
