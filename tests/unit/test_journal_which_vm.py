"""Which VM a window is about: of which host, which start, which machine; and what is not known."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentclient.fleet.recovery import FOUND_THAWED, Recovery
from agentclient.fleet.store import Fleet
from agentclient.journal.entry import begin_thaw
from agentclient.journal.identity import boot_id
from agentclient.journal.left_windows import (
    OPEN_WINDOWS,
    VM_GONE,
    OpenWindows,
    is_ours,
    match,
    open_windows,
)
from agentclient.journal.storage.tables import ADDED, STEPS
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.outcome import ThawOutcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy
from agentclient.model.states import AgentState, FreezeState, WindowState
from agentclient.model.vm import Identity, Process, Vm, VmId
from tests.unit.journals import (
    LOST,
    WAIT_S,
    add_event,
    begin,
    change,
    flush,
    number,
    of_a_dead_process,
    of_a_living_process,
    rows,
    vm,
    whole,
)

OLD = Path(__file__).parent / "journal_version_2.sql"
UUID = "8d5c1f5e-3a52-4f0c-9d8e-0b6c6f1f7a11"
GONE = Process(os.getpid(), 1)
REMOTE = Vm(VmId("cloud", "db1", "node2"), generation="start 7", uuid=UUID)


def this_process() -> Process:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return Process(os.getpid(), ticks)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(path)


def leave(journal: Journal, one: Vm, uuid: str | None = None) -> int:
    """Freeze a guest, and die."""
    entry = begin(journal, one)
    entry.armed(uuid=uuid)
    add_event(entry, one, EventKind.SENT)
    add_event(entry, one, EventKind.REPLY, frozen=2)
    window = number(journal, entry)
    of_a_dead_process(journal.path, window)
    return window


def found(journal: Journal, *, ended: bool | None = None) -> OpenWindows:
    flush(journal)
    answer = journal.ask(open_windows(lambda _: ended), WAIT_S)
    assert answer is not None, journal.problem
    return answer


def windows_left(journal: Journal, *, ended: bool | None = None) -> list[int]:
    open_windows = found(journal, ended=ended)
    assert open_windows.to_close == ()
    return [one.by.window for one in open_windows.left]


# -- old files -----------------------------------------------------------------------------------


def old_file(path: Path) -> None:
    """Make a file as version 2 has left it: one freeze that ended well, and two that did not."""
    text = OLD.read_text().replace("{host}", socket.gethostname()).replace("{boot}", boot_id())
    with sqlite3.connect(path) as file:
        file.executescript(text)
        file.execute("PRAGMA user_version = 2")
        file.execute("PRAGMA journal_mode = WAL")
    file.close()


def test_an_old_file_is_read_and_written_and_what_it_does_not_say_is_not_known(
    path: Path, tmp_path: Path
) -> None:
    old_file(path)
    journal = Journal(path)
    new = whole(journal, vm(tmp_path)._replace(uuid=UUID))
    assert [(row.window, row.unreadable) for row in rows(journal)] == [
        (new, None),
        (3, None),
        (2, None),
        (1, None),
    ]
    answer = found(journal)
    assert [(one.window, one.why, one.left) for one in answer.to_close] == [(2, VM_GONE, None)]
    (left,) = answer.left
    assert (left.by.window, left.socket, left.process) == (3, None, None)
    assert (left.identity, left.uuid, left.host) == (None, None, "")
    for other in (Vm(VmId("qemu", "nosocket")), REMOTE, vm(tmp_path)):
        assert match(other, answer.left) is None, "nothing says that it is that one"
    journal.close()


def test_an_old_frostwatch_goes_on_with_the_file(path: Path, tmp_path: Path) -> None:
    """One that runs meanwhile, or is started later, knows its own columns and its own version."""
    old_file(path)
    journal = Journal(path)
    whole(journal, vm(tmp_path))
    with sqlite3.connect(path) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (len(STEPS),) == (2,)
        names = [row[1] for row in old.execute("PRAGMA table_info(windows)")]
        assert names[-len(ADDED) :] == [name for name, _ in ADDED]
        before = ", ".join(names[1 : -len(ADDED)])
        old.execute(
            f"INSERT INTO windows ({before}) SELECT {before.replace('key', 'hex(randomblob(8))')}"
            " FROM windows WHERE id = 3"
        )
    old.close()
    assert windows_left(journal_of(path, closing=2)) == [5, 3]
    whole(journal, vm(tmp_path))
    assert len(rows(journal)) == 6
    journal.close()


def journal_of(path: Path, closing: int) -> Journal:
    """Return a journal in which one window is settled."""
    change(path, closing, settled=1)
    return Journal(path)


def test_one_of_a_newer_frostwatch_is_read_and_that_is_said(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    one = vm(tmp_path)
    window = leave(journal, one)
    journal.close()
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE windows ADD COLUMN something TEXT")
        file.execute("PRAGMA user_version = 3")
    file.close()
    reader = Journal(path)
    assert not reader.write([("DELETE FROM windows", ())])
    assert "newer frostwatch, and is only read" in (reader.problem or "")
    answer = reader.ask(OPEN_WINDOWS, WAIT_S)
    assert answer is not None
    assert [each.by.window for each in answer.left] == [window]
    reader.close()


# -- a VM without socket or process ----------------------------------------------------------------


def test_a_vm_without_a_socket_stays_left_until_its_source_says_that_it_has_ended(
    journal: Journal,
) -> None:
    window = leave(journal, REMOTE)
    assert windows_left(journal) == [window]
    assert windows_left(journal, ended=False) == [window]
    assert match(REMOTE, found(journal).left) is not None
    answer = found(journal, ended=True)
    assert [(one.window, one.why) for one in answer.to_close] == [(window, VM_GONE)]


def test_the_end_of_this_host_is_no_end_of_a_vm_of_another(journal: Journal, path: Path) -> None:
    window = leave(journal, REMOTE)
    change(path, window, boot="of before", vm_pid=os.getpid(), vm_ticks=1)
    assert windows_left(journal) == [window]


def test_another_hosts_windows_say_nothing_of_the_vms_here(
    journal: Journal, path: Path, tmp_path: Path
) -> None:
    """A home directory on a server: each host's processes and boots are its own."""
    here = vm(tmp_path, process=this_process())
    window = whole(journal, here, LOST)
    of_a_dead_process(path, window)
    assert match(here, found(journal).left) is not None
    change(path, window, host="elsewhere", boot="of there", vm_ticks=1)
    assert windows_left(journal) == [window], "who has ended here is another process"
    change(path, window, vm_ticks=this_process().start_ticks)
    assert match(here, found(journal).left) is None


@pytest.mark.parametrize(
    "other",
    [
        REMOTE._replace(generation="start 8"),
        REMOTE._replace(id=VmId("cloud", "db2", "node2")),
        REMOTE._replace(id=VmId("cloud", "db1", "node3")),
        REMOTE._replace(id=VmId("cloud", "db1")),
        REMOTE._replace(id=VmId("other", "db1", "node2")),
        REMOTE._replace(generation=None),
    ],
    ids=["later-start", "other-name", "other-host", "this-host", "other-source", "not-known"],
)
def test_another_start_and_another_host_are_not_it(journal: Journal, other: Vm) -> None:
    leave(journal, REMOTE)
    assert match(other, found(journal).left) is None


def test_a_later_window_of_the_same_start_takes_its_place(journal: Journal) -> None:
    leave(journal, REMOTE)
    later = leave(journal, REMOTE)
    assert windows_left(journal) == [later]
    other = leave(journal, REMOTE._replace(generation="start 8"))
    assert windows_left(journal) == [other, later]
    thaw = begin_thaw(journal, REMOTE, foreign=False)
    assert thaw is not None
    outcome = ThawOutcome(REMOTE.id, FreezeState.THAWED, 2, False, "thawed", 0.1)
    add_event(thaw, REMOTE, EventKind.OUTCOME, thaw=outcome)
    assert windows_left(journal) == [other]


def test_who_is_at_work_on_it_is_known_by_its_start(journal: Journal, path: Path) -> None:
    window = leave(journal, REMOTE)
    of_a_living_process(path, window)
    fleet = Fleet()
    fleet.set_vms(
        "cloud", [REMOTE, REMOTE._replace(id=VmId("cloud", "db2", "node2"), generation="x")]
    )
    Recovery(journal, lambda _: None).look(fleet)
    states = {state.vm.name: state.held_by for state in fleet.states()}
    assert isinstance(states["node2/db1"], HeldBy)
    assert states["node2/db2"] is None


def test_an_identity_is_compared_and_kept() -> None:
    assert REMOTE.identity == Identity("node2", "cloud:db1", "start 7")
    assert str(REMOTE.id) == "cloud:node2/db1"
    assert str(VmId("qemu", "db1")) == "qemu:db1"
    assert VmId("qemu", "db1") != VmId("qemu", "db1", "node2")
    assert Vm(VmId("qemu", "db1")).identity is None


def test_it_is_kept_as_older_versions_have_kept_it(journal: Journal, path: Path) -> None:
    window = leave(journal, REMOTE)
    with sqlite3.connect(path) as file:
        query = "SELECT source, name, vm_host, instance FROM windows WHERE id = ?"
        (kept,) = file.execute(query, (window,))
    file.close()
    assert kept == ("cloud", "db1", "node2", "start 7")
    assert [left.identity for left in found(journal).left] == [REMOTE.identity]


# -- one that has migrated -------------------------------------------------------------------------


def moved(tmp_path: Path) -> Vm:
    """Return a VM that was started to take one, on this host."""
    taker = vm(tmp_path, "db1#2", process=this_process())
    return taker._replace(uuid=UUID, incoming=True)


def test_a_guest_that_has_migrated_is_found_by_its_uuid(journal: Journal, tmp_path: Path) -> None:
    window = leave(journal, vm(tmp_path, process=GONE), UUID)
    taker = moved(tmp_path)
    flush(journal)
    assert match(taker, found(journal).left) is not None
    fleet, recovery = Fleet(), Recovery(journal, lambda _: None)
    fleet.set_vms("qemu", [taker])
    recovery.look(fleet)
    (row,) = rows(journal)
    assert (row.window, row.state, row.settled) == (window, WindowState.LEFT, False)
    frozen = FreezeInfo(FreezeState.FROZEN)
    fleet.update(taker.id, lambda old: old._replace(freeze=frozen))
    before = fleet.get(taker.id)
    assert before.left_by is not None
    seen = AgentHealth(AgentState.ALIVE, seen_at=now())
    thawed = before._replace(agent=seen, left=None, freeze=FreezeInfo(FreezeState.THAWED))
    recovery.answered(before, thawed)
    (row,) = rows(journal)
    assert (row.settled, row.note) == (True, FOUND_THAWED)


@pytest.mark.parametrize(
    "change",
    [{"incoming": False}, {"uuid": UUID.replace("8", "9")}, {"uuid": None}],
    ids=["a-clone", "another", "not-known"],
)
def test_what_has_not_taken_it_is_not_it(
    journal: Journal, tmp_path: Path, change: dict[str, Any]
) -> None:
    leave(journal, vm(tmp_path, process=GONE), UUID)
    other = moved(tmp_path)._replace(**change)
    assert not is_ours(journal, other)
    fleet = Fleet()
    fleet.set_vms("qemu", [other])
    Recovery(journal, lambda _: None).look(fleet, all_seen=False)
    assert not rows(journal)[0].settled, "it may be one that is not listed"
    Recovery(journal, lambda _: None).look(fleet)
    (row,) = rows(journal)
    assert (row.settled, row.note) == (True, VM_GONE)


def test_a_thaw_where_it_went_settles_it_only_if_it_has_left(
    journal: Journal, path: Path, tmp_path: Path
) -> None:
    """As long as its first QEMU is there, the guest may be in that one."""
    source = vm(tmp_path, process=this_process())
    window = leave(journal, source, UUID)
    taker = moved(tmp_path)._replace(process=Process(1, 1))

    def thaw() -> bool:
        entry = begin_thaw(journal, taker, foreign=False)
        assert entry is not None
        outcome = ThawOutcome(taker.id, FreezeState.THAWED, 2, False, "thawed", 0.1)
        add_event(entry, taker, EventKind.OUTCOME, thaw=outcome)
        return {row.window: row.settled for row in rows(journal)}[window]

    assert not thaw()
    change(path, window, vm_ticks=1)
    assert thaw()
