"""A freeze that was verified, and whose group was not frozen together, is *no group* everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentclient.fleet.store import Fleet
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.verdict import apart
from agentclient.journal.contract_types import is_of_contract
from agentclient.journal.handover import Handover
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.events import Ended, Event, EventKind
from agentclient.model.meaning import with_meaning
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import CopyIs, Level, OutcomeKind
from agentclient.model.vm import Vm, VmId
from agentclient.operations.fleet_reporter import FleetReporter
from agentclient.replay.incident import incident_of
from tests.console.fakes import NOON
from tests.unit.cli_fakes import World, world
from tests.unit.incidents import NIGHT, REQUEST, at, outcome, states_at, window
from tests.unit.journals import VERIFIED, begin, rows, vm, whole
from tui.console.model import certificate
from tui.console.model.notices import outcome_notice
from tui.console.model.past_tracks import word_of
from tui.console.model.vm_lines import past_line
from tui.main import run
from tui.plays.replay import step_object
from tui.shared.clocks import Moment as Now
from tui.shared.filter_language import parse
from tui.shared.glyphs import NO_GROUP, Signs
from tui.shared.handover_text import handover_level, handover_text
from tui.shared.history_text import outcome_word

__all__ = ["world"]

DB1 = VmId("qemu", "db1")
APART = VERIFIED._replace(certified=False, not_together=True, reason="frozen; its group was not")
ROW = window(
    1,
    request=REQUEST | {"group": "abc", "group_size": 2},
    outcome=outcome("verified", certified=False, not_together=True),
)


def text_of(line: tuple[Any, ...]) -> str:
    return "".join(piece.text for piece in line)


def page(row: WindowRow) -> certificate.Page:
    return certificate.Page(row, (row,), None, NIGHT)


# -- the journal keeps it ------------------------------------------------------------------------


def test_the_journal_keeps_it_and_history_tells_and_finds_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal()
    whole(journal, vm(tmp_path), APART)
    whole(journal, vm(tmp_path, "web1"))
    (good, apart) = rows(journal)
    assert (apart.without_group, good.without_group) == (True, False)
    assert run(["history"]) == 0
    _, _, line = capsys.readouterr().out.splitlines()
    assert "no group" in line
    assert "verified" not in line
    for state, found in (
        ("no-group", ["qemu:db1"]),
        ("verified", ["qemu:web1"]),
        ("certified", ["qemu:web1"]),
    ):
        assert run(["history", "--state", state, "--json"]) == 0
        told = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
        assert [one["vm"] for one in told] == found, state
        assert all(one["result"]["not_together"] is (state == "no-group") for one in told)


def test_what_an_older_frostwatch_has_written_is_read_as_it_was() -> None:
    row = window(1, outcome=outcome("verified", certified=False))
    assert outcome_word(row) == "verified"
    assert not row.without_group


def test_what_says_both_is_not_believed() -> None:
    apart = {"outcome": "verified", "certified": True, "not_together": True}
    assert not is_of_contract("outcome", apart)
    assert is_of_contract("outcome", apart | {"certified": False})
    assert not is_of_contract("outcome", apart | {"certified": False, "not_together": 1})


def test_an_outcome_that_is_taken_back_is_kept_as_well(tmp_path: Path) -> None:
    journal, one, fleet = Journal(tmp_path / "journal.db"), vm(tmp_path), Fleet()
    fleet.set_vms("qemu", [one])
    told: list[Event] = []
    reporter = FleetReporter(fleet, one, told.append, begin(journal, one))
    end = ReportEvent(EventKind.OUTCOME, Level.GOOD, "certified", Ended(VERIFIED))
    reporter.event(end)
    before = reporter.ended(VERIFIED)
    after = reporter.revise(before, apart(before, "qemu:web1 broken"))
    assert fleet.get(one.id).last is after
    assert after.meaning is not None
    assert after.meaning.copy_is is CopyIs.NOT
    assert (told[-1].kind, told[-1].level) == (EventKind.REVISED, Level.WARNING)
    assert told[-1].text.startswith("revised to no group: ")
    (row,) = rows(journal)
    assert (row.without_group, row.certified, row.settled) == (True, False, True)
    newer = VERIFIED._replace(reason="another freeze")
    reporter.ended(newer)
    reporter.revise(after, after)
    assert fleet.get(one.id).last != after
    journal.close()


# -- wherever the past is told -------------------------------------------------------------------


def test_its_certificate_says_that_the_group_was_not_consistent() -> None:
    assert certificate.headline(page(ROW), Signs()).text == "NOT CERTIFIED: no group"
    shown = certificate.as_text(page(ROW))
    assert "group     2 VMs, NOT frozen together: copies of them are not consistent" in shown
    assert "verified" not in shown.partition("What was told")[0].replace("verified, as told", "")


def test_the_page_of_a_vm_and_the_picture_say_so() -> None:
    assert "≠ no group" in text_of(past_line(ROW, 1.0, Signs()))
    assert word_of(ROW, Signs()).text == "≠ no group"
    assert word_of(ROW, Signs()).tone is NO_GROUP.tone


def test_the_handover_counts_it_by_name() -> None:
    found = Handover(NIGHT, (ROW, window(2, "qemu:web1")))
    text = handover_text(found, NOON)
    assert "2 freezes, 1 certified, 1 no group (db1" in text
    assert handover_level(found) is Level.WARNING


def test_a_replay_says_so_at_its_end_and_nothing_better_before() -> None:
    incident = incident_of((ROW,))
    assert incident is not None
    held = next(iter(states_at(incident, at(10.0)).values())).progress
    assert held is not None
    assert held.verdict is None
    ended = next(iter(states_at(incident, at(40.0)).values()))
    assert ended.last is not None
    assert ended.last.word == "no group"
    step, state = [(step, state) for step, state in incident.states() if step.text][-1]
    assert step_object(step, state)["not_together"] is True


# -- and of the freeze of this console -----------------------------------------------------------


def test_what_is_told_of_the_last_freeze_has_the_same_word() -> None:
    one = Vm(DB1)
    last = with_meaning(APART, one)
    state = VmState(one, last=last)
    notice = outcome_notice(state, last, NOON)
    assert "db1: no group: " in notice.text
    assert notice.level is Level.WARNING
    moment = Now(0.0, NOON)
    for text, matches in (
        ("outcome:no-group", True),
        ("outcome:verified", False),
        ("no-group", True),
    ):
        assert parse(text).matches(state, moment) is matches, text


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Outcome(OutcomeKind.VERIFIED, ""), "verified"),
        (Outcome(OutcomeKind.VERIFIED, "", certified=True), "certified"),
        (Outcome(OutcomeKind.VERIFIED, "", not_together=True), "no group"),
        (Outcome(OutcomeKind.UNVERIFIED, "", not_together=True), "unverified"),
        (Outcome(OutcomeKind.LOST, "", certified=True), "lost"),
    ],
)
def test_the_word_of_an_outcome(found: Outcome, word: str) -> None:
    assert found.word == word
