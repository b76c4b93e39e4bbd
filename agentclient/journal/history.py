"""What is read from the journal, for a person, a program, and the console."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.clock import since_boot
from agentclient.journal.figures import LAST, Figures, figures
from agentclient.journal.identity import boot_id, socket_of
from agentclient.journal.left import at_work
from agentclient.journal.rows import Happened, Moment, from_identity, identity
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.writer import Query
from agentclient.model.durations import in_words
from agentclient.model.states import Phase, WindowKind, WindowState
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row, Rows, Statement
    from agentclient.journal.writer import Journal

READ_S: Final = 10.0
# A hold that ends by so much too early was cut short.
_TOO_EARLY_S: Final = 1.0
GROUP_NOTE: Final = "group: "

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of the journal.

    Attributes:
        vm: the VM's id.
        times: when what was; None for what never was.
        request: what was asked for; None if that can't be read.
        process: the VM's, where that was known.
        outcome: of its freeze, or the last that is known of it; None if nothing is.
        thaw: of its thaw, if that was on its own or the holder's.
        rescue: what a rung has found.
        settled: everything that had to be thawed is known to be thawed.
        note: what else a person should know of it.
        hold_s: for how long it is to be held, in seconds, once that is known.
        held_until: when the hold ends; None where nothing is held now.
        unreadable: what of it can't be read; None if all can.
    """

    window: int
    kind: WindowKind
    vm: str
    state: WindowState
    times: Mapping[str, Moment | None]
    request: Json | None
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
    rescue: Json | None = None
    hold_s: float | None = None
    held_until: datetime | None = None
    unreadable: str | None = None

    @property
    def held_s(self) -> float | None:
        """Seconds from the freeze's acknowledgement to the thaw's; None if one is missing."""
        frozen = self.outcome is None or bool(self.outcome.get("frozen"))
        return self._between("replied", "thawed") if frozen else None

    @property
    def seconds(self) -> float | None:
        """Seconds from when it was asked for to its end."""
        return self._between("asked", "ended")

    @property
    def phase(self) -> Phase | None:
        """Where it is while it is open; None once it has ended, or its process has died."""
        if self.state is not WindowState.OPEN:
            return None
        if self.times["thaw_sent"] is not None:
            return Phase.THAWING
        if self.times["held"] is not None:
            return Phase.HELD
        return Phase.PENDING if self.times["sent"] is not None else Phase.PREPARING

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a person should know of it, a clause each."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.note:
            yield self.note
        cut = self._cut_short()
        if cut is not None:
            yield cut
        if self.unreadable is not None:
            yield f"can't be read: {self.unreadable}"

    def _cut_short(self) -> str | None:
        """Return why a window was held for less than was asked for; None if it was not."""
        held_s = self.held_s
        wanted = self.hold_s if self.hold_s is not None else (self.request or {}).get("hold_s")
        if held_s is None or not isinstance(wanted, int | float):
            return None
        groups = [one.text for one in self.events if one.text.startswith(GROUP_NOTE)]
        if held_s >= wanted - _TOO_EARLY_S or any("together, within" in one for one in groups):
            return None
        text = f"held for {in_words(held_s)} of {in_words(wanted)}"
        return f"{text}: {groups[0] if groups else self._cut_by()}"

    def _cut_by(self) -> str:
        if any(one.kind == "cancelled" for one in self.events):
            return "cancelled"
        if (self.outcome or {}).get("outcome") == "broken":
            return "broken"
        return "the holder thawed it" if self.thaw is not None else "ended before its time"

    def _between(self, first: str, second: str) -> float | None:
        begin, end = self.times[first], self.times[second]
        if begin is None or end is None or begin.seconds is None or end.seconds is None:
            return None
        return round(end.seconds - begin.seconds, 3)


@dataclass(frozen=True, slots=True)
class Guest:
    """Which windows are those of one guest.

    Attributes:
        vms: its ids.
        process: its QEMU's, where that is known now.
        socket: what tells its agent's socket from a later one; None if that is not known now.
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
    """Return what finds the guests that a person means by `name`: an id, or a bare name.

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


def windows(guest: Guest | None, limit: int) -> Query[tuple[WindowRow, ...]]:
    """Return what reads windows, the newest first.

    Args:
        guest: whose; None for all.
        limit: how many at the most.
    """
    where, values = _of(guest)
    chosen = f"SELECT * FROM windows WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    events = (
        f"SELECT * FROM events WHERE window IN (SELECT id FROM ({chosen}))"  # noqa: S608 - as above
        " ORDER BY window, rowid"
    )
    asked = (*values, limit)
    return Query([(chosen, asked), (events, asked)], _windows, ())


def all_figures(guest: Guest) -> Query[Figures]:
    """Return what finds how long all freezes of a guest took that the journal knows."""
    return _figures(guest, -1)


def last_figures(vm: Vm) -> Query[Figures]:
    """Return what finds how long the last freezes of a VM took."""
    return _figures(Guest.of(vm), LAST)


def _figures(guest: Guest, limit: int) -> Query[Figures]:
    where, values = _of(guest)
    text = (
        f"SELECT replied_s - sent_s AS s FROM windows WHERE ({where}) AND kind = 'freeze'"  # noqa: S608 - as above
        " AND replied_s IS NOT NULL AND sent_s IS NOT NULL ORDER BY id DESC LIMIT ?"
    )
    return Query([(text, (*values, limit))], _all_figures, Figures(0))


def _all_figures(found: list[Rows]) -> Figures:
    seconds = [row["s"] for row in found[0]]
    return figures([one for one in seconds if isinstance(one, int | float)])


def _of(guest: Guest | None) -> tuple[str, tuple[object, ...]]:
    """Return the condition for a guest's windows: by name, socket or process, one is enough."""
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


# -- rows -------------------------------------------------------------------------------------


def _windows(found: list[Rows]) -> tuple[WindowRow, ...]:
    events: dict[int, Rows] = {}
    for row in found[1]:
        events.setdefault(row["window"], []).append(row)
    return tuple(_window(row, events.get(row["id"], [])) for row in found[0])


def _window(row: Row, events: Rows) -> WindowRow:
    """Return a window; one that can't be read costs no other."""
    try:
        return _read(row, events)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        return _unreadable(row, error)


def _read(row: Row, events: Rows) -> WindowRow:
    pid, broken = row["vm_pid"], list[str]()
    times = {name: _moment(row[f"{name}_at"], row[f"{name}_s"]) for name in MOMENTS}
    state = _state(row)
    return WindowRow(
        window=row["id"],
        kind=WindowKind(row["kind"]),
        vm=from_identity(row["vm"]),
        state=state,
        times=times,
        request=_json(row, "request", broken),
        uid=int(row["uid"]),
        user=str(row["user"]),
        pid=int(row["pid"]),
        command=str(row["command"]),
        host=from_identity(row["host"]),
        process=None if pid is None else Process(int(pid), int(row["vm_ticks"])),
        outcome=_json(row, "outcome", broken),
        thaw=_json(row, "thaw", broken),
        rescue=_json(row, "rescue", broken),
        settled=bool(row["settled"]),
        note=None if row["note"] is None else str(row["note"]),
        events=tuple(_happened(each) for each in events),
        hold_s=row["hold_s"],
        held_until=_held_until(row) if state is WindowState.OPEN else None,
        unreadable=", ".join(broken) or None,
    )


def _unreadable(row: Row, error: Exception) -> WindowRow:
    """Return what stands in the place of a window of which nothing can be told."""
    return WindowRow(
        window=row["id"],
        kind=WindowKind.FREEZE,
        vm=from_identity(row["vm"]),
        state=WindowState.LEFT,
        times=dict.fromkeys(MOMENTS),
        request=None,
        uid=-1,
        user="-",
        pid=-1,
        command="",
        host="",
        process=None,
        outcome=None,
        thaw=None,
        settled=row["settled"] == 1,
        note=None,
        events=(),
        unreadable=f"the window: {error}",
    )


def _state(row: Row) -> WindowState:
    if row["ended_at"] is not None:
        return WindowState.CLOSED
    return WindowState.OPEN if at_work(row) else WindowState.LEFT


def _held_until(row: Row) -> datetime | None:
    since = row["replied_s"] if row["replied_s"] is not None else row["held_s"]
    if row["hold_s"] is None or since is None or row["held_at"] is None:
        return None
    return since_boot(row, since + row["hold_s"], _later(row["held_at"], row["hold_s"]))


def _later(at: str, seconds: float) -> str:
    moment = datetime.fromisoformat(at).timestamp() + seconds
    return datetime.fromtimestamp(moment, datetime.fromisoformat(at).tzinfo).isoformat()


def _happened(row: Row) -> Happened:
    moment = Moment(str(row["at"]), _seconds(row["s"]))
    return Happened(str(row["kind"]), str(row["level"]), str(row["text"]), moment)


def _moment(at: Any, seconds: Any) -> Moment | None:
    if at is None:
        return None
    datetime.fromisoformat(at)
    return Moment(at, _seconds(seconds))


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _json(row: Row, column: str, broken: list[str]) -> Json | None:
    """Return a column's object; None if there is none, or if it can't be read."""
    text = row[column]
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        broken.append(column)
        return None
    return found


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a VM's freezes and thaws.

    Attributes:
        windows: the newest first.
        figures: how long its freezes took.
    """

    windows: tuple[WindowRow, ...]
    figures: Figures


def past_of(guest: Guest, limit: int) -> Query[Past]:
    """Return what reads a guest's past: the newest `limit` windows, and the figures of all."""
    shown, took = windows(guest, limit), all_figures(guest)
    statements: Sequence[Statement] = (*shown.statements, *took.statements)
    return Query(
        statements,
        lambda found: Past(shown.parse(found[:2]), took.parse(found[2:])),
        Past((), Figures(0)),
    )


def past(journal: Journal | None, vm: Vm, limit: int) -> Past | None:
    """Read a VM's past; None if there is no journal, or it does not answer.

    Args:
        journal: where it stands.
        vm: the VM.
        limit: the newest so many windows.
    """
    return None if journal is None else journal.ask(past_of(Guest.of(vm), limit), READ_S)
