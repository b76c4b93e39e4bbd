"""The history of a VM, from the key to the journal."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from textual.app import ComposeResult

from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.journal.rows import Moment
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.errors import FrostwatchError
from agentclient.model.states import WindowKind, WindowState
from tests.console.console_session import console_session
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, state_of
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.copy_run import LeftCopyDialog
from tui.console.dialogs.history import HistoryDialog
from tui.console.model.targets import Target
from tui.shared.glyphs import Signs


def window() -> WindowRow:
    times: dict[str, Moment | None] = dict.fromkeys(MOMENTS)
    times["asked"] = Moment("2026-03-01T10:20:30.000+01:00", 0.0)
    times["ended"] = Moment("2026-03-01T10:21:30.000+01:00", 60.0)
    return WindowRow(
        1, WindowKind.FREEZE, "qemu:a", WindowState.CLOSED, times, {}, 0, "[bold]root", 4711, "x",
        "host", None, {"outcome": "lost", "frozen": None, "thawed": 2}, None, settled=True,
        note=None, events=(),
    )  # fmt: skip


def of_a_copy() -> WindowRow:
    """Return a window that was a snapshot's."""
    return replace(window(), job={"job": "snapshot", "name": "one"})


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (None, "No journal is kept here"),
        (FrostwatchError("there is no thread for it"), "can't be read: there is no thread for it"),
        (VmHistory((), Figures(0)), "Nothing was frozen or thawed here yet"),
        (VmHistory((), Figures(0), missing="the disk is full"), "not known: the disk is full"),
        (VmHistory((window(),), Figures(3, 0.2, 0.5, 0.7)), "3 freezes answered: median 0.2 s"),
        (VmHistory((window(),), Figures(0)), "2026-03-01 10:20:30"),
        (VmHistory((window(),), Figures(0)), "✗ lost"),
        (VmHistory((window(),), Figures(0), missing="it hangs"), "Some may be missing: it hangs"),
        (VmHistory((window(),), Figures(0)), "[bold]root"),
        (VmHistory((of_a_copy(),), Figures(0)), "snapshot one"),
    ],
)
async def test_what_the_journal_knows_is_shown(
    still: StillClock, past: VmHistory | Exception | None, words: str
) -> None:
    operations = FakeOperations()
    operations.past = past
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("H")
        assert session.dialog == "HistoryDialog"
        assert "a: past freezes and thaws" in session.text
        assert words in session.text
        has_one = isinstance(past, VmHistory) and bool(past.windows)
        assert ("Certificate (Enter)" in session.text) is has_one
        await session.press("escape")
        assert session.dialog == ""


def answered_meanwhile(
    dialog: type[Dialog[Any]], look: Future[Any], found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have a look answered behind the dialog's first text, and before it is on the screen."""
    compose = dialog.compose

    def composed(self: Dialog[Any]) -> ComposeResult:
        yield from compose(self)
        look.set_result(found)

    monkeypatch.setattr(dialog, "compose", composed)


async def test_what_is_known_while_the_dialog_comes_is_shown(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations, look = FakeOperations(), Future[VmHistory | None]()
    monkeypatch.setattr(operations, "history", lambda *_: look)
    answered_meanwhile(
        HistoryDialog, look, VmHistory((window(),), Figures(3, 0.2, 0.5, 0.7)), monkeypatch
    )
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("H")
        await session.until(lambda: "3 freezes answered" in session.text)


async def test_what_is_left_and_known_while_the_dialog_comes_is_shown(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Future[Any]()
    answered_meanwhile(LeftCopyDialog, look, (), monkeypatch)
    async with console_session(fleet_of(["a"], still), still) as session:
        target = Target(state_of(session.fleet, "a"))
        session.app.push_screen(LeftCopyDialog(target, look, Signs()))
        await session.until(lambda: "there is nothing to end" in session.flat)
