"""Moments that a person names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agentclient.model.errors import BadInput
from agentclient.model.moments import parse_moment, parse_past


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOW = at("2026-03-01T22:10:00+01:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("23:30", "2026-03-01T23:30:00+01:00"),
        ("02:30", "2026-03-02T02:30:00+01:00"),
        (" 2:30:15 ", "2026-03-02T02:30:15+01:00"),
        ("22:10", "2026-03-01T22:10:00+01:00"),
        ("22:09", "2026-03-02T22:09:00+01:00"),
        ("2026-03-05T02:30:00Z", "2026-03-05T02:30:00+00:00"),
        ("2026-03-05T02:30:00+05:30", "2026-03-05T02:30:00+05:30"),
        ("2026-03-05 02:30", "2026-03-05T02:30:00+01:00"),
    ],
)
def test_an_hour_is_the_next_one_and_a_date_is_itself(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == at(moment)


def test_the_present_may_be_told_in_another_zone() -> None:
    assert parse_moment("23:30", NOW.astimezone(UTC)) == at("2026-03-01T23:30:00+01:00")


def test_an_hour_behind_a_change_of_the_clocks_is_what_they_show_then() -> None:
    eve = at("2026-03-28T22:00:00+01:00")
    assert parse_moment("06:00", eve) == at("2026-03-29T06:00:00+02:00")
    assert parse_moment("06:00", eve) - eve == timedelta(hours=7)


def test_an_hour_that_clocks_show_twice() -> None:
    """They are set back on 25 October at 03:00: 02:30 comes twice."""
    first, second = at("2026-10-25T02:30:00+02:00"), at("2026-10-25T02:30:00+01:00")
    between = at("2026-10-25T02:50:00+02:00")
    assert parse_moment("02:30", at("2026-10-25T01:00:00+02:00")) == first
    assert parse_moment("02:30", between) == second
    assert parse_past("02:30", between) == first
    assert parse_past("02:30", at("2026-10-25T02:40:00+01:00")) == second
    assert parse_past("02:30", at("2026-10-25T22:00:00+01:00")) == second


NO_TIMES = ["", "soon", "24:00", "2:3", "02:60", "2026-03-05", "02:30 "[:2]]
NO_YEARS = ["0001-01-01T00:00:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-12:00"]


@pytest.mark.parametrize("text", [*NO_TIMES, *NO_YEARS])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="write 02:30, or 2026-"):
        parse_moment(text, NOW)


def test_what_is_over_or_far_away_is_refused() -> None:
    with pytest.raises(BadInput, match="is over already: it is 2026-03-01T22:10:00"):
        parse_moment("2026-03-01T22:09:59+01:00", NOW)
    with pytest.raises(BadInput, match="more than a year away"):
        parse_moment("2027-05-01T00:00:00Z", NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", "2026-03-01T20:40:00+01:00"),
        ("1d", "2026-02-28T22:10:00+01:00"),
        ("1D12h", "2026-02-28T10:10:00+01:00"),
        ("2w", "2026-02-15T22:10:00+01:00"),
        (" 30 ", "2026-03-01T22:09:30+01:00"),
        ("02:30", "2026-03-01T02:30:00+01:00"),
        ("22:11", "2026-02-28T22:11:00+01:00"),
        ("2026-02-28", "2026-02-28T00:00:00+01:00"),
        ("2026-02-28T02:30", "2026-02-28T02:30:00+01:00"),
        ("2026-02-28T02:30:00Z", "2026-02-28T02:30:00+00:00"),
    ],
)
def test_past_moments_that_people_name(text: str, moment: str) -> None:
    assert parse_past(text, NOW) == at(moment)


@pytest.mark.parametrize(
    "text",
    ["", "d", "1x", "1d2d", "d1", "yesterday", "2026-03-02", "25:00", "0000-00-00"],
)
def test_what_is_no_past_moment(text: str) -> None:
    with pytest.raises(BadInput):
        parse_past(text, NOW)


def test_eight_digits_that_are_a_date_are_not_taken_for_seconds() -> None:
    """They would mean 234 days ago."""
    why = "^20260301 may be a date, or so many seconds: write 2026-03-01 or 20260301s$"
    with pytest.raises(BadInput, match=why):
        parse_past(" 20260301 ", NOW)
    assert parse_past("20260301s", NOW) == NOW - timedelta(seconds=20260301)
    assert parse_past("20261301", NOW) == NOW - timedelta(seconds=20261301), "it is no date"
    with pytest.raises(BadInput, match="is no time: write 02:30, or 2026"):
        parse_moment("20260302", NOW)
