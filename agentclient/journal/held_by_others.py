"""Tells from the journal what other frostwatch processes freeze, hold or thaw now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.clock import due_at, since_boot
from agentclient.journal.identity import is_dead, is_here, socket_of
from agentclient.journal.rows import UNREADABLE, from_identity
from agentclient.journal.storage.jobs import Query
from agentclient.model.request import Schedule
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import FreezeState, WindowKind
from agentclient.model.vm import Identity, Process, Vm, VmId

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row, Rows


@dataclass(frozen=True, slots=True)
class HeldGuest:
    """A guest that another frostwatch is at work on.

    Attributes:
        socket: the identity of the agent's socket (`agentclient.journal.identity.socket_of`).
        process: the VM's QEMU process, where it was known.
        by: who is at work on it.
        identity: the start of the VM, where its backend can tell one start from another.
    """

    socket: str | None
    process: Process | None
    by: HeldBy
    identity: Identity | None = None


def held_guest(row: Row) -> HeldGuest | None:
    """Return the guest of another process's window, if that process is at work on it.

    Args:
        row: the window's row.

    Returns:
        None if no command was sent to the guest, if none will be any more, or if neither the
        process nor its holder is known to live.
    """
    state = _state(row)
    writer = row["ended_at"] is None and _lives(row, "pid", "ticks")
    holder = row["holder_pid"] is not None and _lives(row, "holder_pid", "holder_ticks")
    if state is None or not (writer or holder):
        return None
    process = None if row["vm_pid"] is None else Process(row["vm_pid"], row["vm_ticks"])
    by = HeldBy(
        row["pid"],
        row["user"],
        state,
        _time(row, _BEGAN[state]),
        _until(row, state),
        row["holder_pid"],
        ended=not writer,
        window=row["id"],
        key=row.get("key"),
        kept=bool(row.get("kept")) and holder and state is FreezeState.FROZEN,
    )
    return HeldGuest(row["socket"], process, by, identity_of(row))


def identity_of(row: Row) -> Identity | None:
    """Return the start of the VM that a window is about; None if its backend could not tell it."""
    host, generation = row.get("vm_host"), row.get("instance")
    if generation is None or not (host or is_here(from_identity(row["host"]))):
        return None
    vm = VmId(*map(from_identity, (row["source"], row["name"], host or "")))
    return Identity.of(vm, from_identity(generation))


def _lives(row: Row, pid: str, ticks: str) -> bool:
    process = Process(row[pid], row[ticks])
    return is_dead(process, from_identity(row["host"]), row["boot"]) is False


def held_by(vm: Vm, found: Iterable[HeldGuest]) -> HeldBy | None:
    """Return which other frostwatch is at work on a VM; None if none is known."""
    socket = socket_of(vm)
    for one in found:
        if _is_same(vm, socket, one):
            return one.by
    return None


def _is_same(vm: Vm, socket: str | None, one: HeldGuest) -> bool:
    if one.identity is not None and vm.identity is not None:
        return one.identity == vm.identity
    if vm.id.host:
        return False  # a process or socket of this host says nothing about a VM of another one
    if one.process is not None and vm.process is not None:
        return one.process == vm.process
    return socket is not None and one.socket == socket


_BEGAN: Final[Mapping[FreezeState, str]] = {
    FreezeState.FREEZING: "sent",
    FreezeState.FROZEN: "replied",
    FreezeState.THAWING: "thaw_sent",
}


def _state(row: Row) -> FreezeState | None:
    """Return the state of the guest's file systems, as far as the window tells."""
    if row["thaw_sent_at"] is not None:
        # A window with a thaw counts as over only once it is settled, and not while a holder works.
        over = row["thawed_at"] is not None and row["ended_at"] is None
        return None if over else FreezeState.THAWING
    if row["kind"] != WindowKind.FREEZE or row["sent_at"] is None:
        return None
    return FreezeState.FREEZING if row["replied_at"] is None else FreezeState.FROZEN


def _time(row: Row, name: str) -> datetime | None:
    at, seconds = row[f"{name}_at"], row[f"{name}_s"]
    return None if at is None else since_boot(row, seconds or 0.0, at)


def _until(row: Row, state: FreezeState) -> datetime | None:
    """Return the latest time at which the state ends by itself; None if that isn't known."""
    with suppress(*UNREADABLE):
        asked = json.loads(row["request"])
        if state is FreezeState.FROZEN:
            return _due(row, "replied", _hold_s(row, asked))
        if state is FreezeState.FREEZING:
            names = ("first_timeout_s", "probe_timeout_s", "probes")
            return _due(row, "sent", Schedule(*(asked[name] for name in names)).total_s)
    return None


def _hold_s(row: Row, asked: Mapping[str, Any]) -> float:
    """Return for how long the freeze is held, in seconds, by the newest value written."""
    told = row["hold_s"]
    return float(asked["hold_s"] if told is None else told)


def _due(row: Row, name: str, seconds: float) -> datetime | None:
    """Return when so many seconds after a moment of the window are over."""
    at, after_s = row[f"{name}_at"], row[f"{name}_s"]
    if at is None:
        return None
    said = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return due_at(row, (after_s or 0.0) + seconds, said.isoformat())


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event of a window of another frostwatch.

    Attributes:
        number: its number in the journal; later ones have higher numbers.
        window: the window's number.
        level: how much it matters, as it is written.
        text: what happened.
        at: when (RFC 3339).
    """

    number: int
    window: int
    level: str
    text: str
    at: str


def events_of(told: Mapping[int, int]) -> Query[tuple[HeldEvent, ...]]:
    """Return the query for the events of some windows that are new.

    Args:
        told: the numbers of the windows, each with the number of the last event that is known.
    """
    new = " OR ".join(["(window = ? AND rowid > ?)"] * len(told))
    text = (
        "SELECT rowid AS number, window, level, text, at FROM events"  # noqa: S608 - our own words
        f" WHERE {new} ORDER BY rowid LIMIT 1000"
    )
    values = tuple(number for pair in told.items() for number in pair)
    return Query([(text, values)], _events, ())


def _events(found: list[Rows]) -> tuple[HeldEvent, ...]:
    return tuple(
        HeldEvent(row["number"], row["window"], str(row["level"]), str(row["text"]), str(row["at"]))
        for row in found[0]
    )


def at_work(row: Row) -> bool:
    """Return whether somebody may still be at work on a window: its process, or its holder."""
    writer = Process(row["pid"], row["ticks"])
    host = from_identity(row["host"])
    if row["ended_at"] is None and not is_dead(writer, host, row["boot"]):
        return True
    if row["holder_pid"] is None:
        return False
    return not is_dead(Process(row["holder_pid"], row["holder_ticks"]), host, row["boot"])
