"""The picture of some freezes: a line for each, what they have in common, and a ruler. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len

from agentclient.model.durations import clock
from tui.shared.fit import fit, fit_middle
from tui.shared.glyphs import Signs
from tui.shared.timeline import Scale, Span, Track, bar, common_span, scale_of
from tui.shared.tone import Line, Piece, Tone

LEAST_BAR: Final = 12
_STEPS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800,
    3600, 7200, 14400, 43200, 86400,
)  # fmt: skip
_TICK: Final = 10  # cells that a tick of the ruler takes at least


class Layout(NamedTuple):
    """How wide each part of a line is, in cells."""

    name: int
    bar: int
    word: int


def layout(tracks: Sequence[Track], width: int) -> Layout:
    """Return how a line is shared; names and words get what they need, the picture all the rest."""
    name = min(max(cell_len(track.name) for track in tracks), max(width // 6, 6))
    word = min(max(cell_len(track.word.text) for track in tracks), max(width // 3, 8))
    taken = (name + 1 if name else 0) + (word + 1 if word else 0)
    return Layout(name, max(width - taken, LEAST_BAR), word)


def picture(
    tracks: Sequence[Track],
    width: int,
    signs: Signs,
    *,
    height: int = 100,
    size: int | None = None,
    ruled: bool = True,
) -> list[Line]:
    """Return freezes below each other, on one scale, as lines of at most `width` cells.

    Below a group stands what it has frozen together. The first stays; of further ones those that
    don't fit are counted. Where a line is left a ruler stands at the bottom.

    Args:
        tracks: the freezes; of a group all its members.
        width: so many cells.
        signs: the set of signs that the terminal can show.
        height: so many lines at the most.
        size: how many members the group has; None for no group, or for all that are given.
        ruled: whether there is to be a ruler.
    """
    if not tracks or height <= 0:
        return []
    together = common_span(tracks, size)
    shade = len(tracks) > 1 and height > 1
    shown = tracks[: max(height - shade, 1)]
    parts = layout(shown, width)
    scale = scale_of(shown, parts.bar)
    known = len(tracks) >= (size or len(tracks))
    apart = known and len(tracks) > 1 and together is None
    lines = [_row(track, parts, bar(track, scale, signs, together, apart=apart)) for track in shown]
    if shade:
        left = len(tracks) - len(shown)
        if known:
            lines.append(_shade(tracks, together, parts, scale, signs, unseen=left))
        else:
            text = f"only {len(tracks)} of the {size} that were frozen together are known here"
            lines.append((_indent(parts), Piece(text, Tone.DIM)))
    if ruled and len(lines) < height:
        lines.append((_indent(parts), Piece(ruler(shown, scale), Tone.DIM)))
    return lines


def _row(track: Track, parts: Layout, drawn: Line) -> Line:
    name = fit(fit_middle(track.name, parts.name), parts.name)
    word = (Piece(" "), track.word._replace(text=fit(track.word.text, parts.word)))
    end = word if parts.word else ()
    head = (Piece(f"{name} ", Tone.HEAD),) if parts.name else ()
    return (*head, *drawn, *end)


def _indent(parts: Layout) -> Piece:
    return Piece(" " * (parts.name + 1 if parts.name else 0))


def _shade(
    tracks: Sequence[Track],
    together: Span | None,
    parts: Layout,
    scale: Scale,
    signs: Signs,
    *,
    unseen: int,
) -> Line:
    """Return the line that says when all were frozen together, below their windows.

    Args:
        tracks: all members of the group.
        together: when all of them are frozen; None if never.
        parts: how wide each part of a line is.
        scale: the time of each cell.
        signs: the set of signs that the terminal can show.
        unseen: how many members are not shown.
    """
    indent, room = _indent(parts), parts.bar + (parts.word + 1 if parts.word else 0)
    more = f"  and {unseen} more" if unseen else ""
    if together is None:
        failed = any(track.ended is not None and not track.verified for track in tracks)
        waits = not failed and any(track.now is not None for track in tracks)
        text = "not all are frozen and verified yet" if waits else "never all frozen and verified"
        shown = fit(f"{text}{more}", room).rstrip()
        return (indent, Piece(shown, Tone.DIM if waits else Tone.BAD))
    first, last = scale.cell(together.begin), scale.cell(together.end)
    left, right, rule = ("<", ">", "-") if signs.ascii else ("├", "┤", "─")
    inside = max(last - first - 1, 0)
    text = f" together {briefly(together.seconds)} "
    if inside >= len(text):
        shown = f"{left}{text.center(inside, rule)}{right}"
    else:
        span = f"{left}{rule * inside}{right}"
        before = min(first, len(text))
        shown = f"{text}{span}" if before == len(text) else f"{span}{text}"
        first -= len(text) if before == len(text) else 0
    first = max(min(first, room - len(shown)), 0)
    end = fit(more, max(room - first - len(shown), 0)).rstrip()
    return (indent, Piece(" " * first), Piece(shown, Tone.FROZEN), Piece(end, Tone.DIM))


def ruler(tracks: Sequence[Track], scale: Scale) -> str:
    """Return the times below a picture, counted from when the first freeze was sent."""
    zero = min(track.asked if track.sent is None else track.sent for track in tracks)
    step = next(
        (one for one in _STEPS if one / scale.span * scale.width >= _TICK), math.ceil(scale.span)
    )
    text = ""
    for number in range(math.ceil(scale.span / step) + 1):
        at = zero + number * step
        cell = math.floor((at - scale.start) / scale.span * scale.width)
        label = f"'{_tick(number * step, step)}"
        if cell < len(text) or cell + len(label) > scale.width:
            continue
        text = f"{text:<{cell}}{label}"
    return fit(text, scale.width)


def _tick(seconds: float, step: float) -> str:
    if seconds >= 60:
        return clock(seconds)
    digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
    return f"{seconds:.{digits}f} s"


def briefly(seconds: float) -> str:
    """Return a duration in few letters: tenths of a second while it is short."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def skew_in_words(seconds: float) -> str:
    """Return how far apart the members of a group were frozen."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else briefly(seconds)
