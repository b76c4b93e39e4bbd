"""What was left: provably ours, or not; judged by the journal and by who lives."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentclient.fleet.recovery import FOUND_THAWED, Recovery, held_now, with_left
from agentclient.fleet.store import Fleet
from agentclient.journal.entry import begin_thaw
from agentclient.journal.left_windows import (
    NOT_SENT,
    OPEN_WINDOWS,
    VM_GONE,
    OpenWindows,
    is_ours,
    match,
)
from agentclient.journal.writer import Journal
from agentclient.model.events import EventKind
from agentclient.model.meaning import with_freeze
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, LeftBy, VmState
from agentclient.model.states import AgentState, FreezeState, OutcomeKind, WindowState
from agentclient.model.vm import Process, Vm, VmId
from tests.unit.journals import (
    LOST,
    VERIFIED,
    WAIT_S,
    add_event,
    begin,
    change,
    flush,
    nothing,
    number,
    of_a_dead_process,
    of_a_living_process,
    rows,
    vm,
    whole,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Scene:
    """A journal with one freeze that a process has left in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.db"
        self.journal = Journal(self.path)
        self.vm = vm(folder)
        self.window = self.begin_frozen(self.vm)
        of_a_dead_process(self.path, self.window)

    def begin_frozen(self, one: Vm) -> int:
        entry = begin(self.journal, one)
        entry.armed()
        add_event(entry, one, EventKind.SENT)
        add_event(entry, one, EventKind.REPLY, frozen=2)
        add_event(entry, one, EventKind.HELD)
        return number(self.journal, entry)

    def open_windows(self) -> OpenWindows:
        flush(self.journal)
        found = self.journal.ask(OPEN_WINDOWS, WAIT_S)
        assert found is not None, self.journal.problem
        return found

    def by(self, one: Vm | None = None) -> LeftBy | None:
        return match(one or self.vm, self.open_windows().left)

    def fleet(self, state: FreezeState | None = FreezeState.FROZEN) -> Fleet:
        """Return a fleet as a visit has seen it."""
        found = Fleet(wall=lambda: NOON)
        found.set_vms("qemu", [self.vm])
        found.update(self.vm.id, lambda old: old._replace(freeze=FreezeInfo(state, NOON, True)))
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_freeze_that_a_dead_process_has_left_is_ours(scene: Scene) -> None:
    by = scene.by()
    assert by is not None
    assert by.window == scene.window
    assert abs(by.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert is_ours(scene.journal, scene.vm)
    (row,) = rows(scene.journal)
    assert row.state is WindowState.LEFT


def test_a_freeze_that_another_process_is_at_is_not(scene: Scene) -> None:
    of_a_living_process(scene.path, scene.window)
    found = scene.open_windows()
    assert (found.left, found.to_close) == ((), ())
    assert not is_ours(scene.journal, scene.vm)
    assert not is_ours(None, scene.vm)
    held = held_now(scene.journal, scene.vm)
    assert held is not None
    assert (held.state, held.window, held.ended) == (FreezeState.FROZEN, scene.window, False)


def test_a_freeze_that_its_holder_is_at_is_not(scene: Scene) -> None:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    change(scene.path, scene.window, holder_pid=os.getpid(), holder_ticks=ticks)
    found = scene.open_windows()
    assert (found.left, found.to_close) == ((), ())
    held = held_now(scene.journal, scene.vm)
    assert held is not None
    assert (held.holder, held.ended) == (os.getpid(), True)
    assert f"which has ended; its holder (pid {os.getpid()}) thaws it" in str(held)
    change(scene.path, scene.window, holder_ticks=1)
    assert scene.by() is not None


def test_our_own_freeze_is_nothing_that_was_left(scene: Scene) -> None:
    other = vm(scene.folder, "db2")
    scene.begin_frozen(other)
    assert scene.by(other) is None


def test_a_thaw_that_was_not_acknowledged_is_left_by_who_lives_or_not(scene: Scene) -> None:
    other = vm(scene.folder, "db2")
    window = whole(scene.journal, other, LOST)
    assert scene.by(other) is None, "this process knows by itself what it could not thaw"
    of_a_living_process(scene.path, window)
    assert scene.by(other) is not None
    of_a_dead_process(scene.path, window)
    assert scene.by(other) is not None


def test_another_socket_behind_the_same_name_is_not_ours_and_proves_no_end(scene: Scene) -> None:
    assert scene.vm.agent is not None
    path = scene.vm.agent.path
    aside = path.rename(scene.folder / "aside")
    assert scene.by() is None, "nothing is where its socket was"
    path.touch()
    assert scene.by() is None, "another one is where its socket was"
    found = scene.open_windows()
    assert [one.by.window for one in found.left] == [scene.window]
    assert found.to_close == (), "its end is not proven (P9)"
    aside.replace(path)
    assert scene.by() is not None, "it is back"


def test_the_same_process_is_the_same_vm_wherever_its_socket_is(scene: Scene) -> None:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    change(scene.path, scene.window, vm_pid=os.getpid(), vm_ticks=ticks)
    assert scene.vm.agent is not None
    scene.vm.agent.path.unlink()
    found = scene.open_windows()
    assert found.to_close == ()
    same = scene.vm._replace(process=Process(os.getpid(), ticks))
    assert match(same, found.left) is not None


def test_a_process_that_has_ended_proves_the_end(scene: Scene) -> None:
    change(scene.path, scene.window, vm_pid=os.getpid(), vm_ticks=1)
    assert [one.why for one in scene.open_windows().to_close] == [VM_GONE]


def test_a_boot_that_is_not_known_proves_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclient.journal.left_windows.boot_id", lambda: "")
    monkeypatch.setattr("agentclient.journal.identity.boot_id", lambda: "")
    assert scene.open_windows() == OpenWindows()


def test_another_process_of_the_vm_is_not_ours(scene: Scene) -> None:
    change(scene.path, scene.window, vm_pid=os.getpid(), vm_ticks=1)
    assert scene.open_windows().left == ()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    change(scene.path, scene.window, vm_ticks=ticks)
    mine = Process(os.getpid(), ticks)
    assert scene.by(scene.vm._replace(process=mine)) is not None
    assert scene.by(scene.vm) is not None, "its socket proves it where no process is known"
    assert scene.by(scene.vm._replace(process=mine._replace(pid=1))) is None


def test_another_boot_and_another_host(scene: Scene) -> None:
    change(scene.path, scene.window, boot="of before")
    assert [one.why for one in scene.open_windows().to_close] == [VM_GONE]
    change(scene.path, scene.window, host="elsewhere")
    assert scene.open_windows() == OpenWindows(), "nobody knows from here who lives there"


def test_a_later_freeze_of_the_same_guest_takes_its_place(scene: Scene) -> None:
    later = scene.begin_frozen(scene.vm)
    assert scene.by() is None, "we are at work on it"
    of_a_dead_process(scene.path, later)
    by = scene.by()
    assert by is not None
    assert by.window == later


def test_a_later_freeze_that_was_refused_changes_nothing(scene: Scene) -> None:
    entry = begin(scene.journal, scene.vm)
    refused = Outcome(OutcomeKind.REFUSED, "frozen already", settled=True)
    add_event(entry, scene.vm, EventKind.OUTCOME, outcome=refused)
    assert scene.by() is not None


def test_a_later_freeze_that_has_ended_well_settles_it(scene: Scene) -> None:
    whole(scene.journal, scene.vm, VERIFIED)
    assert scene.by() is None
    old = rows(scene.journal)[1]
    assert (old.window, old.settled, old.note) == (scene.window, True, FOUND_THAWED)


@pytest.mark.parametrize(("count", "note"), [(2, "thawed later"), (0, FOUND_THAWED)])
def test_a_later_thaw_settles_it(scene: Scene, count: int, note: str) -> None:
    entry = begin_thaw(scene.journal, scene.vm, foreign=False)
    assert entry is not None
    thaw = ThawOutcome(scene.vm.id, FreezeState.THAWED, count, False, "thawed", 0.1)
    add_event(entry, scene.vm, EventKind.OUTCOME, thaw=thaw)
    new, old = rows(scene.journal)
    assert scene.by() is None
    assert old.note is not None
    assert (old.state, old.settled) == (WindowState.CLOSED, True)
    assert note in old.note
    assert new.thaw is not None
    assert (new.thaw["ok"], new.settled) == (True, True)


def test_what_was_never_sent_is_closed(scene: Scene) -> None:
    other = vm(scene.folder, "db2")
    entry = begin(scene.journal, other)
    window = number(scene.journal, entry)
    of_a_dead_process(scene.path, window)
    assert [(one.window, one.why) for one in scene.open_windows().to_close] == [(window, NOT_SENT)]
    Recovery(scene.journal, lambda _: None).look(scene.fleet())
    row = rows(scene.journal)[0]
    assert (row.state, row.settled, row.note) == (WindowState.CLOSED, True, NOT_SENT)


# -- the fleet ---------------------------------------------------------------------------------


def test_the_fleet_is_told_and_told_again(scene: Scene) -> None:
    fleet, recovery = scene.fleet(), Recovery(scene.journal, lambda _: None)
    recovery.look(fleet)
    state = fleet.get(scene.vm.id)
    assert state.left_by is not None
    assert (state.left_by.window, state.freeze.foreign) == (scene.window, False)
    assert state.freeze.since == state.left_by.at
    assert f"pid {state.left_by.pid}" in str(state.left_by)
    of_a_living_process(scene.path, scene.window)
    recovery.look(fleet)
    state = fleet.get(scene.vm.id)
    assert (state.left_by, state.freeze.foreign) == (None, True)


def test_a_guest_that_was_not_asked_yet_is_not_said_to_be_frozen(scene: Scene) -> None:
    fleet = scene.fleet(None)
    Recovery(scene.journal, lambda _: None).look(fleet)
    state = fleet.get(scene.vm.id)
    assert state.left is not None
    assert state.left_by is None


def test_a_guest_that_is_found_thawed_settles_its_window(scene: Scene) -> None:
    fleet, recovery = scene.fleet(), Recovery(scene.journal, lambda _: None)
    recovery.look(fleet)
    before = fleet.get(scene.vm.id)
    seen = AgentHealth(AgentState.ALIVE, seen_at=NOON)
    after = with_freeze(before._replace(agent=seen), FreezeInfo(FreezeState.THAWED, NOON))
    assert after.left is None
    recovery.answered(before, after)
    (row,) = rows(scene.journal)
    assert (row.state, row.settled, row.note) == (WindowState.CLOSED, True, FOUND_THAWED)
    assert row.times["ended"] is not None


def test_a_journal_that_can_not_tell_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    fleet = scene.fleet()
    Recovery(scene.journal, lambda _: None).look(fleet)
    (tmp_path / "file").touch()
    broken = Journal(tmp_path / "file" / "journal.db")
    broken.write(nothing())
    Recovery(broken, lambda _: None).look(fleet)
    assert fleet.get(scene.vm.id).left_by is not None
    assert not is_ours(broken, scene.vm), "what is not proven is foreign"


def test_our_own_freeze_stays_ours_when_nothing_was_left() -> None:
    state = VmState(Vm(VmId("qemu", "db1")), freeze=FreezeInfo(FreezeState.FROZEN))
    own = state._replace(last=LOST)
    assert not with_left(own, None).freeze.foreign
    assert with_left(state, None).freeze.foreign
