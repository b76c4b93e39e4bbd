"""The mouse in every list: a click chooses a row, and a click on the chosen one opens it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.job import JobKind
from agentclient.model.rescue import Means, Rung, Step
from agentclient.model.states import AgentState, KnownBy, Level
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.copying import SURVEY, WITH_READ_ONLY, progress
from tests.console.fakes import FakeJobs, FakeOperations, StillClock
from tests.console.fleets import agent, fleet_of, leave_frozen, put, state_of
from tests.console.guest_report import past
from tests.console.mouse import MIDDLE, RIGHT, click, place_of, press, release
from tests.console.past import past_of_web1
from tests.console.test_pages import written_by
from tui.console.dialogs.rescue import RescueDialog
from tui.console.dialogs.row_dialog import APART_S
from tui.console.model.order import Order
from tui.console.pages.events import EventsPage
from tui.console.pages.vm import VmPage
from tui.console.widgets.lines import sign_at
from tui.shared.glyphs import Signs
from tui.shared.tone import Piece, Row, hanging

SIZES = [SMALL, (120, 40)]


@pytest.fixture
def foreign(still: StillClock) -> Fleet:
    fleet = fleet_of(["db-1", "web-1"], still)
    leave_frozen(fleet, qemu("db-1"), still)
    return fleet


def taken(session: ConsoleSession) -> list[Step | None]:
    return [one.step for one in session.operations.started]


async def on_the_ladder(session: ConsoleSession) -> None:
    await session.until(lambda: session.app.view.cursor is not None)
    await session.press("home", "R")
    await session.until(lambda: "3 wait" in session.text)


async def click_later(session: ConsoleSession, words: str, *, times: int = 1) -> None:
    """Click so long after the click before that both are meant."""
    await session.pilot.pause(APART_S)
    await click(session, words, times=times)


def is_chosen(session: ConsoleSession, words: str) -> bool:
    return session.app.signs.cursor in session.line_of(words)


# -- the ladder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (50, 12)])
async def test_a_click_chooses_a_rung_and_a_later_one_takes_it(
    foreign: Fleet, still: StillClock, size: tuple[int, int]
) -> None:
    async with console_session(foreign, still, size=size) as session:
        await on_the_ladder(session)
        await session.press("2")
        await session.pilot.click(offset=place_of(session, "4 sysrq"))
        assert is_chosen(session, "4 sysrq")
        assert (session.dialog, taken(session)) == ("RescueDialog", [])
        await session.pilot.pause(APART_S)
        await session.pilot.click(offset=place_of(session, "4 sysrq"))
        await session.until(lambda: taken(session) == [Step(Rung.SYSRQ, Means.KEY)])


async def test_the_rung_that_was_chosen_at_first_is_not_taken_by_one_click(
    foreign: Fleet, still: StillClock
) -> None:
    """It may have been meant for the terminal's window alone."""
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        assert is_chosen(session, "3 wait")
        await click_later(session, "3 wait")
        assert (session.dialog, taken(session)) == ("RescueDialog", [])
        await click_later(session, "3 wait")
        assert taken(session) == [Step(Rung.WAIT)]


async def test_clicks_that_follow_each_other_at_once_take_no_rung(
    foreign: Fleet, still: StillClock
) -> None:
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        await click(session, "4 sysrq", times=4)
        x, y = place_of(session, "4 sysrq")
        for cell in range(4):  # clicks on other cells are no double ones for Textual
            await click(session, (x + cell, y))
        assert (session.dialog, taken(session)) == ("RescueDialog", [])


async def test_a_slow_double_click_is_one_too(
    foreign: Fleet, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy console may come to the second click late: the terminal's own times count."""
    monkeypatch.setattr("tui.console.dialogs.row_dialog.APART_S", 0.0)
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        await session.pilot.click(offset=place_of(session, "4 sysrq"), times=2)
        assert (session.dialog, taken(session)) == ("RescueDialog", [])


async def test_the_mouse_is_asked_about_a_rung_as_enter_is(
    foreign: Fleet, still: StillClock
) -> None:
    put(foreign, qemu("db-1"), agent=agent(AgentState.ALIVE, KnownBy.REPLY, still))
    async with console_session(foreign, still) as session:
        session.operations.view = session.operations.view._replace(port_open=True)
        await on_the_ladder(session)
        await click(session, "4 sysrq")
        await click_later(session, "4 sysrq", times=3)
        assert "it is not its turn: " in session.line_of("sure?")
        assert taken(session) == []
        await click_later(session, "4 sysrq")
        assert taken(session) == [Step(Rung.SYSRQ, Means.KEY)]


async def test_a_question_that_enter_has_raised_is_not_answered_by_one_click(
    foreign: Fleet, still: StillClock
) -> None:
    put(foreign, qemu("db-1"), agent=agent(AgentState.ALIVE, KnownBy.REPLY, still))
    async with console_session(foreign, still) as session:
        session.operations.view = session.operations.view._replace(port_open=True)
        await on_the_ladder(session)
        await session.press("4", "enter")
        assert "sure?" in session.text
        await click_later(session, "4 sysrq")
        assert taken(session) == []


async def test_a_reset_by_the_mouse_asks_for_the_name(foreign: Fleet, still: StillClock) -> None:
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        await click(session, "6 reset")
        await click_later(session, "6 reset")
        assert (session.dialog, taken(session)) == ("NameDialog", [])


async def test_a_rung_that_cannot_be_taken_is_not_by_the_mouse(
    foreign: Fleet, still: StillClock
) -> None:
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        for _ in range(2):
            await click_later(session, "1 connect")
        assert is_chosen(session, "1 connect")
        assert (session.dialog, taken(session)) == ("RescueDialog", [])


async def test_the_button_takes_the_chosen_rung_as_enter_does(
    foreign: Fleet, still: StillClock
) -> None:
    async with console_session(foreign, still) as session:
        await on_the_ladder(session)
        await session.pilot.click("#take")
        assert taken(session) == [Step(Rung.WAIT)]


async def test_a_ladder_that_is_drawn_anew_under_the_finger_is_left_alone(
    foreign: Fleet, still: StillClock
) -> None:
    """What is said of another rung has more lines: the dialog, and all rungs, move."""
    async with console_session(foreign, still, size=LARGE) as session:
        await on_the_ladder(session)
        dialog = session.app.screen
        assert isinstance(dialog, RescueDialog)
        place = place_of(session, "2 thaw")
        await press(session, place)
        more = "more is known of it by now. " * 12
        dialog._offers = tuple(replace(one, risk=more) for one in dialog._offers)
        await session.until(lambda: place_of(session, "2 thaw") != place)
        await release(session, place)
        assert is_chosen(session, "3 wait")
        await click(session, "2 thaw")
        assert is_chosen(session, "2 thaw")


@pytest.mark.parametrize("button", [MIDDLE, RIGHT])
async def test_other_buttons_mean_nothing(foreign: Fleet, still: StillClock, button: int) -> None:
    operations = FakeOperations()
    operations.past = past_of_web1()
    async with console_session(foreign, still, operations=operations) as session:
        await on_the_ladder(session)
        await click(session, "4 sysrq", button=button)
        await session.pilot.click(offset=place_of(session, "4 sysrq"), button=button)
        await click(session, "Take this rung", button=button)
        assert is_chosen(session, "3 wait")
        assert (session.dialog, taken(session)) == ("RescueDialog", [])
        await session.press("escape")
        cursor = session.cursor
        await click(session, "web-1", button=button)
        await click(session, "f Freeze", button=button)
        assert (session.dialog, session.cursor) == ("", cursor)


async def test_a_read_only_console_refuses_the_mouse_as_it_does_keys(
    foreign: Fleet, still: StillClock
) -> None:
    async with console_session(foreign, still, read_only=True, size=(200, 60)) as session:
        before = session.text
        await session.press("R")
        assert "read-only" in session.notice
        assert "R Rescue" not in before
        await session.press("colon", *"rescue")
        await click(session, "▌ Rescue")
        assert session.dialog == "PaletteDialog"
        assert taken(session) == []


# -- the history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (50, 12)])
async def test_a_window_is_chosen_and_opened_by_clicks(
    still: StillClock, size: tuple[int, int]
) -> None:
    operations = FakeOperations()
    operations.past = past_of_web1()
    async with console_session(
        fleet_of(["web1"], still), still, operations=operations, size=size
    ) as session:
        await session.press("H", "end", "up")
        sign = f"{session.app.signs.cursor} 08-"  # and a day of August
        await session.until(lambda: sign in session.text)
        x, chosen = place_of(session, sign)
        await session.pilot.click(offset=(x, chosen + 1))
        assert sign in session.lines[chosen + 1], "the list is scrolled to its end"
        assert session.dialog == "HistoryDialog"
        await session.pilot.click(offset=(x, chosen + 1))
        assert session.dialog == "CertificateDialog"
        assert f"window {operations.past.windows[-1].window} of the journal" in session.flat


async def test_a_double_click_opens_a_window(still: StillClock) -> None:
    operations = FakeOperations()
    operations.past = past_of_web1()
    async with console_session(fleet_of(["web1"], still), still, operations=operations) as session:
        await session.press("H")
        x, y = place_of(session, f"{session.app.signs.cursor} 09-")
        await click(session, (x, y + 2), times=2)
        assert session.dialog == "CertificateDialog"
        assert f"window {operations.past.windows[2].window} of the journal" in session.flat


# -- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE, (50, 14)])
@pytest.mark.parametrize("plain", [False, True])
async def test_the_fields_of_a_form_take_clicks(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    jobs, signs = FakeJobs(), Signs(ascii=plain)
    jobs.found = WITH_READ_ONLY
    less, more = ("<", ">") if plain else ("◂", "▸")
    async with console_session(
        fleet_of(["db-1"], still), still, jobs=jobs, size=size, signs=signs
    ) as session:
        await session.press("c")
        await session.until(lambda: "[x] drive-scsi1" in session.text)
        await session.pilot.click(offset=place_of(session, "drive-scsi1"))
        assert is_chosen(session, "[x] drive-scsi1"), "the first click leads there"
        await session.pilot.click(offset=place_of(session, "drive-scsi1"))
        assert is_chosen(session, "[ ] drive-scsi1"), "the second one changes it"
        x, y = place_of(session, "[x] drive-scsi0")
        await session.pilot.click(offset=(x + 1, y))
        assert is_chosen(session, "[ ] drive-scsi0"), "a click on the box changes it at once"
        for _ in range(8):
            await session.press("up") if f"{less} backup {more}" not in session.text else None
        # The form is as high as what it says, so that its fields move.
        x, y = place_of(session, f"{less} backup {more}")
        await session.pilot.click(offset=(x + len(f"{less} backup "), y))
        assert f"{less} incremental backup {more}" in session.text
        assert is_chosen(session, "incremental backup")
        x, y = place_of(session, f"{less} incremental")
        await session.pilot.click(offset=(x, y))
        assert f"{less} backup {more}" in session.text
        x, y = place_of(session, f"{less} backup")
        await session.pilot.click(offset=(x + 4, y))
        assert f"{less} incremental backup {more}" in session.text


async def test_letters_go_to_the_field_that_was_clicked(still: StillClock) -> None:
    jobs = FakeJobs()
    jobs.found = SURVEY
    async with console_session(fleet_of(["db-1"], still), still, jobs=jobs) as session:
        await session.press("c")
        await session.until(lambda: "drive-scsi1" in session.text)
        await click(session, "rate")
        await session.press(*"5M")
        assert "5M_" in session.line_of("rate")


async def test_a_click_on_the_only_field_of_a_form_changes_nothing(still: StillClock) -> None:
    fleet, jobs = fleet_of(["db-1"], still), FakeJobs()
    put(fleet, qemu("db-1"), job=progress(still, limit=10 << 20))
    job = jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    async with console_session(fleet, still, jobs=jobs) as session:
        session.copies_are_known()
        await session.press("c")
        await click(session, "10M_", times=2)
        assert session.dialog == "LimitDialog"
        assert "10M_" in session.text
        assert job.calls == []


async def test_the_hold_and_the_group_of_a_freeze_take_clicks(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b"], still), still) as session:
        await session.press("a", "f")
        x, y = place_of(session, "◂ 0 s ▸")
        await session.pilot.click(offset=(x + 6, y))
        assert "◂ 5 s ▸" in session.text
        await session.pilot.click(offset=(x + 2, y))
        assert "◂ 5 s ▸" in session.text, "only the arrows say which way"
        await session.pilot.click(offset=(x, y))
        assert "◂ 0 s ▸" in session.text
        await session.pilot.click(offset=place_of(session, "each on its own"))
        assert "TOGETHER" in session.text
        assert session.operations.started == []


# -- what is taken away ---------------------------------------------------------------------------


async def test_a_line_of_what_is_taken_is_its_digit(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    fleet = fleet_of(["mail"], still)
    fleet.log(qemu("mail"), Level.INFO, "freeze sent")
    async with console_session(fleet, still) as session:
        copied = written_by(session)
        await session.press("w")
        await session.pilot.click(offset=place_of(session, "2 command"))
        assert session.dialog == "TakeDialog"
        assert "there is no command to be taken" in session.flat
        await session.pilot.click(offset=place_of(session, "Copy, for a ticket"))
        assert session.dialog == "TakeDialog"
        await session.pilot.click(offset=place_of(session, "3 log"))
        assert session.dialog == ""
        assert "freeze sent" in copied[-1]


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(160, 40), (80, 40)])
async def test_a_command_of_a_paragraph_is_copied_by_a_click(
    foreign: Fleet, still: StillClock, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    found: list[str] = []
    for by_key in (True, False):
        async with console_session(foreign, still, size=size) as session:
            await session.until(lambda: session.app.view.cursor is not None)
            copied = written_by(session)
            await session.press("home", "i")
            await session.until(lambda: "by hand" in session.text)
            if by_key:
                await session.press("1")
            else:
                x, title = place_of(session, "by hand")
                words = next(n for n in range(title + 2, 40) if found[0][:12] in session.lines[n])
                await click(session, (x + 10, words))
            found += copied
    assert found == [found[0]] * 2


async def test_an_event_is_chosen_by_a_click_and_gone_to_by_another(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    fleet.log(qemu("b"), Level.INFO, "freeze sent")
    fleet.log(qemu("a"), Level.GOOD, "certified")
    async with console_session(fleet, still) as session:
        await session.press("E")
        await session.pilot.click(offset=place_of(session, "freeze sent"))
        assert isinstance(session.app.screen, EventsPage)
        assert session.line_of("freeze sent").startswith("▌")
        await session.pilot.click(offset=place_of(session, "freeze sent"))
        assert session.cursor == "b"


async def test_an_event_that_scrolls_away_under_the_finger_is_left_alone(
    still: StillClock,
) -> None:
    fleet = fleet_of(["a", "b"], still)
    for number in range(40):
        fleet.log(qemu("a"), Level.INFO, f"event {number:02}")
    async with console_session(fleet, still) as session:
        await session.press("E")
        place = place_of(session, "event 30")
        await press(session, place)
        fleet.log(qemu("b"), Level.GOOD, "certified")
        await session.until(lambda: place_of(session, "event 30") != place)
        await release(session, place)
        assert session.line_of("certified").startswith("▌")
        await click(session, "event 30")
        assert session.line_of("event 30").startswith("▌")


async def test_a_past_window_of_a_page_is_opened_by_a_click_on_the_chosen_one(
    still: StillClock,
) -> None:
    operations = FakeOperations()
    operations.past = past()
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "6")
        await session.until(lambda: "4 freezes answered" in session.text)
        await session.pilot.click("#vm-past", offset=(10, 2))
        assert isinstance(session.app.screen, VmPage)
        await session.pilot.click("#vm-past", offset=(10, 2), button=RIGHT)
        assert isinstance(session.app.screen, VmPage)
        await session.pilot.click("#vm-past", offset=(10, 2))
        assert session.dialog == "CertificateDialog"
        assert "window 5 of the journal" in session.flat


@pytest.mark.parametrize(
    ("x", "sign"),
    [(0, "▌"), (2, "[x]"), (4, "[x]"), (5, " "), (6, "語"), (7, "語"), (8, "▸"), (9, "")],
)
def test_a_cell_tells_which_sign_stands_there(x: int, sign: str) -> None:
    line = (Piece("▌ [x"), Piece("] 語"), Piece("▸"))
    assert sign_at(line, x) == sign


@pytest.mark.parametrize("width", [9, 20])
def test_a_row_stays_one_where_it_is_wrapped(width: int) -> None:
    row = Row.of("it", (Piece("label "), Piece("words that go on and on")))
    parts = hanging(row, width)
    assert len(parts) > 1
    assert all(isinstance(part, Row) and part.what == "it" for part in parts)
    assert parts == hanging(tuple(row), width)


# -- the table, the key line and the palette ------------------------------------------------------


async def test_a_row_that_moves_under_the_finger_is_left_alone(still: StillClock) -> None:
    """Another VM is under the mouse when the button comes up: in the margin it would be marked."""
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        session.app.view.sort_by(Order.NAME)
        session.app.parts.table.update_lines()
        await session.pilot.pause()
        place = 0, place_of(session, " a ")[1]
        await press(session, place)
        session.app.view.sort_by(Order.NAME, backwards=True)
        session.app.parts.table.update_lines()
        await session.until(lambda: place_of(session, " c ")[1] == place[1])
        await release(session, place)
        assert not session.app.view.marks.all


async def test_a_drag_from_row_to_row_is_no_click(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        first, last = place_of(session, " a ")[1], place_of(session, " c ")[1]
        await press(session, (0, first))
        await release(session, (0, last))
        assert not session.app.view.marks.all
        await click(session, (0, last))
        assert session.app.view.marks.all == {qemu("c")}


async def test_words_typed_under_the_finger_do_no_other_command(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still, size=(120, 40)) as session:
        await session.press("colon", *"sort")
        place = place_of(session, f"{session.app.signs.cursor} Sort")
        await press(session, place)
        await session.press("ctrl+u", *"columns")
        await release(session, place)
        assert session.dialog == "PaletteDialog"
