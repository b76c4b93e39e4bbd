"""The palette: every action by its name, why one can't be done, and what it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from tests.console.console_session import SMALL, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import every_state, fleet_of, held, put, state_of
from tui.console import keymap
from tui.console.dialogs.palette import SHORT_NAME, PaletteDialog
from tui.console.model.commands import Command, matching, suggestion
from tui.console.model.order import Order
from tui.shared.glyphs import Signs
from tui.shared.key_names import key_name

SIZES_AND_SIGNS = [(SMALL, True), ((120, 40), False), ((200, 60), False)]
ACTING = [one for one in keymap.ACTIONS if isinstance(one, Binding) and one.id]


@pytest.mark.parametrize(("size", "plain"), SIZES_AND_SIGNS)
async def test_an_action_is_found_by_words_and_done(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still, size=size, signs=Signs(ascii=plain)) as session:
        await session.press("down", "colon")
        assert session.dialog == "PaletteDialog"
        assert "What is to be done on b?" in session.text
        await session.press(*"freeze mark")
        line = session.line_of("Freeze   ")
        assert " f " in line
        assert "not now" not in line
        await session.press("enter")
        assert session.dialog == "FreezeDialog"
        assert "qemu:b" in session.text
        await session.press("escape")
        assert not plain or session.text.isascii()


async def test_every_action_is_there(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("colon")
        dialog = session.app.screen
        assert isinstance(dialog, PaletteDialog)
        seen = {command.action for command in dialog._commands}
        for _, bindings in keymap.PLACES:
            for one in bindings:
                assert isinstance(one, Binding)
                assert one.action in {*seen, "palette"}, one
        assert {f"sort_by('{order}')" for order in Order} <= seen
        assert {"theme('light')", "theme('deutan')", "theme('terminal')"} <= seen


async def test_letters_and_what_moves_find_their_place(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b"], still), still) as session:
        await session.press("colon", *"sort by", "down", "up", "down", "enter")
        assert session.app.view.order is not Order.TROUBLE
        await session.press("colon", *"qqqq", "ctrl+u", *"sort by nam", "backspace", "enter")
        assert session.app.view.order is Order.NAME
        await session.press("colon", *"zzqq")
        assert "nothing is called so" in session.text
        await session.press("enter")
        assert session.dialog == "PaletteDialog"
        await session.press("ctrl+u", *"freze")
        assert "did you mean freeze" in session.text
        await session.press("escape")
        assert "What is to be done" not in session.text
        await session.press("ctrl+p")
        assert "What is to be done" in session.text


async def test_the_mouse_chooses_and_does(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b"], still), still, size=(120, 40)) as session:
        await session.press("colon", *"sort by")
        rows = [y for y, line in enumerate(session.lines) if "Sort by WHY" in line]
        await session.pilot.click(offset=(40, rows[0]))
        assert "▌ Sort by WHY" in session.text
        await session.pilot.click(offset=(40, rows[0]))
        assert session.app.view.order is Order.WHY


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_the_mouse_does_what_was_clicked_and_nothing_beside_it(
    still: StillClock, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filter leaves two that stop: one the VM's freeze, and one the console."""
    async with console_session(fleet_of(["a"], still), still, size=size) as session:
        done: list[str] = []
        monkeypatch.setattr(session.app, "_do", lambda command: done.append(command.action))
        await session.press("colon", *"stop")
        row = next(y for y, line in enumerate(session.lines) if "Ctrl-Z" in line)
        for _ in range(2):
            await session.pilot.click(offset=(size[0] // 2, row))
        assert done == ["stop_console"]


def nothing(still: StillClock) -> Fleet:
    return Fleet()


def quiet(still: StillClock) -> Fleet:
    return fleet_of(["a", "b"], still)


def busy(still: StillClock) -> Fleet:
    return fleet_of(["a"], still)


def holding(still: StillClock) -> Fleet:
    fleet = fleet_of(["a", "b"], still)
    put(fleet, qemu("a"), progress=held(still), freeze=FreezeInfo(FreezeState.FROZEN, still.wall()))
    return fleet


@pytest.mark.parametrize(
    ("make", "read_only"),
    [*((one, False) for one in (nothing, quiet, busy, holding, every_state)), (holding, True)],
)
async def test_what_can_not_be_done_is_what_the_key_refuses(
    still: StillClock, make: Callable[[StillClock], Fleet], read_only: bool
) -> None:
    """The reason is that of the key, and without one the key asks."""
    fleet, operations = make(still), FakeOperations()
    if make is busy:
        operations.add(state_of(fleet, "a").vm)
    async with console_session(
        fleet, still, operations=operations, read_only=read_only, size=(160, 50)
    ) as session:
        for binding in ACTING:
            reason = session.app.prompts.why_not(binding.id or "")
            before = session.app.parts._notices.notice
            await session.press(binding.key)
            notice = session.app.parts._notices.notice
            told = notice.text if notice is not None and notice is not before else ""
            if binding.id in ("mark", "look"):
                continue  # they say nothing
            if reason is None:
                assert session.dialog, (binding.id, told)
            else:
                assert not session.dialog, binding.id
                assert reason in told, (binding.id, reason, told)
            while session.dialog:
                await session.press("escape")


async def test_what_can_not_be_done_is_not_done_and_says_why(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("colon", *"attach")
        assert "not now: no frostwatch" in session.line_of("Attach  ")
        assert "not now: no frostwatch has left a window there to its holder" in session.text
        await session.press("enter")
        assert session.dialog == "PaletteDialog"
        assert not session.operations.started


async def test_the_pane_s_keys_are_known_to_it(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("colon", *"search")
        assert "not now: Tab leads to" in session.line_of("Search  ")
        await session.press("escape", "tab", "colon", *"freeze")
        assert "not now: Esc, then f" in session.line_of("Freeze  ")
        await session.press("ctrl+u", *"search", "enter", *"x")
        assert "not in this log" in session.text


async def test_other_vms_than_those_of_the_key_are_never_hit(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        await session.press("colon", *"freeze mark")
        fleet.set_vms("qemu", [state_of(fleet, "b").vm])
        fleet.forget_absent()
        session.app.drain()
        await session.press("enter")
        assert not session.dialog
        assert "other VMs are chosen now; nothing was done" in session.notice


# -- what is typed ---------------------------------------------------------------------------------

COMMANDS = tuple(
    Command(name, keys, told, name)
    for name, keys, told in (
        ("Freeze", "f", "Freeze the marked VMs"),
        ("Thaw", "t", "Thaw the marked VMs"),
        ("Thaw all", "T", "All that is frozen"),
        ("Sort by NAME", "", "by name"),
    )
)


def test_names_come_before_what_is_told() -> None:
    assert [one.name for one in matching(COMMANDS, "thaw")] == ["Thaw", "Thaw all"]
    assert [one.name for one in matching(COMMANDS, "fr")] == ["Freeze", "Thaw all"]
    assert matching(COMMANDS, "all")[0].name == "Thaw all"
    assert matching(COMMANDS, "") == COMMANDS
    assert suggestion(COMMANDS, "frieze") == "did you mean freeze?"
    assert suggestion(COMMANDS, "qqqqq") == ""


@given(st.text(alphabet="frezthawlsoby NAME", max_size=12))
def test_whatever_is_typed_all_words_are_in_what_is_found(typed: str) -> None:
    found = matching(COMMANDS, typed)
    words = typed.casefold().split()
    texts = {one: f"{one.name} {one.keys} {one.told}".casefold() for one in COMMANDS}
    assert set(found) == {one for one in COMMANDS if all(word in texts[one] for word in words)}


async def test_the_help_is_searched(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("question_mark")
        assert "Guests" in session.text
        await session.press("slash", *"thaw all")
        assert "/ thaw all_" in session.text
        assert "Thaw all that this console froze" in session.text
        assert "Freeze the marked" not in session.text
        await session.press("enter", "j", "escape")
        assert "Freeze the marked" in session.text
        await session.press("slash", *"next theme")
        assert "Y " in session.line_of("Other colours")
        assert "(Next theme)" in " ".join(session.text.split())
        await session.press("escape", "slash", *"zzqq")
        assert "nothing here says so" in session.text
        await session.press("escape", "escape")
        assert not session.dialog


async def test_the_help_says_which_frostwatch_it_is_and_where_its_journal_is(
    still: StillClock,
) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("question_mark", "slash", *"version", "enter")
        assert "version" in session.line_of("version   ")
        await session.press("escape", "slash", *"journal")
        assert "none in a drill" in session.text


async def test_no_two_actions_are_called_the_same_and_each_fits_a_small_screen(
    still: StillClock,
) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("colon")
        dialog = session.app.screen
        assert isinstance(dialog, PaletteDialog)
        names = [command.name for command in dialog._commands]
        assert len(set(names)) == len(names)
        assert [name for name in names if len(name) > SHORT_NAME] == []


@pytest.mark.parametrize(
    ("key", "written"),
    [("ctrl+p", "Ctrl-P"), ("shift+up", "Shift-Up"), ("j", "j"), ("slash", "/"), ("f1", "F1")],
)
def test_a_key_is_written_as_in_the_docs(key: str, written: str) -> None:
    assert key_name(key) == written
