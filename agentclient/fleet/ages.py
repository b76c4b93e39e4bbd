"""The age of each guest's freeze state, as far as earlier runs have seen it.

A command that a monitoring system runs once a minute starts without any history. So each run stores
the states in a small file, from which the next run takes their ages. Only the journal can tell that
a state ended and came back between two runs, as it records every freeze and thaw by frostwatch.

If the file is lost or can't be parsed, only ages are lost: it is written anew. It lies beside the
journal, and the journal's process reads and writes it, since that disk may hang as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from agentclient.fleet.store import Fleet
from agentclient.journal.clock import CLOCK_SET, since_boot
from agentclient.journal.identity import boot_id
from agentclient.journal.rows import from_identity
from agentclient.journal.storage.jobs import Query
from agentclient.model.snapshot import FreezeInfo, VmState

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows
    from agentclient.journal.writer import Journal

KEPT: Final = timedelta(days=30)
FILE: Final = "sightings.json"
PATIENCE_S: Final = 2.0


def remember(fleet: Fleet, journal: Journal, now: datetime) -> str | None:
    """Set each VM's freeze state's `since` from earlier runs, and store the states of this run.

    Args:
        fleet: the fleet, just visited; `since` is set to an earlier time where one is stored.
        journal: its process reads and writes the file beside it.
        now: the wall clock.

    Returns:
        Why the states could not be stored, in one clause; None if they were.
    """
    counted = fleet.counted()
    entries = {name: _as_set(one, now, counted) for name, one in _read(journal).items()}
    changes = journal.ask(CHANGES, PATIENCE_S) or {}
    for state in fleet.states():
        entry = entries.get(str(state.id))
        since = _since(entry, state) if entry is not None else None
        changed = changes.get(str(state.id))
        if since is not None and changed is not None and since < changed:
            since = None  # the state ended in between
        if since is not None and state.freeze.since is not None and since < state.freeze.since:
            older = state.freeze._replace(since=since)
            fleet.update(state.id, partial(_with_freeze, freeze=older))
    for state in fleet.states():
        if state.freeze.state is not None:
            entries[str(state.id)] = _entry(state, now) | _clock(counted)
    return _write(journal, {name: one for name, one in entries.items() if _fresh(one, now)})


def _changes(found: list[Rows]) -> Mapping[str, datetime]:
    changes = {}
    for row in found[0]:
        name = "thawed" if row["thawed_at"] else "replied"
        if _time(row[f"{name}_at"]) is not None:
            at = since_boot(row, row[f"{name}_s"] or 0.0, row[f"{name}_at"])
            changes[from_identity(row["vm"])] = at
    return changes


# The time of the last freeze or thaw of each VM by any frostwatch.
CHANGES: Final[Query[Mapping[str, datetime]]] = Query(
    [
        (
            "SELECT vm, thawed_at, thawed_s, replied_at, replied_s, mono, boot, max(id)"
            " FROM windows"
            " WHERE thawed_at IS NOT NULL OR replied_at IS NOT NULL GROUP BY vm",
            (),
        )
    ],
    _changes,
    {},
)


def _entry(state: VmState, now: datetime) -> dict[str, object]:
    since = state.freeze.since or now
    return {
        "process": _process(state),
        "instance": state.vm.generation,
        "state": str(state.freeze.state),
        "foreign": state.freeze.foreign,
        "since": since.isoformat(),
        "seen": now.isoformat(),
    }


def _clock(counted: float | None) -> dict[str, object]:
    """Return by what a later run sees that the wall clock was set since."""
    return {} if counted is None else {"boot": boot_id(), "counted": round(counted, 3)}


def _as_set(entry: dict[str, object], now: datetime, counted: float | None) -> dict[str, object]:
    """Return an entry with its times by the wall clock as it is set now.

    Args:
        entry: what an earlier run has stored.
        now: the wall clock.
        counted: seconds since the boot; None where the clock is never set.
    """
    seen, then = _time(entry.get("seen")), entry.get("counted")
    if counted is None or seen is None or entry.get("boot") != boot_id():
        return entry
    if not isinstance(then, float | int):
        return entry
    step = now - timedelta(seconds=counted - then) - seen
    if abs(step) < CLOCK_SET:
        return entry
    times = {name: _time(entry.get(name)) for name in ("since", "seen")}
    return entry | {name: (at + step).isoformat() for name, at in times.items() if at is not None}


def _process(state: VmState) -> list[int] | None:
    process = state.vm.process
    return [process.pid, process.start_ticks] if process else None


def _since(entry: Mapping[str, object], state: VmState) -> datetime | None:
    """Return an entry's `since`, if the entry is of the same VM and state; else None."""
    here = _entry(state, datetime.min)
    if any(entry.get(key) != here[key] for key in ("process", "instance", "state", "foreign")):
        return None
    return _time(entry.get("since"))


def _fresh(entry: Mapping[str, object], now: datetime) -> bool:
    seen = _time(entry.get("seen"))
    return seen is not None and now - KEPT < seen <= now + timedelta(minutes=1)


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _read(journal: Journal) -> dict[str, dict[str, object]]:
    try:
        body = json.loads(journal.load(FILE, PATIENCE_S) or b"null")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {name: one for name, one in body.items() if isinstance(one, dict)}


def _write(journal: Journal, entries: Mapping[str, Mapping[str, object]]) -> str | None:
    why = journal.keep(FILE, json.dumps(entries).encode(), PATIENCE_S)
    return None if why is None else f"ages begin anew each time, since they can't be kept: {why}"


def _with_freeze(state: VmState, freeze: FreezeInfo) -> VmState:
    return state._replace(freeze=freeze)
