"""The journal's times, told by the wall clock as it is set now, and after a suspended host."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.journal.clock import due_at, since_boot
from agentclient.journal.identity import boot_id
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.rescue import Rung, RungResult
from agentclient.model.states import WindowState
from tests.unit.journals import add_event, begin, change, number, rows, vm
from tui.console.model.past_tracks import past_track
from tui.console.model.rungs import findings_in
from tui.shared.glyphs import Signs

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


@pytest.mark.parametrize("hours", [-1, 1])
def test_what_goes_on_is_told_by_the_clock_as_it_is_set_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hours: int
) -> None:
    """A window that was asked for just before the clock was set, and a rung in it."""
    wrong = now() - timedelta(hours=hours)
    with monkeypatch.context() as before:
        before.setattr("agentclient.journal.entry.wall_now", lambda: wrong)
        journal, one = Journal(tmp_path / "journal.db"), vm(tmp_path)
        entry = begin(journal, one)
        entry.armed()
        add_event(entry, one, EventKind.SENT)
        change(journal.path, number(journal, entry), ended_at=wrong.isoformat(), ended_s=0.0)
    (row,) = rows(journal)
    asked = row.time_of("asked")
    assert asked is not None
    assert abs(asked - now()) < timedelta(seconds=30)
    track = past_track(replace(row, state=WindowState.OPEN), Signs(), now())
    assert track is not None
    assert track.now is not None
    assert 0 <= track.now < 30
    rescue = {"rung": Rung.CONNECT, "found": RungResult.SILENT, "ok": False, "reason": "r"}
    found = findings_in([replace(row, rescue=rescue)], now() - timedelta(minutes=1))
    assert len(found) == 1, "it is not about an earlier freeze"
    journal.close()
