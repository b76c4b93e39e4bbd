"""How the operator looks at the fleet, as it is kept for the next console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tui.console.model.order import Order

_LONGEST_FILTER = 1000
_LONGEST_NAME = 40
_MOST_LINES = 500


class KeptView(NamedTuple):
    """What is kept; each default is what a console begins with that has nothing.

    Attributes:
        columns: the columns' ids, from left to right, the name's first; empty for the usual ones.
        sort: what the table is sorted by.
        backwards: whether it is sorted the other way round.
        filter: what was typed; empty for none.
        theme: the theme's name; empty for the usual one.
        split: lines that the operator gave the pane, or took from it.
    """

    columns: tuple[str, ...] = ()
    sort: str = next(iter(Order)).value
    backwards: bool = False
    filter: str = ""
    theme: str = ""
    split: int = 0

    def values(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**self._asdict(), "columns": list(self.columns)}

    def readable(self) -> KeptView:
        """Return it without a filter that the next console would not take."""
        return self if _is_text(self.filter, _LONGEST_FILTER) else self._replace(filter="")


USUAL = KeptView()


def from_values(values: Mapping[str, Any]) -> KeptView:
    """Return what plain values keep; what can't be used among them counts for nothing."""
    found: dict[str, Any] = {}
    columns = values.get("columns")
    if isinstance(columns, list) and _are_columns(columns):
        found["columns"] = tuple(columns)
    if values.get("sort") in tuple(Order):
        found["sort"] = values["sort"]
    if isinstance(values.get("backwards"), bool):
        found["backwards"] = values["backwards"]
    for name, longest in (("filter", _LONGEST_FILTER), ("theme", _LONGEST_NAME)):
        text = values.get(name)
        if _is_text(text, longest):
            found[name] = text
    split = values.get("split")
    if isinstance(split, int) and not isinstance(split, bool) and abs(split) <= _MOST_LINES:
        found["split"] = split
    return USUAL._replace(**found)


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and value.isprintable()


def _are_columns(ids: list[object]) -> bool:
    known = set(Order)
    names = [one for one in ids if isinstance(one, str) and one in known]
    return names == ids and len(set(names)) == len(names) and ids[:1] == [Order.NAME.value]


def changed(before: KeptView, now: KeptView) -> dict[str, Any]:
    """Return the plain values that differ: another console may have changed the others."""
    old = before.values()
    return {name: value for name, value in now.values().items() if value != old[name]}
