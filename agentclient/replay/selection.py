"""Finds the windows of an incident: those of one window and its group, or of a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from agentclient.journal.history import Guest, guests
from agentclient.journal.incidents import between, newest_of, window_of
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow
from agentclient.model.errors import BadInput
from agentclient.model.states import WindowKind
from agentclient.model.text import printable

# An incident begins so long before its window, and goes on for so long after it.
BEFORE: Final = timedelta(minutes=1)
AFTER: Final = timedelta(minutes=10)
# What is played at the most: a night of more than a thousand guests.
MOST_WINDOWS: Final = 5_000


class Ask(Protocol):
    """Asks the journal."""

    def __call__(self, query: Query[Any], /) -> Any:
        """Return the result of a query, or raise why there is none."""


def of_window(ask: Ask, number: int | None, names: Sequence[str]) -> tuple[WindowRow, ...]:
    """Return what happened around a window: to its VM, and to those that were frozen with it.

    Args:
        ask: asks the journal.
        number: the window's; None for the newest in which anything was sent, of the VMs.
        names: the VMs, by name or id; empty for those of the window and of its group.

    Raises:
        BadInput: there is no such window, or a name means none of the VMs, or several.
    """
    vms = _vms(ask, names)
    found = ask(window_of(number) if number is not None else newest_of(vms))
    if not found:
        raise BadInput(_no_window(number, names))
    (anchor,) = found
    span = span_of(anchor)
    if span is None:
        raise BadInput(f"window {anchor.window} can't be replayed: it can't be read")
    near = of_time(ask, span[0] - BEFORE, span[1] + AFTER, ())
    wanted = set(vms) or {one.vm for one in near if _together(one, anchor)} | {anchor.vm}
    return tuple(one for one in near if one.vm in wanted)


def of_time(
    ask: Ask, begin: datetime, end: datetime, names: Sequence[str]
) -> tuple[WindowRow, ...]:
    """Return the windows that were going on at any time of a span.

    Args:
        ask: asks the journal.
        begin: the span's beginning.
        end: its end.
        names: the VMs, by name or id; empty for all.

    Raises:
        BadInput: a name means no VM, or several; or they are too many windows.
    """
    found: tuple[WindowRow, ...] = ask(between(begin, end, _vms(ask, names), MOST_WINDOWS + 1))
    if len(found) > MOST_WINDOWS:
        raise BadInput(
            f"there are more than {MOST_WINDOWS} windows in that time: name some VMs, or one window"
        )
    return found


def span_of(row: WindowRow) -> tuple[datetime, datetime] | None:
    """Return when a window began, and when the last thing of it happened; None if unreadable."""
    times = [one.at for one in row.times.values() if one is not None]
    if row.times["asked"] is None:
        return None
    moments = [datetime.fromisoformat(at) for at in times]
    return min(moments), max(moments)


def _together(one: WindowRow, anchor: WindowRow) -> bool:
    """Return whether a window is of the same group, else of the same process at that time."""
    key = (anchor.request or {}).get("group")
    if key is not None:
        return bool((one.request or {}).get("group") == key)
    same = (one.host, one.pid, one.user) == (anchor.host, anchor.pid, anchor.user)
    first, second = span_of(one), span_of(anchor)
    if not same or one.kind is not WindowKind.FREEZE or first is None or second is None:
        return False
    return first[0] <= second[1] and second[0] <= first[1]


def _vms(ask: Ask, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_ids(ask, names)))


def _ids(ask: Ask, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        found: tuple[Guest, ...] = ask(guests(name))
        if not found:
            raise BadInput(f"the journal knows no VM called {printable(name)!r}")
        if len(found) > 1:
            known = " and ".join(sorted(printable(one.vms[0]) for one in found))
            raise BadInput(
                f"{printable(name)!r} is ambiguous: it can be {known}; name one by its id"
            )
        yield from found[0].vms


def _no_window(number: int | None, names: Sequence[str]) -> str:
    if number is not None:
        return f"the journal has no window {number} (frostwatch history --json names them all)"
    of = f" of {', '.join(map(printable, names))}" if names else ""
    return f"nothing was frozen{of} yet, as far as the journal knows: there is nothing to replay"
