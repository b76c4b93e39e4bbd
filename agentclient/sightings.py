"""Since when a guest is in its freeze state, as far as earlier runs have seen it.

A command that runs once a minute for a monitoring system sees each guest for the first time, each
time. So what was seen is kept in a small file, and the next run takes the age from there. A state
that ended and came back between two runs can't be told from one that lasted.

Losing the file costs ages and nothing else: whatever is wrong with it, it is begun anew.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from agentclient.fleet import Fleet
from agentclient.vm import VmState

KEPT: Final = timedelta(days=30)
_MOST_BYTES = 4 * 1024 * 1024


def default_path() -> Path:
    """Return the file's place under the XDG state directory."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "frostwatch" / "sightings.json"


def remember(fleet: Fleet, path: Path, now: datetime) -> str | None:
    """Give each VM's freeze state the age that earlier runs know, and keep what is seen now.

    Args:
        fleet: just visited; its states' `since` is moved back where that is known.
        path: the file.
        now: the wall clock.

    Returns:
        Why nothing could be kept, in one clause; None if it was.
    """
    entries = _read(path)
    for state in fleet.states():
        entry = entries.get(str(state.id))
        since = _since(entry, state) if entry is not None else None
        if since is not None and state.freeze.since is not None and since < state.freeze.since:
            older = state.freeze._replace(since=since)
            fleet.update(state.id, lambda old, older=older: old._replace(freeze=older))  # type: ignore[misc]
    for state in fleet.states():
        if state.freeze.state is not None:
            entries[str(state.id)] = _entry(state, now)
    return _write(path, {name: one for name, one in entries.items() if _fresh(one, now)})


def _entry(state: VmState, now: datetime) -> dict[str, object]:
    since = state.freeze.since or now
    return {
        "process": _process(state),
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
    if any(entry.get(key) != here[key] for key in ("process", "state", "foreign")):
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


def _read(path: Path) -> dict[str, dict[str, object]]:
    try:
        with path.open("rb") as file:
            body = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {name: one for name, one in body.items() if isinstance(one, dict)}


def _write(path: Path, entries: Mapping[str, Mapping[str, object]]) -> str | None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".sightings-", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(entries, file)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        return f"{path} can't be written ({error.strerror or error}), so ages begin anew each time"
    return None
