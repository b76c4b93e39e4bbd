"""The journal: what is written and read again, and that nothing of it ever reaches a caller."""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from agentclient.events import EventKind
from agentclient.journal import entry as entry_module
from agentclient.journal import rows as tables
from agentclient.journal import store as store_module
from agentclient.journal.store import Store, Trouble
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.vm import FileSystem, Outcome, OutcomeKind
from agentclient.words import WindowState
from tests.unit.journals import VERIFIED, begin, rows, tell, vm, whole


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
    assert row.request["first_timeout_s"] == 600
    assert row.user
    assert row.command
    journal.close()


def test_it_is_open_until_its_end_and_known_before_it_is_sent(path: Path, tmp_path: Path) -> None:
    journal, one = Journal(path), vm(tmp_path)
    entry = begin(journal, one)
    reference = entry.armed()
    assert (reference.path, reference.window) == (path, entry.window)
    with sqlite3.connect(path) as file:  # it is on disk by now, for whoever comes after us
        (armed,) = file.execute("SELECT armed_at FROM windows").fetchone()
    file.close()
    assert armed
    (row,) = rows(journal)
    assert (row.state, row.settled) == (WindowState.OPEN, False)
    tell(entry, one, EventKind.VERDICT, outcome=VERIFIED._replace(thawed=None, settled=False))
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
            whole(journal, one)

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
        tell(entry, one, EventKind.PORT, "x" * 5000)
    tell(entry, one, EventKind.THAWED, "\ud800 is no character")
    many = tuple(FileSystem("v" * 5000, "/" * 5000, "ext4") for _ in range(500))
    outcome = Outcome(OutcomeKind.FAILED, "r" * 5000, not_covered=many, settled=True)
    tell(entry, one, EventKind.OUTCOME, outcome=outcome)
    (row,) = rows(journal)
    assert len(row.events) == entry_module.MOST_EVENTS + 2
    assert max(len(event.text) for event in row.events) == tables.LONGEST_TEXT
    assert row.outcome is not None
    assert len(row.outcome["not_covered"]) == tables.LONGEST_LIST
    assert len(row.outcome["reason"]) == tables.LONGEST_TEXT
    assert path.stat().st_size < 1_000_000
    journal.close()


def test_ids_are_in_order_and_numbers_for_any_reader() -> None:
    ids = [tables.new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert ids[-1] < 2**53
    assert tables.first_id_at(time.time() - 60) < ids[0] < tables.first_id_at(time.time() + 60)


def test_the_oldest_are_forgotten_at_the_start(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    windows_before = [whole(journal, one) for _ in range(8)]
    journal.close()
    old = tables.first_id_at(time.time() - store_module.KEPT_S - 1)
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM events WHERE window = ?", (windows_before[0],))
        file.execute("UPDATE windows SET id = ? WHERE id = ?", (old, windows_before[0]))
    file.close()
    monkeypatch.setattr(store_module, "MOST_WINDOWS", 5)
    again = Journal(path)
    newest = whole(again, one)
    assert [row.window for row in rows(again)] == [newest, *reversed(windows_before[-4:])]
    again.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(DISTINCT window) FROM events").fetchone() == (5,)
    file.close()


# -- what is wrong with the file costs the history, and nothing else ------------------------------


def _told(journal: Journal, tmp_path: Path) -> str:
    """Use it as a freeze does; return what it says about itself, which it says once."""
    began = time.monotonic()
    whole(journal, vm(tmp_path))
    journal.write(lambda _: None)
    assert time.monotonic() - began < 3 * PATIENCE_S
    journal.close()
    problem = journal.take_problem()
    assert problem is not None
    assert str(journal.path) in problem
    assert journal.take_problem() is None
    assert journal.ask(lambda _: 1, 0) is None
    return problem


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file: File exists" in _told(Journal(tmp_path / "file" / "journal.db"), tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    assert "can't be opened" in _told(Journal(tmp_path / "journal.db"), tmp_path)


def test_a_newer_one_is_left_alone(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    journal.close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    before = path.read_bytes()
    assert "newer frostwatch" in _told(Journal(path), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragma", ["query_only = 1", "max_page_count = 1"])
def test_a_read_only_file_and_a_full_disk(path: Path, pragma: str) -> None:
    store = Store(path)
    store.run([lambda _: None], writes=True)
    assert store._connection is not None
    store._connection.execute(f"PRAGMA {pragma}")
    many = [
        lambda file, n=n: file.execute(f"CREATE TABLE t{n} AS SELECT randomblob(100000) AS x")
        for n in range(9)
    ]
    with pytest.raises(Trouble, match=r"read-only|disk is full"):
        store.run(many, writes=True)


def test_a_lock_that_is_not_given_up(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    journal.close()
    monkeypatch.setattr(store_module, "BUSY_S", 0.1)
    with sqlite3.connect(path, isolation_level=None) as file:
        file.execute("BEGIN EXCLUSIVE")
        assert "locked it" in _told(Journal(path), tmp_path)
    file.close()


def test_a_disk_that_does_not_answer_holds_up_nobody(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    run = Store.run

    def hang(*arguments: object, **named: object) -> object:
        answer.wait(10)
        return run(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "run", hang)
    journal, one = Journal(path), vm(tmp_path)
    entry = begin(journal, one)
    began = time.monotonic()
    entry.armed()
    assert PATIENCE_S <= time.monotonic() - began < PATIENCE_S + 0.1
    began = time.monotonic()
    for _ in range(10_000):
        tell(entry, one, EventKind.PORT)
    assert time.monotonic() - began < 2.0
    assert "does not keep up" in (journal.problem or "")
    journal.close(0.1)
    answer.set()


@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "empty"])
def test_a_corrupt_file_is_put_aside_and_begun_anew(
    path: Path, tmp_path: Path, damage: str
) -> None:
    journal, one = Journal(path), vm(tmp_path)
    for _ in range(40):
        whole(journal, one)
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
    window = whole(again, one)
    assert [row.window for row in rows(again)] == [window]
    again.close()
    assert again.problem is None
    aside = [one for one in path.parent.iterdir() if ".corrupt-" in one.name]
    # An empty file is a database without a table: nothing of it is worth keeping.
    assert len(aside) == (0 if damage == "empty" else 1)
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in path.parent.iterdir())


# -- versions --------------------------------------------------------------------------------


def test_an_older_version_is_brought_up_to_date(path: Path) -> None:
    first = (
        (
            "CREATE TABLE windows (id INTEGER PRIMARY KEY, a)",
            "INSERT INTO windows VALUES (1 << 62, 1)",
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
    with pytest.raises(Trouble, match="newer"):
        _run(Store(path, first), "SELECT 1")


def test_a_migration_that_fails_leaves_the_old_version(path: Path) -> None:
    first = (("CREATE TABLE windows (id INTEGER PRIMARY KEY, a)",),)
    store = Store(path, first)
    _run(store, "SELECT 1")
    store.close()
    broken = (*first, ("ALTER TABLE windows ADD COLUMN b", "NONSENSE"))
    with pytest.raises(Trouble):
        _run(Store(path, broken), "SELECT 1")
    again = Store(path, first)
    assert _run(again, "PRAGMA user_version") == [(1,)]
    assert _run(again, "SELECT name FROM pragma_table_info('windows')") == [("id",), ("a",)]
    again.close()


def test_migrating_at_once_happens_once(path: Path, tmp_path: Path) -> None:
    hands = [Journal(path) for _ in range(6)]
    found = [threading.Thread(target=hand.write, args=(lambda _: None, 5.0)) for hand in hands]
    for thread in found:
        thread.start()
    for thread in found:
        thread.join()
    assert [hand.problem for hand in hands] == [None] * 6
    for hand in hands:
        hand.close()


def _run(store: Store, statement: str) -> list[tuple[object, ...]]:
    def work(file: sqlite3.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in file.execute(statement).fetchall()]

    results = store.run([work], writes=True)
    assert results is not None
    found = results[0]
    assert isinstance(found, list)
    return found
