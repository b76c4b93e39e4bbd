"""When a thaw is sent again, and a connection tried again."""

from __future__ import annotations

import pytest

from agentclient.freeze.thaw_schedule import (
    AWAY_S,
    FIRST_RECONNECT_S,
    FIRST_RETRY_S,
    LONGEST_AWAY_RECONNECT_S,
    LONGEST_RECONNECT_S,
    LONGEST_RETRY_S,
    ThawSchedule,
)


def away(seconds: float) -> float:
    """How long the next try waits, where each try has failed for so many seconds."""
    schedule, now = ThawSchedule(1e9, 0.0, 0.0), 0.0
    while True:
        schedule.on_disconnected(now)
        if schedule.connect_at > seconds:
            return schedule.connect_at - now
        now = max(schedule.connect_at, now + 1e-6)


@pytest.mark.parametrize(
    ("after_s", "wait_s"),
    [
        (0.05, FIRST_RECONNECT_S),
        (10.0, LONGEST_RECONNECT_S),
        (AWAY_S - 5.0, LONGEST_RECONNECT_S),
        (1000.0, 10.0),
        (100_000.0, LONGEST_AWAY_RECONNECT_S),
    ],
)
def test_a_channel_that_stays_away_is_tried_ever_more_rarely(after_s: float, wait_s: float) -> None:
    assert away(after_s) == pytest.approx(wait_s, rel=0.02)


def test_what_has_answered_is_away_anew() -> None:
    schedule = ThawSchedule(60.0, 0.0, 0.0)
    for now in (0.0, AWAY_S, 2 * AWAY_S, 3 * AWAY_S):
        schedule.on_disconnected(now)
    schedule.on_synced()
    for now in range(int(3 * AWAY_S) + 1, int(4 * AWAY_S), 20):
        schedule.on_disconnected(now)
    assert schedule.connect_at - now == LONGEST_RECONNECT_S


def test_no_retry_waits_longer_than_the_longest() -> None:
    schedule, now, waits = ThawSchedule(1e9, 0.0, 0.0), 0.0, []
    for _ in range(8):
        waits.append(schedule.retry_at - now)
        now = schedule.retry_at
        schedule.on_retried(now)
    assert waits[:3] == [FIRST_RETRY_S, 2.0, 4.0]
    assert waits[-1] == LONGEST_RETRY_S


def test_another_channel_and_another_thaw_begin_with_the_first_wait() -> None:
    schedule = ThawSchedule(60.0, 0.0, 0.0)
    for _ in range(4):
        schedule.on_retried(1.0)
    schedule.on_sent(5.0, repeated=False)
    assert schedule.retry_at == 5.0 + FIRST_RETRY_S
    for _ in range(4):
        schedule.on_retried(6.0)
    schedule.on_connected(7.0)
    schedule.on_retried(8.0)
    assert schedule.retry_at == 8.0 + 2 * FIRST_RETRY_S


def test_who_gives_up_waits_behind_no_freeze() -> None:
    schedule = ThawSchedule(60.0, 1000.0, 0.0)
    schedule.give_up_soon(1.0)
    ends_at = schedule.ends_at
    schedule.on_agent_free(1.5)
    assert schedule.ends_at == ends_at < 5.0
