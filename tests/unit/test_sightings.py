"""Ages that outlive a process: what one run saw, the next one knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentclient.fleet.ages import FILE, KEPT, remember
from agentclient.fleet.store import Fleet
from agentclient.journal.writer import Journal
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from agentclient.model.vm import Process, Vm, VmId
from tests.unit.journals import vm, whole

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DB = VmId("qemu", "db1")


def fleet(
    at: datetime,
    state: FreezeState | None = FreezeState.FROZEN,
    pid: int = 1,
    counted: float | None = None,
) -> Fleet:
    """Return a fleet as one visit at `at` has seen it."""
    found = Fleet(wall=lambda: at, counted=None if counted is None else lambda: counted)
    found.set_vms("qemu", [Vm(DB, process=Process(pid, 7))])
    found.update(DB, lambda old: old._replace(freeze=FreezeInfo(state, at, foreign=True)))
    return found


def since(found: Fleet) -> datetime | None:
    return found.get(DB).freeze.since


def test_the_age_is_taken_from_an_earlier_run(tmp_path: Path) -> None:
    file = Journal(tmp_path / "deep" / "journal.db")
    assert remember(fleet(NOON), file, NOON) is None
    later = NOON + timedelta(minutes=11)
    second = fleet(later)
    remember(second, file, later)
    assert since(second) == NOON
    third = fleet(later + timedelta(minutes=1))
    remember(third, file, later + timedelta(minutes=1))
    assert since(third) == NOON


def test_what_a_frostwatch_has_thawed_in_between_begins_anew(tmp_path: Path) -> None:
    file = Journal(tmp_path / "journal.db")
    before = datetime.now(UTC) - timedelta(hours=1)
    remember(fleet(before), file, before)
    whole(file, vm(tmp_path))
    later = datetime.now(UTC) + timedelta(seconds=30)
    again = fleet(later)
    remember(again, file, later)
    assert since(again) == later, "that was another freeze"
    third = fleet(later + timedelta(minutes=1))
    remember(third, file, later + timedelta(minutes=1))
    assert since(third) == later


@pytest.mark.parametrize("change", ["state", "process"])
def test_another_state_and_another_process_begin_anew(tmp_path: Path, change: str) -> None:
    file = Journal(tmp_path / "journal.db")
    remember(fleet(NOON), file, NOON)
    later = NOON + timedelta(minutes=5)
    state = FreezeState.THAWED if change == "state" else FreezeState.FROZEN
    other = fleet(later, state, pid=2 if change == "process" else 1)
    remember(other, file, later)
    assert since(other) == later


def test_a_guest_that_can_not_be_asked_keeps_its_age(tmp_path: Path) -> None:
    file = Journal(tmp_path / "journal.db")
    remember(fleet(NOON), file, NOON)
    remember(fleet(NOON + timedelta(minutes=1), None), file, NOON + timedelta(minutes=1))
    later = NOON + timedelta(minutes=2)
    third = fleet(later)
    remember(third, file, later)
    assert since(third) == NOON


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"[1]", b'{"qemu:db1": 3}', b'{"qemu:db1": {"since": "x"}}']
)
def test_a_broken_file_costs_ages_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    file = Journal(tmp_path / "journal.db")
    found = fleet(NOON)
    assert remember(found, file, NOON) is None
    assert since(found) == NOON
    again = fleet(NOON + timedelta(hours=1))
    remember(again, file, NOON + timedelta(hours=1))
    assert since(again) == NOON


def test_a_file_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = remember(fleet(NOON), Journal(tmp_path / "file" / "journal.db"), NOON)
    assert problem is not None
    assert "Not a directory" in problem


def test_old_entries_are_forgotten_and_the_file_is_ours_alone(tmp_path: Path) -> None:
    file = Journal(tmp_path / "journal.db")
    remember(fleet(NOON), file, NOON)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    empty = Fleet(wall=lambda: NOON + KEPT * 2)
    remember(empty, file, NOON + KEPT * 2)
    assert (tmp_path / FILE).read_text() == "{}"


@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
def test_an_age_outlives_a_clock_that_is_set_between_two_runs(tmp_path: Path, hours: int) -> None:
    file = Journal(tmp_path / "journal.db")
    remember(fleet(NOON, counted=1000.0), file, NOON)
    later = NOON + timedelta(minutes=11, hours=hours)
    second = fleet(later, counted=1660.0)
    remember(second, file, later)
    assert since(second) == later - timedelta(minutes=11)
    third = fleet(later + timedelta(minutes=1), counted=1720.0)
    remember(third, file, later + timedelta(minutes=1))
    assert since(third) == since(second)


def test_what_the_file_says_of_another_clock_is_checked(tmp_path: Path) -> None:
    file = Journal(tmp_path / "journal.db")
    remember(fleet(NOON, counted=1000.0), file, NOON)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace("1000.0", '"x"'))
    later = NOON + timedelta(minutes=11)
    again = fleet(later, counted=1660.0)
    remember(again, file, later)
    assert since(again) == NOON
