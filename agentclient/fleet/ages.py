"""Since when a guest is in its freeze state, as far as earlier runs have seen it.

A command that runs once a minute for a monitoring system sees each guest for the first time, each
time. So what was seen is kept in a small file, and the next run takes the age from there. A state
that ended and came back between two runs is told from one that lasted by the journal alone, which
knows what any frostwatch has frozen or thawed meanwhile.

Losing the file costs ages and nothing else: whatever is wrong with it, it is begun anew. It lies
beside the journal, and the journal's process reads and writes it, since its disk may hang as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from agentclient.fleet.store import Fleet
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
    """Give each VM's freeze state the age that earlier runs know, and keep what is seen now.

    Args:
        fleet: just visited; its states' `since` is moved back where that is known.
        journal: its process keeps the file beside it.
        now: the wall clock.

    Returns:
        Why nothing could be kept, in one clause; None if it was.
    """
    entries = _read(journal)
    changes = journal.ask(CHANGES, PATIENCE_S) or {}
    for state in fleet.states():
        entry = entries.get(str(state.id))
        since = _since(entry, state) if entry is not None else None
        changed = changes.get(str(state.id))
        if since is not None and changed is not None and since < changed:
            since = None  # that was another time
        if since is not None and state.freeze.since is not None and since < state.freeze.since:
            older = state.freeze._replace(since=since)
            fleet.update(state.id, partial(_with_freeze, freeze=older))
    for state in fleet.states():
        if state.freeze.state is not None:
            entries[str(state.id)] = _entry(state, now)
    return _write(journal, {name: one for name, one in entries.items() if _fresh(one, now)})


def _changes(found: list[Rows]) -> Mapping[str, datetime]:
    changes = {}
    for row in found[0]:
        at = _time(row["thawed_at"] or row["replied_at"])
        if at is not None:
            changes[from_identity(row["vm"])] = at
    return changes


# When a frostwatch has last frozen or thawed each VM.
CHANGES: Final[Query[Mapping[str, datetime]]] = Query(
    [
        (
            "SELECT vm, thawed_at, replied_at, max(id) FROM windows"
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
        "instance": state.vm.instance,
        "state": str(state.freeze.state),
        "foreign": state.freeze.foreign,
        "since": since.isoformat(),
        "seen": now.isoformat(),
    }


def _process(state: VmState) -> list[int] | None:
    process = state.vm.process
    return [process.pid, process.start_ticks] if process else None


def _since(entry: Mapping[str, object], state: VmState) -> datetime | None:
    """Return since when the VM is in its state, if the entry speaks of the same VM and state."""
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
