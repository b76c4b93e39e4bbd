"""What the journal knows of past freezes and thaws, in words: for the table and for a dialog."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from agentclient.model.others import ChannelClient
from agentclient.model.others_freeze import Grade, graded_of
from agentclient.model.others_past import OthersResult
from agentclient.model.outcome import NO_GROUP
from agentclient.model.states import Phase, WindowKind, WindowState
from agentclient.model.text import printable

if TYPE_CHECKING:
    from agentclient.journal.figures import Figures
    from agentclient.journal.window_row import WindowRow

_NOW = {
    Phase.PREPARING: "preparing",
    Phase.PENDING: "pending",
    Phase.HELD: "held now",
    Phase.THAWING: "thawing",
}
_BEGUN = ("thaw_sent", "held", "sent")


def figures_in_words(found: Figures) -> str:
    """Return how long a VM's freezes take, from their sending to their reply."""
    count = "1 freeze" if found.count == 1 else f"{found.count} freezes"
    return f"{count} answered: {_in_words(found)}"


def others_in_words(found: Figures) -> str:
    """Return how long others' commands waited for their answers, those of a second or more."""
    count = "1 command" if found.count == 1 else f"{found.count} commands"
    return f"others: {count} of a second or more answered: {_in_words(found)}"


def _in_words(found: Figures) -> str:
    return (
        f"median {seconds_in_words(found.median_s)} s, "
        f"95 % within {seconds_in_words(found.p95_s)} s, worst {seconds_in_words(found.worst_s)} s"
    )


def outcome_word(row: WindowRow) -> str:
    """Return how a window ended, or what is going on, in a word or two."""
    if row.phase is not None:
        return _NOW[row.phase]
    if row.rescue is not None:
        return printable(row.rescue.get("rung"), 40)
    if row.kind is WindowKind.OTHERS:
        return printable((row.request or {}).get("result"), 40)
    if row.without_group:
        return NO_GROUP
    if row.outcome is not None:
        return printable(row.outcome.get("outcome"), 40)
    if row.thaw is not None and row.kind is WindowKind.THAW:
        if row.thaw.get("ok"):
            return "thawed"
        return "refused" if row.thaw.get("refused") else "failed"
    if row.unreadable is not None:
        return "unreadable"
    return "-" if row.state is WindowState.CLOSED else row.state.value


def counts(row: WindowRow) -> str:
    """Return how many file systems were frozen, and thawed."""
    outcome, thaw = row.outcome or {}, row.thaw or {}
    thawed = outcome.get("thawed")
    thawed = thaw.get("thawed") if thawed is None else thawed
    return f"{_count(outcome.get('frozen'))}/{_count(thawed)}"


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else "-"


def notes(row: WindowRow) -> Iterable[str]:
    """Yield what else a person should know of a window."""
    if row.held_until is not None and row.phase is Phase.HELD:
        yield f"until {row.held_until.astimezone():%H:%M:%S}"
    elif row.phase is not None:
        yield from _since(row)
    if row.kind is WindowKind.THAW:
        yield "thaw"
    if row.kind is WindowKind.RESCUE:
        yield from _rescued(row)
    if row.kind is WindowKind.OTHERS:
        yield from _of_others(row)
    refusal = (row.outcome or {}).get("refusal")
    if refusal:
        yield str(refusal)
    if row.state is WindowState.LEFT and row.unreadable is None:
        yield "its process has died"
    yield from row.notes
    if row.kind is WindowKind.FREEZE and row.state is not WindowState.OPEN and not row.settled:
        yield from _left_to_holder(row)
        yield "MAY BE FROZEN"
    if row.settled and row.note:
        yield "settled"


def _left_to_holder(row: WindowRow) -> Iterable[str]:
    """Yield until when a window is held that was left to its holder on purpose."""
    held = row.time_of("replied") or row.time_of("held")
    if (row.outcome or {}).get("kept") is True:
        ends = ""
        if held is not None and row.hold_s is not None:
            ends = f" until {held + timedelta(seconds=row.hold_s):%H:%M:%S}"
        yield f"left to its holder{ends}"


def _since(row: WindowRow) -> Iterable[str]:
    """Yield since when an open window is where it is."""
    times = (row.time_of(name) for name in (*_BEGUN, "asked"))
    begun = next((one for one in times if one is not None), None)
    if begun is not None:
        yield f"since {begun:%H:%M:%S}"


def _of_others(row: WindowRow) -> Iterable[str]:
    """Yield what others had pending, and what came of it."""
    request = row.request or {}
    cause = request.get("cause")
    seconds = f" for {seconds_in_words(row.seconds)} s" if row.seconds is not None else ""
    who = printable(ChannelClient(row.command, row.pid), 120) if row.pid else "somebody"
    if request.get("result") == OthersResult.THAWED:
        yield f"{who} had left it frozen{seconds}, as it seems"
    else:
        yield f"{who}: a command of theirs{_likely(row)} was pending{seconds}"
    if cause:
        yield printable(cause, 40)


def _likely(row: WindowRow) -> str:
    """Return whether it was a freeze, as far as is known."""
    locked = (row.request or {}).get("locked_by")
    graded = graded_of(ChannelClient(row.command, row.pid), locked)
    return ", likely a freeze," if graded.grade is Grade.LIKELY else ""


def _rescued(row: WindowRow) -> Iterable[str]:
    """Yield what a rung was, and what it found."""
    rescue, asked = row.rescue or {}, row.request or {}
    by = rescue.get("by") or asked.get("by")
    yield f"rung {rescue.get('rung') or asked.get('rung')}" + (f" by {by}" if by else "")
    if rescue.get("found"):
        yield f"found: {rescue['found']}"


def seconds_in_words(value: float | None) -> str:
    """Return seconds as the table shows them."""
    return "-" if value is None else f"{value:.1f}"
