"""What processes that have died, or given up, have left: which guests may be frozen by us.

A freeze is provably ours while its window stands unsettled in the journal, its process and its
holder are not at work on it any more, the QEMU behind it is still the same, and nothing of ours
came after it. What is frozen without that is foreign (P4).

A window is over when that is proven (P9): the host has booted since, or the VM's process has ended.
A socket that is missing, or another one in its place, proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentclient.access.presence import is_gone
from agentclient.journal import rows
from agentclient.journal.clock import since_boot
from agentclient.journal.elsewhere import Elsewhere, elsewhere
from agentclient.journal.identity import boot_id, is_dead, ourselves, socket_of
from agentclient.journal.writer import PATIENCE_S, Journal, Query
from agentclient.model.snapshot import LeftBy
from agentclient.model.states import WindowKind
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row, Rows, Statement

DIED = "its process died before its end"
NOT_SENT = "its process died before anything was sent"
VM_GONE = "the VM has gone: nothing is frozen any more"

# Whether a window came later than another one: by the monotonic clock of one boot, since the wall
# clock may have been set; else by the order in which they were written.
_LATER: Final = (
    "CASE WHEN new.boot = old.boot AND new.mono IS NOT NULL AND old.mono IS NOT NULL"
    " THEN new.mono > old.mono ELSE new.id > old.id END"
)
_SAME_GUEST: Final = (
    "(new.socket = old.socket OR new.vm_pid = old.vm_pid AND new.vm_ticks = old.vm_ticks"
    " AND new.boot = old.boot)"
)
_MAY_HAVE_FROZEN: Final = (
    "new.armed_at IS NOT NULL AND (new.sent_at IS NOT NULL OR new.ended_at IS NULL)"
)


@dataclass(frozen=True, slots=True)
class Left:
    """A freeze that may still stand.

    Attributes:
        socket: what tells its agent's socket from a later one (`agentclient.journal.identity`).
        process: its QEMU, where that was known.
        by: who has frozen it.
    """

    socket: str | None
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
    """What is found in the journal.

    Attributes:
        left: freezes that may still stand, with nobody at work on them.
        over: windows of dead processes that are over.
        others: what other processes are at work on now.
    """

    left: tuple[Left, ...] = ()
    over: tuple[Over, ...] = ()
    others: tuple[Elsewhere, ...] = ()


def _standing(found: list[Rows]) -> Standing:
    left: list[Left] = []
    over: list[Over] = []
    others: list[Elsewhere] = []
    for row in found[0]:
        # A row that can't be read proves nothing, and keeps no other from it.
        with suppress(ValueError, TypeError, KeyError):
            if _is_mine(row):
                continue
            if at_work(row):
                busy = elsewhere(row)
                others += [busy] if busy is not None else []
                continue
            end = _end(row)
            if end is not None:
                over.append(end)
            elif row["kind"] == WindowKind.FREEZE and not row["has_later"]:
                left.append(_left(row))
    return Standing(tuple(left), tuple(over), tuple(others))


# What was left by processes that have died or given up.
STANDING: Final = Query(
    [
        (
            f"SELECT old.*, EXISTS (SELECT 1 FROM windows AS new WHERE {_SAME_GUEST}"  # noqa: S608 - our own words
            f" AND new.kind = 'freeze' AND {_MAY_HAVE_FROZEN} AND {_LATER}) AS has_later"
            " FROM windows AS old WHERE old.settled = 0 ORDER BY old.id DESC",
            (),
        )
    ],
    _standing,
    Standing(),
)


def close_over(over: tuple[Over, ...], at: str) -> list[Statement]:
    """Return what ends windows that their processes could not end.

    Args:
        over: which.
        at: wall clock (RFC 3339).
    """
    return [
        each for one in over for each in rows.close(one.window, one.why, at, settled=one.settled)
    ]


def older(key: str, *, sent_alone: bool) -> list[Statement]:
    """Return what finds the unsettled freezes of a guest before a window that has seen it thawed.

    Args:
        key: that window's.
        sent_alone: only if the window's freeze was sent: one that was refused has seen nothing.
    """
    text = (
        f"SELECT old.* FROM windows AS old JOIN windows AS new ON {_SAME_GUEST}"  # noqa: S608 - as above
        f" WHERE new.key = ? AND old.id != new.id AND {_LATER} AND old.settled = 0"
        " AND old.kind = 'freeze' AND (new.sent_at IS NOT NULL OR NOT ?)"
    )
    return [(text, (key, sent_alone))]


def settled_by(found: list[Rows], why: str, at: str) -> Iterator[Statement]:
    """Yield what settles the windows that `older` has found, but those that somebody is at.

    Args:
        found: their rows.
        why: one clause for a person.
        at: wall clock (RFC 3339).
    """
    for row in found[0]:
        if not at_work(row):
            yield from rows.close(row["id"], why, at, settled=True)


def match(vm: Vm, left: Iterable[Left]) -> LeftBy | None:
    """Return who has left a VM frozen; None if nobody provably has.

    The same process is the same VM, wherever its socket is now; where that isn't known on both
    sides, the very same socket is.
    """
    socket = socket_of(vm)
    for one in left:
        if one.process is not None and vm.process is not None:
            same = one.process == vm.process
        else:
            same = socket is not None and one.socket == socket
        if same:
            return one.by
    return None


def is_ours(journal: Journal | None, vm: Vm) -> bool:
    """Return whether a VM's freeze is provably what a dead frostwatch has left, as of now.

    Args:
        journal: where windows stand; None where none is kept.
        vm: the VM.
    """
    if journal is None:
        return False
    found = journal.ask(STANDING, PATIENCE_S)
    left: tuple[Left, ...] = found.left if found is not None else ()
    return match(vm, left) is not None


def at_work(row: Row) -> bool:
    """Return whether somebody may still be at work on a window: its process, or its holder."""
    writer = Process(row["pid"], row["ticks"])
    host = rows.from_identity(row["host"])
    if row["ended_at"] is None and not is_dead(writer, host, row["boot"]):
        return True
    if row["holder_pid"] is None:
        return False
    return not is_dead(Process(row["holder_pid"], row["holder_ticks"]), host, row["boot"])


def _is_mine(row: Row) -> bool:
    """Whether this process wrote it, and so knows better what became of it."""
    who = ourselves()
    return (row["pid"], row["ticks"], row["boot"]) == (
        who.process.pid,
        who.process.start_ticks,
        who.boot,
    )


def _end(row: Row) -> Over | None:
    """Return how a window ends about which nobody needs to do anything; None if it stands."""
    window = row["id"]
    if row["kind"] != WindowKind.FREEZE:
        return None if row["ended_at"] else Over(window, DIED, settled=False)
    if row["armed_at"] is None:
        return Over(window, NOT_SENT, settled=True)
    return Over(window, VM_GONE, settled=True) if _vm_has_gone(row) else None


def _vm_has_gone(row: Row) -> bool:
    here = boot_id()
    booted = bool(here and row["boot"]) and row["boot"] != here
    return booted or is_gone(_process(row)) is True


def _process(row: Row) -> Process | None:
    return None if row["vm_pid"] is None else Process(row["vm_pid"], row["vm_ticks"])


def _left(row: Row) -> Left:
    name = next(one for one in ("replied", "sent", "armed") if row[f"{one}_at"] is not None)
    at = since_boot(row, row[f"{name}_s"] or 0.0, row[f"{name}_at"])
    by = LeftBy(row["id"], row["pid"], row["user"], at)
    return Left(row["socket"], _process(row), by)
