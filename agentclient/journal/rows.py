"""What is written into the journal's tables: each function returns the statements of one step.

Strings are made safe here, and nowhere else: whatever a person, a guest or a host has chosen, it
can be written, and what tells one VM from another can be compared afterwards.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.identity import ourselves, socket_of
from agentclient.journal.storage.tables import MOMENTS
from agentclient.model.states import WindowKind
from agentclient.model.text import printable
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Statement

LONGEST_TEXT: Final = 500
LONGEST_LIST: Final = 64
# What a person has asked for is kept as it was: as long as a path of Linux, and as many of them.
LONGEST_PATH: Final = 4096
MOST_PATHS: Final = 4096
# What is longer is told apart by its digest.
LONGEST_IDENTITY: Final = 1000
_DEEPEST: Final = 20

# A window: by its number, or by its key, which its process knows before SQLite has given a number.
Ref = int | str


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was.

    Attributes:
        at: wall clock (RFC 3339).
        seconds: since the window was asked for; None where that isn't known.
    """

    at: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a window, in the words of docs/json.md."""

    kind: str
    level: str
    text: str
    when: Moment


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a window stands, for a holder that writes on.

    Attributes:
        key: the window's.
        asked: when it was asked for (monotonic clock, which all processes of a host share).
    """

    path: Path
    key: str
    asked: float


def new_key() -> str:
    """Return what no other window is called, of whichever process."""
    return os.urandom(16).hex()


def insert(
    key: str, kind: WindowKind, vm: Vm, request: Mapping[str, object], *, asked: str, mono: float
) -> list[Statement]:
    """Begin a window of this process.

    Args:
        key: what it is called.
        kind: what it is.
        vm: the VM, as it was when the operator asked.
        request: what was asked for.
        asked: when (RFC 3339).
        mono: the same in seconds of the monotonic clock.
    """
    process, who = vm.process, ourselves()
    values: dict[str, object] = {
        "key": key,
        "kind": kind.value,
        "vm": identity(str(vm.id)),
        "source": identity(vm.source),
        "name": identity(vm.name),
        "vm_pid": process.pid if process else None,
        "vm_ticks": process.start_ticks if process else None,
        "agent": identity(str(vm.agent.path)) if vm.agent else None,
        "monitor": identity(str(vm.monitor.path)) if vm.monitor else None,
        "socket": socket_of(vm),
        "vm_host": identity(vm.id.host),
        "instance": identity(vm.instance) if vm.instance is not None else None,
        "uuid": vm.uuid,
        "incoming": int(vm.incoming),
        "request": as_json(request, LONGEST_PATH, MOST_PATHS),
        "uid": who.uid,
        "user": plain(who.user),
        "pid": who.process.pid,
        "ticks": who.process.start_ticks,
        "command": plain(who.command, LONGEST_PATH),
        "host": identity(who.host),
        "boot": who.boot,
        "asked_at": asked,
        "asked_s": 0.0,
        "mono": mono,
    }
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    text = f"INSERT INTO windows ({names}) VALUES ({marks}) ON CONFLICT (key) DO NOTHING"  # noqa: S608 - our own names
    return [(text, tuple(values.values()))]


def mark(ref: Ref, moment: str, when: Moment) -> list[Statement]:
    """Write when something was so far; the first time counts.

    Args:
        ref: the window.
        moment: one of `MOMENTS`.
        when: the time.
    """
    assert moment in MOMENTS
    text = (
        f"UPDATE windows SET {moment}_at = coalesce({moment}_at, ?),"  # noqa: S608 - as above
        f" {moment}_s = coalesce({moment}_s, ?) WHERE {_is(ref)}"
    )
    return [(text, (when.at, when.seconds, ref))]


def add_event(ref: Ref, event: Happened, number: int | None = None) -> list[Statement]:
    """Write one thing that happened; nothing if the window is not (any more) in the file.

    Args:
        ref: the window.
        event: it.
        number: which event of its process it is; the same one is not written twice.
    """
    when = event.when
    text = (
        "INSERT OR IGNORE INTO events (window, number, kind, level, text, at, s)"  # noqa: S608 - as above
        f" SELECT id, ?, ?, ?, ?, ?, ? FROM windows WHERE {_is(ref)}"
    )
    values = (number, event.kind, event.level, plain(event.text), when.at, when.seconds, ref)
    return [(text, values)]


def conclude(
    ref: Ref,
    *,
    outcome: Mapping[str, object] | None = None,
    thaw: Mapping[str, object] | None = None,
    rescue: Mapping[str, object] | None = None,
    settled: bool = False,
) -> list[Statement]:
    """Write what came of it; what is settled once stays settled.

    Args:
        ref: the window.
        outcome: of the freeze, as in docs/json.md.
        thaw: of the thaw, as in docs/json.md.
        rescue: of a rung, as in docs/json.md.
        settled: everything that had to be thawed is known to be thawed.
    """
    cause = None if outcome is None else outcome.get("cause")
    found = [None if one is None else as_json(one) for one in (outcome, thaw, rescue)]
    text = (
        "UPDATE windows SET outcome = coalesce(?, outcome), thaw = coalesce(?, thaw),"  # noqa: S608 - as above
        " rescue = coalesce(?, rescue), cause = CASE WHEN ? THEN ? ELSE cause END,"
        f" settled = max(settled, ?) WHERE {_is(ref)}"
    )
    known = None if cause is None else plain(str(cause))
    return [(text, (*found, outcome is not None, known, settled, ref))]


def hold(ref: Ref, seconds: float, *, more: bool) -> list[Statement]:
    """Write for how long a window is to be held, or for how much longer."""
    value = "coalesce(hold_s, 0.0) + ?" if more else "?"
    return [(f"UPDATE windows SET hold_s = {value} WHERE {_is(ref)}", (seconds, ref))]  # noqa: S608 - as above


def note(ref: Ref, text: str) -> list[Statement]:
    """Add a clause to what a person is told about the window."""
    statement = (
        "UPDATE windows SET note = CASE WHEN note IS NULL THEN ?1"  # noqa: S608 - as above
        " WHEN instr(note, ?1) THEN note ELSE substr(note || '; ' || ?1, 1, ?2) END"
        f" WHERE {_is(ref, '?3')}"
    )
    return [(statement, (plain(text), LONGEST_TEXT, ref))]


def close(ref: Ref, text: str, at: str, *, settled: bool) -> list[Statement]:
    """End a window whose own process could not."""
    return [
        *mark(ref, "ended", Moment(at)),
        *conclude(ref, settled=settled),
        *note(ref, text),
    ]


def set_holder(ref: Ref, process: Process) -> list[Statement]:
    """Write which holder cares for the window from now on."""
    text = f"UPDATE windows SET holder_pid = ?, holder_ticks = ? WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (process.pid, process.start_ticks, ref))]


def served_by(ref: Ref, process: Process) -> list[Statement]:
    """Write which QEMU a window is about, where its source did not know."""
    text = (
        "UPDATE windows SET vm_ticks = CASE WHEN vm_pid IS NULL THEN ? ELSE vm_ticks END,"  # noqa: S608 - as above
        f" vm_pid = coalesce(vm_pid, ?) WHERE {_is(ref)}"
    )
    return [(text, (process.start_ticks, process.pid, ref))]


def set_uuid(ref: Ref, uuid: str) -> list[Statement]:
    """Write which machine a window is about, where its source did not know."""
    text = f"UPDATE windows SET uuid = coalesce(uuid, ?) WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (plain(uuid), ref))]


def check(at: str) -> list[Statement]:
    """Write something that says nothing: whether it can be written is what is asked."""
    return [("INSERT OR REPLACE INTO facts (name, value) VALUES ('checked', ?)", (at,))]


def _is(ref: Ref, mark: str = "?") -> str:
    return f"id = {mark}" if isinstance(ref, int) else f"key = {mark}"


# -- strings --------------------------------------------------------------------------------------


def identity(text: str) -> str | bytes:
    """Return a name or a path as it is written: two that differ stay different.

    What is no text (a name that is not UTF-8, or has a zero in it) is written as its bytes, and
    what is very long ends in its digest. `from_identity` returns it.
    """
    if len(text) > LONGEST_IDENTITY:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        text = f"{text[: LONGEST_IDENTITY - 33]}…{digest[:32]}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text.encode() if "\0" in text else text


def from_identity(value: Any) -> str:
    """Return a name or a path that `identity` has written."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    return str(value)


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return words for a person as they are written: one safe line, not too long."""
    return printable(text, longest)


def as_json(
    value: Mapping[str, object], longest: int = LONGEST_TEXT, most: int = LONGEST_LIST
) -> str:
    """Return `value` as JSON in which no text and no list is too long (P7); it is never cut itself.

    Args:
        value: what is written.
        longest: characters of a text at the most.
        most: items of a list at the most.
    """
    capped = _capped(value, longest, most, _DEEPEST)
    return json.dumps(capped, allow_nan=False, separators=(",", ":"))


def _capped(value: object, longest: int, most: int, depth: int) -> object:
    match value:
        case str():
            return value[:longest]
        case float() if not math.isfinite(value):
            return None  # JSON has no other word for it
        case None | bool() | int() | float():
            return value
        case _ if depth == 0:
            return None
        case Mapping():
            return {
                str(key)[:longest]: _capped(one, longest, most, depth - 1)
                for key, one in value.items()
            }
        case list() | tuple():
            return [_capped(one, longest, most, depth - 1) for one in value[:most]]
    return printable(value, longest)
