"""Keys that come together, over a slow line or pasted, count in the order in which they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.console_session import ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of
from tui.console.dialogs.freeze import FreezeDialog
from tui.console.dialogs.save import SaveDialog
from tui.console.dialogs.typed_name import NameDialog
from tui.console.model.targets import Target


async def at_once(session: ConsoleSession, *keys: str) -> None:
    for key in keys:
        session.app.simulate_key(key)
    await session.pilot.pause(0.1)


@pytest.mark.parametrize(
    ("keys", "hold"),
    [
        (["3", "5", "backspace", "0"], 30),
        (["9", "left", "right"], 10),
        (["right", "right", "7"], 7),
    ],
)
async def test_a_hold_is_what_was_typed(still: StillClock, keys: list[str], hold: int) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("f")
        dialog = session.app.screen
        assert isinstance(dialog, FreezeDialog)
        await at_once(session, *keys)
        await session.until(lambda: f"{hold} s" in session.line_of("hold "))
        await at_once(session, "backspace", "backspace", "backspace", "6", "enter")
        await session.until(lambda: bool(session.operations.started))
        (begun,) = session.operations.started
        assert begun.request is not None
        assert begun.request.schedule.hold_s == 6.0


async def test_a_file_is_called_what_was_typed(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("w", "5")
        await session.until(lambda: isinstance(session.app.screen, SaveDialog))
        await at_once(session, "ctrl+u", "a", "b", "backspace", "c", "d", "enter")
        await session.until(lambda: session.dialog == "")
        assert (tmp_path / "acd").is_file()


async def test_a_name_is_what_was_typed(still: StillClock) -> None:
    fleet = fleet_of(["ab"], still)
    async with console_session(fleet, still) as session:
        names: list[str | None] = []
        dialog = NameDialog(Target(fleet.get(qemu("ab"))), session.app.signs)
        session.app.push_screen(dialog, names.append)
        await session.pilot.pause()
        await at_once(session, "a", "x", "backspace", "b", "enter")
        await session.until(lambda: bool(names))
        assert names == ["ab"]
