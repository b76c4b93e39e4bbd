"""Freezes as lines with the time to the right: asked, flush or hook, held, thawed. Pure.

    web1  ··▁▂▅▇▃[▂▁]▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓│  ✓ verified

A solid block is drawn of what is *certified* alone; what is not verified is never drawn as if it
were. What a group has frozen at the same time stands out from the rest of each window. Each sign
means one thing, so that the picture is read without colour and in ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from agentclient.model.states import OutcomeKind
from agentclient.model.timeline import Sample, Usual
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone


class Mark(NamedTuple):
    """A sign of the picture, and what it means."""

    sign: str
    ascii: str
    meaning: str

    def shown(self, signs: Signs) -> str:
        """Return it as this terminal can show it."""
        return self.ascii if signs.ascii else self.sign


BEFORE = Mark("·", ".", "asked for, and not sent yet")
PENDING = Mark("─", "-", "flush or hook: the agent's answer is waited for")
HELD = Mark("▓", "=", "frozen and verified, so far")
CERTIFIED = Mark("█", "#", "frozen, and certified")
ALONE = Mark("▒", "+", "frozen, while others of its group are not")
UNSURE = Mark("░", "?", "may be frozen: lost, or not verified")
REST = Mark("┄", ",", "what is left of the hold")
THAWING = Mark("»", "~", "its thaw was sent")
THAWED = Mark("│", "|", "thawed")
LOST = Mark("✗", "x", "what was sent will not be answered")
LEFT = Mark("!", "!", "may still be frozen")
CLIPPED = Mark("‹", "<", "began earlier, or may have")
USUAL = Mark("[", "[", "half of its freezes are answered by here")
USUAL_END = Mark("]", "]", "95 of 100 are answered by here")
CUT = Mark("›", ">", "goes on beyond the edge")
NOTHING = Mark(" ", " ", "")
MARKS: Final = (
    BEFORE, PENDING, USUAL, USUAL_END, HELD, CERTIFIED, ALONE, UNSURE, REST, THAWING, THAWED, LOST,
    LEFT, CLIPPED, CUT,
)  # fmt: skip
WRITES: Final = ("▁▂▃▄▅▆▇", "_:;^*%@")
WRITES_MEANING: Final = "the same, and how much it writes meanwhile"

# The spans of a picture that grows, in seconds: one by one, so that it does not move all the time.
NICE: Final = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 90, 105, 120, 150, 180, 240, 300,
    360, 420, 480, 600, 720, 900, 1200, 1500, 1800, 2400, 3000, 3600,
)  # fmt: skip
_VERIFIED: Final = frozenset({OutcomeKind.VERIFIED})
_UNANSWERED: Final = frozenset({OutcomeKind.LOST, OutcomeKind.TIMEOUT})


class Track(NamedTuple):
    """One freeze; its times are seconds of one clock, and None for what has not happened.

    Attributes:
        name: safe to show.
        asked: when it was asked for.
        sent: when the freeze was sent.
        replied: when the agent acknowledged it.
        verdict_at: when its verdict was reached.
        thaw_sent: when its thaw was sent.
        thawed: when that was acknowledged.
        ended: when all was over; None while it goes on.
        now: the time now, while it goes on.
        hold_ends: when it is thawed on its own.
        kind: its verdict, or its outcome; None before that.
        certified: its outcome is certified.
        settled: everything that had to be thawed is known to be thawed.
        writes: what the guest had written by then.
        usual: how long its freezes take otherwise.
        word: what stands behind the picture.
        earlier: it may have begun before anybody looked.
    """

    name: str
    asked: float
    sent: float | None = None
    replied: float | None = None
    verdict_at: float | None = None
    thaw_sent: float | None = None
    thawed: float | None = None
    ended: float | None = None
    now: float | None = None
    hold_ends: float | None = None
    kind: OutcomeKind | None = None
    certified: bool = False
    settled: bool = True
    writes: tuple[Sample, ...] = ()
    usual: Usual | None = None
    word: Piece = Piece("")
    earlier: bool = False

    @property
    def end(self) -> float:
        """The last moment of it that is known."""
        known = (self.asked, self.sent, self.replied, self.thaw_sent, self.thawed, self.ended)
        return max(one for one in (*known, self.now) if one is not None)

    @property
    def verified(self) -> bool:
        """Whether it is frozen by all evidence, or was until its thaw."""
        return self.replied is not None and self.kind in _VERIFIED

    @property
    def frozen_until(self) -> float | None:
        """Until when it is known to be frozen: its thaw may work as soon as it is sent."""
        if self.replied is None:
            return None
        ends = [one for one in (self.thaw_sent, self.thawed) if one is not None]
        return max(min(ends, default=self.end), self.replied)


class Span(NamedTuple):
    """A time in which all members of a group are frozen."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.begin


class Scale(NamedTuple):
    """Which time each cell stands for.

    Attributes:
        start: the time at the left edge.
        span: seconds from there to the right edge.
        width: so many cells.
    """

    start: float
    span: float
    width: int

    def cell(self, at: float) -> int:
        """Return the cell in which a moment is; what is outside is at the edge."""
        place = (at - self.start) / self.span * self.width
        return math.floor(min(max(place, 0), self.width - 1))

    def time(self, cell: int) -> float:
        """Return the time at the left edge of a cell."""
        return self.start + cell * self.span / self.width


def common_span(tracks: Sequence[Track], size: int | None = None) -> Span | None:
    """Return when all of them are frozen and verified at the same time; None if never.

    Args:
        tracks: the members.
        size: how many members the group has; None for all that are given.
    """
    if len(tracks) < (size or 2) or not all(track.verified for track in tracks):
        return None
    begin = max(track.replied for track in tracks if track.replied is not None)
    end = min(track.frozen_until for track in tracks if track.frozen_until is not None)
    return Span(begin, end) if end > begin else None


def scale_of(tracks: Sequence[Track], width: int) -> Scale:
    """Return a scale on which all tracks are seen whole, but for a long wait before the sending."""
    end = max(map(_wanted_end, tracks))
    start = min(_wanted_start(track, end) for track in tracks)
    need = max(end - start, 0.01)
    if any(track.now is not None for track in tracks):  # so that it does not move all the time
        need = next((float(one) for one in NICE if one >= need), math.ceil(need / 3600) * 3600.0)
    else:
        need *= 1.02
    return Scale(start, need, max(width, 1))


def _wanted_end(track: Track) -> float:
    ends = [track.end]
    if track.now is not None and track.hold_ends is not None:
        ends.append(track.hold_ends)
    if track.sent is not None and track.usual is not None and track.replied is None:
        ends.append(track.sent + track.usual.p95_s * 1.05)  # so that its bracket is seen
    return max(ends)


def _wanted_start(track: Track, end: float) -> float:
    if track.sent is None:
        return track.asked
    return max(track.asked, track.sent - max((end - track.sent) * 0.15, 0.05))


# -- one line ------------------------------------------------------------------------------------


def bar(
    track: Track,
    scale: Scale,
    signs: Signs,
    together: Span | None = None,
    *,
    apart: bool = False,
) -> Line:
    """Return one freeze as pieces of exactly `scale.width` cells.

    Args:
        track: the freeze.
        scale: the time of each cell.
        signs: the set of signs that the terminal can show.
        together: when all members of its group are frozen; None if it has no group, or never.
        apart: they never are, as far as is known by now.
    """
    if apart:
        together = Span(math.inf, math.inf)
    cells = [Piece(NOTHING.sign)] * scale.width
    for first, last, pieces in _stretches(track, scale, signs, together):
        cells[first:last] = pieces
    for at, mark, tone in _instants(track):
        cells[scale.cell(at)] = Piece(mark.shown(signs), tone)
    for cell, mark in _usual(track, scale):
        cells[cell] = Piece(mark.shown(signs), Tone.HEAD)
    if track.earlier or track.asked < scale.start:
        cells[0] = Piece(CLIPPED.shown(signs), Tone.DIM)
    if track.end > scale.start + scale.span:
        cells[-1] = Piece(CUT.shown(signs), Tone.DIM)
    return tuple(
        Piece("".join(one.text for one in same), tone)
        for tone, same in groupby(cells, key=lambda one: one.tone)
    )


_Stretch = tuple[int, int, list[Piece]]


def _stretches(
    track: Track, scale: Scale, signs: Signs, together: Span | None
) -> Iterator[_Stretch]:
    """Yield what is drawn from which cell to which; each that has begun has one cell at least."""
    ends = (track.sent, track.replied, track.thaw_sent, track.thawed)
    _, replied, thaw_sent, thawed = ends
    first = scale.cell(track.asked)
    sent_at = track.end if track.sent is None else track.sent
    sent = scale.cell(sent_at)
    yield _stretch(first, sent, Piece(BEFORE.shown(signs), Tone.DIM))
    if track.sent is None:
        if track.now is not None:
            yield _stretch(first, sent + 1, Piece(BEFORE.shown(signs), Tone.DIM))
        return
    until = _first(replied, thaw_sent, thawed) or track.end
    answered = max(scale.cell(until), sent + (until > sent_at))
    pending = _pending(track, scale, signs, sent, answered)
    yield sent, min(answered, scale.width), pending[: scale.width - sent]
    frozen_until = track.frozen_until if replied is not None else thaw_sent or thawed
    held_until = max(scale.cell(frozen_until or track.end), answered + (replied is not None))
    if replied is not None:
        cells = [_held(track, scale, signs, together, cell) for cell in range(answered, held_until)]
        yield answered, min(held_until, scale.width), cells[: max(scale.width - answered, 0)]
    over = scale.cell(thawed if thawed is not None else track.end)
    if thaw_sent is not None:
        yield _stretch(held_until, over, Piece(THAWING.shown(signs), Tone.ACTIVE))
    elif track.now is not None and track.hold_ends is not None:
        rest = scale.cell(track.hold_ends)
        yield _stretch(held_until, rest, Piece(REST.shown(signs), Tone.DIM))


def _stretch(first: int, last: int, piece: Piece) -> _Stretch:
    return first, max(last, first), [piece] * max(last - first, 0)


def _first(*times: float | None) -> float | None:
    return min((one for one in times if one is not None), default=None)


def _pending(track: Track, scale: Scale, signs: Signs, first: int, last: int) -> list[Piece]:
    """Return the time from the sending to the answer; what comes after a loss is unsure."""
    assert track.sent is not None
    written = _written(track, scale, range(first, last))
    most = max((one for one in written if one is not None), default=0.0)
    late = math.inf if track.usual is None else scale.cell(track.sent + track.usual.p95_s)
    lost = track.verdict_at if track.kind in _UNANSWERED else None
    pieces = []
    for cell, size in zip(range(first, last), written, strict=True):
        if lost is not None and cell > scale.cell(lost):
            pieces.append(Piece(UNSURE.shown(signs), Tone.BAD))
            continue
        sign = PENDING.shown(signs) if size is None else _level(size, most, signs)
        pieces.append(Piece(sign, Tone.WARN if cell > late else Tone.ACTIVE))
    return pieces


def _level(size: float, most: float, signs: Signs) -> str:
    levels = WRITES[1] if signs.ascii else WRITES[0]
    return levels[min(math.ceil(size / most * (len(levels) - 1)), len(levels) - 1) if most else 0]


def _written(track: Track, scale: Scale, cells: range) -> list[float | None]:
    """Return how many bytes were written in each cell; None where that isn't known."""
    if not track.writes or track.sent is None:
        return [None] * len(cells)
    samples = [Sample(track.sent, 0), *(one for one in track.writes if one.at > track.sent)]
    known_until = samples[-1].at + 3.0 if track.now is not None else math.inf
    ends = [max(scale.time(cell), track.sent) for cell in (*cells, cells.stop)]
    sizes = [_size_at(samples, at) for at in ends]
    return [
        max(after - before, 0.0) if at <= known_until else None
        for (before, after), at in zip(pairwise(sizes), ends, strict=False)
    ]


def _size_at(samples: Sequence[Sample], at: float) -> float:
    """Return what had been written by a moment, between two samples in proportion."""
    for before, after in pairwise(samples):
        if before.at <= at < after.at:
            part = (at - before.at) / (after.at - before.at)
            return before.size + (after.size - before.size) * part
    return float(samples[-1].size if at >= samples[-1].at else samples[0].size)


def _held(track: Track, scale: Scale, signs: Signs, together: Span | None, cell: int) -> Piece:
    """Return one cell of the time in which it is frozen, as sure as that is."""
    if not track.verified:
        tone = Tone.WARN if track.kind in (None, OutcomeKind.UNVERIFIED) else Tone.BAD
        return Piece(UNSURE.shown(signs), tone)
    tone = Tone.GOOD if track.certified else Tone.FROZEN
    if together is not None:
        first, last = scale.cell(together.begin), scale.cell(together.end)
        if together.begin == math.inf or not first <= cell <= max(last, first):
            return Piece(ALONE.shown(signs), Tone.NORMAL)
    return Piece((CERTIFIED if track.certified else HELD).shown(signs), tone)


def _instants(track: Track) -> Iterator[tuple[float, Mark, Tone]]:
    if track.kind in _UNANSWERED and track.verdict_at is not None:
        yield track.verdict_at, LOST, Tone.BAD
    if track.thawed is not None:
        yield track.thawed, THAWED, Tone.GOOD if track.settled else Tone.WARN
    if track.ended is not None and not track.settled:
        yield track.ended, LEFT, Tone.BAD


def _usual(track: Track, scale: Scale) -> Iterator[tuple[int, Mark]]:
    """Yield the bracket of how long its freezes take otherwise, where there is room for it."""
    if track.sent is None or track.usual is None:
        return
    half, most = track.sent + track.usual.median_s, track.sent + track.usual.p95_s
    right = scale.start + scale.span
    if half < right:
        yield scale.cell(half), USUAL
    if most < right and scale.cell(half) + 1 < scale.width:
        yield max(scale.cell(most), scale.cell(half) + 1), USUAL_END
