"""What processes that have died, or given up, have left: which guests may be frozen by us.

A freeze is provably ours while its window stands unsettled in the journal, its process and its
holder are not at work on it any more, the QEMU behind it is still the same, and nothing of ours
came after it. What is frozen without that is foreign (P4).

A window is over when that is proven (P9): the host of the VM has booted since, or the VM's process
has ended, or its source says that this start of it has. A socket that is missing, or another one in
its place, proves nothing; nor does the end of anything on this host for a VM of another one. What
an old journal does not say of a VM is not known.

A process that has ended may have been left by its guest, which migrated: where a VM of the same
UUID runs that was started to take it, the window is that one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentclient.access.presence import is_gone
from agentclient.journal import rows
from agentclient.journal.clock import since_boot
from agentclient.journal.elsewhere import Elsewhere, at_work, elsewhere, identity_of
from agentclient.journal.identity import boot_id, is_here, ourselves, socket_of
from agentclient.journal.storage.jobs import Query
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.model.snapshot import LeftBy
from agentclient.model.states import WindowKind
from agentclient.model.vm import Identity, Process, Vm

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
    " AND new.boot = old.boot OR new.instance = old.instance AND new.vm = old.vm)"
)
# Whether a window is about the VM that has taken another one's.
_TAKEN: Final = "(new.incoming = 1 AND new.uuid = old.uuid)"
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
        host: the VM's; empty for this one.
        identity: the start of the VM, where its source has a word for that.
        uuid: the machine's, where that was known.
        moved: its process has ended: only a VM that has taken the guest can be it.
    """

    socket: str | None
    process: Process | None
    by: LeftBy
    host: str = ""
    identity: Identity | None = None
    uuid: str | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """A window whose process has died, and after which nothing needs to be done.

    Attributes:
        left: what has been left all the same if its guest has migrated; None if it can't have.
    """

    window: int
    why: str
    settled: bool
    left: Left | None = None


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


Ended = Callable[[Identity], bool | None]


def _not_known(_: Identity) -> None:
    """Say that nobody knows whether a VM has ended."""


def _standing(found: list[Rows], ended: Ended) -> Standing:
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
            end = _end(row, ended)
            if end is not None:
                over.append(end)
                left += [end.left] if end.left is not None else []
            elif row["kind"] == WindowKind.FREEZE and not row["has_later"]:
                left.append(_left(row))
    return Standing(tuple(left), tuple(over), tuple(others))


def standing(ended: Ended = _not_known) -> Query[Standing]:
    """Return what finds what was left by processes that have died or given up.

    Args:
        ended: whether a start of a VM has ended, as its source knows it.
    """
    return Query(
        [
            (
                "SELECT old.*, EXISTS (SELECT 1 FROM windows AS new"  # noqa: S608 - our own words
                f" WHERE ({_SAME_GUEST} OR {_TAKEN})"
                f" AND new.kind = 'freeze' AND {_MAY_HAVE_FROZEN} AND {_LATER}) AS has_later"
                " FROM windows AS old WHERE old.settled = 0 ORDER BY old.id DESC",
                (),
            )
        ],
        lambda found: _standing(found, ended),
        Standing(),
    )


STANDING: Final = standing()


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
        f"SELECT old.*, {_SAME_GUEST} AS direct FROM windows AS old"  # noqa: S608 - as above
        f" JOIN windows AS new ON ({_SAME_GUEST} OR {_TAKEN})"
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
        # As long as its process is there, the guest may be there as well, and not where it went to.
        if not at_work(row) and (row["direct"] or _vm_has_gone(row, _not_known)):
            yield from rows.close(row["id"], why, at, settled=True)


def match(vm: Vm, left: Iterable[Left]) -> LeftBy | None:
    """Return who has left a VM frozen; None if nobody provably has.

    The same process is the same VM, wherever its socket is now; where that isn't known on both
    sides, the very same socket is, or the same start of it by its source's word.
    """
    socket = socket_of(vm)
    for one in left:
        if (not one.moved and _is_same(vm, socket, one)) or has_taken(vm, one):
            return one.by
    return None


def _is_same(vm: Vm, socket: str | None, one: Left) -> bool:
    if vm.id.host != one.host:
        return False
    if one.identity is not None and vm.identity is not None:
        return one.identity == vm.identity
    if one.process is not None and vm.process is not None:
        return one.process == vm.process
    return socket is not None and one.socket == socket


def has_taken(vm: Vm, one: Left) -> bool:
    """Return whether a VM was started to take the guest that was left, and is the same machine."""
    return vm.incoming and one.uuid is not None and one.uuid == vm.uuid


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


def _is_mine(row: Row) -> bool:
    """Whether this process wrote it, and so knows better what became of it."""
    who = ourselves()
    return (row["pid"], row["ticks"], row["boot"]) == (
        who.process.pid,
        who.process.start_ticks,
        who.boot,
    )


def _end(row: Row, ended: Ended) -> Over | None:
    """Return how a window ends about which nobody needs to do anything; None if it stands."""
    window = row["id"]
    if row["kind"] != WindowKind.FREEZE:
        return None if row["ended_at"] else Over(window, DIED, settled=False)
    if row["armed_at"] is None:
        return Over(window, NOT_SENT, settled=True)
    if not _vm_has_gone(row, ended):
        return None
    left = None if row.get("uuid") is None or row["has_later"] else _left(row, moved=True)
    return Over(window, VM_GONE, settled=True, left=left)


def _vm_has_gone(row: Row, ended: Ended) -> bool:
    """Return whether it is proven that a window's VM has gone."""
    identity = identity_of(row)
    if identity is not None and ended(identity) is True:
        return True
    if _host(row):
        return False  # nothing that has ended here was its
    here = boot_id()
    booted = bool(here and row["boot"]) and row["boot"] != here
    return booted or is_gone(_process(row)) is True


def _host(row: Row) -> str:
    """Return the host of a window's VM, as we call it; empty for this one."""
    if row.get("vm_host"):
        return rows.from_identity(row["vm_host"])
    writer = rows.from_identity(row["host"])
    return "" if is_here(writer) else writer


def _process(row: Row) -> Process | None:
    return None if row["vm_pid"] is None else Process(row["vm_pid"], row["vm_ticks"])


def _left(row: Row, *, moved: bool = False) -> Left:
    name = next(one for one in ("replied", "sent", "armed") if row[f"{one}_at"] is not None)
    at = since_boot(row, row[f"{name}_s"] or 0.0, row[f"{name}_at"])
    by = LeftBy(row["id"], row["pid"], row["user"], at)
    return Left(
        row["socket"], _process(row), by, _host(row), identity_of(row), row.get("uuid"), moved=moved
    )
