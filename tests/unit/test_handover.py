"""What is told at the console's start: what has happened since the operator left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentclient.journal import handover
from agentclient.journal.handover import Handover, HandoverBook, HeldNow, happened_since
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.json_contract import rfc3339
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import FreezeState, Level, WindowState
from tests.console.past import certified, lost
from tests.unit.journals import LOST, WAIT_S, add_event, begin, flush, vm, whole
from tui.shared.handover_text import handover_level, handover_text

NOON = datetime(2025, 9, 9, 12, 0, tzinfo=UTC)
LEFT = NOON - timedelta(hours=10)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def night(number: int) -> WindowRow:
    return certified(number, timedelta(hours=1))


# -- in words --------------------------------------------------------------------------------------


def test_the_worst_is_named_and_who_is_at_work_as_well() -> None:
    bad = lost(14, NOON - datetime(2025, 9, 9, 2, 14, tzinfo=UTC), vm="qemu:mail2")
    held = HeldBy(1316, "root", FreezeState.FROZEN, NOON, datetime(2025, 9, 9, 3, 5, tzinfo=UTC))
    found = Handover(LEFT, (*map(night, range(13)), bad), (HeldNow("db1", held),))
    assert handover_text(found, NOON) == (
        "since you left at 02:00: 14 freezes, 13 certified, 1 lost (mail2, 02:14; thawed 02:14); "
        "db1 is held by root, pid 1316, until 03:05"
    )
    assert handover_level(found) is Level.WARNING


def test_what_may_still_be_frozen_is_loudest() -> None:
    bad = replace(lost(1, timedelta(hours=1)), settled=False)
    bad = replace(bad, times={**bad.times, "thawed": None})
    found = Handover(LEFT, (bad,))
    assert "MAY STILL BE FROZEN" in handover_text(found, NOON)
    assert handover_level(found) is Level.ERROR


def test_what_was_left_to_a_holder_and_is_held_by_it_is_no_alarm() -> None:
    outcome = {"outcome": "verified", "certified": False, "settled": False, "kept": True}
    row = replace(night(1), vm="qemu:db1", outcome=outcome, settled=False, pid=1316)
    until = datetime(2025, 9, 9, 12, 2, tzinfo=UTC)
    by = HeldBy(1316, "root", FreezeState.FROZEN, NOON, until, kept=True)
    found = Handover(LEFT, (row,), (HeldNow("db1", by),))
    told = "since you left at 02:00: db1 is held by root, pid 1316, until 12:02"
    assert handover_text(found, NOON) == told
    assert handover_level(found) is Level.INFO
    alone = Handover(LEFT, (row,))  # its holder is at work no more, and nobody has thawed it
    assert "MAY STILL BE FROZEN" in handover_text(alone, NOON)
    assert handover_level(alone) is Level.ERROR


def test_nothing_is_said_to_be_nothing() -> None:
    assert handover_text(Handover(LEFT), NOON) == "since you left at 02:00: nothing was frozen"
    assert handover_level(Handover(LEFT)) is Level.INFO


def test_a_day_is_named_if_it_is_another() -> None:
    found = Handover(LEFT - timedelta(days=3))
    assert "on 2025-09-06 at 02:00" in handover_text(found, NOON)


def test_a_window_of_a_process_that_died_is_not_certified() -> None:
    died = replace(night(1), state=WindowState.LEFT, settled=False)
    found = Handover(LEFT, (died,))
    assert "certified" not in handover_text(found, NOON)
    assert handover_level(found) is Level.ERROR


def test_many_that_were_lost_are_counted() -> None:
    found = Handover(LEFT, tuple(lost(n, timedelta(hours=1)) for n in range(9)), cut=True)
    text = handover_text(found, NOON)
    assert text.startswith("since you left at 02:00: at least 9 freezes, 9 lost (")
    assert "and 6 more" in text


# -- in the journal -----------------------------------------------------------------------------


def test_what_came_since_is_found_and_what_was_before_is_not(
    journal: Journal, tmp_path: Path
) -> None:
    whole(journal, vm(tmp_path, "before"))
    since = now()
    whole(journal, vm(tmp_path, "web1"))
    whole(journal, vm(tmp_path, "mail2"), LOST)
    found = journal.ask(happened_since(since), WAIT_S)
    assert found is not None
    assert [row.vm for row in found.windows] == ["qemu:web1", "qemu:mail2"]
    assert "2 freezes, 1 certified, 1 lost" in handover_text(found, now())


def test_where_not_all_is_looked_at_that_is_not_said_to_be_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night of others' commands may stand between now and the freezes of that night."""
    whole(journal, vm(tmp_path, "before"))
    since = now()
    whole(journal, vm(tmp_path, "web1"), LOST)
    whole(journal, vm(tmp_path, "mail2"))
    for seen, told in ((1, 1), (2, 2), (3, 2)):
        monkeypatch.setattr(handover, "MOST_SEEN", seen)
        found = journal.ask(happened_since(since), WAIT_S)
        assert found is not None
        assert (len(found.windows), found.cut) == (told, seen == 1)
    none = Handover(since, cut=True)
    assert "more than is told here (frostwatch history)" in handover_text(none, now())


def test_what_we_do_ourselves_is_not_told_as_another_ones(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    add_event(begin(journal, one), one, EventKind.SENT)
    flush(journal)
    found = journal.ask(happened_since(now()), WAIT_S)
    assert found == Handover(found.since if found else now())


def test_the_first_time_nothing_is_told_and_the_next_time_it_is(
    journal: Journal, tmp_path: Path
) -> None:
    assert HandoverBook(journal, 7).open() is None
    book = HandoverBook(journal, 7)
    assert book.open() is not None  # it was opened, and never left: it was killed
    book.leave()
    left = json.loads((tmp_path / "console-7.json").read_bytes())["left"]
    whole(journal, vm(tmp_path))
    found = HandoverBook(journal, 7).open()
    assert found is not None
    assert found.since == datetime.fromisoformat(left)
    assert len(found.windows) == 1
    assert HandoverBook(journal, 8).open() is None, "another user's is another one's"


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b'{"left": 5}', b'{"left": "yesterday"}', b"{" * 5000]
)
def test_a_broken_file_costs_the_handover_alone(
    journal: Journal, tmp_path: Path, body: bytes
) -> None:
    (tmp_path / "console-7.json").write_bytes(body)
    assert HandoverBook(journal, 7).open() is None
    assert HandoverBook(journal, 7).open() is not None, "it is written anew"


@pytest.mark.parametrize("opened", [None, timedelta(hours=-1)])
def test_a_time_to_come_hides_nothing_that_was_before(
    journal: Journal, tmp_path: Path, opened: timedelta | None
) -> None:
    """The clock was an hour ahead when the console was left, and was set since."""
    kept = {"left": rfc3339(now() + timedelta(hours=1))}
    if opened is not None:
        kept["opened"] = rfc3339(now() + opened)
    (tmp_path / "console-7.json").write_text(json.dumps(kept))
    whole(journal, vm(tmp_path))
    found = HandoverBook(journal, 7).open()
    assert (found is not None) == (opened is not None)
    assert found is None or len(found.windows) == 1


def test_what_is_not_written_is_not_said_to_be_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "the journal j is not written: the disk is full"
    assert handover_text(Handover(LEFT, missing=why), NOON) == (
        f"since you left at 02:00: what was frozen is not known: {why}"
    )
    found = Handover(LEFT, (night(1),), missing=why)
    assert handover_text(found, NOON).endswith(f"1 certified; more may be missing: {why}")
    assert handover_level(found) is handover_level(Handover(LEFT, missing=why)) is Level.WARNING
    HandoverBook(journal, 7).open()
    monkeypatch.setattr(Journal, "problem", why)
    told = HandoverBook(journal, 7).open()
    assert told is not None
    assert told.missing == why


def test_a_pipe_in_its_place_hangs_no_journal(journal: Journal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "console-7.json")
    assert HandoverBook(journal, 7).open() is None
    assert journal.problem is None
    assert HandoverBook(journal, 7).open() is not None, "it is written anew"


def test_without_a_journal_there_is_none() -> None:
    book = HandoverBook(None)
    assert book.open() is None
    book.leave()


def test_a_folder_that_cannot_be_written_is_in_nobodys_way(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    book = HandoverBook(Journal(blocked / "journal.db"), os.getuid())
    assert book.open() is None
    book.leave()
