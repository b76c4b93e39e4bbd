"""What processes that have died, or given up, have left: which guests may be frozen by us.

A freeze is provably ours while its window stands unsettled in the journal, its process and its
holder are not at work on it any more, the QEMU behind it is still the same, and nothing of ours
came after it. What is frozen without that is foreign (P4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentclient.identity import has_gone
from agentclient.journal import rows
from agentclient.journal.who import boot_id, has_other_socket, is_dead, ourselves, socket_of
from agentclient.vm import LeftBy, Process, Vm
from agentclient.words import WindowKind

if TYPE_CHECKING:
    import sqlite3

DIED = "its process died before its end"
NOT_SENT = "its process died before anything was sent"
VM_GONE = "the VM has gone: nothing is frozen any more"


@dataclass(frozen=True, slots=True)
class Left:
    """A freeze that may still stand.

    Attributes:
        socket: what tells its agent's socket from a later one (`agentclient.journal.who`).
        process: its QEMU, where that was known.
        by: who has frozen it.
    """

    socket: str
    process: Process | None
    by: LeftBy


@dataclass(frozen=True, slots=True)
class Over:
    """A window whose process has died, and after which nothing needs to be done."""

    window: int
    why: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is found in the journal."""

    left: tuple[Left, ...] = ()
    over: tuple[Over, ...] = ()


def standing(file: sqlite3.Connection) -> Standing:
    """Return what was left by processes that have died or given up."""
    found = file.execute("SELECT * FROM windows WHERE settled = 0 ORDER BY id DESC").fetchall()
    left: list[Left] = []
    over: list[Over] = []
    for row in found:
        if _is_mine(row) or at_work(row):
            continue
        end = _end(row)
        if end is not None:
            over.append(end)
        elif row["kind"] == WindowKind.FREEZE and not _has_later(file, row):
            left.append(_left(row))
    return Standing(tuple(left), tuple(over))


def close_over(file: sqlite3.Connection, over: tuple[Over, ...], at: str) -> None:
    """End windows that their processes could not end.

    Args:
        file: the journal, in a transaction.
        over: which.
        at: wall clock (RFC 3339).
    """
    for one in over:
        rows.close(file, one.window, one.why, at, settled=one.settled)


def settle_older(
    file: sqlite3.Connection, window: int, why: str, at: str, *, sent_alone: bool = False
) -> None:
    """Settle what was left of a guest before a window that has seen it thawed.

    Args:
        file: the journal, in a transaction.
        window: that window.
        why: one clause for a person.
        at: wall clock (RFC 3339).
        sent_alone: only if the window's freeze was sent: one that was refused has seen nothing.
    """
    older = file.execute(
        "SELECT old.* FROM windows AS old JOIN windows AS new ON new.socket = old.socket"
        " WHERE new.id = ? AND old.id < new.id AND old.settled = 0 AND old.kind = ?"
        " AND (new.armed_at IS NOT NULL OR NOT ?)",
        (window, WindowKind.FREEZE.value, sent_alone),
    ).fetchall()
    for row in older:
        if not at_work(row):
            rows.close(file, row["id"], why, at, settled=True)


def match(vm: Vm, left: tuple[Left, ...]) -> LeftBy | None:
    """Return who has left a VM frozen; None if nobody provably has."""
    if not left:
        return None
    socket = socket_of(vm)
    for one in left:
        known = one.process is not None and vm.process is not None
        if one.socket == socket and (not known or one.process == vm.process):
            return one.by
    return None


def at_work(row: sqlite3.Row) -> bool:
    """Return whether somebody may still be at work on a window: its process, or its holder."""
    writer = Process(row["pid"], row["ticks"])
    if row["ended_at"] is None and not is_dead(writer, row["host"], row["boot"]):
        return True
    if row["holder_pid"] is None:
        return False
    return not is_dead(Process(row["holder_pid"], row["holder_ticks"]), row["host"], row["boot"])


def _is_mine(row: sqlite3.Row) -> bool:
    """Whether this process wrote it, and so knows better what became of it."""
    who = ourselves()
    return (row["pid"], row["ticks"], row["boot"]) == (
        who.process.pid,
        who.process.start_ticks,
        who.boot,
    )


def _end(row: sqlite3.Row) -> Over | None:
    """Return how a window ends about which nobody needs to do anything; None if it stands."""
    window = row["id"]
    if row["kind"] != WindowKind.FREEZE:
        return None if row["ended_at"] else Over(window, DIED, settled=False)
    if row["armed_at"] is None:
        return Over(window, NOT_SENT, settled=True)
    return Over(window, VM_GONE, settled=True) if _vm_has_gone(row) else None


def _vm_has_gone(row: sqlite3.Row) -> bool:
    if row["boot"] != boot_id():
        return True
    process = Process(row["vm_pid"], row["vm_ticks"]) if row["vm_pid"] is not None else None
    if has_gone(process):
        return True
    return row["socket"] is None or has_other_socket(Path(row["agent"]), row["socket"])


def _has_later(file: sqlite3.Connection, row: sqlite3.Row) -> bool:
    later = file.execute(
        "SELECT 1 FROM windows WHERE socket = ? AND id > ? AND armed_at IS NOT NULL LIMIT 1",
        (row["socket"], row["id"]),
    )
    return later.fetchone() is not None


def _left(row: sqlite3.Row) -> Left:
    process = Process(row["vm_pid"], row["vm_ticks"]) if row["vm_pid"] is not None else None
    since = row["replied_at"] or row["sent_at"] or row["armed_at"]
    by = LeftBy(row["id"], row["pid"], row["user"], datetime.fromisoformat(since))
    return Left(row["socket"], process, by)
