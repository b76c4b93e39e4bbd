"""Past freezes, as the journal knows them, as lines of a picture (`tui.shared.timeline`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from agentclient.model.others_past import OthersResult
from agentclient.model.states import OutcomeKind, WindowKind, WindowState
from agentclient.model.timeline import Sample, Usual
from tui.shared.fit import safe
from tui.shared.glyphs import NO_GROUP, OUTCOME, Look, Signs
from tui.shared.history_text import outcome_word
from tui.shared.timeline import Track
from tui.shared.tone import Piece

if TYPE_CHECKING:
    from agentclient.journal.rows import Moment
    from agentclient.journal.window_row import WindowRow

_DRAWN = frozenset({WindowKind.FREEZE, WindowKind.OTHERS})


def outcome_kind(row: WindowRow) -> OutcomeKind | None:
    """Return how a freeze ended, or what its verdict is; None if that isn't known."""
    word = (row.outcome or {}).get("outcome")
    return next((one for one in OutcomeKind if one == word), None)


def is_certified(row: WindowRow) -> bool:
    """Return whether a freeze is certified: verified, over, and said to be so."""
    return row.certified


def shown_word(row: WindowRow) -> str:
    """Return how a window ended in one word: certified is more than verified."""
    return "certified" if is_certified(row) else safe(outcome_word(row), 40)


def look_of(row: WindowRow) -> Look | None:
    """Return the look of how a window ended; None if its word has none."""
    kind = outcome_kind(row) if row.kind is WindowKind.FREEZE and row.phase is None else None
    if kind is not None and row.without_group:
        return NO_GROUP
    return OUTCOME[kind] if kind is not None else None


def word_of(row: WindowRow, signs: Signs) -> Piece:
    """Return how a window ended, with its sign."""
    look = look_of(row)
    if look is None:
        return Piece(f"  {shown_word(row)}")
    return Piece(f"{signs.of(look)} {shown_word(row)}", look.tone)


def past_track(
    row: WindowRow, signs: Signs, now: datetime, usual: Usual | None = None, *, base: float = 0.0
) -> Track | None:
    """Return a past freeze as a line of the picture; None of what was no freeze.

    Args:
        row: its window in the journal.
        signs: the set of signs that the terminal can show.
        now: the wall clock, for one that goes on.
        usual: how long its VM's freezes take otherwise.
        base: when it was asked for, on the clock of the picture.
    """
    if row.kind not in _DRAWN or row.times["asked"] is None:
        return None
    at = {name: _at(row.times, name, base) for name in row.times}
    kind, sent = outcome_kind(row), at["sent"]
    if row.kind is WindowKind.OTHERS:
        sent = base if sent is None else sent
    if sent is None:
        return None
    failed = kind is OutcomeKind.FAILED and not (row.outcome or {}).get("frozen")
    others = row.kind is WindowKind.OTHERS
    goes_on = row.state is WindowState.OPEN
    track = Track(
        safe(row.vm.partition(":")[2] or row.vm, 60),
        base,
        sent,
        _replied(row, sent, at["replied"]) if not failed else None,
        at["verdict"],
        at["thaw_sent"],
        at["thawed"],
        at["ended"],
        kind=kind,
        certified=is_certified(row),
        settled=row.settled or goes_on or others,
        writes=tuple(Sample(base + s, size) for s, size in row.writes),
        usual=usual,
        word=word_of(row, signs),
    )
    if goes_on:
        asked = row.time_of("asked")
        waited = (now - asked).total_seconds() if asked is not None else 0.0
        return track._replace(ended=None, now=max(base + waited, track.end))
    return track._replace(ended=track.end if at["ended"] is None else at["ended"])


def _replied(row: WindowRow, sent: float, replied: float | None) -> float | None:
    """Return since when it was frozen; of others that is known if they had left it so."""
    if row.kind is not WindowKind.OTHERS:
        return replied
    return sent if (row.request or {}).get("result") == OthersResult.THAWED else None


def group_tracks(
    row: WindowRow,
    members: Sequence[WindowRow],
    signs: Signs,
    now: datetime,
    usual: Usual | None = None,
) -> tuple[Track, ...]:
    """Return a past freeze with those of its group, on one clock; empty of what was no freeze.

    Args:
        row: its window in the journal.
        members: the windows of its group; empty if it belongs to none.
        signs: the set of signs that the terminal can show.
        now: the wall clock, for one that goes on.
        usual: how long its VM's freezes take otherwise.
    """
    others = [one for one in members if one.window != row.window]
    rows = [row, *others]
    bases = [one.mono for one in rows]
    if None in bases:  # an older frostwatch has not written them
        bases = [_wall(one) for one in rows]
    first = min((base for base in bases if base is not None), default=0.0)
    drawn = [
        past_track(one, signs, now, usual if one is row else None, base=(base or first) - first)
        for one, base in zip(rows, bases, strict=True)
    ]
    if drawn[0] is None:
        return ()
    if not others:
        return (drawn[0]._replace(name=""),)
    return tuple(one for one in drawn if one is not None)


def group_size(row: WindowRow) -> int | None:
    """Return how many members its group has; None if it belongs to none."""
    size = (row.request or {}).get("group_size")
    return size if row.group is not None and isinstance(size, int) else None


def took(row: WindowRow) -> str:
    """Return how long a freeze took from its sending to its answer; empty if it had none."""
    sent, replied = _at(row.times, "sent", 0.0), _at(row.times, "replied", 0.0)
    return "" if sent is None or replied is None else f"{replied - sent:.1f} s"


def _at(times: Mapping[str, Moment | None], name: str, base: float) -> float | None:
    """Return a moment on the clock of the picture; by the wall clock where no other is known."""
    moment, asked = times[name], times["asked"]
    if moment is None:
        return None
    if moment.seconds is not None:
        return base + moment.seconds
    then, first = _moment(moment), _moment(asked)
    if then is None or first is None:
        return None
    return base + max((then - first).total_seconds(), 0.0)


def _moment(moment: Moment | None) -> datetime | None:
    return None if moment is None else datetime.fromisoformat(moment.at)


def _wall(row: WindowRow) -> float | None:
    asked = _moment(row.times["asked"])
    return None if asked is None else asked.timestamp()
