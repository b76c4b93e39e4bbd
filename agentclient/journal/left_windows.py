"""Finds the guests that an ended frostwatch, or one that gave up, may have left frozen.

A freeze is provably ours while all of this holds: its window is unsettled in the journal, neither
its process nor its holder still works on it, the QEMU is the same one, and no later window of ours
is about this guest. Every other frozen guest is foreign (P4).

A window is over only when there is proof (P9): the VM's host has booted since, the VM's process has
ended, or the VM's backend says that this start of the VM has ended. A missing or replaced socket
proves nothing. The end of a process on this host proves nothing about a VM of another host. Where
an older journal has no value for a VM, that value is not known.

A QEMU process may have ended because its guest migrated. If a VM with the same UUID was started to
receive a migration, the window belongs to that VM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentclient.access.presence import is_gone
from agentclient.journal import rows
from agentclient.journal.clock import since_boot
from agentclient.journal.held_by_others import HeldGuest, at_work, held_guest, identity_of
from agentclient.journal.identity import boot_id, is_here, own_identity, socket_of
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

# Whether the window `new` is later than `old`: by the monotonic clock if both are of one boot (the
# wall clock may have been set); otherwise by the order in which they were written.
_LATER: Final = (
    "CASE WHEN new.boot = old.boot AND new.mono IS NOT NULL AND old.mono IS NOT NULL"
    " THEN new.mono > old.mono ELSE new.id > old.id END"
)
_SAME_GUEST: Final = (
    "(new.socket = old.socket OR new.vm_pid = old.vm_pid AND new.vm_ticks = old.vm_ticks"
    " AND new.boot = old.boot OR new.instance = old.instance AND new.vm = old.vm)"
)
# Whether the VM of the window `new` was started to receive the guest of `old` by migration.
_TAKEN: Final = "(new.incoming = 1 AND new.uuid = old.uuid)"
_MAY_HAVE_FROZEN: Final = (
    "new.armed_at IS NOT NULL AND (new.sent_at IS NOT NULL OR new.ended_at IS NULL)"
)


@dataclass(frozen=True, slots=True)
class LeftGuest:
    """A guest that may still be frozen, with nobody at work on it.

    Attributes:
        socket: the identity of the agent's socket (`agentclient.journal.identity.socket_of`).
        process: the VM's QEMU process, where it was known.
        by: who froze the guest.
        host: the VM's host; empty for this host.
        identity: the start of the VM, where its backend can tell one start from another.
        uuid: the VM's UUID, where it was known.
        moved: the VM's process has ended; only a VM that received the guest can match.
    """

    socket: str | None
    process: Process | None
    by: LeftBy
    host: str = ""
    identity: Identity | None = None
    uuid: str | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class EndedWindow:
    """An open window whose process has died, and which needs no thaw.

    Attributes:
        window: its number in the journal.
        why: why it is over, one clause for a person.
        settled: everything that had to be thawed is known to be thawed.
        left: what is still frozen if the guest has migrated; None if it can't have migrated.
    """

    window: int
    why: str
    settled: bool
    left: LeftGuest | None = None


@dataclass(frozen=True, slots=True)
class OpenWindows:
    """The open windows of other processes, as the journal has them.

    Attributes:
        left: guests that may still be frozen, with nobody at work on them.
        to_close: windows whose process has died, and which need no thaw.
        others: guests that other processes are at work on now.
    """

    left: tuple[LeftGuest, ...] = ()
    to_close: tuple[EndedWindow, ...] = ()
    others: tuple[HeldGuest, ...] = ()


HasEnded = Callable[[Identity], bool | None]


def _not_known(_: Identity) -> None:
    """Return None: it is not known whether this start of the VM has ended."""


def _open_windows(found: list[Rows], ended: HasEnded) -> OpenWindows:
    left: list[LeftGuest] = []
    to_close: list[EndedWindow] = []
    others: list[HeldGuest] = []
    for row in found[0]:
        # An unreadable row proves nothing, and must not stop the reading of the others.
        with suppress(*rows.UNREADABLE):
            if _is_mine(row):
                continue
            if at_work(row):
                busy = held_guest(row)
                others += [busy] if busy is not None else []
                continue
            end = _end(row, ended)
            if end is not None:
                to_close.append(end)
                left += [end.left] if end.left is not None else []
            elif row["kind"] == WindowKind.FREEZE and not row["has_later"]:
                left.append(_left(row))
    return OpenWindows(tuple(left), tuple(to_close), tuple(others))


def open_windows(ended: HasEnded = _not_known) -> Query[OpenWindows]:
    """Return the query for the open windows of other processes.

    Args:
        ended: tells whether a start of a VM has ended, as the VM's backend knows it.
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
        lambda found: _open_windows(found, ended),
        OpenWindows(),
    )


OPEN_WINDOWS: Final = open_windows()


def close_windows(to_close: tuple[EndedWindow, ...], at: str) -> list[Statement]:
    """Return the statements that close windows whose processes could not close them.

    Args:
        to_close: the windows.
        at: wall clock (RFC 3339).
    """
    return [
        each
        for one in to_close
        for each in rows.close(one.window, one.why, at, settled=one.settled)
    ]


def older(key: str, *, sent_alone: bool) -> list[Statement]:
    """Return the statements that find a guest's unsettled freezes older than a given window.

    Args:
        key: the key of the window that has seen the guest thawed.
        sent_alone: find them only if that window's freeze was sent: a refused one has seen nothing.
    """
    text = (
        f"SELECT old.*, {_SAME_GUEST} AS direct FROM windows AS old"  # noqa: S608 - as above
        f" JOIN windows AS new ON ({_SAME_GUEST} OR {_TAKEN})"
        f" WHERE new.key = ? AND old.id != new.id AND {_LATER} AND old.settled = 0"
        " AND old.kind = 'freeze' AND (new.sent_at IS NOT NULL OR NOT ?)"
    )
    return [(text, (key, sent_alone))]


def settled_by(found: list[Rows], why: str, at: str) -> Iterator[Statement]:
    """Yield the statements that settle what `older` found, except windows still at work.

    Args:
        found: the rows of those windows.
        why: why they are settled, one clause for a person.
        at: wall clock (RFC 3339).
    """
    for row in found[0]:
        # While the old QEMU process lives, the guest may still be there, and not have migrated.
        if not at_work(row) and (row["direct"] or _vm_has_gone(row, _not_known)):
            yield from rows.close(row["id"], why, at, settled=True)


def match(vm: Vm, left: Iterable[LeftGuest]) -> LeftBy | None:
    """Return who has left a VM frozen; None if nobody provably has.

    Two VMs are the same if their processes are the same, wherever the socket is now. Where either
    process is unknown, the same socket counts, or the same start as the VM's backend tells it.
    """
    socket = socket_of(vm)
    for one in left:
        if (not one.moved and _is_same(vm, socket, one)) or has_taken(vm, one):
            return one.by
    return None


def _is_same(vm: Vm, socket: str | None, one: LeftGuest) -> bool:
    if vm.id.host != one.host:
        return False
    if one.identity is not None and vm.identity is not None:
        return one.identity == vm.identity
    if one.process is not None and vm.process is not None:
        return one.process == vm.process
    return socket is not None and one.socket == socket


def has_taken(vm: Vm, one: LeftGuest) -> bool:
    """Return whether a VM was started to receive a migration, and has the left guest's UUID."""
    return vm.incoming and one.uuid is not None and one.uuid == vm.uuid


def is_ours(journal: Journal | None, vm: Vm) -> bool:
    """Return whether a VM's freeze is provably one that an ended frostwatch has left (P4).

    Args:
        journal: the journal, which is read now; None where none is kept.
        vm: the VM.
    """
    if journal is None:
        return False
    found = journal.ask(OPEN_WINDOWS, PATIENCE_S)
    left: tuple[LeftGuest, ...] = found.left if found is not None else ()
    return match(vm, left) is not None


def _is_mine(row: Row) -> bool:
    """Return whether this process wrote the window, and so knows more than the journal."""
    who = own_identity()
    return (row["pid"], row["ticks"], row["boot"]) == (
        who.process.pid,
        who.process.start_ticks,
        who.boot,
    )


def _end(row: Row, ended: HasEnded) -> EndedWindow | None:
    """Return how a window ends that needs no thaw; None if the guest may still be frozen."""
    window = row["id"]
    if row["kind"] != WindowKind.FREEZE:
        return None if row["ended_at"] else EndedWindow(window, DIED, settled=False)
    if row["armed_at"] is None:
        return EndedWindow(window, NOT_SENT, settled=True)
    if not _vm_has_gone(row, ended):
        return None
    left = None if row.get("uuid") is None or row["has_later"] else _left(row, moved=True)
    return EndedWindow(window, VM_GONE, settled=True, left=left)


def _vm_has_gone(row: Row, ended: HasEnded) -> bool:
    """Return whether it is proven that a window's VM has gone."""
    identity = identity_of(row)
    if identity is not None and ended(identity) is True:
        return True
    if _host(row):
        return False  # what has ended on this host says nothing about a VM of another one
    here = boot_id()
    booted = bool(here and row["boot"]) and row["boot"] != here
    return booted or is_gone(_process(row)) is True


def _host(row: Row) -> str:
    """Return the name of the host of a window's VM; empty for this host."""
    if row.get("vm_host"):
        return rows.from_identity(row["vm_host"])
    writer = rows.from_identity(row["host"])
    return "" if is_here(writer) else writer


def _process(row: Row) -> Process | None:
    return None if row["vm_pid"] is None else Process(row["vm_pid"], row["vm_ticks"])


def _left(row: Row, *, moved: bool = False) -> LeftGuest:
    name = next(one for one in ("replied", "sent", "armed") if row[f"{one}_at"] is not None)
    at = since_boot(row, row[f"{name}_s"] or 0.0, row[f"{name}_at"])
    by = LeftBy(row["id"], row["pid"], row["user"], at)
    return LeftGuest(
        row["socket"], _process(row), by, _host(row), identity_of(row), row.get("uuid"), moved=moved
    )
