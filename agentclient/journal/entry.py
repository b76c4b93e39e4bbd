"""One window while it runs: what happens to it is put into the journal, and nobody waits for that.

The one exception is `Entry.armed`: the freeze is not sent before its window stands in the file,
or a moment was waited for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agentclient.events import Event, EventKind
from agentclient.fleet import now as wall_now
from agentclient.journal import rows
from agentclient.journal.figures import Figures, unusual
from agentclient.journal.history import last_figures
from agentclient.journal.left import settle_older
from agentclient.journal.rows import Happened, Moment, Reference
from agentclient.journal.writer import Journal
from agentclient.moves import Tell
from agentclient.results import FreezeRequest, ThawOutcome
from agentclient.rungs import RescueOutcome
from agentclient.schema import outcome_object, rfc3339, thaw_object
from agentclient.vm import FreezeState, Level, Outcome, Progress, Vm
from agentclient.words import WindowKind

if TYPE_CHECKING:
    import sqlite3

# A guest whose agent is restarted without end must not fill the file (P7).
MOST_EVENTS: Final = 200
_MOMENTS: Final = {
    EventKind.SENT: "sent",
    EventKind.VERDICT: "verdict",
    EventKind.HELD: "held",
    EventKind.THAW_SENT: "thaw_sent",
    EventKind.THAWED: "thawed",
    EventKind.OUTCOME: "ended",
}
_ALWAYS_KEPT: Final = frozenset(_MOMENTS)


class Entry:
    """A window that has begun.

    Args:
        journal: where it is written.
        kind: what it is.
        vm: the VM, as it was when the operator asked.
        request: what was asked for, as JSON.
    """

    def __init__(
        self, journal: Journal, kind: WindowKind, vm: Vm, request: Mapping[str, object]
    ) -> None:
        self.window = rows.new_id()
        self._journal = journal
        self._kind = kind
        self._vm = vm
        self._asked = time.monotonic()
        self._events = 0
        self._thaw_sent = False
        self._usual: Figures | None = None
        self._told_late = False
        asked = _written(wall_now())
        journal.put(lambda file: self._begin(file, request, asked))

    def armed(self) -> Reference:
        """The freeze is about to be sent: wait a moment until that stands in the file."""
        when = Moment(_written(wall_now()), self._seconds())
        self._journal.write(lambda file: rows.mark(file, self.window, "armed", when))
        return Reference(self._journal.path, self.window, self._asked)

    def event(self, event: Event) -> None:
        """Write what has happened, and what it means for the window."""
        when = Moment(_written(event.at), self._seconds())
        kind, fields = event.kind, event.fields
        moment = _MOMENTS.get(kind) or self._replied(kind, fields)
        if kind is EventKind.THAW_SENT:
            self._thaw_sent = True
        # A rung of a rescue is written down as the thaw that it is meant to be.
        outcome, thaw = fields.get("outcome"), fields.get("thaw") or fields.get("rescue")
        keep = self._keeps(event)

        def write(file: sqlite3.Connection) -> None:
            if keep:
                happened = Happened(kind.value, event.level.value, event.text, when)
                rows.add_event(file, self.window, happened)
            if moment is not None:
                rows.mark(file, self.window, moment, when)
            if isinstance(outcome, Outcome):
                self._conclude(file, outcome, when.at, ended=kind is EventKind.OUTCOME)
            elif isinstance(thaw, ThawOutcome | RescueOutcome):
                self._thawed(file, thaw, when.at)

        self._journal.put(write)

    def late(self, progress: Progress) -> Tell | None:
        """Return what is to be told, once, of a freeze that takes longer than the last ones."""
        if self._told_late or self._usual is None:
            return None
        tell = unusual(self._usual, progress, time.monotonic())
        self._told_late = tell is not None
        return tell

    @property
    def kept(self) -> bool:
        """Whether it stands in the file, as far as is known."""
        return self._journal.problem is None

    def problem(self) -> str | None:
        """Return why the journal is not written any more, if nobody was told yet."""
        return self._journal.take_problem()

    def _seconds(self) -> float:
        return round(time.monotonic() - self._asked, 3)

    def _replied(self, kind: EventKind, fields: Mapping[str, object]) -> str | None:
        """Return whether this is the freeze's own reply; the thaw's errors look like it."""
        own = "frozen" in fields or ("error" in fields and not self._thaw_sent)
        return "replied" if kind is EventKind.REPLY and own else None

    def _keeps(self, event: Event) -> bool:
        self._events += 1
        return event.kind in _ALWAYS_KEPT or (
            event.level is not Level.DEBUG and self._events <= MOST_EVENTS
        )

    # -- in the journal's thread ----------------------------------------------------------

    def _begin(self, file: sqlite3.Connection, request: Mapping[str, object], asked: str) -> None:
        rows.insert(file, self.window, self._kind, self._vm, request, asked=asked)
        if self._kind is WindowKind.FREEZE:
            self._usual = last_figures(file, str(self._vm.id))

    def _conclude(
        self, file: sqlite3.Connection, outcome: Outcome, at: str, *, ended: bool
    ) -> None:
        settled = ended and outcome.settled
        rows.conclude(file, self.window, outcome=outcome_object(outcome), settled=settled)
        if settled:
            # Its own preparation has seen the guest thawed, or it was never sent.
            settle_older(file, self.window, "found thawed", at, sent_alone=True)

    def _thawed(self, file: sqlite3.Connection, thaw: ThawOutcome | RescueOutcome, at: str) -> None:
        settled = thaw.ok or thaw.refused
        rows.conclude(file, self.window, thaw=thaw_object(thaw), settled=settled)
        if thaw.state is FreezeState.THAWED:
            why = "found thawed" if thaw.thawed == 0 else "thawed later by frostwatch thaw"
            settle_older(file, self.window, why, at)


def begin_freeze(journal: Journal | None, vm: Vm, request: FreezeRequest) -> Entry | None:
    """Begin the window of a freeze; None where no journal is kept."""
    if journal is None:
        return None
    asked = {"mounts": list(request.mounts), "strict": request.strict, **asdict(request.schedule)}
    return Entry(journal, WindowKind.FREEZE, vm, asked)


def begin_thaw(journal: Journal | None, vm: Vm, *, foreign: bool) -> Entry | None:
    """Begin the window of a thaw on its own; None where no journal is kept."""
    if journal is None:
        return None
    return Entry(journal, WindowKind.THAW, vm, {"foreign": foreign})


def _written(at: datetime) -> str:
    return rfc3339(at) or ""
