"""The statements that write the journal's tables: each function returns those of one change.

Strings are made safe here, and nowhere else. Any name that a person, a guest or a host has chosen
can be written, and two different names stay different.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentclient.journal.identity import ProcessIdentity, own_identity, socket_of
from agentclient.journal.storage.tables import MOMENTS
from agentclient.model.states import WindowKind
from agentclient.model.text import LONGEST_COMMAND, printable
from agentclient.model.timeline import MOST_SAMPLES
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Statement

LONGEST_TEXT: Final = 500
LONGEST_LIST: Final = 64
# A request is kept unchanged: its texts may be as long as a path of Linux (PATH_MAX), and its lists
# as long as a list of mount points.
LONGEST_PATH: Final = 4096
MOST_PATHS: Final = 4096
# The longest stored identity, in characters; a longer one is cut, and its digest is added.
LONGEST_IDENTITY: Final = 1000
_DEEPEST: Final = 20

# What a row may raise that cannot be read: it costs what is told of its own window alone (P8).
UNREADABLE: Final = (ValueError, TypeError, KeyError, OverflowError)

# A reference to a window: its number, or its key, which its process knows before SQLite has
# assigned the number.
Ref = int | str


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of an event of a window.

    Attributes:
        at: wall clock (RFC 3339).
        seconds: the time since the window's request, in seconds; None where that isn't known.
    """

    at: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One event of a window, in the words of docs/json.md."""

    kind: str
    level: str
    text: str
    when: Moment


@dataclass(frozen=True, slots=True)
class Reference:
    """A window and its file, for a holder that goes on writing to it.

    Attributes:
        path: the journal's file.
        key: the window's key.
        asked: the time of the request, in seconds of the monotonic clock, which all processes of
            a host share.
    """

    path: Path
    key: str
    asked: float


@dataclass(frozen=True, slots=True)
class Asked:
    """When a window was asked for.

    Attributes:
        at: wall clock (RFC 3339).
        mono: seconds of the monotonic clock.
    """

    at: str
    mono: float


def new_key() -> str:
    """Return a key that no other window has, in any process."""
    return os.urandom(16).hex()


def insert(
    key: str,
    kind: WindowKind,
    vm: Vm,
    request: Mapping[str, object],
    asked: Asked,
    *,
    who: ProcessIdentity | None = None,
    unless: Statement | None = None,
) -> list[Statement]:
    """Insert a window.

    Args:
        key: the window's key.
        kind: a freeze, a thaw or a rescue step.
        vm: the VM, as it was when the operator asked.
        request: the request, as JSON.
        asked: the time of the request.
        who: whose it is; None for this process.
        unless: a query; nothing is inserted if it finds a row. None inserts it in any case.
    """
    values: dict[str, object] = {
        "key": key,
        "kind": kind.value,
        **_of_vm(vm),
        "request": as_json(request, LONGEST_PATH, MOST_PATHS),
        **_of_process(who or own_identity()),
        "asked_at": asked.at,
        "asked_s": 0.0,
        "mono": asked.mono,
    }
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    query, more = unless or ("", ())
    what = f"SELECT {marks} WHERE NOT EXISTS ({query})" if query else f"VALUES ({marks})"
    text = f"INSERT INTO windows ({names}) {what} ON CONFLICT (key) DO NOTHING"
    return [(text, (*values.values(), *more))]


def _of_vm(vm: Vm) -> dict[str, object]:
    process = vm.process
    return {
        "vm": identity(str(vm.id)),
        "source": identity(vm.source),
        "name": identity(vm.id.name),
        "vm_pid": process.pid if process else None,
        "vm_ticks": process.start_ticks if process else None,
        "agent": identity(str(vm.agent.path)) if vm.agent else None,
        "monitor": identity(str(vm.monitor.path)) if vm.monitor else None,
        "socket": socket_of(vm),
        "vm_host": identity(vm.id.host),
        "instance": identity(vm.generation) if vm.generation is not None else None,
        "uuid": vm.uuid,
        "incoming": int(vm.incoming),
    }


def _of_process(who: ProcessIdentity) -> dict[str, object]:
    return {
        "uid": who.uid,
        "user": plain(who.user),
        "pid": who.process.pid,
        "ticks": who.process.start_ticks,
        "command": plain(who.command, LONGEST_PATH),
        "host": identity(who.host),
        "boot": who.boot,
    }


def mark(ref: Ref, moment: str, when: Moment) -> list[Statement]:
    """Write the time of a moment of a window, unless it is written already.

    Args:
        ref: the window.
        moment: one of `MOMENTS`.
        when: its time.
    """
    assert moment in MOMENTS
    text = (
        f"UPDATE windows SET {moment}_at = coalesce({moment}_at, ?),"  # noqa: S608 - as above
        f" {moment}_s = coalesce({moment}_s, ?) WHERE {_is(ref)}"
    )
    return [(text, (when.at, when.seconds, ref))]


def add_event(ref: Ref, event: EventEntry, number: int | None = None) -> list[Statement]:
    """Add an event to a window; nothing is written if the window is not in the file.

    Args:
        ref: the window.
        event: the event.
        number: the event's number in its process, so that a repeated write adds it only once; None
            where it is not repeated.
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
    """Write a window's outcomes; a settled window stays settled.

    Args:
        ref: the window.
        outcome: the freeze's outcome, as in docs/json.md; None keeps what is written, here and
            below.
        thaw: the thaw's outcome, as in docs/json.md.
        rescue: the outcome of a rescue step, as in docs/json.md.
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


def set_job(ref: Ref, job: Mapping[str, object]) -> list[Statement]:
    """Write which copy was taken in a window, as JSON."""
    text = f"UPDATE windows SET job = ? WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (as_json(job, LONGEST_PATH, MOST_PATHS), ref))]


def set_versions(ref: Ref, versions: Mapping[str, object]) -> list[Statement]:
    """Write which versions took part in a window, as JSON."""
    text = f"UPDATE windows SET versions = ? WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (as_json(versions), ref))]


def set_writes(ref: Ref, points: Sequence[tuple[float, int]]) -> list[Statement]:
    """Write how many bytes the guest had written by then, each so many seconds after the request.

    They are kept as JSON, at most `MOST_SAMPLES` of them.
    """
    kept = {"points": [list(one) for one in points[-MOST_SAMPLES:]]}
    text = f"UPDATE windows SET writes = ? WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (as_json(kept, most=MOST_SAMPLES), ref))]


def hold(ref: Ref, seconds: float, *, more: bool) -> list[Statement]:
    """Write for how long a freeze is to be held, in seconds; with `more`, how much longer."""
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
    """Close a window whose own process could not close it.

    Args:
        ref: the window.
        text: why it is over, one clause for a person.
        at: wall clock (RFC 3339).
        settled: everything that had to be thawed is known to be thawed.
    """
    return [
        *mark(ref, "ended", Moment(at)),
        *conclude(ref, settled=settled),
        *note(ref, text),
    ]


def set_holder(ref: Ref, process: Process) -> list[Statement]:
    """Write which holder process is responsible for a window from now on."""
    text = f"UPDATE windows SET holder_pid = ?, holder_ticks = ? WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (process.pid, process.start_ticks, ref))]


def keep(ref: Ref) -> list[Statement]:
    """Write that a window's console has left it, and that its holder holds it to its end."""
    return [(f"UPDATE windows SET kept = 1 WHERE {_is(ref)}", (ref,))]  # noqa: S608 - as above


def served_by(ref: Ref, process: Process) -> list[Statement]:
    """Write the QEMU process of a window's VM, where the VM's backend did not know it."""
    text = (
        "UPDATE windows SET vm_ticks = CASE WHEN vm_pid IS NULL THEN ? ELSE vm_ticks END,"  # noqa: S608 - as above
        f" vm_pid = coalesce(vm_pid, ?) WHERE {_is(ref)}"
    )
    return [(text, (process.start_ticks, process.pid, ref))]


def set_uuid(ref: Ref, uuid: str) -> list[Statement]:
    """Write the UUID of a window's VM, where the VM's backend did not know it."""
    text = f"UPDATE windows SET uuid = coalesce(uuid, ?) WHERE {_is(ref)}"  # noqa: S608 - as above
    return [(text, (plain(uuid), ref))]


def check(at: str) -> list[Statement]:
    """Return a write without meaning, which tells whether the file can be written."""
    return [("INSERT OR REPLACE INTO facts (name, value) VALUES ('checked', ?)", (at,))]


def _is(ref: Ref, mark: str = "?") -> str:
    return f"id = {mark}" if isinstance(ref, int) else f"key = {mark}"


# -- strings --------------------------------------------------------------------------------------


def identity(text: str) -> str | bytes:
    """Return the stored form of a name or a path; different ones have different forms.

    A name that is no valid UTF-8, or contains a zero byte, is stored as bytes. A very long one is
    cut, and its digest is added. `from_identity` reads the stored form.
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
    """Return the name or path of a form that `identity` has returned."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    return str(value)


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the stored form of a text for a person: one printable line of limited length."""
    return printable(text, longest)


def as_json(
    value: Mapping[str, object], longest: int = LONGEST_TEXT, most: int = LONGEST_LIST
) -> str:
    """Return `value` as JSON with shortened texts and lists (P7); the JSON itself is never cut.

    Args:
        value: the object.
        longest: the maximum length of a text, in characters.
        most: the maximum number of items of a list.
    """
    capped = _capped(value, longest, most, _DEEPEST)
    return json.dumps(capped, allow_nan=False, separators=(",", ":"))


def _step(text: str) -> str | None:
    """Return what to do next, whole: it has a command, which means another thing if it is cut."""
    return text if len(text) <= LONGEST_COMMAND else None


def _capped(value: object, longest: int, most: int, depth: int) -> object:
    match value:
        case str():
            return value[:longest]
        case float() if not math.isfinite(value):
            return None  # JSON has no infinity and no NaN
        case None | bool() | int() | float():
            return value
        case _ if depth == 0:
            return None
        case Mapping():
            return {
                str(key)[:longest]: _step(one)
                if key == "next" and isinstance(one, str)
                else _capped(one, longest, most, depth - 1)
                for key, one in value.items()
            }
        case list() | tuple():
            return [_capped(one, longest, most, depth - 1) for one in value[:most]]
    return printable(value, longest)
