"""The journal: what is written and read again, and that nothing of it ever reaches a caller."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from agentclient.journal import entry as entry_module
from agentclient.journal import writer as writer_module
from agentclient.journal.history import windows
from agentclient.journal.rows import LONGEST_LIST, LONGEST_TEXT
from agentclient.journal.storage import process as process_module
from agentclient.journal.storage import store as store_module
from agentclient.journal.storage.database import JournalError
from agentclient.journal.storage.store import Store
from agentclient.journal.storage.tables import STEPS
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.model.events import EventKind
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.states import OutcomeKind, WindowState
from agentclient.model.vm import Vm
from tests.unit.journals import (
    LOST,
    VERIFIED,
    WAIT_S,
    add_event,
    begin,
    change,
    flush,
    nothing,
    put,
    rows,
    vm,
    whole,
)
from tests.unit.no_thread import each_lack

# A wait that has a bound ends within these seconds, also on a busy machine; one without never does.
BUSY_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def test_a_freeze_from_its_beginning_to_its_end(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    window = whole(journal, vm(tmp_path))
    (row,) = rows(journal)
    assert (row.window, row.vm, row.state) == (window, "qemu:db1", WindowState.CLOSED)
    assert row.settled
    assert row.outcome is not None
    assert (row.outcome["outcome"], row.outcome["certified"]) == ("verified", True)
    assert [event.kind for event in row.events] == [
        "sent", "reply", "thaw-sent", "thawed", "outcome"
    ]  # fmt: skip
    order = ("asked", "armed", "sent", "replied", "thaw_sent", "thawed", "ended")
    found = [row.times[name] for name in order]
    seconds = [moment.seconds for moment in found if moment is not None]
    assert seconds == sorted(one for one in seconds if one is not None)
    assert len(seconds) == len(order)
    assert all(datetime.fromisoformat(one.at).tzinfo is not None for one in found if one)
    assert row.times["held"] is None
    assert row.request is not None
    assert row.request["first_timeout_s"] == 600
    assert row.user
    assert row.command
    journal.close()


def test_it_is_open_until_its_end_and_known_before_it_is_sent(path: Path, tmp_path: Path) -> None:
    journal, one = Journal(path), vm(tmp_path)
    entry = begin(journal, one)
    reference = entry.armed()
    assert (reference.path, reference.key, entry.unrecorded) == (path, entry.key, None)
    with sqlite3.connect(path) as file:  # it is on disk by now, for whoever comes after us
        (armed,) = file.execute("SELECT armed_at FROM windows").fetchone()
    file.close()
    assert armed
    (row,) = rows(journal)
    assert (row.state, row.settled) == (WindowState.OPEN, False)
    add_event(entry, one, EventKind.VERDICT, outcome=VERIFIED._replace(thawed=None, settled=False))
    (row,) = rows(journal)
    assert row.outcome is not None
    assert (row.state, row.outcome["thawed"]) == (WindowState.OPEN, None)
    journal.close()


def test_the_file_is_for_its_owner_alone(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    rows(journal)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}
    assert {one.name for one in path.parent.iterdir()} >= {"journal.db", "journal.db-wal"}
    journal.close()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_who_only_reads_makes_no_file(path: Path) -> None:
    journal = Journal(path)
    assert rows(journal) == ()
    journal.close()
    assert not path.parent.exists()


def test_two_hands_write_at_once(path: Path, tmp_path: Path) -> None:
    hands = [Journal(path) for _ in range(4)]
    one = vm(tmp_path)

    def write(journal: Journal) -> None:
        for _ in range(25):
            put(journal, one)

    threads = [threading.Thread(target=write, args=(hand,)) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hand in hands:
        hand.close(5.0)
        assert hand.problem is None
    journal = Journal(path)
    found = rows(journal)
    assert len(found) == 100
    assert all(row.settled and len(row.events) == 5 for row in found)
    journal.close()


def test_what_a_guest_says_is_capped(path: Path, tmp_path: Path) -> None:
    journal, one = Journal(path), vm(tmp_path)
    entry = begin(journal, one)
    for _ in range(entry_module.MOST_EVENTS * 3):
        add_event(entry, one, EventKind.PORT, "x" * 5000)
    add_event(entry, one, EventKind.THAWED, "\ud800 is no character")
    many = tuple(FileSystem("v" * 5000, "/" * 5000, "ext4") for _ in range(500))
    outcome = Outcome(OutcomeKind.FAILED, "r" * 5000, not_covered=many, settled=True)
    add_event(entry, one, EventKind.OUTCOME, outcome=outcome)
    (row,) = rows(journal)
    assert len(row.events) == entry_module.MOST_EVENTS + 2
    assert max(len(event.text) for event in row.events) == LONGEST_TEXT
    assert row.outcome is not None
    assert len(row.outcome["not_covered"]) == LONGEST_LIST
    assert len(row.outcome["reason"]) == LONGEST_TEXT
    assert path.stat().st_size < 1_000_000
    journal.close()


def test_the_oldest_are_forgotten_by_their_order_and_never_what_may_be_frozen(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    left = whole(journal, one, LOST)
    before = [whole(journal, vm(tmp_path, "db2")) for _ in range(8)]
    journal.close()
    # The clock was 800 days ahead in one run, and far behind in another.
    change(path, before[-1], asked_at="2031-03-01T10:00:00+00:00", id=before[-1])
    change(path, before[-2], asked_at="1970-01-01T00:00:00+00:00", id=before[-2])
    monkeypatch.setattr(store_module, "_PRUNE", [(store_module._PRUNE[0][0], (5,))])
    store = Store(path)
    store.run([nothing()], writes=True)
    store.close()
    again = Journal(path)
    assert [row.window for row in rows(again)] == [*reversed(before[-6:]), left]
    again.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(DISTINCT window) FROM events").fetchone() == (7,)
    file.close()


# -- what is wrong with the file costs the history, and nothing else ------------------------------


def _told(journal: Journal, tmp_path: Path) -> str:
    """Use it as a freeze does; return what it says about itself, which it says once."""
    one = vm(tmp_path)
    entry = begin(journal, one)
    began = time.monotonic()
    entry.armed()
    add_event(entry, one, EventKind.OUTCOME, outcome=VERIFIED)
    assert time.monotonic() - began < BUSY_S
    assert entry.unrecorded is not None
    assert entry.unrecorded.endswith("will be foreign")
    problem = journal.take_notice()
    assert problem is not None
    assert str(journal.path) in problem
    assert entry.unrecorded.startswith(problem)
    journal.close()
    assert journal.ask(windows(None, 1), 0) is None
    return problem


@each_lack
def test_without_a_thread_it_is_said_and_written_later(
    path: Path,
    tmp_path: Path,
    start: Callable[..., None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal(path)
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        journal.begin()
    assert f"is not written: {why}" in (journal.problem or "")
    whole(journal, vm(tmp_path))
    assert journal.problem is None
    assert len(rows(journal)) == 1
    journal.close()


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in _told(Journal(tmp_path / "file" / "journal.db"), tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    assert "can't be opened" in _told(Journal(tmp_path / "journal.db"), tmp_path)


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", _no_user)
    assert "set HOME or XDG_STATE_HOME" in _told(Journal(), tmp_path)


def _no_user(_: int) -> None:
    raise KeyError


def test_a_newer_one_is_not_written(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    journal.close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    before = path.read_bytes()
    assert "newer frostwatch" in _told(Journal(path), tmp_path)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_said(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE windows (id INTEGER PRIMARY KEY)")
        file.execute(f"PRAGMA user_version = {len(STEPS)}")
    file.close()
    reader = Journal(path)
    assert reader.ask(windows(None, 9), WAIT_S) is None
    assert "no journal of frostwatch's" in str(reader.problem)
    reader.close()
    assert "no journal of frostwatch's" in _told(Journal(path), tmp_path)


@pytest.mark.parametrize("pragma", ["query_only = 1", "max_page_count = 1"])
def test_a_read_only_file_and_a_full_disk(path: Path, pragma: str) -> None:
    store = Store(path)
    store.run([nothing()], writes=True)
    assert store._connection is not None
    store._connection.execute(f"PRAGMA {pragma}")
    many = [[(f"CREATE TABLE t{n} AS SELECT randomblob(100000) AS x", ())] for n in range(9)]
    with pytest.raises(JournalError, match=r"read-only|disk is full"):
        store.run(many, writes=True)


def test_a_lock_is_told_and_what_could_not_be_written_is_written_after_it(
    path: Path, tmp_path: Path
) -> None:
    first = Journal(path)
    whole(first, vm(tmp_path))
    first.close()
    journal, one = Journal(path), vm(tmp_path, "db2")
    assert journal.ask(windows(None, 9), WAIT_S)
    with sqlite3.connect(path, isolation_level=None) as file:
        file.execute("BEGIN IMMEDIATE")
        entry = put(journal, one)
        assert entry.unrecorded is not None
        assert _eventually(journal.take_notice, "locked it")
        found = journal.ask(windows(None, 9), WAIT_S)
        assert found is not None, "it can be read all the same"
        assert [row.vm for row in found] == ["qemu:db1"]
        file.execute("ROLLBACK")
    file.close()
    assert _eventually(journal.take_notice, "is written again")
    newest = rows(journal)[0]
    assert (newest.vm, newest.settled, len(newest.events)) == ("qemu:db2", True, 5)
    assert journal.problem is None
    journal.close()


def _eventually(look: Callable[[], str | None], word: str) -> str:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = look()
        if found is not None and word in found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never said: {word}")


def _hangs_soon(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stop a journal's process, and take its disk soon for one that hangs; return the process."""
    assert journal._server is not None
    monkeypatch.setattr(writer_module, "HANG_S", 1.0)
    os.kill(journal._server.pid, signal.SIGSTOP)
    return journal._server.pid


def test_a_disk_that_does_not_answer_holds_up_nobody(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal's process that is stopped is to everybody else one whose disk hangs."""
    journal, one = Journal(path), vm(tmp_path)
    whole(journal, one)
    process = _hangs_soon(journal, monkeypatch)
    entry = begin(journal, one)
    began = time.monotonic()
    entry.armed()
    assert PATIENCE_S <= time.monotonic() - began < BUSY_S
    assert entry.unrecorded is not None
    began = time.monotonic()
    for _ in range(10_000):
        add_event(entry, one, EventKind.PORT, "x")
    for _ in range(10_000):
        journal.put(nothing())
    assert time.monotonic() - began < BUSY_S < 20_000 * PATIENCE_S, "none of them waits"
    assert _eventually(lambda: journal.problem, "hangs")
    began = time.monotonic()
    assert journal.ask(windows(None, 9), BUSY_S) is None
    assert not journal.write(nothing(), BUSY_S)
    assert time.monotonic() - began < BUSY_S, "neither has waited"
    journal.close(0.5)
    os.kill(process, signal.SIGCONT)


def test_a_disk_that_comes_back_loses_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    whole(journal, one)
    process = _hangs_soon(journal, monkeypatch)
    put(journal, one)
    assert _eventually(lambda: journal.problem, "hangs")
    monkeypatch.setattr(writer_module, "HANG_S", WAIT_S)
    os.kill(process, signal.SIGCONT)
    assert _eventually(journal.take_notice, "answers again")
    assert [len(row.events) for row in rows(journal)] == [5, 5]
    assert journal.problem is None
    journal.close()


def test_what_was_said_to_a_disk_that_hangs_is_written_after_our_end(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    whole(journal, one)
    process = _hangs_soon(journal, monkeypatch)
    put(journal, one)
    journal.close(WAIT_S)
    monkeypatch.setattr(writer_module, "HANG_S", WAIT_S)
    os.kill(process, signal.SIGCONT)
    again = Journal(path)
    until = time.monotonic() + WAIT_S
    while len(rows(again)) < 2 or rows(again)[0].state is not WindowState.CLOSED:
        assert time.monotonic() < until
    again.close()


def test_a_process_that_dies_is_replaced_and_nothing_is_written_twice(
    path: Path, tmp_path: Path
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    for number in range(1, 4):
        if journal._server is not None:
            os.kill(journal._server.pid, signal.SIGKILL)
        whole_again(journal, one)
        found = rows(journal)
        assert [len(row.events) for row in found] == [5] * number
    assert journal.problem is None
    journal.close()


def test_processes_that_end_at_once_are_all_waited_for(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that has removed what it is started from: one a second, for weeks."""
    begun: list[int] = []
    spawn = process_module._spawn

    def spawned(words: list[str], stdin: int, stdout: int) -> int:
        begun.append(spawn(words, stdin, stdout))
        return begun[-1]

    monkeypatch.setattr(process_module, "command", lambda _: ["true"])
    monkeypatch.setattr(process_module, "_spawn", spawned)
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    journal = Journal(path)
    put(journal, vm(tmp_path))
    until = time.monotonic() + WAIT_S
    while len(begun) < 20:
        assert time.monotonic() < until
        time.sleep(0.01)
    journal.close(WAIT_S)
    assert journal.problem is not None
    left = [pid for pid in begun if Path(f"/proc/{pid}").exists()]
    assert left == []


def whole_again(journal: Journal, one: Vm) -> None:
    put(journal, one)
    until = time.monotonic() + WAIT_S
    while not journal.write(nothing(), 0.2):
        assert time.monotonic() < until, journal.problem


@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "empty"])
@pytest.mark.parametrize("reader", [True, False])
def test_a_corrupt_file_is_put_aside_and_said(
    path: Path, tmp_path: Path, damage: str, reader: bool
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    for _ in range(40):
        put(journal, one)
    flush(journal)
    journal.close(5.0)
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content[:] = b"nonsense" * 1000
    elif damage == "header":
        content[:100] = bytes(100)
    elif damage == "middle":
        content[4096:] = b"\xff" * (len(content) - 4096)
    else:
        content.clear()
    path.write_bytes(content)
    again = Journal(path)
    # An empty file is a database without a table: nothing of it is worth keeping.
    broken = damage != "empty"
    if reader:
        assert (again.ask(windows(None, 9), WAIT_S) is None) == broken
    window = whole(again, one)
    told = again.take_notice()
    aside = [one for one in path.parent.iterdir() if ".corrupt-" in one.name]
    assert len(aside) == broken
    assert (told is not None and str(aside[0]) in told) if broken else told is None
    assert again.aside(WAIT_S) == tuple(str(each) for each in aside)
    assert [row.window for row in rows(again)] == [window]
    again.close()
    assert again.problem is None
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in path.parent.iterdir())


def test_a_file_that_was_put_aside_by_another_hand_is_not_moved_twice(
    path: Path, tmp_path: Path
) -> None:
    hands = [Journal(path) for _ in range(4)]
    path.parent.mkdir()
    path.write_bytes(b"nonsense" * 1000)
    threads = [threading.Thread(target=whole_again, args=(hand, vm(tmp_path))) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(hands[0])) == 4
    assert len([each for each in path.parent.iterdir() if ".corrupt-" in each.name]) == 1
    for hand in hands:
        hand.close()


@pytest.mark.parametrize("reader", [True, False])
def test_what_was_begun_anew_is_not_put_aside_by_who_had_found_the_old_one_corrupt(
    path: Path, monkeypatch: pytest.MonkeyPatch, reader: bool
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nonsense" * 1000)
    slow, fast = Store(path), Store(path)
    put_aside = slow._put_aside

    def after_the_other() -> Path | None:
        assert fast.run([nothing()], writes=True)
        return put_aside()

    monkeypatch.setattr(slow, "_put_aside", after_the_other)
    if reader:
        with pytest.raises(JournalError, match="another frostwatch has put it aside"):
            slow.run([nothing()], writes=False)
    else:
        assert slow.run([nothing()], writes=True)
    assert len(slow.aside()) == 1
    assert slow._seen() == fast._identity
    for each in (slow, fast):
        each.close()


def test_a_file_that_is_removed_meanwhile_is_begun_anew(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    for each in path.parent.iterdir():
        each.unlink()
    window = whole(journal, vm(tmp_path))
    assert [row.window for row in rows(journal)] == [window]
    journal.close()


# What is pruned by.
PRUNED = "kind, ended_at, settled"

# -- versions --------------------------------------------------------------------------------


def test_an_older_version_is_brought_up_to_date(path: Path) -> None:
    first = (
        (
            f"CREATE TABLE windows (id INTEGER PRIMARY KEY, a, {PRUNED})",
            "INSERT INTO windows (id, a) VALUES (1 << 62, 1)",
        ),
    )
    store = Store(path, first)
    _run(store, "SELECT a FROM windows")
    store.close()
    second = (
        *first,
        ("ALTER TABLE windows ADD COLUMN b DEFAULT 2", "UPDATE windows SET b = a + 5"),
    )
    newer = Store(path, second)
    assert _run(newer, "SELECT a, b FROM windows") == [(1, 6)]
    assert _run(newer, "PRAGMA user_version") == [(2,)]
    newer.close()
    with pytest.raises(JournalError, match="newer"):
        _run(Store(path, first), "SELECT 1")


def test_a_migration_that_fails_leaves_the_old_version(path: Path) -> None:
    first = ((f"CREATE TABLE windows (id INTEGER PRIMARY KEY, a, {PRUNED})",),)
    store = Store(path, first)
    _run(store, "SELECT 1")
    store.close()
    broken = (*first, ("ALTER TABLE windows ADD COLUMN b", "NONSENSE"))
    with pytest.raises(JournalError):
        _run(Store(path, broken), "SELECT 1")
    again = Store(path, first)
    assert _run(again, "PRAGMA user_version") == [(1,)]
    assert _run(again, "SELECT name FROM pragma_table_info('windows')") == [
        (name,) for name in ("id", "a", *PRUNED.split(", "))
    ]
    again.close()


def test_migrating_at_once_happens_once(path: Path, tmp_path: Path) -> None:
    hands = [Journal(path) for _ in range(6)]
    found = [threading.Thread(target=hand.write, args=(nothing(), 5.0)) for hand in hands]
    for thread in found:
        thread.start()
    for thread in found:
        thread.join()
    assert [hand.problem for hand in hands] == [None] * 6
    for hand in hands:
        hand.close()


def _run(store: Store, statement: str) -> list[tuple[object, ...]]:
    results = store.run([[(statement, ())]], writes=True)
    assert results is not None
    (done,) = results
    if done.error is not None:
        raise JournalError(done.error)
    return [tuple(row.values()) for row in done.found[0]]
