"""Reads outcomes back from the journal's JSON; what can't be read is not known. Pure.

The file may have been written by another version, or by hand. Nothing becomes better by being read:
a word that isn't known is left out, and *certified* takes an outcome that is verified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from agentclient.model.outcome import Evidence, FileSystem, Meaning, Outcome
from agentclient.model.states import (
    Cause,
    CopyIs,
    EvidenceResult,
    FreezeState,
    GuestIs,
    OutcomeKind,
    Refusal,
)

Json = Mapping[str, Any]
WordT = TypeVar("WordT", bound=StrEnum)

_COPY: Final = {
    CopyIs.CONSISTENT: "copy consistent",
    CopyIs.NOT: "copy not consistent",
    CopyIs.UNKNOWN: "copy not proven",
}
_GUEST: Final = {
    GuestIs.WRITES: "guest writes again",
    GuestIs.UNTOUCHED: "guest left as it is",
    GuestIs.FROZEN: "guest frozen",
    GuestIs.MAY_BE_FROZEN: "GUEST MAY BE FROZEN",
    GuestIs.WILL_FREEZE: "GUEST WILL FREEZE when its agent wakes",
    GuestIs.ENDED: "guest does not run any more",
}


def outcome_in(found: Json | None) -> Outcome | None:
    """Return the outcome of a freeze; None if there is none that can be read."""
    kind = word(OutcomeKind, (found or {}).get("outcome"))
    if found is None or kind is None:
        return None
    return Outcome(
        kind,
        text(found.get("reason")) or "",
        refusal=word(Refusal, found.get("refusal")),
        cause=word(Cause, found.get("cause")),
        frozen=count(found.get("frozen")),
        thawed=count(found.get("thawed")),
        certified=found.get("certified") is True and kind is OutcomeKind.VERIFIED,
        seconds=seconds(found.get("seconds")) or 0.0,
        coverage=text(found.get("coverage")),
        not_covered=tuple(_file_systems(found.get("not_covered"))),
        evidence=tuple(_evidence(found.get("evidence"))),
        next=text(found.get("next")),
        settled=found.get("settled") is True,
        meaning=_meaning(found.get("meaning")),
        kept=found.get("kept") is True,
        not_together=found.get("not_together") is True,
    )


def state_in(found: Json | None) -> FreezeState | None:
    """Return the state of the file systems after a thaw or a rung; None if that isn't known."""
    return word(FreezeState, (found or {}).get("state"))


def word(words: type[WordT], value: object) -> WordT | None:
    """Return one of a closed list's words; None for any other value."""
    return next((one for one in words if one == value), None)


def text(value: object) -> str | None:
    """Return a text; None if it is none."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int | None:
    """Return a whole number; None if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def seconds(value: object) -> float | None:
    """Return seconds; None if they are no number, or no time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _file_systems(value: object) -> list[FileSystem]:
    names = ("device", "mountpoint", "kind")
    return [FileSystem(*(str(one.get(name, "")) for name in names)) for one in _objects(value)]


def _evidence(value: object) -> list[Evidence]:
    found = []
    for one in _objects(value):
        name, result = text(one.get("name")), word(EvidenceResult, one.get("result"))
        said = one.get("value")
        if name is not None and result is not None:
            shown = said if isinstance(said, str | int) else None
            found.append(Evidence(name, result, shown, seconds(one.get("age_s"))))
    return found


def _meaning(value: object) -> Meaning | None:
    """Return what an outcome means, in its own sentences; None if they can't be read."""
    if not isinstance(value, dict):
        return None
    copy_is, guest_is = word(CopyIs, value.get("copy_is")), word(GuestIs, value.get("guest_is"))
    copy, guest = text(value.get("copy")), text(value.get("guest"))
    if copy_is is None or guest_is is None or copy is None or guest is None:
        return None
    return Meaning(copy, copy_is, guest, guest_is, f"{_COPY[copy_is]}; {_GUEST[guest_is]}")
