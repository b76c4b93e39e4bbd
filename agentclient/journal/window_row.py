"""One window as it is read from the journal: a freeze, a thaw or a rescue step, and its end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.clock import due_at, since_boot
from agentclient.journal.contract_types import is_of_contract
from agentclient.journal.held_by_others import at_work
from agentclient.journal.rows import UNREADABLE, EventEntry, Moment, from_identity
from agentclient.journal.storage.tables import MOMENTS
from agentclient.model.durations import in_words
from agentclient.model.states import OutcomeKind, Phase, WindowKind, WindowState
from agentclient.model.vm import Process

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row, Rows

# A hold that ends this much before its time, in seconds, was cut short.
_TOO_EARLY_S: Final = 1.0
# No window lies beyond these, whatever a broken file says: with times near the ends of the calendar
# nobody can reckon.
_EARLIEST, _LATEST = 1970, 9000
_LONGEST_S: Final = 1e9
_MOST_DIGITS: Final = 30
GROUP_NOTE: Final = "group: "

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of the journal.

    Attributes:
        window: its number.
        vm: the VM's id.
        times: the time of each of `MOMENTS`; None for one that has not happened.
        request: the request; None if it can't be read.
        process: the VM's QEMU process, where it was known.
        outcome: the freeze's outcome, or the last known state of it; None if nothing is known.
        thaw: the thaw's outcome, if the thaw was an operation of its own or the holder's.
        rescue: the outcome of a rescue step.
        settled: everything that had to be thawed is known to be thawed.
        note: what else a person should know about the window.
        hold_s: for how long the freeze is to be held, in seconds; None while that is not known.
        held_until: when the hold ends; None where nothing is held now.
        job: the copy that was taken in the window; None if none is known.
        unreadable: which values of the row can't be read; None if all can.
        mono: when it was asked for, in seconds of its boot's monotonic clock; None if not known.
        asked_now: when it was asked for, by the wall clock as it is set now; None if not known.
        versions: which versions took part; None if that isn't known.
        writes: how many bytes the guest had written by then, each so many seconds after the
            request; empty if that isn't known.
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
    events: tuple[EventEntry, ...]
    rescue: Json | None = None
    hold_s: float | None = None
    held_until: datetime | None = None
    job: Json | None = None
    unreadable: str | None = None
    mono: float | None = None
    asked_now: datetime | None = None
    versions: Json | None = None
    writes: tuple[tuple[float, int], ...] = ()

    def time_of(self, name: str) -> datetime | None:
        """Return a moment, to be compared with what the wall clock shows now; None if none is."""
        moment = self.times[name]
        if moment is None:
            return None
        if self.asked_now is not None and moment.seconds is not None:
            return self.asked_now + timedelta(seconds=moment.seconds)
        return datetime.fromisoformat(moment.at)

    @property
    def group(self) -> str | None:
        """The key of the group that was frozen together; None if it belongs to none."""
        key = (self.request or {}).get("group")
        return key if isinstance(key, str) else None

    @property
    def certified(self) -> bool:
        """Whether it is a freeze that is over, was verified, and is said to be certified."""
        outcome = self.outcome or {}
        verified = self.kind is WindowKind.FREEZE and outcome.get("outcome") == OutcomeKind.VERIFIED
        over = self.state is WindowState.CLOSED
        return verified and over and outcome.get("certified") is True

    @property
    def not_together(self) -> bool:
        """Whether its group is known not to have been frozen together."""
        return (self.outcome or {}).get("not_together") is True

    @property
    def without_group(self) -> bool:
        """Whether it is a freeze that was verified, and its group was not frozen together."""
        kind = (self.outcome or {}).get("outcome")
        freeze = self.kind is WindowKind.FREEZE
        return freeze and kind == OutcomeKind.VERIFIED and self.not_together

    @property
    def held_s(self) -> float | None:
        """Seconds from the freeze's acknowledgement to the thaw's; None if one is missing."""
        frozen = self.outcome is None or bool(self.outcome.get("frozen"))
        return self._between("replied", "thawed") if frozen else None

    @property
    def seconds(self) -> float | None:
        """Seconds from the request to the window's end."""
        return self._between("asked", "ended")

    @property
    def phase(self) -> Phase | None:
        """The window's phase while it is open; None once it has ended, or its process has died."""
        if self.state is not WindowState.OPEN:
            return None
        if self.times["thaw_sent"] is not None:
            return Phase.THAWING
        if self.times["held"] is not None:
            return Phase.HELD
        return Phase.PENDING if self.times["sent"] is not None else Phase.PREPARING

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a person should know about the window, a clause each."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.note:
            yield self.note
        if self.job is not None:
            yield " ".join(str(one) for one in _of_job(self.job) if one)
            left = self.job.get("left")
            if isinstance(left, list) and left:
                yield f"LEFT BEHIND: {left[0]}"
            yield from _of_disks(self.job)
        cut = self._cut_short() if self.job is None else None
        if cut is not None:
            yield cut
        if self.unreadable is not None:
            yield f"can't be read: {self.unreadable}"

    def _cut_short(self) -> str | None:
        """Return why the hold was shorter than requested; None if it was not."""
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


def _of_job(job: Json) -> tuple[object, ...]:
    """Return which copy it was, and what it is worth if that is not what was asked for."""
    result, worth = job.get("result"), job.get("consistency")
    if result not in (None, "complete"):
        return job.get("job"), job.get("name"), f"({result})"
    return job.get("job"), job.get("name"), f"({worth})" if worth == "crash-consistent" else None


def _of_disks(job: Json) -> Iterator[str]:
    """Yield which disks a copy lacks that may be expected in it, and which are in the clear."""
    lacking, clear = job.get("left_out"), job.get("in_the_clear")
    named = [
        str(one.get("disk"))
        for one in (lacking if isinstance(lacking, list) else [])
        if isinstance(one, dict) and one.get("why") == "removable"
    ]
    if named:
        yield f"without {', '.join(named)}: a medium that can be changed"
    if isinstance(clear, list) and clear:
        yield f"in the clear, though encrypted in the VM: {', '.join(map(str, clear))}"


def windows_in(found: list[Rows]) -> tuple[WindowRow, ...]:
    """Return the windows of a query's rows.

    Args:
        found: the rows of the windows, then the rows of their events.
    """
    events: dict[int, Rows] = {}
    for row in found[1]:
        events.setdefault(row["window"], []).append(row)
    return tuple(_window(row, events.get(row["id"], [])) for row in found[0])


def _window(row: Row, events: Rows) -> WindowRow:
    """Return a window; an unreadable one is replaced, so that the others are still shown."""
    try:
        return _read(row, events)
    except UNREADABLE as error:
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
        settled=_flag(row["settled"]),
        note=None if row["note"] is None else str(row["note"]),
        events=tuple(_happened(each) for each in events),
        hold_s=_seconds(row["hold_s"]),
        held_until=_held_until(row) if state is WindowState.OPEN else None,
        job=_json(row, "job", broken),
        mono=_seconds(row.get("mono")),
        asked_now=_asked_now(row),
        versions=_json(row, "versions", broken),
        writes=_points(_json(row, "writes", broken)),
        unreadable=", ".join(broken) or None,
    )


def _unreadable(row: Row, error: Exception) -> WindowRow:
    """Return the placeholder for a window whose row can't be read."""
    return WindowRow(
        window=row["id"],
        kind=WindowKind.FREEZE,
        vm=_name(row["vm"]),
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


def _name(value: Any) -> str:
    """Return a VM's id, as far as it can be read."""
    with suppress(ValueError, TypeError):
        return from_identity(value)
    return f"unknown:{value!r}"


def _state(row: Row) -> WindowState:
    if row["ended_at"] is not None:
        return WindowState.CLOSED
    return WindowState.OPEN if at_work(row) else WindowState.LEFT


def _held_until(row: Row) -> datetime | None:
    since = row["replied_s"] if row["replied_s"] is not None else row["held_s"]
    if row["hold_s"] is None or since is None or row["held_at"] is None:
        return None
    return due_at(row, since + row["hold_s"], _later(row["held_at"], row["hold_s"]))


def _asked_now(row: Row) -> datetime | None:
    with suppress(*UNREADABLE):
        return None if row["asked_at"] is None else since_boot(row, 0.0, row["asked_at"])
    return None


def _later(at: str, seconds: float) -> str:
    moment = datetime.fromisoformat(at).timestamp() + seconds
    return datetime.fromtimestamp(moment, datetime.fromisoformat(at).tzinfo).isoformat()


def _happened(row: Row) -> EventEntry:
    moment = _moment(str(row["at"]), row["s"])
    assert moment is not None, "it has a time"
    return EventEntry(str(row["kind"]), str(row["level"]), str(row["text"]), moment)


def _moment(at: Any, seconds: Any) -> Moment | None:
    if at is None:
        return None
    then = datetime.fromisoformat(at)
    if then.tzinfo is None or not _EARLIEST < then.year < _LATEST:
        raise ValueError(f"{at!r} is no time of ours")
    return Moment(at, _seconds(seconds))


def _seconds(value: Any) -> float | None:
    """Return seconds; None if there are none, or nobody can have counted them."""
    if not isinstance(value, int | float) or not abs(value) <= _LONGEST_S:
        return None
    return float(value)


def _points(found: Json | None) -> tuple[tuple[float, int], ...]:
    """Return what was written when; what is no such pair is left out."""
    points = (found or {}).get("points")
    pairs = [one for one in points if isinstance(one, list)] if isinstance(points, list) else []
    return tuple(
        (float(one[0]), one[1])
        for one in pairs
        if len(one) == 2
        and isinstance(one[0], int | float)
        and math.isfinite(one[0])
        and isinstance(one[1], int)
    )


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither yes nor no")
    return bool(value)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no figure of ours")
    return value


def _small(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:_MOST_DIGITS]}… is no figure of ours")
    return int(text)


def _json(row: Row, column: str, broken: list[str]) -> Json | None:
    """Return a column's JSON object; None if there is none, or if it can't be read."""
    text = row.get(column)  # what was added later is not in each file
    if text is None:
        return None
    try:
        found = json.loads(text, parse_float=_finite, parse_int=_small, parse_constant=_finite)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict) or not is_of_contract(column, found):
        broken.append(column)
        return None
    return found
