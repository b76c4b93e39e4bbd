"""What is read from the journal, for a person, a program, and the console."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.figures import LAST, Figures, figures
from agentclient.journal.left import at_work
from agentclient.journal.rows import MOMENTS, Happened, Moment
from agentclient.vm import Process
from agentclient.words import WindowKind, WindowState

if TYPE_CHECKING:
    import sqlite3

    from agentclient.journal.writer import Journal

READ_S: Final = 10.0

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of the journal.

    Attributes:
        vm: the VM's id.
        times: when what was; None for what never was.
        request: what was asked for.
        process: the VM's, where that was known.
        outcome: of its freeze, or the last that is known of it; None if nothing is.
        thaw: of its thaw, if that was on its own or the holder's.
        settled: everything that had to be thawed is known to be thawed.
        note: what else a person should know of it.
    """

    window: int
    kind: WindowKind
    vm: str
    state: WindowState
    times: Mapping[str, Moment | None]
    request: Json
    uid: int
    user: str
    pid: int
    command: str
    host: str
    process: Process | None
    outcome: Json | None
    thaw: Json | None
    settled: bool
    note: str | None
    events: tuple[Happened, ...]

    @property
    def held_s(self) -> float | None:
        """Seconds from the freeze's acknowledgement to the thaw's; None if one is missing."""
        frozen = self.outcome is None or bool(self.outcome.get("frozen"))
        return self._between("replied", "thawed") if frozen else None

    @property
    def seconds(self) -> float | None:
        """Seconds from when it was asked for to its end."""
        return self._between("asked", "ended")

    def _between(self, first: str, second: str) -> float | None:
        begin, end = self.times[first], self.times[second]
        if begin is None or end is None or begin.seconds is None or end.seconds is None:
            return None
        return round(end.seconds - begin.seconds, 3)


def vm_ids(file: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """Return the VMs that a person means by `name`: an id, or a bare name."""
    found = file.execute("SELECT DISTINCT vm FROM windows WHERE vm = ?", (name,)).fetchall()
    if not found:
        found = file.execute("SELECT DISTINCT vm FROM windows WHERE name = ?", (name,)).fetchall()
    return tuple(row["vm"] for row in found)


def windows(file: sqlite3.Connection, vm: str | None, limit: int) -> tuple[WindowRow, ...]:
    """Return windows, the newest first.

    Args:
        file: the journal, in a transaction.
        vm: the id of the VM; None for all.
        limit: how many at the most.
    """
    found = file.execute(
        "SELECT * FROM windows WHERE ?1 IS NULL OR vm = ?1 ORDER BY id DESC LIMIT ?2", (vm, limit)
    )
    return tuple(_window(file, row) for row in found.fetchall())


def all_figures(file: sqlite3.Connection, vm: str) -> Figures:
    """Return how long all freezes of a VM took that the journal knows."""
    return _figures(file, vm, -1)


def last_figures(file: sqlite3.Connection, vm: str) -> Figures:
    """Return how long the last freezes of a VM took."""
    return _figures(file, vm, LAST)


def _figures(file: sqlite3.Connection, vm: str, limit: int) -> Figures:
    found = file.execute(
        "SELECT replied_s - sent_s AS s FROM windows WHERE vm = ? AND kind = ?"
        " AND replied_s IS NOT NULL AND sent_s IS NOT NULL ORDER BY id DESC LIMIT ?",
        (vm, WindowKind.FREEZE.value, limit),
    )
    return figures([row["s"] for row in found])


def _window(file: sqlite3.Connection, row: sqlite3.Row) -> WindowRow:
    pid = row["vm_pid"]
    return WindowRow(
        window=row["id"],
        kind=WindowKind(row["kind"]),
        vm=row["vm"],
        state=_state(row),
        times={name: _moment(row[f"{name}_at"], row[f"{name}_s"]) for name in MOMENTS},
        request=json.loads(row["request"]),
        uid=row["uid"],
        user=row["user"],
        pid=row["pid"],
        command=row["command"],
        host=row["host"],
        process=None if pid is None else Process(pid, row["vm_ticks"]),
        outcome=_json(row["outcome"]),
        thaw=_json(row["thaw"]),
        settled=bool(row["settled"]),
        note=row["note"],
        events=_events(file, row["id"]),
    )


def _state(row: sqlite3.Row) -> WindowState:
    if row["ended_at"] is not None:
        return WindowState.CLOSED
    return WindowState.OPEN if at_work(row) else WindowState.LEFT


def _events(file: sqlite3.Connection, window: int) -> tuple[Happened, ...]:
    found = file.execute("SELECT * FROM events WHERE window = ? ORDER BY rowid", (window,))
    return tuple(
        Happened(row["kind"], row["level"], row["text"], Moment(row["at"], row["s"]))
        for row in found
    )


def _moment(at: str | None, seconds: float | None) -> Moment | None:
    return None if at is None else Moment(at, seconds)


def _json(text: str | None) -> Json | None:
    return None if text is None else json.loads(text)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a VM's freezes and thaws.

    Attributes:
        windows: the newest first.
        figures: how long its freezes took.
    """

    windows: tuple[WindowRow, ...]
    figures: Figures


def past(journal: Journal | None, vm: str, limit: int) -> Past | None:
    """Read a VM's past; None if there is no journal, or it does not answer.

    Args:
        journal: where it stands.
        vm: the VM's id.
        limit: the newest so many windows.
    """
    if journal is None:
        return None
    return journal.ask(
        lambda file: Past(windows(file, vm, limit), all_figures(file, vm)),
        Past((), Figures(0)),
        READ_S,
    )
