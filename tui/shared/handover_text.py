"""The handover in words: what has happened since the operator left, the worst of it named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from agentclient.model.states import FreezeState, Level, WindowState
from agentclient.model.text import printable
from tui.shared.history_text import outcome_word

if TYPE_CHECKING:
    from agentclient.journal.handover import Handover, HeldNow
    from agentclient.journal.window_row import WindowRow

_NAMED = 3  # so many of each kind are told with their names
_HARMLESS = frozenset({"certified", "refused"})


def handover_told(found: Handover, now: datetime) -> tuple[str, Level]:
    """Return what has happened, in a sentence, and how much it matters."""
    return handover_text(found, now), handover_level(found)


def handover_text(found: Handover, now: datetime) -> str:
    """Return what has happened, in a sentence."""
    since = f"since you left {_when(found.since, now)}"
    found = _without_held(found)
    clauses = [*_freezes(found), *_held(found.held)]
    if found.missing is not None:
        rest = "more may be missing" if clauses else "what was frozen is not known"
        clauses.append(f"{rest}: {found.missing}")
    return f"{since}: {'; '.join(clauses)}" if clauses else f"{since}: nothing was frozen"


def handover_level(found: Handover) -> Level:
    """Return how much it matters."""
    found = _without_held(found)
    if any(_may_be_frozen(row) for row in found.windows):
        return Level.ERROR
    doubtful = any(_word(row) not in _HARMLESS and row.phase is None for row in found.windows)
    if doubtful or found.missing is not None:
        return Level.WARNING
    return Level.GOOD if found.windows else Level.INFO


def _without_held(found: Handover) -> Handover:
    """Return it without the windows that holders hold as was asked: those are told by name."""
    held = {(one.vm, one.by.pid) for one in found.held if one.by.kept}
    rows = [one for one in found.windows if not (_is_kept(one) and (_name(one), one.pid) in held)]
    return found if len(rows) == len(found.windows) else replace(found, windows=tuple(rows))


def _is_kept(row: WindowRow) -> bool:
    return (row.outcome or {}).get("kept") is True and not row.settled


def _name(row: WindowRow) -> str:
    return row.vm.partition(":")[2] or row.vm


def _when(at: datetime, now: datetime) -> str:
    local = at.astimezone(now.tzinfo)
    day = "" if local.date() == now.date() else f"on {local:%Y-%m-%d} "
    return f"{day}at {local:%H:%M}"


def _freezes(found: Handover) -> Iterator[str]:
    rows = found.windows
    if not rows and found.cut:
        yield "more than is told here (frostwatch history)"
    if not rows:
        return
    least = "at least " if found.cut else ""
    total = f"{least}{len(rows)} freeze{'' if len(rows) == 1 else 's'}"
    words = Counter(map(_word, rows))
    parts = [total, *([f"{words['certified']} certified"] if words["certified"] else [])]
    for word, count in words.most_common():
        if word != "certified":
            named = "" if word in _HARMLESS else _named([row for row in rows if _word(row) == word])
            parts.append(f"{count} {word}{named}")
    yield ", ".join(parts)


def _word(row: WindowRow) -> str:
    """Return how a window ended; *certified* only if it is over, and said to be so."""
    if row.certified:
        return "certified"
    if row.state is WindowState.LEFT:
        return "left by a process that died"
    over = row.state is WindowState.CLOSED and row.outcome is None and row.unreadable is None
    return "over by now" if over else outcome_word(row)


def _named(rows: Sequence[WindowRow]) -> str:
    each = [_incident(row) for row in rows[-_NAMED:]]
    more = len(rows) - len(each)
    return f" ({'; '.join(each)}{f'; and {more} more' if more else ''})"


def _incident(row: WindowRow) -> str:
    asked, thawed = row.times["asked"], row.times["thawed"]
    at = f", {_clock(asked.at)}" if asked is not None else ""
    end = f"; thawed {_clock(thawed.at)}" if thawed is not None else ""
    if _may_be_frozen(row):
        end = "; MAY STILL BE FROZEN"
    return f"{printable(_name(row), 40)}{at}{end}"


def _may_be_frozen(row: WindowRow) -> bool:
    return not row.settled and row.state is not WindowState.OPEN and row.times["sent"] is not None


def _clock(at: str) -> str:
    return f"{datetime.fromisoformat(at):%H:%M}"


def _held(found: Sequence[HeldNow]) -> Iterator[str]:
    for one in found[:_NAMED]:
        until = f", until {one.by.until:%H:%M}" if one.by.until is not None else ""
        frozen = one.by.state in (None, FreezeState.FROZEN)
        word = "held" if frozen or one.by.state is None else one.by.state.value
        yield (
            f"{printable(one.vm, 40)} is {word} by {printable(one.by.user, 32)}, "
            f"pid {one.by.pid}{until}"
        )
    if len(found) > _NAMED:
        yield f"{len(found) - _NAMED} guests more are held by others"
