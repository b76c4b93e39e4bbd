"""What keys do to guests: asked first, bound to the VM of the key press, and refused in words."""

from __future__ import annotations

import gc
from datetime import timedelta

import pytest
from rich.cells import cell_len
from textual._styles_cache import StylesCache
from textual.app import App

from agentclient.fleet.store import Fleet
from agentclient.model.outcome import FileSystem, Outcome, ThawOutcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import AgentHealth, FreezeInfo
from agentclient.model.states import AgentState, FreezeState, OutcomeKind, Refusal
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import (
    EFI,
    ROOT,
    VAR,
    fleet_of,
    held,
    make_vm,
    pending,
    put,
    refused,
    state_of,
    verified,
)
from tui.console.actions.context import ActionContext
from tui.console.actions.execute import Executor
from tui.console.copies import Copies, no_jobs
from tui.console.dialogs.freeze import FreezeAnswer, FreezeDialog
from tui.console.model.notices import Notice
from tui.console.model.targets import Target
from tui.console.model.view import FleetView
from tui.console.widgets.lines import LinesView
from tui.shared.glyphs import Signs


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["app-1", "db-1", "web-1"], still)


def started(session: ConsoleSession) -> list[tuple[str, str]]:
    return [(one.kind, one.vm.name) for one in session.operations.started]


def foreign(still: StillClock) -> FreezeInfo:
    return FreezeInfo(FreezeState.FROZEN, still.wall() - timedelta(minutes=12), foreign=True)


# -- freeze -------------------------------------------------------------------------------------


async def test_freeze_asks_first_and_hits_the_vm_under_the_cursor(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("down", "f")
        assert session.dialog == "FreezeDialog"
        assert started(session) == []
        await session.press("enter")
        assert session.dialog == ""
        assert started(session) == [("freeze", "db-1")]
        request = session.operations.started[0].request
        assert request is not None
        assert request.schedule.hold_s == 0
        assert "db-1: freeze begun; at most 1 h" in session.notice


async def test_a_freeze_that_was_not_begun_is_not_said_to_be(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        reason = "not begun: can't start new thread; nothing was sent"
        session.operations.not_begun = Outcome(OutcomeKind.FAILED, reason, settled=True)
        await session.press("down", "f", "enter")
        assert f"db-1: {reason}" in session.notice


@pytest.mark.parametrize(("first", "begun"), [("yes", [("freeze", "app-1")]), ("no", [])])
async def test_a_dialog_takes_one_answer_however_fast_they_come(
    fleet: Fleet, still: StillClock, first: str, begun: list[tuple[str, str]]
) -> None:
    """A busy console hands over an answer to a dialog that was left by the one before it."""
    async with console_session(fleet, still) as session:
        await session.press("f")
        dialog = session.app.screen
        assert isinstance(dialog, FreezeDialog)
        for answer in (first, "yes", "no"):
            dialog.answered(answer)
        await session.until(lambda: not session.dialog)
        await session.press("down")
        assert session.cursor == "db-1"
        assert started(session) == begun


async def test_a_dialog_that_was_left_leaves_nothing_painted_behind(
    fleet: Fleet, still: StillClock
) -> None:
    """Neither its own parts nor their scroll bars, which are no children of theirs."""
    async with console_session(fleet, still) as session:
        await leave_a_dialog(session)
        await leave_a_dialog(session)
        kept = painted()
        for _ in range(3):
            await leave_a_dialog(session)
        assert painted() <= kept


async def leave_a_dialog(session: ConsoleSession) -> None:
    await session.press("question_mark")
    assert session.dialog
    await session.press("down", "escape")
    await session.until(lambda: not session.dialog)
    await session.settle()


def painted() -> int:
    gc.unfreeze()  # the console hides from the collector what it has imported, and what there was
    gc.collect()
    return sum(isinstance(each, StylesCache) for each in gc.get_objects())


@pytest.mark.parametrize("length", [14, 26, 60])
async def test_a_long_name_cuts_nothing_off_a_question(still: StillClock, length: int) -> None:
    names = [f"{'a' * length}-node-{number}" for number in (1, 2)]
    fleet = fleet_of(names, still)
    put(fleet, qemu(names[0]), freeze=foreign(still))
    async with console_session(fleet, still) as session:
        await session.press("f" if length == 14 else "t")
        text = session.app.screen.query_one("#dialog-text", LinesView)
        lines = ["".join(piece.text for piece in line) for line in text._lines]
        assert max(map(cell_len, lines)) <= text.size.width
        whole = "".join(line.strip() for line in lines)
        for words in (names[0], "pid 4", "● alive", "◈ foreign"):
            assert words in whole, words


async def test_of_many_what_can_be_chosen_stands_before_them(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number}" for number in range(40)], still)
    async with console_session(fleet, still) as session:
        put(fleet, qemu("vm-3"), agent=AgentHealth(AgentState.SILENT))
        await session.settle()
        await session.press("*", "f", "9")
        assert "1 of 40 look as if they will be refused: 1: its agent" in session.text
        assert "◂ 9 s ▸" in session.line_of("hold")
        assert "each on its own" in session.line_of("group")
        assert "qemu:vm-0 · pid" in session.text
        for _ in range(12):
            await session.press("pagedown")
        assert "qemu:vm-39 · pid" in session.text


@pytest.mark.parametrize("keys", [("escape",), ("tab", "enter")])
async def test_a_dialog_that_is_left_does_nothing(
    fleet: Fleet, still: StillClock, keys: tuple[str, ...]
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f", *keys)
        assert session.dialog == ""
        assert started(session) == []


async def test_the_confirmation_names_the_vm_its_file_systems_and_the_schedule(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("app-1"), file_systems=(ROOT, VAR, EFI))
    async with console_session(fleet, still) as session:
        await session.press("f")
        for words in (
            "qemu:app-1 · pid 4000",
            "/ (ext4 on vda1), /var (ext4 on vdb1)",
            "/boot/efi (vfat on vda15): can't freeze",
            "up to 1 h: step 1/6 is 10 min, then 5 probes of 10 min",
            "certify and thaw at once",
            "at most 2 min",
        ):
            assert words in session.text, words


async def test_the_confirmation_says_what_will_probably_be_refused(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("app-1"), agent=AgentHealth(AgentState.SILENT))
    async with console_session(fleet, still) as session:
        await session.press("f")
        assert "will be refused: its agent is" in session.text


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [(["right", "right", "left"], 5), (["9", "4", "backspace", "5"], 95)],
)
async def test_the_hold_is_chosen_or_typed(
    fleet: Fleet, still: StillClock, keys: list[str], seconds: int
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f", *keys)
        assert f" {seconds} s " in session.line_of("hold  ")
        await session.press("enter")
        request = session.operations.started[0].request
        assert request is not None
        assert request.schedule.hold_s == seconds


async def test_marked_vms_are_meant_also_those_that_the_filter_hides(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("space", "down", "down", "space", "slash", *"db", "enter", "f")
        assert "2 VMs" in session.text
        assert session.text.count("marked, and hidden by the filter") == 2
        await session.press("enter")
        assert started(session) == [("freeze", "app-1"), ("freeze", "web-1")]


async def test_a_vm_in_flight_is_left_out_and_said_so(fleet: Fleet, still: StillClock) -> None:
    operations = FakeOperations()
    operations.add(state_of(fleet, "app-1").vm)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("f")
        assert session.dialog == ""
        assert "x stops waiting" in session.notice
        await session.press("space", "space", "f")
        assert "qemu:app-1: something is in flight on it already" in session.text
        await session.press("enter")
        assert started(session)[1:] == [("freeze", "db-1")]


# -- P6: the VM of the key press ----------------------------------------------------------------


async def test_the_action_hits_the_vm_of_the_key_press_whatever_moves_meanwhile(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f")
        fleet.set_vms("qemu", [*(s.vm for s in fleet.states()), make_vm("aaa", 1)])
        await session.settle(5)
        await session.press("enter")
        assert started(session) == [("freeze", "app-1")]


async def test_a_vm_that_became_another_process_is_refused(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f")
        others = [s.vm for s in fleet.states() if s.vm.name != "app-1"]
        fleet.set_vms("qemu", [make_vm("app-1", 9999), *others])
        await session.settle()
        await session.press("enter")
        assert started(session) == []
        assert "refused: qemu:app-1 is another process now (pid 4000 before, 9999" in session.notice
        assert "refused" in fleet.log_since(qemu("app-1"))[-1].text


@pytest.mark.parametrize(("key", "forgotten"), [("f", True), ("t", False)])
async def test_a_vm_that_vanished_is_refused(
    fleet: Fleet, still: StillClock, key: str, forgotten: bool
) -> None:
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press(key)
        fleet.set_vms("qemu", [s.vm for s in fleet.states() if s.vm.name != "app-1"])
        if forgotten:
            fleet.forget_absent()
        await session.settle()
        await session.press("enter")
        assert started(session) == []
        assert "refused: qemu:app-1 has" in session.notice
        assert "nothing was sent" in session.notice


async def test_a_lock_that_came_meanwhile_reaches_the_core(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f")
        others = [s.vm for s in fleet.states() if s.vm.name != "app-1"]
        fleet.set_vms("qemu", [make_vm("app-1", 4000, locked_by="backup"), *others])
        await session.settle()
        await session.press("enter")
        assert session.operations.started[0].vm.locked_by == "backup"


# -- thaw ---------------------------------------------------------------------------------------


async def test_thaw_asks_first(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("t")
        assert "Thaw app-1?" in session.text
        await session.press("enter")
        assert [(one.kind, one.foreign) for one in session.operations.started] == [("thaw", False)]


async def test_a_foreign_freeze_is_left_alone_unless_somebody_chooses_otherwise(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("app-1"), freeze=foreign(still))
    async with console_session(fleet, still) as session:
        await session.press("t")
        assert "Thaw somebody else's freeze of app-1?" in session.text
        assert "a backup or a snapshot" in session.text
        await session.press("enter")
        assert session.dialog == ""
        assert started(session) == []
        await session.press("t", "right", "enter")
        assert [(one.kind, one.foreign) for one in session.operations.started] == [("thaw", True)]


async def test_only_what_was_foreign_at_the_key_press_is_thawed_as_such(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("t")
        put(fleet, qemu("app-1"), freeze=foreign(still))
        await session.settle()
        await session.press("enter")
        assert not session.operations.started[0].foreign


async def test_the_thaw_of_a_freeze_in_flight_says_that_it_ends_the_window(
    fleet: Fleet, still: StillClock
) -> None:
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "app-1").vm)
    put(fleet, qemu("app-1"), progress=held(still))
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("t")
        assert "is closed now: it is thawed at once" in session.text
        await session.press("enter")
        assert freeze.calls == ["cancel"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ThawOutcome(qemu("app-1"), FreezeState.THAWED, 2, False, "thawed 2", 0.1, None), "✓"),
        (ThawOutcome(qemu("app-1"), None, None, True, "it is locked", 0.1, None), "▲"),
        (
            ThawOutcome(qemu("app-1"), None, None, False, "no answer", 180.0, "do this"),
            "✗ app-1 MAY STILL BE FROZEN: R shows its rescue; no answer",
        ),
    ],
)
async def test_a_thaw_tells_how_it_ended(
    fleet: Fleet, still: StillClock, outcome: ThawOutcome, words: str
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("t", "enter")
        session.operations.started[0].outcome = outcome
        await session.settle()
        assert words in session.notice
        assert outcome.reason in session.notice


# -- stop waiting -------------------------------------------------------------------------------


async def test_stop_waiting_asks_first_and_cancels(fleet: Fleet, still: StillClock) -> None:
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "db-1").vm)
    put(fleet, qemu("db-1"), progress=pending(still))
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("down", "x")
        assert "nothing is in flight" in session.notice
        await session.press("up", "x")
        assert "Stop waiting for db-1, and thaw when it answers?" in session.text
        assert freeze.calls == []
        await session.press("enter")
        assert freeze.calls == ["cancel"]
        put(fleet, qemu("db-1"), progress=pending(still, cancelled=True))
        await session.settle()
        await session.press("x")
        await session.until(lambda: "its thaw goes on while" in session.text)


async def test_an_operation_on_a_vm_that_has_gone_can_be_stopped(
    fleet: Fleet, still: StillClock
) -> None:
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "app-1").vm)
    put(fleet, qemu("app-1"), progress=pending(still))
    async with console_session(fleet, still, operations=operations) as session:
        fleet.set_vms("qemu", [])
        await session.settle(3)
        await session.press("x", "enter")
        assert freeze.calls == ["cancel"]


# -- read-only, looking, telling -----------------------------------------------------------------


async def test_read_only_sends_nothing(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still, read_only=True) as session:
        for key in ("f", "t", "x"):
            await session.settle(20)
            await session.press(key)
            assert session.dialog == ""
            assert started(session) == []
            assert f"{still.wall():%H:%M:%S}" in session.notice
            assert "read-only" in session.notice
        assert "READ-ONLY" in session.lines[0]


def test_read_only_holds_also_without_a_question(fleet: Fleet, still: StillClock) -> None:
    operations = FakeOperations()
    told: list[Notice] = []
    view, schedule = FleetView(fleet.reader().peek), Schedule()
    context = ActionContext(
        App(),
        view,
        fleet,
        operations,
        Copies(no_jobs),
        told.append,
        still.clock,
        Signs(),
        True,
        schedule,
    )
    executor, target = Executor(context), Target(state_of(fleet, "app-1"))
    executor.freeze([target], FreezeAnswer(0.0))
    executor.thaw([target])
    assert [notice.text.count("read-only:") for notice in told] == [1, 1]
    assert operations.started == []


async def test_look_again(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("down", "r")
        assert session.watcher.visited == [qemu("db-1")]


async def test_several_are_frozen_together_when_that_is_chosen(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    operations = FakeOperations()
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("a", "f", "b")
        assert "TOGETHER: all are frozen within 30 s" in session.text
        await session.press("5", "enter")
        assert [one.vm.name for one in operations.started] == ["a", "b"]
        holds = [one.request.schedule.hold_s for one in operations.started if one.request]
        assert holds == [35.0, 35.0], "each window bridges the wait for the others"
        assert "frozen together within 30 s, or not at all" in session.notice


async def test_a_window_is_held_for_longer_after_a_question(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    put(fleet, qemu("a"), progress=held(still))
    operations = FakeOperations()
    window = operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("home", "e")
        assert session.dialog == "ExtendDialog"
        assert "2 min in all" in session.text
        await session.press("right", "enter")
        assert window.calls == ["extend 30"]
        await session.press("down", "e")
        assert session.dialog == ""
        assert "no window is held there" in session.notice


async def test_rounds_are_told_and_one_line_says_what_came_of_all(still: StillClock) -> None:
    names = [f"vm-{number:03}" for number in range(130)]
    async with console_session(fleet_of(names, still), still, size=LARGE) as session:
        await session.press("a", "f", "5")
        rounds = "64 at a time, the others are queued: 3 rounds, 15 s at least"
        assert rounds in " ".join(session.text.split())
        await session.press("enter")
        begun = session.operations.started
        assert len(begun) == 130
        for number, one in enumerate(begun):
            cancelled = refused()._replace(refusal=Refusal.CANCELLED, reason="not begun")
            one.outcome = verified() if number < 100 else cancelled
        await session.settle()
        assert "freeze of 130 VMs is over: ok=100 refused=30" in session.notice


async def test_a_hold_that_windows_ends_by_itself_is_asked_about_once_more(
    still: StillClock,
) -> None:
    fleet = fleet_of(["win"], still)
    drive = FileSystem("\\\\?\\Volume{1}\\", "C:\\", "NTFS")
    put(fleet, qemu("win"), file_systems=(drive,))
    async with console_session(fleet, still) as session:
        await session.press("f", "1", "5", "enter")
        assert session.dialog == "FreezeDialog"
        assert "sure?" in session.text
        await session.press("backspace")
        assert "sure?" not in session.text
        await session.press("5")
        for _ in range(2):
            await session.pilot.pause(0.25)  # a button takes no second Enter sooner
            await session.press("enter")
        await session.until(lambda: [one.kind for one in session.operations.started] == ["freeze"])


async def test_no_vm_is_no_vm_in_flight(still: StillClock) -> None:
    async with console_session(Fleet(), still) as session:
        await session.press("f")
        assert "there is no VM here" in session.notice


async def test_a_question_is_not_filled_by_one_guests_mounts(still: StillClock) -> None:
    fleet = fleet_of(["home"], still)
    many = [FileSystem("vda8", f"/mnt/data/part-{number}", "ext4") for number in range(600)]
    parts = [FileSystem(f"vdb{number}", f"/p{number}", "ext4") for number in range(9)]
    put(fleet, qemu("home"), file_systems=(*many, *parts))
    async with console_session(fleet, still) as session:
        await session.press("f")
        text = " ".join(session.text.replace("│", " ").split())
        assert "/mnt/data/part-0 and 599 paths more (ext4 on vda8)" in text
        assert "and 6 devices more" in text
        assert "Freeze (Enter)" in text
        assert "waits" in text


async def test_more_than_run_at_once_are_no_group(still: StillClock) -> None:
    async with console_session(fleet_of([f"vm-{n}" for n in range(70)], still), still) as session:
        await session.press("a", "f", "b", "enter")
        assert session.dialog == "FreezeDialog"
        assert session.line_of("only 64 freezes run at once")
        await session.press("b")
        await session.pilot.pause(0.25)  # a button takes no second Enter sooner
        await session.press("enter")
        await session.until(lambda: len(session.operations.started) == 70)
