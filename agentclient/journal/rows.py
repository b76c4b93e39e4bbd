"""What is written into the journal's tables. Each function is one step of a transaction."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentclient.journal.who import ourselves, socket_of
from agentclient.vm import Process, Vm
from agentclient.words import WindowKind

if TYPE_CHECKING:
    import sqlite3

# When something was so far: each has two columns, wall clock and seconds since it was asked for.
MOMENTS: Final = (
    "asked",
    "armed",
    "sent",
    "replied",
    "verdict",
    "held",
    "thaw_sent",
    "thawed",
    "ended",
)
LONGEST_TEXT: Final = 500
LONGEST_LIST: Final = 64
# Milliseconds and these are less than 2^53 for long: a number for any reader of JSON.
_RANDOM_BITS: Final = 11
_ids_lock = threading.Lock()
_last_id = [0]


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was.

    Attributes:
        at: wall clock (RFC 3339).
        seconds: since the window was asked for; None where that isn't known.
    """

    at: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a window, in the words of docs/json.md."""

    kind: str
    level: str
    text: str
    when: Moment


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a window stands, for a holder that writes on.

    Attributes:
        asked: when it was asked for (monotonic clock, which all processes of a host share).
    """

    path: Path
    window: int
    asked: float


def first_id_at(wall_s: float) -> int:
    """Return the lowest id of a window that was asked for at a time or later.

    Args:
        wall_s: seconds since the epoch.
    """
    return int(wall_s * 1000) << _RANDOM_BITS


def new_id() -> int:
    """Return an id that no other process has, above all earlier ones of this process.

    It is known before anything is written, so that nobody has to wait for the file.
    """
    with _ids_lock:
        fresh = first_id_at(time.time()) | secrets.randbits(_RANDOM_BITS)
        _last_id[0] = max(fresh, _last_id[0] + 1)
        return _last_id[0]


def insert(
    connection: sqlite3.Connection,
    window: int,
    kind: WindowKind,
    vm: Vm,
    request: Mapping[str, object],
    *,
    asked: str,
) -> None:
    """Begin a window of this process.

    Args:
        connection: the file, in a transaction.
        window: its id.
        kind: what it is.
        vm: the VM, as it was when the operator asked.
        request: what was asked for.
        asked: when (RFC 3339).
    """
    process, who = vm.process, ourselves()
    values = {
        "id": window,
        "kind": kind.value,
        "vm": str(vm.id),
        "source": vm.source,
        "name": vm.name,
        "vm_pid": process.pid if process else None,
        "vm_ticks": process.start_ticks if process else None,
        "agent": str(vm.agent.path) if vm.agent else None,
        "monitor": str(vm.monitor.path) if vm.monitor else None,
        "socket": socket_of(vm),
        "request": as_json(request),
        "uid": who.uid,
        "user": who.user,
        "pid": who.process.pid,
        "ticks": who.process.start_ticks,
        "command": who.command,
        "host": who.host,
        "boot": who.boot,
        "asked_at": asked,
        "asked_s": 0.0,
    }
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(
        f"INSERT INTO windows ({names}) VALUES ({marks})",  # noqa: S608 - our own names
        [_cut(value) for value in values.values()],
    )


def mark(connection: sqlite3.Connection, window: int, moment: str, when: Moment) -> None:
    """Write when something was so far; the first time counts.

    Args:
        connection: the file, in a transaction.
        window: the window's id.
        moment: one of `MOMENTS`.
        when: the time.
    """
    assert moment in MOMENTS
    connection.execute(
        f"UPDATE windows SET {moment}_at = coalesce({moment}_at, ?),"  # noqa: S608 - as above
        f" {moment}_s = coalesce({moment}_s, ?) WHERE id = ?",
        (when.at, when.seconds, window),
    )


def add_event(connection: sqlite3.Connection, window: int, event: Happened) -> None:
    """Write one thing that happened; nothing if the window is not (any more) in the file."""
    when = event.when
    connection.execute(
        "INSERT INTO events (window, kind, level, text, at, s)"
        " SELECT id, ?, ?, ?, ?, ? FROM windows WHERE id = ?",
        (event.kind, event.level, _cut(event.text), when.at, when.seconds, window),
    )


def conclude(
    connection: sqlite3.Connection,
    window: int,
    *,
    outcome: Mapping[str, object] | None = None,
    thaw: Mapping[str, object] | None = None,
    settled: bool = False,
) -> None:
    """Write what came of it; what is settled once stays settled.

    Args:
        connection: the file, in a transaction.
        window: the window's id.
        outcome: of the freeze, as in docs/json.md.
        thaw: of the thaw, as in docs/json.md.
        settled: everything that had to be thawed is known to be thawed.
    """
    cause = None if outcome is None else outcome.get("cause")
    connection.execute(
        "UPDATE windows SET outcome = coalesce(?, outcome), thaw = coalesce(?, thaw),"
        " cause = CASE WHEN ? THEN ? ELSE cause END, settled = max(settled, ?) WHERE id = ?",
        (
            None if outcome is None else as_json(outcome),
            None if thaw is None else as_json(thaw),
            outcome is not None,
            cause,
            settled,
            window,
        ),
    )


def note(connection: sqlite3.Connection, window: int, text: str) -> None:
    """Add a clause to what a person is told about the window."""
    connection.execute(
        "UPDATE windows SET note = CASE WHEN note IS NULL THEN ?1"
        " WHEN instr(note, ?1) THEN note ELSE substr(note || '; ' || ?1, 1, ?2) END WHERE id = ?3",
        (_cut(text), LONGEST_TEXT, window),
    )


def close(
    connection: sqlite3.Connection, window: int, text: str, at: str, *, settled: bool
) -> None:
    """End a window whose own process could not."""
    mark(connection, window, "ended", Moment(at))
    conclude(connection, window, settled=settled)
    note(connection, window, text)


def set_holder(connection: sqlite3.Connection, window: int, process: Process) -> None:
    """Write which holder cares for the window from now on."""
    connection.execute(
        "UPDATE windows SET holder_pid = ?, holder_ticks = ? WHERE id = ?",
        (process.pid, process.start_ticks, window),
    )


def as_json(value: Mapping[str, object]) -> str:
    """Return `value` as JSON in which no guest's text or list is too long (P7)."""
    return json.dumps(_capped(value), allow_nan=False, separators=(",", ":"))


def _capped(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _capped(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_capped(one) for one in value[:LONGEST_LIST]]
    return _cut(value)


def _cut(value: object) -> object:
    """Return a text that is not too long, and that SQLite can take; anything else as it is."""
    if not isinstance(value, str):
        return value
    return value[:LONGEST_TEXT].encode("utf-8", "backslashreplace").decode()
