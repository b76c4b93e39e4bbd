"""Records one running window in the journal, without waiting for the disk.

`Entry.armed` is the one exception: before a freeze is sent, it waits for a moment until the window
is in the file. If the window is not in the file by then, the operator is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agentclient.freeze.effects import ReportEvent
from agentclient.journal import rows
from agentclient.journal.figures import Figures, unusual, usual_of
from agentclient.journal.history import last_figures
from agentclient.journal.left_windows import older, settled_by
from agentclient.journal.rows import EventEntry, Moment, Reference
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.model.clock import now as wall_now
from agentclient.model.events import (
    MARKING,
    Details,
    Ended,
    Event,
    EventKind,
    HoldExtended,
    WindowOpened,
    moment_of,
)
from agentclient.model.json_contract import outcome_object, rescue_object, rfc3339, thaw_object
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueOutcome, Step
from agentclient.model.snapshot import Progress
from agentclient.model.states import FreezeState, Level, WindowKind
from agentclient.model.timeline import Sample, Usual
from agentclient.model.version import VERSION
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Statement

# The most events of one window: an agent that restarts again and again must not fill the file (P7).
MOST_EVENTS: Final = 200
WITHOUT: Final = (
    "without a journal a freeze that this frostwatch and its holder both leave will be foreign"
)


class Entry:
    """The journal entry of a running window.

    Args:
        journal: the journal.
        kind: a freeze, a thaw or a rescue step.
        vm: the VM, as it was when the operator asked.
        request: the request, as JSON.

    Attributes:
        key: the window's key, known before SQLite has assigned its number.
        unrecorded: the warning for a freeze whose window is not in the file; None if it is.
    """

    def __init__(
        self, journal: Journal, kind: WindowKind, vm: Vm, request: Mapping[str, object]
    ) -> None:
        self.key = rows.new_key()
        self.unrecorded: str | None = None
        self._journal = journal
        self._kind = kind
        self._asked = time.monotonic()
        self._events = 0
        self._thaw_sent = False
        self._usual: Figures | None = None
        self._told_late = False
        self._begin(vm, request)

    def armed(self, process: Process | None = None, uuid: str | None = None) -> Reference:
        """Write that the freeze is about to be sent, and wait a moment until that is in the file.

        Args:
            process: the QEMU process that listens on the agent's socket, where the kernel told it.
            uuid: the VM's UUID, where its monitor told it.
        """
        when = Moment(_written(wall_now()), self._seconds())
        statements = rows.mark(self.key, "armed", when)
        if process is not None:
            statements += rows.served_by(self.key, process)
        if uuid is not None:
            statements += rows.set_uuid(self.key, uuid)
        if not self._journal.write(statements):
            slow = f"the journal has not answered within {PATIENCE_S:g} s"
            self.unrecorded = f"{self._journal.problem or slow}; {WITHOUT}"
        return Reference(self._journal.path, self.key, self._asked)

    def event(self, event: Event) -> None:
        """Write an event, and update the window by it."""
        try:
            self._event(event)
        except Exception as error:  # noqa: BLE001 - the history is not worth a freeze
            self._journal.fail(error)

    def copied(self, job: Mapping[str, object]) -> None:
        """Write which copy was taken in the window, as JSON."""
        self._put(lambda: rows.set_job(self.key, job))

    def made_with(self, *, agent: str | None, qemu: str | None) -> None:
        """Write which versions took part: ours, the agent's, and QEMU's; None: not known."""
        versions = {"frostwatch": VERSION, "agent": agent, "qemu": qemu}
        self._put(lambda: rows.set_versions(self.key, versions))

    def wrote(self, samples: Sequence[Sample]) -> None:
        """Write what the guest had written meanwhile; nothing where that could not be seen."""
        if samples:
            points = [(round(one.at - self._asked, 2), one.size) for one in samples]
            self._put(lambda: rows.set_writes(self.key, points))

    def keep(self, holder: Process) -> None:
        """Write that the window is left to its holder, which holds it to its end."""
        self._put(lambda: [*rows.set_holder(self.key, holder), *rows.keep(self.key)])

    def _put(self, make: Callable[[], Sequence[Statement]]) -> None:
        """Write what `make` returns; an error in making it costs the history alone."""
        try:
            self._journal.put(make())
        except Exception as error:  # noqa: BLE001 - the history is not worth a freeze
            self._journal.fail(error)

    def late(self, progress: Progress) -> ReportEvent | None:
        """Return, once, the warning that the freeze takes longer than the VM's last ones."""
        if self._told_late or self._usual is None:
            return None
        tell = unusual(self._usual, progress, time.monotonic())
        self._told_late = tell is not None
        return tell

    @property
    def usual(self) -> Usual | None:
        """How long the VM's last freezes took; None if that isn't known of enough of them."""
        return usual_of(self._usual)

    @property
    def kept(self) -> bool:
        """Whether the window is in the file, as far as is known."""
        return self._journal.problem is None

    def notice(self) -> str | None:
        """Return the next sentence about the journal itself for the operator; None if none."""
        return self._journal.take_notice()

    def _begin(self, vm: Vm, request: Mapping[str, object]) -> None:
        asked = rows.Asked(_written(wall_now()), self._asked)
        try:
            begin = rows.insert(self.key, self._kind, vm, request, asked)
        except Exception as error:  # noqa: BLE001 - as above
            self._journal.fail(error)
            return
        self._journal.put(begin)
        if self._kind is WindowKind.FREEZE:
            usual = last_figures(vm)
            self._journal.put(usual.statements, lambda found: self._know(usual.parse(found)))

    def _know(self, usual: Figures) -> Sequence[Statement]:
        self._usual = usual
        return ()

    def _seconds(self) -> float:
        return round(time.monotonic() - self._asked, 3)

    def _event(self, event: Event) -> None:
        when = Moment(_written(event.at), self._seconds())
        kind, details = event.kind, event.details
        if kind is EventKind.THAW_SENT:
            self._thaw_sent = True
        statements: list[Statement] = []
        if self._keeps(event):
            happened = EventEntry(kind.value, event.level.value, event.text, when)
            statements += rows.add_event(self.key, happened, self._events)
        moment = moment_of(kind, details, thaw_sent=self._thaw_sent)
        if moment is not None:
            statements += rows.mark(self.key, moment, when)
        statements += self._held(details)
        if statements:
            self._journal.put(statements)
        if isinstance(details, Ended):
            self._came_of(details.outcome, when.at, ended=kind is EventKind.OUTCOME)

    def _held(self, details: Details | None) -> list[Statement]:
        match details:
            case WindowOpened(hold_s):
                return rows.hold(self.key, hold_s, more=False)
            case HoldExtended(more_s):
                return rows.hold(self.key, more_s, more=True)
        return []

    def _keeps(self, event: Event) -> bool:
        self._events += 1
        return event.kind in MARKING or (
            event.level is not Level.DEBUG and self._events <= MOST_EVENTS
        )

    def _came_of(
        self, outcome: Outcome | ThawOutcome | RescueOutcome, at: str, *, ended: bool
    ) -> None:
        if isinstance(outcome, Outcome):
            settled = ended and outcome.settled
            self._journal.put(
                rows.conclude(self.key, outcome=outcome_object(outcome), settled=settled)
            )
            if settled:
                # The guest was seen thawed before the freeze was sent; not so for a refused one.
                self._settle_older("found thawed", at, sent_alone=True)
        elif isinstance(outcome, ThawOutcome):
            came = rows.conclude(self.key, thaw=thaw_object(outcome), settled=_ok(outcome))
            self._journal.put(came)
            self._seen(outcome, "thawed later by frostwatch thaw", at)
        else:
            found = rescue_object(outcome)
            self._journal.put(rows.conclude(self.key, rescue=found, settled=_ok(outcome)))
            self._seen(outcome, f"thawed later by frostwatch rescue ({outcome.rung})", at)

    def _seen(self, found: ThawOutcome | RescueOutcome, why: str, at: str) -> None:
        if found.state is FreezeState.THAWED:
            self._settle_older("found thawed" if found.thawed == 0 else why, at)

    def _settle_older(self, why: str, at: str, *, sent_alone: bool = False) -> None:
        """Settle the guest's older windows, since this window has seen the guest thawed."""
        self._journal.put(
            older(self.key, sent_alone=sent_alone), lambda found: settled_by(found, why, at)
        )


def _ok(found: ThawOutcome | RescueOutcome) -> bool:
    return found.ok or found.refused


def begin_freeze(journal: Journal | None, vm: Vm, request: FreezeRequest) -> Entry | None:
    """Begin the window of a freeze; None where no journal is kept."""
    if journal is None:
        return None
    asked = {"mounts": list(request.mounts), "strict": request.strict, **asdict(request.schedule)}
    if request.group is not None:
        asked |= {"group": request.group.key, "group_size": request.group.size}
    return Entry(journal, WindowKind.FREEZE, vm, asked)


def begin_thaw(journal: Journal | None, vm: Vm, *, foreign: bool) -> Entry | None:
    """Begin the window of a thaw on its own; None where no journal is kept."""
    if journal is None:
        return None
    return Entry(journal, WindowKind.THAW, vm, {"foreign": foreign})


def begin_rescue(journal: Journal | None, vm: Vm, step: Step, *, person: bool) -> Entry | None:
    """Begin the window of one rescue step; None where no journal is kept."""
    if journal is None:
        return None
    by = step.means.value if step.means else None
    asked = {"rung": step.rung.value, "by": by, "serial": step.serial, "foreign": person}
    return Entry(journal, WindowKind.RESCUE, vm, asked)


def _written(at: datetime) -> str:
    return rfc3339(at) or ""
