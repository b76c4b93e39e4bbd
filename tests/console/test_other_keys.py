"""Other keys for the console's actions, as they are set: they act, and the old ones don't."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.config.keys import ACTIONS
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, put
from tui.console.model.order import Order
from tui.shared import key_hints

ROOT = Path(__file__).parents[2]
SWAPPED = {"freeze": "t", "thaw": "f"}


def keys_of(session: ConsoleSession) -> str:
    return session.lines[-1].strip()


async def test_two_actions_that_have_each_others_key(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still, keys=SWAPPED, size=LARGE) as session:
        assert "t Freeze  f Thaw" in keys_of(session)
        await session.press("t")
        assert session.dialog == "FreezeDialog"
        await session.press("escape", "f")
        assert session.dialog == "ThawDialog"


async def test_the_old_key_does_nothing_any_more(still: StillClock) -> None:
    keys = {"freeze": "f6", "filter": "ctrl+f", "vms.page_down": "pagedown"}
    async with console_session(fleet_of(["a"], still), still, keys=keys, size=LARGE) as session:
        await session.press("f", "slash")
        assert "Freeze the file" not in session.text
        assert not session.app.parts.filter_line.is_open
        await session.press("f6")
        assert session.dialog == "FreezeDialog"
        await session.press("escape", "ctrl+f", *"a/b", "enter")
        assert session.app.view.filter.text == "a/b"


@pytest.mark.parametrize("key", ["s", "less_than_sign", "f5", "ctrl+t"])
async def test_one_action_may_have_several_keys(still: StillClock, key: str) -> None:
    keys = {"sort": "s,less_than_sign,f5,ctrl+t", "sort.previous": "f4"}
    async with console_session(fleet_of(["a"], still), still, keys=keys) as session:
        await session.press(key)
        assert session.app.view.order is Order.NAME


async def test_keys_of_the_table_and_of_the_log_too(still: StillClock) -> None:
    keys = {"vms.down": "n", "vms.up": "i", "log.search": "ctrl+s"}
    async with console_session(fleet_of(["a", "b"], still), still, keys=keys) as session:
        await session.press("n")
        assert session.cursor == "b"
        await session.press("j", "down")
        assert session.cursor == "b"
        await session.press("i")
        assert session.cursor == "a"
        await session.press("tab", "tab", "ctrl+s", *"zz")
        assert "not in this log" in session.text


async def test_help_palette_and_the_last_line_say_the_keys_as_they_are(still: StillClock) -> None:
    keys = {"freeze": "F,ctrl+t", "help": "f1"}
    async with console_session(fleet_of(["a"], still), still, keys=keys, size=LARGE) as session:
        assert "F Freeze" in keys_of(session)
        assert "F1 Help" in keys_of(session)
        await session.press("f1")
        assert "F Ctrl-T" in session.line_of("Freeze the marked VMs")
        await session.press("escape", "colon", *"freeze m")
        assert "F Ctrl-T" in session.line_of("Freeze   ")
        await session.press("enter")
        assert session.dialog == "FreezeDialog"


@pytest.fixture
def swapped() -> Iterator[None]:
    key_hints.use(SWAPPED)
    yield
    key_hints.use({})


@pytest.mark.usefixtures("swapped")
async def test_no_sentence_has_somebody_freeze_who_wants_to_thaw(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still, keys=SWAPPED, size=LARGE) as session:
        foreign = FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True)
        put(fleet, qemu("a"), freeze=foreign)
        await session.settle()
        assert "frozen by somebody else; f asks before it thaws" in session.notice
        await session.press("tab", "t")
        assert "Esc, then t: the keys are the pane's now" in session.notice


_SAYS = re.compile(
    r"(?<![\w'-])(?<!d or )([a-zA-Z]) (stops|thaws|asks|ends|shows|takes|limits|leaves|goes)\b"
    r"|(?:: |\bpress )([a-zA-Z])(?:,|$)| again \(([a-zA-Z])\)"
)


def test_no_sentence_names_a_key_that_may_be_another() -> None:
    """Who writes that *x stops it* asks `tui.shared.key_hints` for the key."""
    letters = {one.keys for one in ACTIONS if len(one.keys) == 1}
    found = []
    folders = [ROOT / "tui" / "console", ROOT / "tui" / "shared" / "training"]
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docs
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = [match.groups() for match in _SAYS.finditer(node.value)]
                named = {one for groups in said for one in groups} & letters
                if named and id(node) not in told:
                    found.append(f"{path.name}: {node.value}")
    assert found == []


async def test_ctrl_c_leaves_whatever_is_set(still: StillClock) -> None:
    keys = {"quit": "Q"}
    async with console_session(fleet_of(["a"], still), still, keys=keys) as session:
        await session.press("q")
        assert session.app.is_running
        await session.press("ctrl+c")
        await session.until(lambda: not session.app.is_running)
