"""What operations write into the journal, and what it tells them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder import records as records_module
from agentclient.holder.records import Records
from agentclient.journal import figures as figures_module
from agentclient.journal.figures import Figures, figures, unusual
from agentclient.journal.writer import Journal
from agentclient.model.errors import FrostwatchError
from agentclient.model.events import Event, EventKind
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import Progress
from agentclient.model.states import Level, Phase, WindowKind, WindowState
from agentclient.operations.fleet_reporter import FleetReporter
from agentclient.operations.manager import OperationManager
from tests.unit.journals import (
    WAIT_S,
    add_event,
    begin,
    nothing,
    number,
    of_a_dead_process,
    rows,
    vm,
    whole,
)
from tests.unit.no_thread import each_lack

USUAL = Figures(20, 2.0, 9.0, 12.0)
PENDING = Progress("freeze", Phase.PENDING, "the answer", 0.0, sent_at=100.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


def test_a_bug_in_the_entry_keeps_no_freeze_from_going_on(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each notice of an entry that is missing is an event, which has an entry of its own."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    one, fleet = vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    told: list[Event] = []
    entry = begin(journal, one)
    monkeypatch.setattr(entry, "_event", bug)
    reporter = FleetReporter(fleet, one, told.append, entry)

    def report() -> None:
        for _ in range(3):
            reporter.event(ReportEvent(EventKind.NOTE, Level.INFO, "it goes on"))

    freeze = threading.Thread(target=report, daemon=True)
    freeze.start()
    freeze.join(WAIT_S)
    ended = not freeze.is_alive()
    monkeypatch.undo()  # else it would go on for as long as the other tests
    assert ended
    assert [event.text for event in told].count("it goes on") == 3
    assert any("lacks an entry: ZeroDivisionError('a bug')" in event.text for event in told)
    journal.close()


def test_every_freeze_and_every_thaw_is_written_down(journal: Journal, tmp_path: Path) -> None:
    one, fleet = vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    operations = OperationManager(fleet, AccessPool(), read_only=True, journal=journal)
    request = FreezeRequest(("/a",), strict=True)
    operations.freeze(one, request).wait(60.0)
    operations.thaw(one, foreign=True).wait(60.0)
    operations.stop(1.0)
    thaw, freeze = rows(journal)
    assert (freeze.kind, thaw.kind) == (WindowKind.FREEZE, WindowKind.THAW)
    assert freeze.request is not None
    assert (freeze.request["mounts"], freeze.request["strict"]) == (["/a"], True)
    assert freeze.outcome is not None
    assert freeze.outcome["refusal"] == "read-only"
    assert freeze.times["armed"] is None
    assert thaw.request == {"foreign": True}
    assert thaw.thaw is not None
    assert thaw.thaw["refused"] is True
    assert {row.state for row in (thaw, freeze)} == {WindowState.CLOSED}


def test_what_is_wrong_with_it_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal, one, fleet = Journal(tmp_path / "file" / "journal.db"), vm(tmp_path), Fleet()
    journal.write(nothing(), WAIT_S)
    fleet.set_vms("qemu", [one])
    told: list[Event] = []
    operations = OperationManager(fleet, AccessPool(), read_only=True, journal=journal)
    for _ in range(2):
        operations.freeze(one, FreezeRequest(), told.append).wait(60.0)
    operations.stop(1.0)
    notes = [event.text for event in told if event.kind is EventKind.NOTE]
    assert len(notes) == 1
    assert "is not written" in notes[0]
    assert told[-1].kind is EventKind.OUTCOME


def test_a_console_says_before_any_freeze_that_nothing_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal.db")
    watcher = Watcher(Fleet(), AccessPool(), [], journal=journal)
    watcher.start()
    try:
        until = time.monotonic() + WAIT_S
        while not any("is not written" in each for each in watcher.problems):
            assert time.monotonic() < until, watcher.problems
            time.sleep(0.02)
    finally:
        watcher.stop()
        journal.close()


def test_a_past_that_can_not_be_read_is_no_empty_past(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one, fleet = vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    journal = Journal(tmp_path / "file" / "journal.db")
    operations = OperationManager(fleet, AccessPool(), journal=journal)
    with pytest.raises(FrostwatchError, match="Not a directory"):
        operations.history(one).result(WAIT_S)
    operations.stop(1.0)


def test_a_past_that_is_not_written_down_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, fleet = vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    journal = Journal(tmp_path / "journal.db")
    operations = OperationManager(fleet, AccessPool(), journal=journal)
    known = operations.history(one).result(WAIT_S)
    assert known is not None
    assert known.missing is None
    monkeypatch.setattr(Journal, "problem", "the journal is not written: the disk is full")
    known = operations.history(one).result(WAIT_S)
    assert known is not None
    assert known.missing == "the journal is not written: the disk is full"
    operations.stop(1.0)
    journal.close()


# -- how long it takes ---------------------------------------------------------------------------


def test_figures() -> None:
    assert figures([]) == Figures(0)
    assert figures([3.0]) == Figures(1, 3.0, 3.0, 3.0)
    assert figures([float(n) for n in range(100, 0, -1)]) == Figures(100, 50.5, 95.0, 100.0)


@pytest.mark.parametrize(
    ("usual", "progress", "now", "told"),
    [
        (USUAL, PENDING, 112.5, True),
        (USUAL, PENDING, 112.0, False),
        (USUAL, PENDING._replace(phase=Phase.BLOCKED), 200.0, False),
        (USUAL, PENDING._replace(phase=Phase.HELD), 200.0, False),
        (USUAL, PENDING._replace(sent_at=None), 200.0, False),
        (replace(USUAL, count=figures_module.FEWEST - 1), PENDING, 200.0, False),
        (Figures(0), PENDING, 200.0, False),
    ],
)
def test_what_takes_longer_than_its_last_ones(
    usual: Figures, progress: Progress, now: float, told: bool
) -> None:
    add_event = unusual(usual, progress, now)
    assert (add_event is not None) == told
    if add_event is not None:
        assert (add_event.kind, add_event.level) == (EventKind.NOTE, Level.WARNING)
        assert "its last 20 freezes: 12 s" in add_event.text


def test_it_is_told_once_while_it_is_pending(journal: Journal, tmp_path: Path) -> None:
    one, fleet = vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    for _ in range(figures_module.FEWEST):
        whole(journal, one)
    entry = begin(journal, one)
    journal.write(nothing(), WAIT_S)
    told: list[Event] = []
    reporter = FleetReporter(fleet, one, told.append, entry)
    reporter.progress(PENDING._replace(phase=Phase.PREPARING, sent_at=None))
    assert told == []
    for _ in range(3):
        reporter.progress(PENDING._replace(sent_at=time.monotonic() - 60.0))
    assert [event.kind for event in told] == [EventKind.NOTE]
    assert "any of its last 5 freezes" in told[0].text


def test_only_the_freezes_own_reply_counts(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    entry = begin(journal, one)
    add_event(entry, one, EventKind.SENT)
    add_event(entry, one, EventKind.REPLY, "the agent's status: thawed")
    add_event(entry, one, EventKind.THAW_SENT)
    add_event(entry, one, EventKind.REPLY, error="the thaw's hook failed")
    (row,) = rows(journal)
    assert row.times["replied"] is None
    add_event(entry, one, EventKind.REPLY, frozen=2)
    (row,) = rows(journal)
    assert row.times["replied"] is not None


# -- the holder ----------------------------------------------------------------------------------


def test_a_holder_writes_what_it_did_in_its_consoles_place(
    journal: Journal, tmp_path: Path
) -> None:
    one = vm(tmp_path)
    entry = begin(journal, one)
    reference = entry.armed()
    add_event(entry, one, EventKind.SENT)
    journal.write(nothing(), WAIT_S)
    of_a_dead_process(journal.path, number(journal, entry))
    body = {
        "journal": str(reference.path),
        "window": reference.key,
        "asked": reference.asked,
    }
    records = Records()
    records.taken(body, "the console has gone")
    records.flush(thawing=True)
    assert rows(journal)[0].note is None, "the thaw comes first"
    records.flush(thawing=False)
    (row,) = rows(journal)
    while row.note is None:
        (row,) = rows(journal)
    assert row.state is WindowState.OPEN, "the holder is at work on it"
    records.done(body, ThawReport(None, 2, None, True, "thawed 2 of 2", None))
    records.close()
    (row,) = rows(journal)
    assert (row.state, row.settled) == (WindowState.CLOSED, True)
    assert row.note == "taken over by the holder: the console has gone"
    assert row.thaw is not None
    assert (row.thaw["ok"], row.thaw["thawed"]) == (True, 2)
    ended, thawed = row.times["ended"], row.times["thawed"]
    assert ended is not None
    assert thawed is not None
    assert ended.seconds is not None
    assert 0 <= ended.seconds < 60
    assert [event.kind for event in row.events] == ["sent", "note", "thawed"]


def test_a_disk_that_hangs_keeps_a_holder_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others change is recorded while a window is held, whose end must not be missed."""
    goes_on = threading.Event()
    written: list[str] = []

    class Writer:
        def changed(self, _: object, what: str, __: float) -> None:
            written.append(what)

        def noted(self, _: object, warning: str) -> None:
            written.append(warning)

        def close(self, _: float) -> None:
            pass

    def imported(*_: object) -> type[Writer]:
        goes_on.wait(60.0)
        return Writer

    monkeypatch.setattr(records_module, "load", imported)
    records = Records()
    for more_s in (5.0, 6.0):
        records.changed({}, f"held for {more_s} s more", more_s)
        records.flush(thawing=False)
    records.noted({}, "late")
    records.flush(thawing=False)
    assert written == [], "the disk hangs still"
    goes_on.set()
    monkeypatch.setattr(records_module, "IMPORTED_S", WAIT_S)
    records.close()
    assert written == ["held for 5.0 s more", "held for 6.0 s more", "late"]


@each_lack
def test_without_a_thread_it_is_recorded_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
    journal: Journal,
    tmp_path: Path,
    start: Callable[[threading.Thread], None],
    why: str,
) -> None:
    entry = begin(journal, vm(tmp_path))
    reference = entry.armed()
    body = {"journal": str(reference.path), "window": reference.key, "asked": reference.asked}
    records = Records()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        records.noted(body, "late")
        records.flush(thawing=False)
    records.close()
    (row,) = rows(journal)
    assert [event.text for event in row.events] == ["late"]


@pytest.mark.parametrize("path", ["", "/proc/nowhere/journal.db"])
def test_no_journal_keeps_a_holder_from_anything(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "IMPORTED_S", 1.5 * WAIT_S)
    monkeypatch.setattr(records_module, "CLOSING_S", 1.5 * WAIT_S)
    records = Records()
    body = {"journal": path, "window": "nonsense", "asked": None}
    began = time.monotonic()
    records.taken(body, "the console has gone")
    records.done(body, ThawReport(None, None, None, False, "not thawed", "thaw it"))
    records.close()
    assert time.monotonic() - began < WAIT_S
