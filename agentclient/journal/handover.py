"""What has happened since an operator last left the console, from the journal.

When that was is kept in a small file beside the journal, one for each user. The journal's process
reads and writes it, since that disk may hang; a file that is lost or broken costs the handover
alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.held_by_others import held_guest
from agentclient.journal.rows import UNREADABLE, from_identity
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow, windows_in
from agentclient.journal.writer import PATIENCE_S
from agentclient.model.clock import now as wall_now
from agentclient.model.json_contract import rfc3339
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import WindowKind

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows, Statement
    from agentclient.journal.writer import Journal

READ_S: Final = 5.0
# So many windows are told of at the most, the newest; and so many are looked at for that.
MOST: Final = 1_000
MOST_SEEN: Final = 5_000
MOST_HELD: Final = 64
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class HeldNow:
    """A guest that another frostwatch is at work on now.

    Attributes:
        vm: the VM's name.
        by: who it is.
    """

    vm: str
    by: HeldBy


@dataclass(frozen=True, slots=True)
class Handover:
    """What has happened since the operator left.

    Attributes:
        since: when that was.
        windows: the freezes that were asked for since then, the oldest first.
        held: what others are at work on now.
        cut: there were more freezes than are told of.
        missing: why what has happened lately may be missing, in one sentence; None if nothing is.
    """

    since: datetime
    windows: tuple[WindowRow, ...] = ()
    held: tuple[HeldNow, ...] = ()
    cut: bool = False
    missing: str | None = None


class HandoverBook:
    """Keeps when the operator last left the console, and tells what has happened since.

    Args:
        journal: the journal; None where none is kept.
        uid: whose console it is; None for the user of this process.
    """

    def __init__(self, journal: Journal | None, uid: int | None = None) -> None:
        self._journal = journal
        self._file = f"console-{os.getuid() if uid is None else uid}.json"
        self._kept: dict[str, Any] = {}

    def open(self) -> Handover | None:
        """Note that the console was opened, and return what has happened since it was last left.

        Takes as long as the journal, at most some seconds; never raises for its disk's sake.

        Returns:
            None where there is no journal, or where it isn't known when the console was left.
        """
        if self._journal is None:
            return None
        before = _read(self._journal.load(self._file, READ_S))
        now = wall_now()
        # A time to come was noted before the clock was set back: it says nothing of that day.
        known = [at for at in map(_time, before.values()) if at is not None and at <= now]
        since = max(known, default=None)
        self._kept = {"left": before.get("left"), "opened": rfc3339(now)}
        self._write(READ_S)
        if since is None:
            return None
        found = self._journal.ask(happened_since(since), READ_S)
        return replace(found, missing=self._journal.problem) if found is not None else None

    def leave(self) -> None:
        """Note that the console is left now; waits a moment for the journal, and no longer."""
        if self._journal is not None:
            self._kept["left"] = rfc3339(wall_now())
            self._write(PATIENCE_S)

    def _write(self, timeout_s: float) -> None:
        assert self._journal is not None
        body = json.dumps({"schema": _SCHEMA, **self._kept})
        self._journal.keep(self._file, body.encode(), timeout_s)


def happened_since(since: datetime) -> Query[Handover]:
    """Return the query for what has happened since a moment, by the wall clock."""
    freezes: Statement = (
        "SELECT * FROM (SELECT * FROM windows ORDER BY id DESC LIMIT ?)"
        " WHERE kind = ? AND julianday(asked_at) >= julianday(?) ORDER BY id DESC LIMIT ?",
        (MOST_SEEN, WindowKind.FREEZE.value, rfc3339(since), MOST + 1),
    )
    unsettled: Statement = (
        "SELECT * FROM windows WHERE settled = 0 ORDER BY id DESC LIMIT ?",
        (MOST_HELD,),
    )

    # Where the newest one that is not looked at is of that time, freezes may be among the others.
    not_seen: Statement = (
        "SELECT 1 FROM (SELECT asked_at FROM windows ORDER BY id DESC LIMIT 1 OFFSET ?)"
        " WHERE julianday(asked_at) >= julianday(?)",
        (MOST_SEEN, rfc3339(since)),
    )

    def parse(found: list[Rows]) -> Handover:
        rows = windows_in([found[0][:MOST], []])
        cut = len(found[0]) > MOST or bool(found[2])
        return Handover(since, rows[::-1], _held(found[1]), cut=cut)

    return Query([freezes, unsettled, not_seen], parse, Handover(since))


def _held(rows: Rows) -> tuple[HeldNow, ...]:
    found = []
    for row in rows:
        with suppress(*UNREADABLE):  # what can't be read is not known
            guest = held_guest(row) if row["pid"] != os.getpid() else None
            if guest is not None:
                found.append(HeldNow(from_identity(row["name"]), guest.by))
    return tuple(found)


def _read(body: bytes | None) -> Mapping[str, Any]:
    """Return what the file says; nothing if it can't be read."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
