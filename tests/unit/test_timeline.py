"""The picture of freezes: whatever their times are, it has its width, and shows no more than is."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agentclient.model.states import OutcomeKind
from agentclient.model.timeline import MOST_SAMPLES, Sample, Usual, with_sample
from tui.shared import timeline
from tui.shared.glyphs import NO_GROUP, OUTCOME, Signs
from tui.shared.timeline import (
    ALONE,
    BEFORE,
    CERTIFIED,
    HELD,
    LOST,
    MARKS,
    PENDING,
    REST,
    THAWED,
    UNSURE,
    WRITES,
    Track,
    bar,
    common_span,
    scale_of,
)
from tui.shared.timeline_picture import picture
from tui.shared.tone import Line, Piece, Tone

UNICODE = Signs()
VERIFIED = OutcomeKind.VERIFIED
WHOLE = Track(
    "web1",
    asked=0.0,
    sent=1.0,
    replied=6.0,
    verdict_at=6.1,
    thaw_sent=40.0,
    thawed=40.0,
    ended=40.2,
    kind=VERIFIED,
    certified=True,
    word=Piece("✓ certified", Tone.GOOD),
)


def text(line: Line) -> str:
    return "".join(piece.text for piece in line)


def drawn(track: Track, width: int = 42, signs: Signs = UNICODE) -> str:
    return text(bar(track, scale_of([track], width), signs))


def order(line: str) -> str:
    """Return the signs in their order, each run of the same once."""
    return re.sub(r"(.)\1+", r"\1", line.strip())


# -- one freeze -------------------------------------------------------------------------------


def test_the_parts_of_a_freeze_stand_in_their_order() -> None:
    assert order(drawn(WHOLE)) == "·─█│"


def test_only_what_is_certified_is_solid() -> None:
    assert CERTIFIED.sign not in drawn(WHOLE._replace(certified=False))
    assert order(drawn(WHOLE._replace(certified=False))) == "·─▓│"


@pytest.mark.parametrize("kind", [None, *(one for one in OutcomeKind if one is not VERIFIED)])
def test_what_is_not_verified_is_never_drawn_as_if_it_were(kind: OutcomeKind | None) -> None:
    line = drawn(WHOLE._replace(kind=kind))  # still said to be certified, by a bug
    assert HELD.sign not in line
    assert CERTIFIED.sign not in line
    assert UNSURE.sign in line


def test_a_loss_is_marked_and_what_comes_after_it_is_unsure() -> None:
    lost = WHOLE._replace(
        replied=None, kind=OutcomeKind.LOST, verdict_at=20.0, thaw_sent=30.0, certified=False
    )
    assert order(drawn(lost)) == "·─✗░»│"


def test_what_may_still_be_frozen_ends_in_a_shout() -> None:
    left = WHOLE._replace(
        replied=None, kind=OutcomeKind.LOST, verdict_at=20.0, thaw_sent=None, thawed=None,
        settled=False, certified=False,
    )  # fmt: skip
    assert drawn(left).rstrip().endswith("!")


def test_a_window_that_is_held_shows_what_is_left_of_it() -> None:
    held = WHOLE._replace(
        thaw_sent=None, thawed=None, ended=None, certified=False, now=20.0, hold_ends=36.0
    )
    assert order(drawn(held)) == "·─▓┄"


def test_one_that_waits_for_its_turn_has_been_asked_for() -> None:
    assert order(drawn(Track("a", asked=0.0, now=9.0))) == BEFORE.sign


def test_writes_are_drawn_by_their_amount_where_they_are_known() -> None:
    samples = tuple(Sample(1.0 + n, size) for n, size in enumerate((0, 10, 1000, 1010, 1010, 1010)))
    line = drawn(WHOLE._replace(writes=samples))
    assert WRITES[0][-1] in line
    assert WRITES[0][0] in line
    assert PENDING.sign not in line
    peak = line.index(WRITES[0][-1])
    scale = scale_of([WHOLE], 42)
    assert scale.cell(2.0) <= peak <= scale.cell(3.0)


def test_the_bracket_stands_where_its_freezes_are_usually_answered() -> None:
    usual = Usual(20, 3.0, 8.0)
    track = Track("a", 0.0, 0.0, now=4.0, usual=usual)
    scale = scale_of([track], 40)
    line = text(bar(track, scale, UNICODE))
    assert (line.index("["), line.index("]")) == (scale.cell(3.0), scale.cell(8.0))


def test_a_freeze_that_takes_longer_than_usual_is_drawn_as_a_warning() -> None:
    track = Track("a", 0.0, 0.0, now=60.0, usual=Usual(20, 3.0, 8.0))
    tones = [piece.tone for piece in bar(track, scale_of([track], 60), UNICODE)]
    assert Tone.ACTIVE in tones
    assert Tone.WARN in tones


# -- a group ------------------------------------------------------------------------------------

LATER = WHOLE._replace(name="db1", replied=16.0)


def test_what_all_have_frozen_together_begins_with_the_last_and_ends_with_the_first_thaw() -> None:
    span = common_span([WHOLE, LATER._replace(thaw_sent=50.0)])
    assert span is not None
    assert (span.begin, span.end) == (16.0, 40.0)


@pytest.mark.parametrize(
    "other",
    [
        LATER._replace(kind=OutcomeKind.UNVERIFIED),
        LATER._replace(kind=None),
        LATER._replace(replied=None),
        LATER._replace(replied=41.0, thaw_sent=50.0, thawed=50.0, ended=50.0),
    ],
)
def test_one_that_is_not_verified_in_time_takes_the_whole_span_away(other: Track) -> None:
    assert common_span([WHOLE, other]) is None


def test_members_that_are_not_seen_take_it_away_as_well() -> None:
    assert common_span([WHOLE, LATER], size=3) is None


def test_the_common_span_stands_out_and_the_rest_does_not() -> None:
    first, second, shade, _ = map(text, picture([WHOLE, LATER], 70, UNICODE, size=2))
    assert ALONE.sign in first
    assert ALONE.sign not in second
    begin, end = shade.index("├"), shade.index("┤")
    assert first[begin] == second[begin] == CERTIFIED.sign
    assert first[begin - 1] == ALONE.sign
    assert "together 24.0 s" in shade
    assert end - begin > 20


def test_a_group_that_was_never_whole_says_so() -> None:
    lines = picture([WHOLE, LATER._replace(kind=OutcomeKind.LOST)], 70, UNICODE, size=2)
    assert "never all frozen and verified" in text(lines[2])


def test_members_that_do_not_fit_are_counted() -> None:
    tracks = [WHOLE._replace(name=f"vm{number}") for number in range(9)]
    lines = [text(line) for line in picture(tracks, 80, UNICODE, height=4)]
    assert len(lines) == 4
    assert "and 6 more" in lines[3]
    assert "together 34.0 s" in lines[3]


# -- anything at all ------------------------------------------------------------------------------

SECONDS = st.floats(-1e6, 1e6, allow_nan=False)
MAYBE = st.none() | SECONDS


@dataclass(frozen=True)
class Drawn:
    track: Track
    width: int


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    samples = draw(st.lists(st.builds(Sample, SECONDS, st.integers(0, 1 << 50)), max_size=8))
    usual = draw(st.none() | st.builds(Usual, st.integers(5, 20), st.just(2.0), st.just(9.0)))
    sent, replied, verdict_at, thaw_sent, thawed, ended = (draw(MAYBE) for _ in range(6))
    return Track(
        draw(st.text(max_size=12)),
        draw(SECONDS),
        sent,
        replied,
        verdict_at,
        thaw_sent,
        thawed,
        ended,
        now=draw(MAYBE),
        hold_ends=draw(MAYBE),
        kind=draw(st.none() | st.sampled_from(list(OutcomeKind))),
        certified=draw(st.booleans()),
        settled=draw(st.booleans()),
        writes=tuple(sorted(samples)),
        usual=usual,
        word=Piece(draw(st.sampled_from(["", "✓ certified", "held 0:10/1:00"]))),
    )


@given(st.lists(tracks(), min_size=1, max_size=4), st.integers(20, 200), st.booleans())
def test_every_line_fits_whatever_the_times_are(
    found: list[Track], width: int, ascii_alone: bool
) -> None:
    lines = picture(found, width, Signs(ascii=ascii_alone), height=6)
    assert 0 < len(lines) <= 6
    for line in lines:
        least = timeline_width(found, width)
        assert cell_len(text(line)) <= least, text(line)


def timeline_width(found: list[Track], width: int) -> int:
    """The picture itself never gets narrower than a few cells, whatever else is to be said."""
    words = max(cell_len(one.word.text) for one in found)
    names = max(cell_len(one.name) for one in found)
    return max(width, names + words + 2 + 12)


@given(tracks(), st.integers(20, 200))
def test_no_order_of_times_draws_what_is_not_certified_as_certified(
    track: Track, width: int
) -> None:
    line = text(bar(track, scale_of([track], width), UNICODE))
    assert cell_len(line) == width
    if not (track.certified and track.kind is VERIFIED):
        assert CERTIFIED.sign not in line
    if track.kind is not VERIFIED:
        assert HELD.sign not in line
        assert ALONE.sign not in line


@given(st.lists(tracks(), min_size=2, max_size=4))
def test_the_common_span_lies_in_each_window(found: list[Track]) -> None:
    span = common_span(found)
    if span is None:
        return
    assert span.seconds > 0
    for track in found:
        assert track.verified
        assert track.replied is not None
        assert track.frozen_until is not None
        assert track.replied <= span.begin < span.end <= track.frozen_until


@pytest.mark.parametrize("ascii_alone", [False, True])
def test_no_sign_means_two_things(ascii_alone: bool) -> None:
    signs = Signs(ascii=ascii_alone)
    shown = [mark.shown(signs) for mark in MARKS] + list(WRITES[ascii_alone])
    assert len(set(shown)) == len(shown)
    assert all(cell_len(one) == 1 for one in shown)
    assert not ascii_alone or all(one.isascii() for one in shown)
    assert all(mark.meaning for mark in MARKS)
    assert {LOST, THAWED, REST} <= set(MARKS)
    assert timeline.NOTHING.sign == " "


@pytest.mark.parametrize("ascii_alone", [False, True])
def test_no_sign_of_an_outcome_stands_for_two(ascii_alone: bool) -> None:
    signs = Signs(ascii=ascii_alone)
    shown = [signs.of(look) for look in (*OUTCOME.values(), NO_GROUP)]
    assert len(set(shown)) == len(shown)
    assert all(cell_len(one) == 1 for one in shown)


# -- what is kept of the writes -----------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1 << 50)), max_size=400))
def test_samples_stay_few_and_in_order(found: list[tuple[float, int]]) -> None:
    kept: tuple[Sample, ...] = ()
    for at, size in sorted(found):
        kept = with_sample(kept, Sample(at, size))
    assert len(kept) <= MOST_SAMPLES
    assert list(kept) == sorted(kept)
    assert [one.size for one in kept] == sorted(one.size for one in kept)


def test_a_counter_that_fell_tells_nothing() -> None:
    first = with_sample((), Sample(1.0, 500))
    assert with_sample(first, Sample(2.0, 100)) == first


def test_members_that_wait_for_others_are_not_drawn_as_if_all_were_frozen() -> None:
    held = WHOLE._replace(thaw_sent=None, thawed=None, ended=None, certified=False, now=20.0)
    waits = Track("db1", 0.0, 1.0, now=20.0)
    first, _, shade, _ = map(text, picture([held, waits], 70, UNICODE, size=2))
    assert "not all are frozen and verified yet" in shade
    failed = WHOLE._replace(name="db1", kind=OutcomeKind.FAILED, certified=False)
    assert "never" in text(picture([held, failed], 70, UNICODE, size=2)[2])
    assert ALONE.sign in first
    assert HELD.sign not in first


def test_of_a_group_that_is_not_known_whole_nothing_is_said_of_what_it_had_in_common() -> None:
    lines = [text(line) for line in picture([WHOLE, LATER], 80, UNICODE, size=3)]
    assert "only 2 of the 3" in lines[2]
    assert "never" not in "".join(lines)
