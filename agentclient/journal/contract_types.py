"""Whether what stands in a row has the types of docs/json.md: what has not is not read.

The file may have been damaged, or written by hand. A value of another type may look like a better
one (*certified* is true, and not 1 or "yes"), so that nothing of its object is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentclient.model.states import OutcomeKind

Check = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_object, value))


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_meaning(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value.values()))


_COMMON: Final[dict[str, Check]] = {
    "ok": _is_flag,
    "state": _is_text,
    "thawed": _is_count,
    "seconds": _is_figure,
    "meaning": _is_meaning,
    "next": _is_text,
    "reason": _is_text,
}
_OUTCOME: Final[dict[str, Check]] = {
    **_COMMON,
    "outcome": _is_text,
    "refusal": _is_text,
    "frozen": _is_count,
    "certified": _is_flag,
    "settled": _is_flag,
    "cause": _is_text,
    "coverage": _is_text,
    "not_covered": _are_objects,
    "evidence": _are_objects,
    "kept": _is_flag,
    "not_together": _is_flag,
}
_THAW: Final[dict[str, Check]] = {**_COMMON, "refused": _is_flag}
_RESCUE: Final[dict[str, Check]] = {
    **_COMMON,
    "rung": _is_text,
    "by": _is_text,
    "found": _is_text,
}
_JOB: Final[dict[str, Check]] = {
    "job": _is_text,
    "name": _is_text,
    "result": _is_text,
    "ok": _is_flag,
    "consistency": _is_text,
    "left": _are_texts,
    "window": lambda value: _is_object(value) and is_of_contract("outcome", value),
}
_COLUMNS: Final[Mapping[str, Mapping[str, Check]]] = {
    "outcome": _OUTCOME,
    "thaw": _THAW,
    "rescue": _RESCUE,
    "job": _JOB,
}


def is_of_contract(column: str, found: Any) -> bool:
    """Return whether a column's object has the types of the contract.

    What is null, missing, or of a newer frostwatch is no fault.

    Args:
        column: the column of the journal.
        found: the object.
    """
    checks = _COLUMNS.get(column, {})
    known = [(check, found[name]) for name, check in checks.items() if found.get(name) is not None]
    if not all(check(value) for check, value in known):
        return False
    certified = column == "outcome" and found.get("certified") is True
    together = found.get("not_together") is not True
    return not certified or (found.get("outcome") == OutcomeKind.VERIFIED and together)
