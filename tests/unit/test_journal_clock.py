"""The journal's times, told by the wall clock as it is set now, and after a suspended host."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentclient.journal.clock import due_at, since_boot
from agentclient.journal.identity import boot_id

ASKED = 5000.0
EVENING = datetime(2026, 11, 29, 20, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Host:
    """The clocks of a host on which a window was asked for at 20:00."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = self.suspended = 0.0
        self.set = timedelta()
        self.row: Any = {"mono": ASKED, "boot": boot_id()}
        monkeypatch.setattr("agentclient.journal.clock.wall_now", self.wall)
        monkeypatch.setattr("agentclient.journal.clock.time", self)

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def monotonic(self) -> float:
        return ASKED + self.passed

    def clock_gettime(self, which: int) -> float:
        assert which == time.CLOCK_BOOTTIME
        return self.monotonic() + self.suspended

    def wall(self) -> datetime:
        return EVENING + timedelta(seconds=self.passed + self.suspended) + self.set

    def since(self) -> datetime:
        return since_boot(self.row, 1.0, (EVENING + SECOND).isoformat())

    def due(self) -> datetime:
        return due_at(self.row, 61.0, (EVENING + 61 * SECOND).isoformat())


def test_a_window_of_before_the_host_was_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its guest is frozen since the evening, and is held for as long as it has run since."""
    host = Host(monkeypatch)
    host.passed, host.suspended = 31.0, 8 * 3600.0
    assert host.since() == EVENING + SECOND
    assert host.due() == host.wall() + 30 * SECOND


@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
def test_a_window_of_before_the_clock_was_set(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    host = Host(monkeypatch)
    host.passed, host.set = 31.0, timedelta(hours=hours)
    assert host.wall() - host.since() == 30 * SECOND
    assert host.due() - host.wall() == 30 * SECOND


def test_a_clock_that_was_set_back_after_the_host_was_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(monkeypatch)
    host.passed, host.suspended, host.set = 31.0, 60.0, -timedelta(hours=1)
    assert host.since() < host.wall()
    assert host.due() - host.wall() == 30 * SECOND


def test_a_window_of_another_boot_says_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.passed, host.set = 31.0, timedelta(hours=5)
    host.row = {"mono": ASKED, "boot": "another"}
    assert host.since() == EVENING + SECOND
    assert host.due() == EVENING + 61 * SECOND
