"""Whatever stands in a row of the journal, it costs what is told of its own window, and no more."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.journal import history
from agentclient.journal.handover import happened_since
from agentclient.journal.json_contract import window_object
from agentclient.journal.left_windows import OPEN_WINDOWS
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.json_contract import dumps
from agentclient.replay.incident import Incident, incident_of
from agentclient.replay.player import Replay
from agentclient.replay.selection import span_of
from tests.unit.journals import add_event, begin, flush, of_a_dead_process, vm, whole
from tui.cli.commands.history import _row, _Wanted, _words_of
from tui.console.model.certificate import Page, as_json, as_text, file_name
from tui.console.model.past_tracks import group_tracks, past_track
from tui.console.model.rungs import findings_in
from tui.console.model.vm_lines import longest_answer, past_line
from tui.plays.replay import _lines, headline, step_object
from tui.shared.glyphs import Signs
from tui.shared.handover_text import handover_text, handover_told
from tui.shared.history_text import notes, outcome_word

Rows = tuple[WindowRow, ...]
VALUES = (
    "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59+00:00",
    "2026-01-01T00:00:00",
    "nonsense",
    0,
    -1,
    1e300,
    float("inf"),
    10**18,
    b"\xff\xfe",
    "null",
    "[]",
    "{}",
    '{"outcome": 3, "certified": "no"}',
    '{"outcome":"refused","seconds":NaN,"frozen":1e999,"meaning":[],"evidence":[3],"reason":{}}',
    '{"hold_s":1e999,"probes":NaN,"first_timeout_s":-1,"group":"g","group_size":1e9}',
    '{"points":[[1e308,1],[2,"a"],[1,99999999999999999999999]]}',
    f'{{"hold_s":{"9" * 400}}}',
    '{"rung":[],"found":{},"by":3,"group":[],"group_size":"x","result":[]}',
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with two whole windows, one that goes on, and one that a dead process has left."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder / "journal.db")
    whole(journal, vm(folder))
    for name in ("web1", "left1"):
        entry = begin(journal, vm(folder, name))
        entry.armed()
        add_event(entry, vm(folder, name), EventKind.SENT)
    whole(journal, vm(folder, "mail1"))
    flush(journal)
    journal.close(5.0)
    of_a_dead_process(journal.path, 3)
    return journal.path


def _told(rows: Rows) -> None:
    for row in rows:
        dumps(window_object(row))
        list(notes(row))
        outcome_word(row)
        _Wanted(now() - timedelta(days=1), now()).matches(row)
        span_of(row)


def _drawn(rows: Rows) -> None:
    signs = Signs()
    findings_in(rows, now())
    for row in rows:
        page = Page(row, rows, None, now())
        as_text(page)
        as_json(page)
        file_name(row)
        past_line(row, longest_answer(rows), signs)
        past_track(row, signs, now())
        group_tracks(row, rows, signs, now())


def _replayed(rows: Rows) -> None:
    incident = incident_of(rows)
    assert isinstance(incident, Incident)
    headline(incident)
    list(_lines(incident, 20))
    for step, state in incident.states():
        dumps(step_object(step, state))
    replay = Replay(incident)
    while replay.next_event():
        replay.wall()
    replay.begin_again()


FORGED = (
    '{"outcome": "verified", "certified": 1}',
    '{"outcome": "verified", "certified": "yes", "frozen": 2, "thawed": 2}',
    '{"outcome": "verified", "certified": []}',
    '{"outcome": "verified", "certified": true, "frozen": "2"}',
    '{"outcome": "verified", "certified": true, "frozen": true, "thawed": true}',
    '{"outcome": "verified", "certified": true, "settled": 1}',
    '{"outcome": "lost", "certified": true}',
    '{"certified": true}',
    '{"outcome": ["verified"], "certified": true}',
    '{"outcome": "verified", "certified": true, "evidence": ["reply"]}',
    '{"outcome": "verified", "certified": true, "meaning": "it is consistent"}',
)


@pytest.mark.parametrize("value", FORGED)
def test_an_outcome_of_other_types_is_unreadable_for_every_reader(
    written: Path, value: str
) -> None:
    with _Changed(written, "windows", "outcome", value, 1) as ask:
        rows: Rows = ask(history.windows(None, 50, None))
        row = rows[-1]
        assert (row.window, row.outcome, row.unreadable) == (1, None, "outcome")
        assert rows[0].certified, "another window is as it was"
        handover = handover_text(ask(happened_since(now() - timedelta(days=1))), now())
    assert outcome_word(row) == "unreadable"
    assert "can't be read: outcome" in list(notes(row))
    assert [cell.text for cell in _row(row)][2:4] == ["unreadable", "-"]
    assert not _words_of(row) & {"certified", "verified"}
    told = window_object(row)
    assert (told["result"], told["unreadable"]) == (None, "outcome")
    assert "1 certified, 1 unreadable (db1" in handover
    page = Page(row, (), None, now())
    assert as_text(page).startswith("Record")
    assert "NOT CERTIFIED: unreadable" in as_text(page)
    assert json.loads(as_json(page))["certified"] is False
    line = "".join(piece.text for piece in past_line(row, 1.0, Signs()))
    assert "unreadable" in line
    assert "certified" not in line
    track = past_track(row, Signs(), now())
    assert track is not None
    assert not track.certified
    incident = incident_of([row])
    assert incident is not None
    text = "\n".join(_lines(incident, 20))
    assert "can't be read in the journal, and not known: outcome" in text
    assert all(state.last is None for _, state in incident.states())


@pytest.mark.parametrize("column", ["thaw", "rescue", "job"])
def test_so_is_every_other_object(written: Path, column: str) -> None:
    bad = {"thaw": '{"ok": "yes"}', "rescue": '{"rung": 3}', "job": '{"window": {"certified": 1}}'}
    with _Changed(written, "windows", column, bad[column], 1) as ask:
        row = ask(history.windows(None, 50, None))[-1]
        assert (getattr(row, column), row.unreadable) == (None, column)


@pytest.mark.parametrize("value", ["yes", 2, -1])
def test_what_is_not_surely_settled_is_not(written: Path, value: object) -> None:
    with _Changed(written, "windows", "settled", value, 1) as ask:
        row = ask(history.windows(None, 50, None))[-1]
        assert not row.settled
        assert row.unreadable is not None


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("table", ["windows", "events"])
def test_a_broken_value_is_one_broken_window(written: Path, table: str, value: object) -> None:
    with sqlite3.connect(f"file:{written}?mode=ro", uri=True) as file:
        file.row_factory = sqlite3.Row
        columns = [row["name"] for row in file.execute(f"PRAGMA table_info({table})")]
    for place, column in enumerate(columns, VALUES.index(value)):
        if column in ("id", "key", "window", "number"):
            continue
        number = 1 + place % 2  # one that is over, or one that goes on
        with _Changed(written, table, column, value, number) as ask:
            where = f"{table}.{column} of {number}"
            rows: Rows = ask(history.windows(None, 50, None))
            assert [row.window for row in rows] == [4, 3, 2, 1], where
            assert [row.vm for row in rows if row.window > 2] == ["qemu:mail1", "qemu:left1"]
            for told in (_told, _drawn, _replayed):
                told(rows)
            handover_told(ask(happened_since(now() - timedelta(days=1))), now())
            assert 3 in [one.by.window for one in ask(OPEN_WINDOWS).left], where


class _Changed:
    """A copy of a journal in memory, with one other value; returns what asks it."""

    def __init__(self, path: Path, *change: Any) -> None:
        self._path, self._change = path, change

    def __enter__(self) -> Callable[[Query[Any]], Any]:
        table, column, value, number = self._change
        self._file = sqlite3.connect(":memory:")
        with sqlite3.connect(self._path) as whole_file:
            whole_file.backup(self._file)
        whole_file.close()
        self._file.row_factory = sqlite3.Row
        self._file.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, number))
        return lambda query: query.parse([self._rows(*statement) for statement in query.statements])

    def _rows(self, text: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        return [dict(row) for row in self._file.execute(text, values)]

    def __exit__(self, *_: object) -> None:
        self._file.close()
