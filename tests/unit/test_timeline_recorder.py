"""What an operation's events and progress leave behind: in the fleet, and in the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from agentclient.fleet.store import Fleet
from agentclient.freeze.effects import ReportEvent
from agentclient.journal.entry import begin_freeze
from agentclient.journal.history import members, read_history
from agentclient.journal.json_contract import window_object
from agentclient.journal.writer import Journal
from agentclient.model.events import (
    AnsweredWithError,
    Details,
    Ended,
    EventKind,
    FreezeAnswered,
    ThawAnswered,
)
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import Progress
from agentclient.model.states import Level, OutcomeKind, Phase
from agentclient.model.timeline import Group, Sample, Timeline, Usual
from agentclient.model.version import VERSION
from agentclient.model.vm import Vm
from agentclient.operations.fleet_reporter import FleetReporter
from agentclient.operations.timeline_recorder import TimelineRecorder
from tests.unit.journals import VERIFIED, WAIT_S, flush, rows, vm, whole

GROUP = Group("00112233445566aa", 2)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def said(kind: EventKind, details: Details | None = None) -> ReportEvent:
    return ReportEvent(kind, Level.INFO, "said", details)


def pending(sent_at: float, written: int | None = None) -> Progress:
    return Progress(
        "freeze", Phase.PENDING, "it", sent_at - 1, sent_at=sent_at, written_bytes=written
    )


def held(sent_at: float, written: int | None, since: float) -> Progress:
    return pending(sent_at, written)._replace(phase=Phase.HELD, held_since=since)


# -- the moments -----------------------------------------------------------------------------------


def test_each_moment_is_noted_once_and_in_its_order() -> None:
    recorder = TimelineRecorder()
    for event in (
        said(EventKind.SENT),
        said(EventKind.REPLY, FreezeAnswered(2)),
        said(EventKind.VERDICT),
        said(EventKind.HELD),
        said(EventKind.THAW_SENT),
        said(EventKind.REPLY, ThawAnswered(2)),
        said(EventKind.THAWED),
        said(EventKind.OUTCOME),
    ):
        recorder.on_event(event)
        time.sleep(0.001)
    found = recorder.timeline
    times = [
        found.asked, found.sent, found.replied, found.verdict, found.held, found.thaw_sent,
        found.thawed, found.ended,
    ]  # fmt: skip
    known = [one for one in times if one is not None]
    assert known == sorted(known)
    assert len(set(known)) == len(times)
    recorder.on_event(said(EventKind.VERDICT))
    assert recorder.timeline == found, "a revised verdict does not move the first"


def test_the_thaws_error_is_no_answer_to_the_freeze() -> None:
    recorder = TimelineRecorder()
    recorder.on_event(said(EventKind.THAW_SENT))
    recorder.on_event(said(EventKind.REPLY, AnsweredWithError("no")))
    assert recorder.timeline.replied is None


def test_the_answers_own_moment_counts_not_that_of_its_report() -> None:
    recorder = TimelineRecorder()
    recorder.on_event(said(EventKind.REPLY, FreezeAnswered(2)))
    recorder.on_progress(held(100.0, None, 103.5), None)
    assert (recorder.timeline.sent, recorder.timeline.replied) == (100.0, 103.5)


def test_what_is_written_in_the_window_is_counted_behind_what_came_before() -> None:
    recorder = TimelineRecorder()
    at = time.monotonic()
    for progress in (pending(at, 0), pending(at, 5_000), held(at, 0, at), held(at, 70, at)):
        recorder.on_progress(progress, None)
        time.sleep(0.11)
    assert [one.size for one in recorder.timeline.writes] == [0, 5_000, 5_000, 5_070]


# -- in the fleet ----------------------------------------------------------------------------------


def reporter_of(one: Vm, recorder: TimelineRecorder | None) -> tuple[Fleet, FleetReporter]:
    fleet = Fleet()
    fleet.set_vms("qemu", [one])
    return fleet, FleetReporter(fleet, one, None, recorder=recorder)


def test_the_fleet_has_it_from_the_first_progress_to_after_the_end(tmp_path: Path) -> None:
    one = vm(tmp_path)
    fleet, reporter = reporter_of(one, TimelineRecorder(GROUP))
    reporter.progress(pending(100.0))
    found = fleet.get(one.id).timeline
    assert found is not None
    assert (found.sent, found.group) == (100.0, GROUP)
    outcome = Outcome(OutcomeKind.VERIFIED, "well", certified=True, settled=True)
    reporter.event(said(EventKind.THAWED))
    reporter.event(said(EventKind.OUTCOME, Ended(outcome)))
    reporter.ended(outcome)
    state = fleet.get(one.id)
    assert state.progress is None
    assert state.timeline is not None
    assert state.timeline.ended is not None


def test_a_window_that_another_has_begun_takes_away_what_was_before(tmp_path: Path) -> None:
    one = vm(tmp_path)
    fleet, reporter = reporter_of(one, None)
    fleet.update(one.id, lambda old: old._replace(timeline=Timeline(1.0, 2.0)))
    reporter.ended(Outcome(OutcomeKind.UNVERIFIED, "attached", settled=True))
    assert fleet.get(one.id).timeline is None


# -- in the journal --------------------------------------------------------------------------------


def test_versions_and_writes_are_written_down_and_printed(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    entry = begin_freeze(journal, one, FreezeRequest())
    assert entry is not None
    entry.made_with(agent="7.2.0", qemu=None)
    now = time.monotonic()
    entry.wrote([Sample(now + 1.0, 10), Sample(now + 2.5, 400)])
    flush(journal)
    (row,) = rows(journal)
    assert row.versions == {"frostwatch": VERSION, "agent": "7.2.0", "qemu": None}
    assert [size for _, size in row.writes] == [10, 400]
    assert row.writes[1][0] - row.writes[0][0] == pytest.approx(1.5, abs=0.02)
    assert row.mono is not None
    printed = window_object(row)
    assert printed["versions"]["agent"] == "7.2.0"
    assert printed["writes"] == [list(one) for one in row.writes]


def test_a_window_that_is_over_has_its_writes_at_once(journal: Journal, tmp_path: Path) -> None:
    """Whoever opens its certificate at that moment is not told that they were not seen."""
    one = vm(tmp_path)
    entry = begin_freeze(journal, one, FreezeRequest())
    assert entry is not None
    fleet = Fleet()
    fleet.set_vms("qemu", [one])
    reporter = FleetReporter(fleet, one, None, entry, recorder=TimelineRecorder())
    reporter.progress(pending(time.monotonic(), 4096))
    reporter.event(said(EventKind.OUTCOME, Ended(VERIFIED)))
    flush(journal)
    (row,) = rows(journal)
    assert row.outcome is not None
    assert [size for _, size in row.writes] == [4096]


@pytest.mark.parametrize(
    "kept",
    ["null", "[]", '{"points": 3}', '{"points": [1, [2], ["a", 3], [NaN, 4], [5.0, "b"]]}', "{"],
)
def test_writes_that_cannot_be_read_are_left_out(
    journal: Journal, tmp_path: Path, kept: str
) -> None:
    whole(journal, vm(tmp_path))
    journal.write([("UPDATE windows SET writes = ?", (kept,))], WAIT_S)
    assert rows(journal)[0].writes == ()


def test_a_group_is_found_with_all_its_members(journal: Journal, tmp_path: Path) -> None:
    request = replace(FreezeRequest(), group=GROUP)
    first, second, other = (vm(tmp_path, name) for name in ("a", "b", "c"))
    begin_freeze(journal, first, request)
    whole(journal, other)
    begin_freeze(journal, second, request)
    flush(journal)
    found = read_history(journal, first, 10)
    assert found is not None
    assert [row.group for row in found.windows] == [GROUP.key]
    assert [row.vm for row in found.groups[GROUP.key]] == ["qemu:a", "qemu:b"]
    assert found.windows[0].request is not None
    assert found.windows[0].request["group_size"] == 2
    alone = read_history(journal, other, 10)
    assert alone is not None
    assert alone.groups == {}
    assert journal.ask(members(alone.windows), WAIT_S) == {}


def test_groups_are_found_for_however_many_windows(journal: Journal, tmp_path: Path) -> None:
    begin_freeze(journal, vm(tmp_path), replace(FreezeRequest(), group=GROUP))
    flush(journal)
    (row,) = rows(journal)
    other = [replace(row, request={"group": f"{n:016x}"}) for n in range(1500)]
    found = journal.ask(members([row, *other]), WAIT_S)
    assert found is not None
    assert [one.window for one in found[GROUP.key]] == [row.window]


def test_of_too_many_members_the_newest_are_found(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclient.journal.history.MOST_MEMBERS", 2)
    for key in ("00", "01"):
        request = replace(FreezeRequest(), group=Group(key, 2))
        for name in ("a", "b"):
            begin_freeze(journal, vm(tmp_path, name), request)
    flush(journal)
    found = read_history(journal, vm(tmp_path, "a"), 10)
    assert found is not None
    assert {key: [row.vm for row in rows] for key, rows in found.groups.items()} == {
        "01": ["qemu:a", "qemu:b"]
    }


def test_what_is_usual_is_known_after_enough_freezes(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    for _ in range(5):
        whole(journal, one, VERIFIED)
    entry = begin_freeze(journal, one, FreezeRequest())
    assert entry is not None
    flush(journal)
    until = time.monotonic() + WAIT_S
    while entry.usual is None and time.monotonic() < until:
        time.sleep(0.01)
    assert isinstance(entry.usual, Usual)
    assert entry.usual.freezes == 5


def test_the_version_is_that_of_the_package() -> None:
    assert version("frostwatch") == VERSION
