"""The commands of the palette, as they are now: with their keys, and why one can't be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from textual.binding import Binding

from tui.console import keymap
from tui.console.model.commands import Command
from tui.console.model.order import Order
from tui.console.widgets.table.columns import COLUMNS

_ITSELF = "palette"


def commands_of(
    places: keymap.Groups,
    why_not: Callable[[str], str | None],
    keys: Mapping[str, str],
    themes: Iterable[str],
) -> tuple[Command, ...]:
    """Return all commands.

    Args:
        places: the actions that have keys, and whose they are.
        why_not: returns why an action, by its id, can't be done now; None if it can.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        themes: the names of all themes.
    """
    return (*_bound(places, why_not, keys), *_orders(), *_themes(themes))


def _bound(
    places: keymap.Groups, why_not: Callable[[str], str | None], keys: Mapping[str, str]
) -> Iterator[Command]:
    for place, bindings in places:
        by_action: dict[str, list[Binding]] = {}
        for binding in bindings:
            if isinstance(binding, Binding) and binding.id != _ITSELF:
                by_action.setdefault(binding.action, []).append(binding)
        for action, same in by_action.items():
            first = same[0]
            named = " ".join(keymap.keys_of(one, keys) for one in same)
            told = first.tooltip or first.description
            reason = why_not(first.id or "")
            yield Command(first.description, named, told, action, place, reason)


def _orders() -> Iterator[Command]:
    for column in COLUMNS:
        order = Order(column.id)
        yield Command(f"Sort by {column.title}", "", order.label, f"sort_by('{order}')")


def _themes(names: Iterable[str]) -> Iterator[Command]:
    for name in names:
        yield Command(f"Theme {name}", "", "These colours, also the next time", f"theme('{name}')")
