"""What others had pending, in the journal: written once, settled, and told as theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentclient.fleet.others import HeldChannels
from agentclient.fleet.store import Fleet
from agentclient.journal import others_entry
from agentclient.journal.history import last_figures_of_others, read_history
from agentclient.journal.others_entry import record_others
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.snapshot import MonitorView, Traffic
from agentclient.model.states import Cause, RunState, WindowKind, WindowState
from agentclient.model.vm import AgentChannel, Vm, VmId
from tui.shared.history_text import notes, outcome_word

VM = Vm(VmId("qemu", "db"), agent=AgentChannel(Path("/run/db.qga")))
BY = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")
AT = datetime(2026, 3, 1, 2, 13, tzinfo=UTC)


Span = tuple[float, float]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes that a command was pending from then to then (monotonic clock)."""

    def write(journal: Journal, span: Span, result: OthersResult = OthersResult.ANSWERED) -> None:
        began, ended = span
        monkeypatch.setattr(others_entry, "time", SimpleNamespace(monotonic=lambda: ended))
        since, until = (AT + timedelta(seconds=one) for one in span)
        record_others(journal, VM, OthersEnded(result, BY, since, until, ended - began))

    return write


def _rows(journal: Journal) -> tuple[WindowRow, ...]:
    found = read_history(journal, VM, 10)
    assert found is not None
    return found.windows


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (OthersResult.ANSWERED, None),
        (OthersResult.LOST, Cause.GUEST_RESET),
        (OthersResult.LEFT, None),
        (OthersResult.THAWED, None),
    ],
)
def test_it_is_written_once_and_nobody_has_to_thaw_for_it(
    tmp_path: Path, result: OthersResult, cause: Cause | None
) -> None:
    journal = Journal(tmp_path / "journal.db")
    try:
        for late_s in (0.0, 0.4):  # two frostwatches, which see it at different looks
            since = AT + timedelta(seconds=late_s)
            until = AT + timedelta(seconds=41)
            record_others(journal, VM, OthersEnded(result, BY, since, until, 41.0, cause))
        (row,) = _rows(journal)
        assert (row.kind, row.state, row.settled) == (WindowKind.OTHERS, WindowState.CLOSED, True)
        assert (row.user, row.pid, row.command) == ("root", 4711, BY.program)
        assert row.seconds == 41.0
        assert outcome_word(row) == result
        told = "; ".join(notes(row))
        assert "vzdump 101 (pid 4711)" in told
        assert "for 41.0 s" in told
        assert ("left it frozen" in told) is (result is OthersResult.THAWED)
        assert (str(cause) in told) is (cause is not None)
        assert "MAY BE FROZEN" not in told
    finally:
        journal.close()


@pytest.mark.parametrize("at_s", [0.0, 1.8, 3.9])
def test_a_command_that_two_have_seen_is_one_and_the_next_one_is_another(
    tmp_path: Path, record: Callable[..., None], at_s: float
) -> None:
    journal = Journal(tmp_path / "journal.db")
    spans = [(0.0, 1.6), (0.2, 1.75), (1.65, 2.8), (1.9, 3.1), (3.0, 9.0)]
    try:
        for began, ended in spans:
            record(journal, (at_s + began, at_s + ended))
        assert sorted(row.seconds or 0.0 for row in _rows(journal)) == pytest.approx(
            [1.15, 1.6, 6.0]
        )
    finally:
        journal.close()


def test_a_thaw_that_waits_while_the_guest_is_frozen_is_not_the_freeze(
    tmp_path: Path, record: Callable[..., None]
) -> None:
    journal = Journal(tmp_path / "journal.db")
    try:
        record(journal, (0.0, 41.0))
        for late_s in (0.0, 3.0):
            record(journal, (41.0 + late_s, 44.0 + late_s), OthersResult.THAWED)
        record(journal, (42.0, 44.0))
        assert sorted(outcome_word(row) for row in _rows(journal)) == [
            "answered",
            "answered",
            "thawed",
            "thawed",
        ]
    finally:
        journal.close()


def test_who_it_was_may_be_unknown(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    try:
        record_others(journal, VM, OthersEnded(OthersResult.LEFT, None, AT, AT, 0.0))
        (row,) = _rows(journal)
        assert (row.user, row.pid) == ("unknown", 0)
    finally:
        journal.close()


def test_what_takes_longer_than_their_last_ones_is_overdue(
    tmp_path: Path, record: Callable[..., None]
) -> None:
    journal = Journal(tmp_path / "journal.db")
    fleet, held = Fleet(), HeldChannels()
    fleet.set_vms("qemu", [VM])
    try:
        for number in range(1, 7):
            record(journal, (3600.0 * number, 3602.0 * number))
        record(journal, (30_000.0, 33_600.0), OthersResult.LOST)
        found = journal.ask(last_figures_of_others(VM), 60.0)
        assert found is not None
        assert (found.count, found.worst_s) == (6, 12.0)

        def look() -> Others | None:
            traffic = Traffic(1, 0, 0) if held.wants_traffic(VM.id) else None
            view = MonitorView(RunState.RUNNING, True, True, openings=3, traffic=traffic)
            held.report(fleet, journal, fleet.get(VM.id), view)
            return fleet.get(VM.id).others

        while (watch := held._held[VM.id].watch if held.is_held(VM.id) else None) is None:
            look()
        watch._begin(time.monotonic() - 13.0)
        until_s = time.monotonic() + 60.0
        while (others := look()) is None or others.overdue is None:
            assert time.monotonic() < until_s, others
            time.sleep(0.01)
        assert others.overdue == "longer than any of its last 6: 12 s at the most"
    finally:
        journal.close()
