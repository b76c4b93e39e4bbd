"""What is odd in a journal, or said to it: names, clocks, ids, broken rows, open folders."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentclient.journal.entry import begin_freeze
from agentclient.journal.history import Guest, guests, history_of
from agentclient.journal.json_contract import window_object
from agentclient.journal.left_windows import OPEN_WINDOWS, match
from agentclient.journal.rows import LONGEST_IDENTITY, LONGEST_PATH, from_identity, identity
from agentclient.journal.storage import database as database_module
from agentclient.journal.storage import store as store_module
from agentclient.journal.storage.state_folder import state_folder
from agentclient.journal.storage.tables import STEPS
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal, default_path
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.json_contract import dumps
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import OutcomeKind, Phase, WindowState
from agentclient.model.vm import AgentChannel, Process, Vm, VmId
from tests.unit.journals import (
    LOST,
    VERIFIED,
    WAIT_S,
    add_event,
    begin,
    change,
    flush,
    number,
    of_a_dead_process,
    of_a_living_process,
    put,
    rows,
    vm,
    whole,
)
from tui.main import run
from tui.shared.history_text import notes, outcome_word

ROOT = Path(__file__).parents[2]
ODD = (
    "plain",
    "caf\udce9",
    "\udcff\udcfe",
    "\ud800",
    "zero\0in the middle",
    "\x1b[2J\x07bell",
    "line\nbreak\ttab",
    "\u202eright to left",
    "back\\slash",
    "x" * 5000 + "a",
    "x" * 5000 + "b",
    "é" * 3000,
    "'; DROP TABLE windows; --",
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


# -- strings -------------------------------------------------------------------------------------


def test_no_name_ends_the_journal_and_each_is_told_from_the_others(
    journal: Journal, tmp_path: Path
) -> None:
    for index, name in enumerate(ODD):
        path = tmp_path / f"{index}.qga"
        path.touch()
        put(journal, Vm(VmId("qemu", name), AgentChannel(path)))
    found = rows(journal)
    assert journal.problem is None
    assert journal.take_notice() is None
    assert len({row.vm for row in found}) == len(ODD)
    for name in ODD:
        if len(name) < LONGEST_IDENTITY:
            assert any(row.vm == f"qemu:{name}" for row in found), "as its source calls it"
        past = journal.ask(history_of(Guest((f"qemu:{name}",)), 9), WAIT_S)
        assert past is not None
        assert (len(past.windows), past.figures.count) == (1, 1)
        meant = journal.ask(guests(name), WAIT_S)
        assert meant is not None
        assert len(meant) == 1
    assert all(dumps(window_object(row)).isascii() for row in found)


def test_an_identity_comes_back_as_it_was_and_is_never_long() -> None:
    for name in ODD:
        back = from_identity(identity(name))
        assert back == name or len(name) > LONGEST_IDENTITY
        assert len(back) <= LONGEST_IDENTITY


def test_what_is_said_can_hold_anything(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    entry = begin(journal, one)
    for text in ODD:
        add_event(entry, one, EventKind.NOTE, text)
    outcome = Outcome(OutcomeKind.FAILED, "\ud800\0\x1b", frozen=2**80, seconds=float("nan"))
    add_event(entry, one, EventKind.OUTCOME, outcome=outcome._replace(coverage="\udcff"))
    (row,) = rows(journal)
    assert len(row.events) == len(ODD) + 1
    assert not any(each in event.text for event in row.events for each in "\0\x1b\n\udcff")
    assert row.outcome is not None
    assert (row.outcome["frozen"], row.outcome["seconds"]) == (2**80, None)
    assert journal.problem is None


@pytest.mark.parametrize(("count", "length"), [(10, 200), (300, 40), (20, LONGEST_PATH - 1)])
def test_a_long_request_is_kept_as_it_was(
    journal: Journal, tmp_path: Path, count: int, length: int
) -> None:
    mounts = tuple(f"/{index}{'m' * length}"[:length] for index in range(count))
    entry = begin_freeze(journal, vm(tmp_path), FreezeRequest(mounts))
    assert entry is not None
    (row,) = rows(journal)
    assert row.request is not None
    assert row.request["mounts"] == list(mounts)
    assert row.unreadable is None


# -- rows that can't be read -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "whole_row"),
    [
        ("request", '{"mounts":["/aaaa', False),
        ("request", "[1]", False),
        ("outcome", "\x00", False),
        ("outcome", b"\xff", False),
        ("thaw", "null", False),
        ("rescue", "[" * 100_000, False),
        ("kind", "something newer", True),
        ("asked_at", "yesterday", True),
        ("uid", "root", True),
        ("vm_pid", "?", True),
    ],
)
def test_a_row_that_can_not_be_read_is_one_row(
    tmp_path: Path, column: str, value: object, whole_row: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal()
    good, bad = whole(journal, vm(tmp_path)), whole(journal, vm(tmp_path, "db2"))
    change(journal.path, bad, **{column: value})
    broken, fine = rows(journal)
    assert (fine.window, fine.unreadable) == (good, None)
    assert (broken.window, broken.vm) == (bad, "qemu:db2")
    assert column in str(broken.unreadable) or whole_row
    assert whole(journal, vm(tmp_path)) > bad, "and it is written on"
    journal.close()
    assert run(["history"]) == 0
    assert "can't be read: " in capsys.readouterr().out
    assert run(["history", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["unreadable"] is None for line in lines] == [True, False, True]


def test_a_row_that_can_not_be_read_proves_nothing_and_hides_no_proof(
    journal: Journal, tmp_path: Path
) -> None:
    one, other = vm(tmp_path), vm(tmp_path, "db2")
    for each in (one, other):
        entry = begin(journal, each)
        entry.armed()
        of_a_dead_process(journal.path, number(journal, entry))
    change(journal.path, 1, armed_at="yesterday")
    found = journal.ask(OPEN_WINDOWS, WAIT_S)
    assert found is not None
    assert match(one, found.left) is None
    assert match(other, found.left) is not None


# -- ids -----------------------------------------------------------------------------------------

WRITERS = """
import sys, threading
from pathlib import Path
from agentclient.journal.writer import Journal
from tests.unit.journals import put, vm
folder = Path(sys.argv[1])
journal = Journal(folder / "journal.db")
vms = [vm(folder, f"{sys.argv[2]}-{n}") for n in range(16)]
sys.stdin.readline()
threads = [threading.Thread(target=put, args=(journal, one)) for one in vms]
[each.start() for each in threads]
[each.join() for each in threads]
journal.close(20.0)
print(journal.problem)
"""


def test_many_freezes_of_many_processes_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, str(tmp_path), str(each)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for each in range(3)
    ]  # fmt: skip
    said = [each.communicate("go\n")[0] for each in writers]
    assert said == ["None\n"] * 3
    journal = Journal(tmp_path / "journal.db")
    found = rows(journal)
    assert len({row.vm for row in found}) == len(found) == 3 * 16
    assert all(row.settled and len(row.events) == 5 for row in found)
    ids = [row.window for row in found]
    assert ids == sorted(set(ids), reverse=True)
    assert ids[0] < 2**53


# -- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-800, 800])
def test_a_left_freeze_stays_ours_whatever_the_clock_is_set_to(
    journal: Journal, tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = vm(tmp_path)
    wrong = now() + timedelta(days=days)
    monkeypatch.setattr("agentclient.journal.entry.wall_now", lambda: wrong)
    earlier = whole(journal, one)
    entry = begin(journal, one)
    entry.armed()
    left = number(journal, entry)
    of_a_dead_process(journal.path, left)
    monkeypatch.undo()
    for _ in range(3):
        whole(journal, vm(tmp_path, "db2"))
    journal.close()
    again = Journal(journal.path)
    whole(again, vm(tmp_path, "db2"))
    found = again.ask(OPEN_WINDOWS, WAIT_S)
    assert found is not None
    by = match(one, found.left)
    assert by is not None
    assert by.window == left > earlier
    assert abs(by.at - datetime.now(UTC)) < timedelta(minutes=1), "by the clock as it is now"


def test_what_came_later_is_told_by_the_monotonic_clock(journal: Journal, tmp_path: Path) -> None:
    """A process that was slow to write down its freeze has still frozen first."""
    one = vm(tmp_path)
    slow = begin(journal, one)
    slow.armed()
    first = number(journal, slow)
    whole(journal, one)
    of_a_dead_process(journal.path, first)
    change(journal.path, first, settled=0, id=first + 100, ended_at=None)
    found = journal.ask(OPEN_WINDOWS, WAIT_S)
    assert found is not None
    assert match(one, found.left) is None, "what came later has thawed it"


def test_a_journal_of_an_earlier_version_is_read_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as file:
        for statement in STEPS[0]:
            file.execute(statement)
        file.execute("PRAGMA user_version = 1")
        old = 3_724_000_000_000_000  # by the clock of then, in milliseconds
        file.execute(
            "INSERT INTO windows (id, kind, vm, source, name, request, uid, user, pid, ticks,"
            " command, host, boot, asked_at, asked_s, settled) VALUES (?, 'freeze', 'qemu:db1',"
            " 'qemu', 'db1', '{\"mounts\":[\"/a', 0, 'root', 1, 1, 'c', 'h', 'b',"
            " '2026-03-01T10:00:00+01:00', 0.0, 1)",
            (old,),
        )
    file.close()
    journal = Journal(path)
    newer = whole(journal, vm(tmp_path))
    assert newer == old + 1 < 2**53
    found = rows(journal)
    assert [row.window for row in found] == [newer, old]
    assert found[1].unreadable == "request"


# -- one guest, and what is going on with it -------------------------------------------------------


def test_two_ids_of_one_guest_are_one_guest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, one = Journal(), vm(tmp_path)
    by_socket = one._replace(id=VmId("socket", "db1"))
    whole(journal, one)
    whole(journal, by_socket)
    assert run(["history", "db1"]) == 0
    out = capsys.readouterr().out
    assert ("qemu:db1" in out, "socket:db1" in out) == (True, True)
    assert "2 freezes answered" in out
    for each in ("qemu:db1", "socket:db1"):
        assert run(["history", each, "--json"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
    other = vm(tmp_path, "elsewhere")._replace(id=VmId("ssh", "db1"))
    whole(journal, other)
    assert run(["history", "db1"]) == 2
    assert "ambiguous" in capsys.readouterr().err


def test_one_process_is_one_guest_also_without_its_socket(journal: Journal, tmp_path: Path) -> None:
    process = Process(os.getpid(), 4711)
    one = vm(tmp_path, process=process)
    whole(journal, one)
    assert one.agent is not None
    one.agent.path.unlink()
    whole(journal, one._replace(id=VmId("socket", "db1"), agent=AgentChannel(tmp_path / "none")))
    past = journal.ask(history_of(Guest.of(one), 9), WAIT_S)
    assert past is not None
    assert len(past.windows) == 2


def _open(journal: Journal, one: Vm, *kinds: EventKind) -> WindowRow:
    entry = begin(journal, one)
    entry.armed()
    for kind in kinds:
        fields: dict[str, object] = {"frozen": 2} if kind is EventKind.REPLY else {}
        fields |= {"hold_s": 60.0} if kind is EventKind.HELD else {}
        add_event(entry, one, kind, "said", **fields)
    window = number(journal, entry)
    of_a_living_process(journal.path, window)
    return rows(journal)[0]


SENT = (EventKind.SENT,)
HELD = (*SENT, EventKind.REPLY, EventKind.VERDICT, EventKind.HELD)


@pytest.mark.parametrize(
    ("kinds", "phase", "word"),
    [
        ((), Phase.PREPARING, "preparing"),
        (SENT, Phase.PENDING, "pending"),
        (HELD, Phase.HELD, "held now"),
        ((*HELD, EventKind.THAW_SENT), Phase.THAWING, "thawing"),
    ],
)
def test_an_open_window_is_what_is_going_on(
    journal: Journal, tmp_path: Path, kinds: tuple[EventKind, ...], phase: Phase, word: str
) -> None:
    row = _open(journal, vm(tmp_path), *kinds)
    assert (row.state, row.phase, outcome_word(row)) == (WindowState.OPEN, phase, word)
    told = next(iter(notes(row)))
    assert told.startswith("until " if phase is Phase.HELD else "since ")
    if phase is Phase.HELD:
        assert row.held_until is not None
        assert 50 < (row.held_until - now()).total_seconds() < 61
    assert window_object(row)["phase"] == phase


def test_an_extended_hold_ends_later(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    entry = begin(journal, one)
    add_event(entry, one, EventKind.REPLY, frozen=2)
    add_event(entry, one, EventKind.HELD, hold_s=60.0)
    add_event(entry, one, EventKind.NOTE, extended_s=30.0)
    assert rows(journal)[0].hold_s == 90.0


@pytest.mark.parametrize(
    ("events", "outcome", "note"),
    [
        ((EventKind.CANCELLED,), VERIFIED, "cancelled"),
        ((), VERIFIED, "ended before its time"),
        ((), VERIFIED._replace(kind=OutcomeKind.BROKEN, certified=False), "broken"),
    ],
)
def test_a_hold_that_was_cut_short_says_so(
    journal: Journal, tmp_path: Path, events: tuple[EventKind, ...], outcome: Outcome, note: str
) -> None:
    one = vm(tmp_path)
    entry = begin_freeze(journal, one, FreezeRequest(schedule=Schedule(hold_s=30.0)))
    assert entry is not None
    for kind in (EventKind.SENT, EventKind.REPLY, EventKind.HELD, *events, EventKind.THAWED):
        add_event(entry, one, kind, "said", **({"frozen": 2} if kind is EventKind.REPLY else {}))
    add_event(entry, one, EventKind.OUTCOME, outcome=outcome)
    (row,) = rows(journal)
    (told,) = row.notes
    assert told.startswith("held for 0")
    assert told.endswith(f" s of 30 s: {note}")
    assert window_object(row)["note"] == told


def test_a_group_s_hold_is_not_cut_short(journal: Journal, tmp_path: Path) -> None:
    one = vm(tmp_path)
    entry = begin(journal, one)
    add_event(entry, one, EventKind.REPLY, frozen=2)
    add_event(entry, one, EventKind.HELD, hold_s=50.0)
    add_event(entry, one, EventKind.NOTE, "group: 3 VMs frozen together, within 9 ms")
    add_event(entry, one, EventKind.THAWED)
    add_event(entry, one, EventKind.OUTCOME, outcome=VERIFIED)
    assert rows(journal)[0].notes == ()


def test_a_freeze_that_was_not_seen_thawed_is_not_settled_by_a_later_one(
    journal: Journal, tmp_path: Path
) -> None:
    one = vm(tmp_path)
    left = whole(journal, one, LOST)
    of_a_dead_process(journal.path, left)
    entry = begin(journal, one)
    entry.armed()
    refused = Outcome(OutcomeKind.REFUSED, "no holder", settled=True)
    add_event(entry, one, EventKind.OUTCOME, outcome=refused)
    flush(journal)
    assert not rows(journal)[1].settled
    found = journal.ask(OPEN_WINDOWS, WAIT_S)
    assert found is not None
    assert match(one, found.left) is not None


# -- where it lies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("umask", "above"), [(0o000, 0o755), (0o022, 0o755), (0o077, 0o700)])
def test_our_folder_is_ours_alone_and_what_is_above_it_is_ordinary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, above: int
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    (home := tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = os.umask(umask)
    try:
        journal = Journal()
        whole(journal, vm(tmp_path))
        assert journal.keep("small", b"file", WAIT_S) is None
    finally:
        os.umask(before)
    folder = default_path().parent
    modes = {each: each.stat().st_mode & 0o777 for each in (folder, *folder.parents[:2])}
    assert modes == {folder: 0o700, folder.parent: above, folder.parent.parent: above}
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    journal.close()


def test_what_is_there_already_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state := tmp_path / "state"))
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    (folder := state / "frostwatch").mkdir()
    folder.chmod(0o777)
    journal = Journal()
    whole(journal, vm(tmp_path))
    assert state.stat().st_mode & 0o777 == 0o777
    assert folder.stat().st_mode & 0o022 == 0, "others must not put another file in its place"
    journal.close()


def test_reading_a_journal_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only file system: what stands there proves what it proves."""
    journal, one = Journal(tmp_path / "journal.db"), vm(tmp_path)
    window = whole(journal, one)
    monkeypatch.setattr(store_module, "_is_writable", lambda _: False)
    for module in (store_module, database_module):
        monkeypatch.setattr(module, "BUSY_S", 2 * WAIT_S)
    reader = store_module.Store(journal.path)
    begun = time.monotonic()
    for _ in range(3):
        found = reader.run([[("SELECT id FROM windows ORDER BY id", ())]], writes=False)
        assert found is not None
        assert found[0].found == [[{"id": window}]]
        window_then = window
        window = whole(journal, one)
        again = reader.run([[("SELECT max(id) AS id FROM windows", ())]], writes=False)
        assert again is not None
        assert again[0].found == [[{"id": window}]], "what was written since is seen"
        change(journal.path, window_then, settled=1)
        with sqlite3.connect(journal.path) as file:
            file.execute("DELETE FROM windows WHERE id != ?", (window,))
        file.close()
    assert time.monotonic() - begun < WAIT_S  # none has waited for a lock that nobody gives
    reader.close()
    journal.close()


@pytest.mark.parametrize("home", ["", "relative", "~"])
def test_a_home_that_is_no_place_is_asked_of_the_system(
    monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    """The holder works in another folder: a relative one would be another journal's there."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    of_the_system = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert state_folder() == of_the_system / ".local" / "state" / "frostwatch"
