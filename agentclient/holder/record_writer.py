"""Writes a holder's take-overs and thaws to the journal; imported at the first take-over."""

from __future__ import annotations

import time
from pathlib import Path

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body, number, text
from agentclient.journal import rows
from agentclient.journal.identity import this_process
from agentclient.journal.rows import Moment
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.json_contract import rfc3339


class RecordWriter:
    """Writes to the journals that the armed guests name: mostly one journal."""

    def __init__(self) -> None:
        self._journals: dict[str, Journal] = {}

    def taken(self, body: Body, why: str, *, kept: bool = False) -> None:
        """Record a take-over in the journal.

        Args:
            body: the console's message that armed the guest (`ConsoleMessage.ARM`).
            why: why the holder has taken over.
            kept: its console had left it, and it was held to its end.
        """
        journal = self._journal(body)
        if journal is None:
            return
        window, when = text(body, "window"), _now(body)
        said = f"thawed by its holder: {why}" if kept else f"taken over by the holder: {why}"
        event = rows.EventEntry("note", "info" if kept else "warning", said, when)
        journal.put(
            [
                *rows.set_holder(window, this_process()),
                *rows.note(window, said),
                *rows.add_event(window, event),
                *(rows.mark(window, "thaw_sent", when) if kept else ()),
            ]
        )

    def changed(self, body: Body, what: str, more_s: float) -> None:
        """Record what another process has changed of a window; see `Records.changed`."""
        journal = self._journal(body)
        if journal is None:
            return
        window, when = text(body, "window"), _now(body)
        journal.put(
            [
                *rows.add_event(window, rows.EventEntry("note", "info", what, when)),
                *(rows.hold(window, more_s, more=True) if more_s else ()),
            ]
        )

    def noted(self, body: Body, warning: str) -> None:
        """Record in the journal what a person has to know of a guest."""
        journal = self._journal(body)
        if journal is not None:
            event = rows.EventEntry("note", "warning", warning, _now(body))
            journal.put(rows.add_event(text(body, "window"), event))

    def done(self, body: Body, report: ThawReport) -> None:
        """Record the report of the holder's thaw in the journal."""
        journal = self._journal(body)
        if journal is None:
            return
        window, when = text(body, "window"), _now(body)
        thaw = _thaw_object(report)
        kind, level = ("thawed", "info") if report.settled else ("note", "error")
        event = rows.EventEntry(kind, level, report.reason, when)
        journal.put(
            [
                *rows.add_event(window, event),
                *(rows.mark(window, "thawed", when) if report.settled else ()),
                *rows.mark(window, "ended", when),
                *rows.conclude(window, thaw=thaw, settled=report.settled),
            ]
        )

    def close(self, timeout_s: float) -> None:
        """Wait until everything is written, for `timeout_s` seconds at most."""
        for journal in self._journals.values():
            journal.close(timeout_s)

    def _journal(self, body: Body) -> Journal | None:
        path = text(body, "journal")
        if not path:
            return None
        if path not in self._journals:
            self._journals[path] = Journal(Path(path))
        return self._journals[path]


def _now(body: Body) -> Moment:
    seconds = time.monotonic() - number(body, "asked")
    return Moment(rfc3339(now()) or "", round(seconds, 3))


def _thaw_object(report: ThawReport) -> dict[str, object]:
    """Return a thaw's report as the JSON object of docs/json.md."""
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
