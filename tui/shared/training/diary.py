"""What happened in a scenario, and what the trainee did: the facts that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class What(StrEnum):
    """The closed list of what is written down."""

    # What the trainee has asked for.
    FREEZE = "freeze"
    THAW = "thaw"
    THAW_FOREIGN = "thaw-foreign"
    STOP = "stop"
    RUNG_CONNECT = "rung-connect"
    RUNG_THAW = "rung-thaw"
    RUNG_WAIT = "rung-wait"
    RUNG_SYSRQ = "rung-sysrq"
    RUNG_RESET = "rung-reset"
    HINT = "hint"
    # What has happened.
    HELD = "held"
    LOST = "lost"
    PARTIAL = "partial"
    CERTIFIED = "certified"
    ENDED = "ended"  # a freeze came to any other end
    THAW_SENT = "thaw-sent"
    FOREIGN = "foreign"
    OVERDUE = "overdue"
    LEFT_FROZEN = "left-frozen"
    WRITES = "writes"  # nothing in it is frozen any more


DEEDS = frozenset(
    {
        What.FREEZE,
        What.THAW,
        What.THAW_FOREIGN,
        What.STOP,
        What.RUNG_CONNECT,
        What.RUNG_THAW,
        What.RUNG_WAIT,
        What.RUNG_SYSRQ,
        What.RUNG_RESET,
        What.HINT,
    }
)
"""What the trainee does; all else happens."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was done, or has happened.

    Attributes:
        at: seconds since the scenario began.
        vm: the VM's name; empty for none.
        what: what it is.
        text: it in words, safe to show.
    """

    at: float
    vm: str
    what: What
    text: str

    @property
    def is_deed(self) -> bool:
        """Whether the trainee has done it."""
        return self.what in DEEDS


@dataclass(slots=True)
class Diary:
    """All facts so far, in their order.

    Attributes:
        facts: the facts.
        ended_at: when the scenario was over or left, in seconds; None while it goes on.
    """

    facts: list[Fact] = field(default_factory=list)
    ended_at: float | None = None

    def all_of(self, what: What, vm: str | None = None) -> Iterator[Fact]:
        """Yield what happened, to one VM or to any."""
        return (one for one in self.facts if one.what is what and vm in (None, one.vm))

    def first(self, what: What, vm: str | None = None, after: Fact | None = None) -> Fact | None:
        """Return the first that happened, at all or after another one; None if it has not."""
        begin = self.facts.index(after) + 1 if after is not None else 0
        return next(
            (one for one in self.facts[begin:] if one.what is what and vm in (None, one.vm)), None
        )

    def last(self, what: What, vm: str | None = None) -> Fact | None:
        """Return the last that happened; None if it has not."""
        return next(iter([*self.all_of(what, vm)][::-1]), None)
