from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.durations import clock, in_words, parse_duration
from agentclient.model.errors import BadInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        ("0", 0),
        ("0.5", 0.5),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1m30s", 90),
        (" 2M ", 120),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "-5s", "+5", "nan", "NaN", "inf", "1e3", "10x", "s", "h", "m10", "1h30", "1s1h",
     "1_000", "١٠", "0x10", "10 m", "1h1h", ".", "5.", ".5", "9" * 400, "9999999h", "\x1b[31m9"],
)  # fmt: skip
def test_what_is_no_duration_is_refused_in_one_printable_sentence(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=20))
def test_any_text_is_a_finite_duration_or_bad_input(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except BadInput:
        return
    assert 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.9, "0:09"), (600, "10:00"), (3599, "59:59"), (3600, "1:00:00"), (-4, "0:00"),
     (float("nan"), "0:00"), (float("inf"), "0:00"), (90061, "25:01:01")],
)  # fmt: skip
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0.4 s"), (45, "45 s"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"),
     (3905, "1 h 5 min"), (86400 * 3 + 7200, "3 d 2 h")],
)  # fmt: skip
def test_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
