"""Dialogs on screens without room: what decides is seen, and reached by key and by mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Button

from agentclient.fleet.store import Fleet
from agentclient.jobs.left import LeftCopy
from agentclient.model.job import JobKind
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CopyKey
from tests.console.console_session import ConsoleSession, console_session, qemu
from tests.console.copying import LEFT, SURVEY, progress
from tests.console.fakes import FakeJobs, FakeOperations, StillClock
from tests.console.fleets import (
    fleet_of,
    held,
    leave_frozen,
    pending,
    put,
    state_of,
    verified,
)
from tests.console.past import past_of_web1
from tui.console.dialogs.base import Dialog
from tui.console.model.exit_kind import ExitKind
from tui.console.training.dialogs import TextDialog
from tui.console.widgets.lines import LinesView
from tui.shared.glyphs import Signs
from tui.shared.tone import Piece

SIZES = [(20, 5), (30, 8), (40, 10)]
TINY = SIZES[:1]


class Case(NamedTuple):
    """A dialog, the fleet behind it, and the keys that open it."""

    dialog: str
    keys: tuple[str, ...]
    prepare: Callable[[Fleet, FakeOperations, FakeJobs, StillClock], None]


def nothing(*_: Any) -> None:
    pass


def is_foreign(fleet: Fleet, _: FakeOperations, __: FakeJobs, still: StillClock) -> None:
    leave_frozen(fleet, qemu("web1"), still)


def is_held(fleet: Fleet, operations: FakeOperations, _: FakeJobs, still: StillClock) -> None:
    put(fleet, qemu("web1"), progress=held(still))
    operations.add(state_of(fleet, "web1").vm)


def is_pending(fleet: Fleet, operations: FakeOperations, _: FakeJobs, still: StillClock) -> None:
    put(fleet, qemu("web1"), progress=pending(still))
    operations.add(state_of(fleet, "web1").vm)


def is_copied(fleet: Fleet, _: FakeOperations, jobs: FakeJobs, still: StillClock) -> None:
    put(fleet, qemu("web1"), job=progress(still))
    jobs.add(state_of(fleet, "web1").vm, JobKind.BACKUP)


def is_all(fleet: Fleet, operations: FakeOperations, jobs: FakeJobs, still: StillClock) -> None:
    is_held(fleet, operations, jobs, still)
    frozen = FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True)
    put(fleet, qemu("db1"), job=progress(still), freeze=frozen)
    jobs.add(state_of(fleet, "db1").vm, JobKind.BACKUP)


def has_left(fleet: Fleet, _: FakeOperations, jobs: FakeJobs, __: StillClock) -> None:
    key = CopyKey(Process(812, 9), "cafe0000")
    jobs.left = (LeftCopy(key, "backup", (), {"n": "/to/a.qcow2"}, False),)
    put(fleet, qemu("web1"), block_jobs=(LEFT,))


def has_past(_: Fleet, operations: FakeOperations, __: FakeJobs, ___: StillClock) -> None:
    operations.past = past_of_web1()


def is_well(fleet: Fleet, *_: Any) -> None:
    put(fleet, qemu("web1"), last=verified())


CASES = [
    Case("FreezeDialog", ("f",), nothing),
    Case("FreezeDialog", ("a", "f"), nothing),
    Case("ThawDialog", ("t",), is_well),
    Case("ThawDialog", ("t",), is_foreign),
    Case("ThawAllDialog", ("T",), is_all),
    Case("CopyDialog", ("c",), nothing),
    Case("StopDialog", ("x",), is_pending),
    Case("StopCopyDialog", ("x",), is_copied),
    Case("LimitDialog", ("c",), is_copied),
    Case("LeftCopyDialog", ("c",), has_left),
    Case("ExtendDialog", ("e",), is_held),
    Case("RescueDialog", ("R",), is_foreign),
    Case("NameDialog", ("R", "6", "enter"), is_foreign),
    Case("HistoryDialog", ("H",), nothing),
    Case("HistoryDialog", ("H",), has_past),
    Case("CertificateDialog", ("H", "enter"), has_past),
    Case("SaveDialog", ("H", "enter", "w"), has_past),
    Case("CopiedDialog", ("H", "p"), has_past),
    Case("HelpDialog", ("question_mark",), nothing),
    Case("PaletteDialog", ("colon",), nothing),
    Case("ColumnsDialog", ("C",), nothing),
    Case("TakeDialog", ("w",), nothing),
    Case("QuitDialog", ("q",), is_pending),
    Case("QuitDialog", ("q",), is_all),
]


def named(case: Case) -> str:
    return f"{case.dialog}-{case.prepare.__name__}"


async def opened(session: ConsoleSession, case: Case) -> Dialog[Any]:
    session.copies_are_known()
    await session.press("slash", *"web1", "enter") if case.keys[0] != "a" else None
    for key in case.keys:
        await session.press(key)
    await session.until(lambda: session.dialog == case.dialog)
    await session.pilot.pause()
    dialog = session.app.screen
    assert isinstance(dialog, Dialog)
    return dialog


def is_seen(widget: Widget, dialog: Dialog[Any]) -> bool:
    """Whether all of a widget is on the screen, and in what it is scrolled in."""
    seen = Region(0, 0, *dialog.app.size)
    for parent in widget.ancestors:
        if isinstance(parent, Widget):
            seen = seen.intersection(parent.content_region)
    return bool(widget.region) and seen.contains_region(widget.region)


def session_of(case: Case, size: tuple[int, int], still: StillClock, **more: Any) -> Any:
    fleet = fleet_of(["db1", "web1"], still)
    operations, jobs = FakeOperations(), FakeJobs()
    jobs.found = SURVEY
    case.prepare(fleet, operations, jobs, still)
    return console_session(fleet, still, operations=operations, jobs=jobs, size=size, **more)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES, ids=named)
async def test_every_answer_is_seen_where_the_focus_leads(
    still: StillClock, case: Case, size: tuple[int, int]
) -> None:
    async with session_of(case, size, still) as session:
        dialog = await opened(session, case)
        assert all(cell_len(line) <= size[0] for line in session.lines)
        for button in dialog.query(Button):
            button.focus()
            await session.pilot.pause()
            assert is_seen(button, dialog), f"{button.label}:\n{session.text}"
            label = str(button.label)
            assert label in session.text, session.text
            assert "(Enter" not in label or "(Enter)" in label, label
        text = dialog.query_one("#dialog-text")
        assert text.region.height >= min(3, size[1] // 2, text.virtual_size.height)


@pytest.mark.parametrize("size", TINY)
@pytest.mark.parametrize("case", CASES, ids=named)
async def test_all_of_its_text_is_reached_by_the_wheel(
    still: StillClock, case: Case, size: tuple[int, int]
) -> None:
    async with session_of(case, size, still) as session:
        dialog = await opened(session, case)
        text = dialog.query_one("#dialog-text", LinesView)
        text.scroll_home(animate=False)
        await session.pilot.pause()
        assert dialog._title.split()[0] in session.text, session.text
        x, y = text.region.offset
        wheel = events.MouseScrollDown(
            text, 1, 1, 0, 0, 0, shift=False, meta=False, ctrl=False, screen_x=x + 1, screen_y=y
        )
        before = 0.0
        for _ in range(text.virtual_size.height):
            text.post_message(wheel)
            await session.pilot.pause()
            if text.is_vertical_scroll_end:
                break
            assert text.scroll_target_y > before, session.text
            before = text.scroll_target_y
        assert text.is_vertical_scroll_end, session.text


@pytest.mark.parametrize("size", SIZES)
async def test_quitting_is_decided_by_keys(still: StillClock, size: tuple[int, int]) -> None:
    case = Case("QuitDialog", ("q",), is_all)
    async with session_of(case, size, still) as session:
        await opened(session, case)
        assert "Thaw, cancel" in session.text
        await session.press("down")
        assert "Leave now" in session.text
        await session.press("down", "down")
        assert "Stay" in session.text
        await session.press("up", "enter")
        assert session.app.return_value is ExitKind.KEPT


@pytest.mark.parametrize("size", SIZES)
async def test_quitting_is_decided_by_clicks(still: StillClock, size: tuple[int, int]) -> None:
    case = Case("QuitDialog", ("q",), is_all)
    async with session_of(case, size, still) as session:
        dialog = await opened(session, case)
        row = dialog.query_one("#dialog-buttons")
        for _ in range(4):
            if "Stay" not in session.text:
                row.scroll_relative(y=1, animate=False)
                await session.pilot.pause()
        await session.pilot.click("#stay")
        assert session.dialog == ""
        assert session.app.is_running


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("case", "keys"),
    [
        (Case("HistoryDialog", ("H",), has_past), ("j",) * 6),
        (Case("RescueDialog", ("R",), is_foreign), ("k",) * 6),
        (Case("ColumnsDialog", ("C",), nothing), ("j",) * 6),
        (Case("CopyDialog", ("c",), nothing), ("down",) * 6),
        (Case("PaletteDialog", ("colon",), nothing), ("down",) * 6),
    ],
    ids=lambda one: one.dialog if isinstance(one, Case) else "",
)
@pytest.mark.parametrize("plain", [False, True])
async def test_what_is_chosen_stays_in_sight(
    still: StillClock, case: Case, keys: tuple[str, ...], size: tuple[int, int], plain: bool
) -> None:
    signs = Signs(ascii=plain)
    async with session_of(case, size, still, signs=signs) as session:
        dialog = await opened(session, case)
        for key in ("", *keys):
            await session.press(key) if key else None
            text = dialog.query_one("#dialog-text").region
            seen = session.lines[text.y : text.bottom]
            assert any(line.startswith(signs.cursor) for line in seen), session.text


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_typed_stays_in_sight(still: StillClock, size: tuple[int, int]) -> None:
    for case in (
        Case("NameDialog", ("R", "6", "enter"), is_foreign),
        Case("SaveDialog", ("H", "enter", "w"), has_past),
        Case("PaletteDialog", ("colon",), nothing),
    ):
        async with session_of(case, size, still) as session:
            await opened(session, case)
            await session.press(*"zyx")
            assert "zyx_" in session.text, session.text


@pytest.mark.parametrize("size", SIZES)
async def test_a_command_of_the_palette_is_clicked(
    still: StillClock, size: tuple[int, int]
) -> None:
    case = Case("PaletteDialog", ("colon",), nothing)
    async with session_of(case, size, still) as session:
        dialog = await opened(session, case)
        await session.press(*"explain")
        text = dialog.query_one("#dialog-text").region
        (y,) = [y for y, line in enumerate(session.lines) if line.startswith("▌ Explain")]
        await session.pilot.click("#dialog-text", offset=(3, y - text.y))
        assert type(session.app.screen).__name__ == "ExplainPage"


@pytest.mark.parametrize("size", SIZES)
async def test_a_scenarios_texts_have_their_button(
    still: StillClock, size: tuple[int, int]
) -> None:
    async with console_session(fleet_of(["a"], still), still, size=size) as session:
        lines = [(Piece("words " * 60),)] * 5
        session.app.push_screen(TextDialog("scenario: a backup is lost", lines, "Begin"))
        await session.until(lambda: "Begin" in session.text)


async def test_a_dialog_is_arranged_anew_on_another_screen(still: StillClock) -> None:
    case = Case("QuitDialog", ("q",), is_all)
    async with session_of(case, (80, 24), still) as session:
        dialog = await opened(session, case)
        framed = dialog.query_one("#dialog").region
        assert framed.width == 72
        await session.pilot.resize_terminal(20, 5)
        await session.until(lambda: "Thaw, cancel" in session.text)
        await session.pilot.resize_terminal(80, 24)
        await session.until(lambda: dialog.query_one("#dialog").region == framed)
        await session.until(lambda: "Stay (Esc)" in session.text)
