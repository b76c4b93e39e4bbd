"""What a holder has done in its console's place, written into the journal by a thread of its own.

Nothing in here is imported, and no file is touched, before a take-over: a holder that only stands
by stays small. Whatever is wrong with the journal, no thaw waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body, number, text

if TYPE_CHECKING:
    from agentclient.journal.rows import Moment
    from agentclient.journal.writer import Journal

CLOSING_S = 1.0
# A guest that can thaw at once has done so by then.
PATIENCE_S = 0.5


class Diary:
    """A holder's hand on its console's journal."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._flush_at = 0.0
        self._journals: dict[str, Journal] = {}

    def taken(self, body: Body, why: str) -> None:
        """Note a take-over; it is written by `flush`.

        Args:
            body: how the console described the guest (`Do.ARM`).
            why: why the holder has taken over.
        """
        if not self._waiting:
            self._flush_at = time.monotonic() + PATIENCE_S
        self._waiting.append(lambda: self._write_taken(body, why))

    def done(self, body: Body, report: ThawReport) -> None:
        """Note what the holder's thaw came to; it is written by `flush`."""
        self._waiting.append(lambda: self._write_done(body, report))

    def flush(self, *, thawing: bool) -> None:
        """Write what was noted.

        Args:
            thawing: a guest is being thawed: that comes first, unless it takes its time.
        """
        if not self._waiting or (thawing and time.monotonic() < self._flush_at):
            return
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            with suppress(Exception):  # the history is worth neither a guest nor a holder
                write()

    def close(self) -> None:
        """Wait a moment until everything is written."""
        self.flush(thawing=False)
        for journal in self._journals.values():
            journal.close(CLOSING_S)

    def _journal(self, body: Body) -> Journal | None:
        from agentclient.journal.writer import Journal  # noqa: PLC0415 - see above

        path = text(body, "journal")
        if not path:
            return None
        if path not in self._journals:
            self._journals[path] = Journal(Path(path))
        return self._journals[path]

    def _write_taken(self, body: Body, why: str) -> None:
        journal = self._journal(body)
        if journal is None:
            return
        from agentclient.journal import rows  # noqa: PLC0415
        from agentclient.journal.identity import this_process  # noqa: PLC0415

        window, when = text(body, "window"), _now(body)
        said = f"taken over by the holder: {why}"
        event = rows.Happened("note", "warning", said, when)

        journal.put(
            [
                *rows.set_holder(window, this_process()),
                *rows.note(window, said),
                *rows.add_event(window, event),
            ]
        )

    def _write_done(self, body: Body, report: ThawReport) -> None:
        journal = self._journal(body)
        if journal is None:
            return
        from agentclient.journal import rows  # noqa: PLC0415

        window, when = text(body, "window"), _now(body)
        thaw = _thaw_object(report)
        kind, level = ("thawed", "info") if report.settled else ("note", "error")
        event = rows.Happened(kind, level, report.reason, when)

        journal.put(
            [
                *rows.add_event(window, event),
                *(rows.mark(window, "thawed", when) if report.settled else ()),
                *rows.mark(window, "ended", when),
                *rows.conclude(window, thaw=thaw, settled=report.settled),
            ]
        )


def _now(body: Body) -> Moment:
    from agentclient.journal.rows import Moment  # noqa: PLC0415
    from agentclient.model.clock import now  # noqa: PLC0415
    from agentclient.model.json_contract import rfc3339  # noqa: PLC0415

    seconds = time.monotonic() - number(body, "asked")
    return Moment(rfc3339(now()) or "", round(seconds, 3))


def _thaw_object(report: ThawReport) -> dict[str, object]:
    """Return what the thaw came to, in the words of docs/json.md."""
    state = "thawed" if report.settled else None
    return {
        "ok": report.settled,
        "state": state,
        "thawed": report.count,
        "refused": False,
        "seconds": None,
        "next": report.next,
        "reason": report.reason,
    }
