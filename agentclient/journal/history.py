"""The queries that read the journal's history, for a person, a program, and the console."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from agentclient.journal.figures import LAST, Figures, figures
from agentclient.journal.identity import boot_id, socket_of
from agentclient.journal.rows import from_identity, identity
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow, windows_in
from agentclient.model.states import WindowKind
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows, Statement
    from agentclient.journal.writer import Journal

READ_S: Final = 10.0
# The members of a group are asked for together: their windows' numbers are so far apart at most.
NEAR: Final = 500
MOST_MEMBERS: Final = 500
# The members of more groups would not be listed; SQLite takes no condition of a thousand parts.
MOST_GROUPS: Final = 250


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest, by what its windows are found with.

    Attributes:
        vms: the ids of its VMs.
        process: its QEMU process, where that is known now.
        socket: the identity of its agent's socket (`agentclient.journal.identity.socket_of`); None
            if that is not known now.
    """

    vms: tuple[str, ...]
    process: Process | None = None
    socket: str | None = None

    @classmethod
    def of(cls, vm: Vm) -> Guest:
        """Return the guest that is behind a VM now."""
        return cls((str(vm.id),), vm.process, socket_of(vm))


_IDENTITIES: Final = "SELECT DISTINCT vm, socket, vm_pid, vm_ticks, boot FROM windows"


def guests(name: str) -> Query[tuple[Guest, ...]]:
    """Return the query for the guests that a person means by `name`: an id, or a bare name.

    Several ids of one guest (``qemu:db1`` and ``socket:db1``, of the same process or with the same
    socket) are one guest.
    """
    linked = (
        f"SELECT DISTINCT one.vm, other.vm AS other FROM ({_IDENTITIES} WHERE name = ?) AS one"  # noqa: S608 - our own words
        f" JOIN ({_IDENTITIES} WHERE name = ?) AS other ON one.vm < other.vm"
        " AND (one.socket = other.socket OR one.vm_pid = other.vm_pid"
        " AND one.vm_ticks = other.vm_ticks AND one.boot = other.boot)"
    )
    wanted = identity(name)
    return Query(
        [
            ("SELECT DISTINCT vm FROM windows WHERE vm = ?", (wanted,)),
            (
                "SELECT vm, max(id) FROM windows WHERE name = ? GROUP BY vm ORDER BY 2 DESC",
                (wanted,),
            ),
            (linked, (wanted, wanted)),
        ],
        _guests,
        (),
    )


def _guests(found: list[Rows]) -> tuple[Guest, ...]:
    exact, named, linked = found
    if exact:
        return (Guest((from_identity(exact[0]["vm"]),)),)
    groups = [[row["vm"]] for row in named]
    for row in linked:
        first, second = (
            next(group for group in groups if row[name] in group) for name in ("vm", "other")
        )
        if first is not second:
            first += second
            groups.remove(second)
    return tuple(Guest(tuple(from_identity(one) for one in group)) for group in groups)


def windows(
    guest: Guest | None, limit: int, before: int | None = None
) -> Query[tuple[WindowRow, ...]]:
    """Return the query for windows, the newest first.

    Args:
        guest: whose windows; None for those of all guests.
        limit: the maximum number of windows.
        before: only those that were begun before the window of this number; None for the newest.
    """
    where, values = _of(guest)
    if before is not None:
        where, values = f"({where}) AND id < ?", (*values, before)
    chosen = f"SELECT * FROM windows WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    events = (
        f"SELECT * FROM events WHERE window IN (SELECT id FROM ({chosen}))"  # noqa: S608 - as above
        " ORDER BY window, rowid"
    )
    asked = (*values, limit)
    return Query([(chosen, asked), (events, asked)], windows_in, ())


def members(found: Iterable[WindowRow]) -> Query[Mapping[str, tuple[WindowRow, ...]]]:
    """Return the query for the groups that windows belong to: each with all its members.

    Args:
        found: the windows, of whose first 250 groups the members are found, the newest 500 of
            them; those that belong to no group are passed over.
    """
    spans: dict[str, tuple[int, int]] = {}
    for row in found:
        if row.group is not None:
            first, last = spans.get(row.group, (row.window, row.window))
            spans[row.group] = min(first, row.window), max(last, row.window)
    asked = list(islice(spans.items(), MOST_GROUPS))
    where = " OR ".join(["id BETWEEN ? AND ? AND instr(request, ?)"] * len(asked)) or "0"
    text = f"SELECT * FROM windows WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    values: list[object] = []
    for key, (first, last) in asked:
        values += [first - NEAR, last + NEAR, key]
    return Query([(text, (*values, MOST_MEMBERS))], _by_group, {})


def _by_group(found: list[Rows]) -> Mapping[str, tuple[WindowRow, ...]]:
    groups: dict[str, tuple[WindowRow, ...]] = {}
    for row in reversed(windows_in([*found, []])):
        if row.group is not None:
            groups[row.group] = (*groups.get(row.group, ()), row)
    return groups


def jobs_of(guest: Guest, limit: int) -> Query[tuple[WindowRow, ...]]:
    """Return the query for a guest's newest `limit` windows in which a copy was taken."""
    where, values = _of(guest)
    chosen = (
        f"SELECT * FROM windows WHERE ({where}) AND job IS NOT NULL"  # noqa: S608 - as above
        " ORDER BY id DESC LIMIT ?"
    )
    return Query([(chosen, (*values, limit))], lambda found: windows_in([*found, []]), ())


def all_figures(guest: Guest) -> Query[Figures]:
    """Return the query for the durations of all freezes of a guest in the journal."""
    return _figures(guest, -1)


def others_figures(guest: Guest) -> Query[Figures]:
    """Return the query for how long others' commands of a second or more took in a guest."""
    return _figures(guest, -1, WindowKind.OTHERS)


def last_figures(vm: Vm) -> Query[Figures]:
    """Return the query for the durations of a VM's last freezes."""
    return _figures(Guest.of(vm), LAST)


def last_figures_of_others(vm: Vm) -> Query[Figures]:
    """Return the query for how long the last commands took that others had pending in a VM."""
    return _figures(Guest.of(vm), LAST, WindowKind.OTHERS)


def _figures(guest: Guest, limit: int, kind: WindowKind = WindowKind.FREEZE) -> Query[Figures]:
    where, values = _of(guest)
    text = (
        f"SELECT replied_s - sent_s AS s FROM windows WHERE ({where}) AND kind = ?"  # noqa: S608 - as above
        " AND replied_s IS NOT NULL AND sent_s IS NOT NULL ORDER BY id DESC LIMIT ?"
    )
    return Query([(text, (*values, kind.value, limit))], _all_figures, Figures(0))


def _all_figures(found: list[Rows]) -> Figures:
    seconds = [row["s"] for row in found[0]]
    return figures([one for one in seconds if isinstance(one, int | float)])


def _of(guest: Guest | None) -> tuple[str, tuple[object, ...]]:
    """Return the SQL condition for a guest's windows, and its parameters.

    The id, the socket or the process has to match; one of them is enough.
    """
    if guest is None:
        return "1", ()
    pid, ticks = guest.process or (None, None)
    named = f"vm IN ({', '.join('?' * len(guest.vms))})"
    text = (
        f"{named} OR socket = ? OR vm_pid = ? AND vm_ticks = ? AND boot = ?"  # noqa: S608 - as above
        f" OR socket IN (SELECT socket FROM windows WHERE {named})"
        " OR vm_pid IS NOT NULL AND (vm_pid, vm_ticks, boot) IN"
        f" (SELECT vm_pid, vm_ticks, boot FROM windows WHERE {named})"
    )
    vms = tuple(identity(one) for one in guest.vms)
    return text, (*vms, guest.socket, pid, ticks, boot_id(), *vms, *vms)


@dataclass(frozen=True, slots=True)
class VmHistory:
    """A guest's freezes and thaws in the journal.

    Attributes:
        windows: its windows, the newest first.
        figures: the durations of its freezes.
        others: how long others' commands waited for their answers, of a second or more.
        groups: all members of the groups that `windows` belong to, by the group's key.
        missing: why what has happened lately may be missing, in one sentence; None if nothing is.
    """

    windows: tuple[WindowRow, ...]
    figures: Figures
    others: Figures = field(default_factory=lambda: Figures(0))
    groups: Mapping[str, tuple[WindowRow, ...]] = field(default_factory=dict)
    missing: str | None = None


def history_of(guest: Guest, limit: int) -> Query[VmHistory]:
    """Return the query for a guest's newest `limit` windows, and the figures of all of them."""
    shown, took, others = windows(guest, limit), all_figures(guest), others_figures(guest)
    statements: Sequence[Statement] = (*shown.statements, *took.statements, *others.statements)
    return Query(
        statements,
        lambda found: VmHistory(
            shown.parse(found[:2]), took.parse(found[2:3]), others.parse(found[3:])
        ),
        VmHistory((), Figures(0)),
    )


def read_history(journal: Journal | None, vm: Vm, limit: int) -> VmHistory | None:
    """Read a VM's freezes and thaws; None if there is no journal, or it does not answer in time.

    Args:
        journal: the journal; None where none is kept.
        vm: the VM.
        limit: the maximum number of windows; the newest ones are read.
    """
    if journal is None:
        return None
    found = journal.ask(history_of(Guest.of(vm), limit), READ_S)
    if found is None or not any(row.group for row in found.windows):
        return found
    return replace(found, groups=journal.ask(members(found.windows), READ_S) or {})
