"""The journal's part of the JSON contract: what ``frostwatch history --json`` prints."""

from __future__ import annotations

from agentclient.journal.figures import Figures
from agentclient.journal.rows import EventEntry, Moment
from agentclient.journal.window_row import WindowRow
from agentclient.model.json_contract import SCHEMA, JsonObject, rfc3339


def window_object(row: WindowRow) -> JsonObject:
    """Return a window as JSON: one line of ``frostwatch history --json``."""
    return {
        "schema": SCHEMA,
        "window": row.window,
        "vm": row.vm,
        "kind": row.kind.value,
        "state": row.state.value,
        "times": {name: _moment(one) for name, one in row.times.items()},
        "request": None if row.request is None else dict(row.request),
        "by": {
            "uid": row.uid,
            "user": row.user,
            "pid": row.pid,
            "command": row.command,
            "host": row.host,
        },
        "process": None if row.process is None else row.process._asdict(),
        "result": row.outcome,
        "thaw": row.thaw,
        "rescue": row.rescue,
        "job": row.job,
        "phase": row.phase.value if row.phase else None,
        "held_until": rfc3339(row.held_until),
        "hold_s": row.hold_s,
        "held_s": row.held_s,
        "seconds": row.seconds,
        "settled": row.settled,
        "versions": row.versions,
        "writes": [list(one) for one in row.writes],
        "note": "; ".join(row.notes) or None,
        "unreadable": row.unreadable,
        "events": [_happened(one) for one in row.events],
    }


def durations_object(vm: str, found: Figures, others: Figures) -> JsonObject:
    """Return the durations of a VM's freezes: the last line of ``frostwatch history VM --json``.

    Args:
        vm: the VM's id.
        found: the figures of its freezes by a frostwatch.
        others: the figures of others' commands.
    """
    return {"schema": SCHEMA, "vm": vm, "durations": _figures(found), "others": _figures(others)}


def _figures(found: Figures) -> JsonObject:
    return {
        "count": found.count,
        "median_s": _rounded(found.median_s),
        "p95_s": _rounded(found.p95_s),
        "worst_s": _rounded(found.worst_s),
    }


def _moment(moment: Moment | None) -> JsonObject | None:
    return None if moment is None else {"at": moment.at, "s": moment.seconds}


def _happened(one: EventEntry) -> JsonObject:
    head = {"time": one.when.at, "s": one.when.seconds}
    return head | {"event": one.kind, "level": one.level, "text": one.text}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
