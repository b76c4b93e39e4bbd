"""What another frostwatch writes down about its window is in the VM's log, once."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from agentclient.fleet import held_log
from agentclient.fleet.held_log import HeldLog
from agentclient.fleet.store import Fleet
from agentclient.journal.storage.jobs import Query
from agentclient.journal.storage.tables import STEPS
from agentclient.journal.writer import Journal
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import FreezeState, Level
from agentclient.model.vm import Vm, VmId

AT = datetime(2026, 3, 1, 17, 20, 0, tzinfo=UTC)
DB, WEB = VmId("qemu", "db1"), VmId("qemu", "web1")


class Kept:
    """A journal's events, in memory."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.row_factory = sqlite3.Row
        for step in STEPS:
            for statement in step:
                self.database.execute(statement)
        self.answers = True
        self.asked = 0

    def ask(self, query: Query[Any], _timeout_s: float) -> Any:
        self.asked += 1
        if not self.answers:
            return None
        rows = [
            [dict(row) for row in self.database.execute(*statement)]
            for statement in cast(Any, query.statements)
        ]
        return query.parse(rows)

    def write(self, window: int, text: str, level: str = "info", at: str = "") -> None:
        self.database.execute(
            "INSERT INTO events (window, kind, level, text, at) VALUES (?, 'note', ?, ?, ?)",
            (window, level, text, at or AT.isoformat()),
        )


class Harness:
    def __init__(self) -> None:
        self.fleet = Fleet()
        self.fleet.set_vms("qemu", [Vm(DB), Vm(WEB)])
        self.kept = Kept()
        self.log = HeldLog(cast(Journal, self.kept))

    def held(self, vm_id: VmId, window: int | None) -> None:
        by = HeldBy(77, "bob", FreezeState.FROZEN, AT, AT, window=window)
        self.fleet.update(vm_id, lambda state: state.with_held_by(by))

    def released(self, vm_id: VmId) -> None:
        self.fleet.update(vm_id, lambda state: state.with_held_by(None))

    def texts(self, vm_id: VmId = DB) -> list[str]:
        self.log.look(self.fleet)
        return [line.text for line in self.fleet.log_since(vm_id)]


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_all_that_was_written_is_told_once_with_its_time_and_who_says_it(harness: Harness) -> None:
    harness.kept.write(3, "sent", at="2026-03-01T17:19:00+00:00")
    harness.kept.write(4, "another window's")
    harness.held(DB, 3)
    assert harness.texts() == ["bob (pid 77): sent"]
    (line,) = harness.fleet.log_since(DB)
    assert (line.at, line.level) == (AT.replace(minute=19), Level.INFO)
    harness.kept.write(3, "held", "warning")
    assert harness.texts() == ["bob (pid 77): sent", "bob (pid 77): held"]
    assert harness.fleet.log_since(DB)[1].level is Level.WARNING
    assert harness.texts(WEB) == []


def test_each_window_is_told_in_its_own_log(harness: Harness) -> None:
    harness.held(DB, 3)
    harness.held(WEB, 4)
    for number in range(3):
        harness.kept.write(3, f"of 3: {number}")
        harness.kept.write(4, f"of 4: {number}")
    assert len(harness.texts(DB)) == len(harness.texts(WEB)) == 3
    assert all("of 4: " in text for text in harness.texts(WEB))


def test_nobody_asks_where_nothing_is_held_by_a_window_that_is_known(harness: Harness) -> None:
    harness.held(DB, None)
    assert harness.texts() == []
    assert harness.kept.asked == 0


def test_a_journal_that_does_not_answer_is_asked_again(harness: Harness) -> None:
    harness.kept.write(3, "sent")
    harness.held(DB, 3)
    harness.kept.answers = False
    assert harness.texts() == []
    harness.kept.answers = True
    assert harness.texts() == ["bob (pid 77): sent"]


def test_of_many_windows_each_has_its_turn(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_log, "MOST_WINDOWS", 1)
    harness.kept.write(3, "of 3")
    harness.kept.write(4, "of 4")
    harness.held(DB, 3)
    harness.held(WEB, 4)
    assert len(harness.texts(DB)) + len(harness.texts(WEB)) == 2
    harness.kept.write(4, "more of 4")
    for _ in range(2):
        harness.log.look(harness.fleet)
    assert len(harness.fleet.log_since(WEB)) == 2  # although nothing is new of 3


def test_how_it_ended_is_told_too_and_then_nobody_asks_any_more(harness: Harness) -> None:
    harness.kept.write(3, "held")
    harness.held(DB, 3)
    assert harness.texts() == ["bob (pid 77): held"]
    harness.released(DB)
    harness.kept.write(3, "thawed")
    assert harness.texts()[1:] == ["bob (pid 77): thawed"]
    harness.kept.write(3, "certified")  # a moment later
    assert harness.texts()[2:] == ["bob (pid 77): certified"]
    asked = harness.kept.asked
    assert len(harness.texts()) == 3
    assert harness.kept.asked == asked


def test_the_end_is_told_once_the_journal_answers(harness: Harness) -> None:
    harness.held(DB, 3)
    harness.log.look(harness.fleet)
    harness.released(DB)
    harness.kept.write(3, "thawed")
    harness.kept.answers = False
    for _ in range(5):
        assert harness.texts() == []
    harness.kept.answers = True
    assert harness.texts() == ["bob (pid 77): thawed"]


def test_a_vm_that_is_forgotten_has_no_log(harness: Harness) -> None:
    harness.held(DB, 3)
    harness.log.look(harness.fleet)
    harness.kept.write(3, "thawed")
    harness.fleet.set_vms("qemu", [Vm(WEB)])
    harness.fleet.forget_absent()
    assert harness.texts() == []


def test_what_can_not_be_read_is_told_as_well_as_it_can(harness: Harness) -> None:
    harness.kept.write(3, "odd", "no level", "no time")
    harness.held(DB, 3)
    assert harness.texts() == ["bob (pid 77): odd"]
