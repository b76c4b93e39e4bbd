"""A VM of which something can't be said is one broken notice or dialog, and no more (P8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from agentclient.model.snapshot import VmState
from tests.console import past
from tests.console.console_session import LARGE, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, put, verified
from tui.console import display
from tui.console.dialogs import freeze, history, thaw
from tui.console.model.notices import Notice, notice_of_change


def fails(*_: object, **__: object) -> None:
    raise ValueError("a bug")


async def test_what_can_not_be_told_of_one_vm_is_told_of_the_others(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(old: VmState | None, new: VmState, at: datetime, **more: Any) -> Iterator[Notice]:
        if new.vm.name == "a":
            raise ValueError("a bug")
        return notice_of_change(old, new, at, **more)

    monkeypatch.setattr(display, "notice_of_change", told)
    async with console_session(fleet_of(["a", "b"], still), still, size=LARGE) as session:
        for name in ("a", "b"):
            put(session.fleet, qemu(name), last=verified())
        await session.settle(1)
        assert session.app.is_running
        assert "a: what has happened can't be told: ValueError('a bug')" in session.notice
        await session.settle(20)
        assert "b: certified" in session.notice


@pytest.mark.parametrize(
    ("key", "module", "name"),
    [
        ("f", freeze, "to_freeze"),
        ("t", thaw, "to_thaw"),
        ("H", history, "past_head"),
    ],
)
async def test_a_dialog_that_can_not_say_all_says_so_and_does_nothing(
    still: StillClock, monkeypatch: pytest.MonkeyPatch, key: str, module: object, name: str
) -> None:
    operations = FakeOperations()
    operations.past = past.past_of_web1()
    monkeypatch.setattr(module, name, fails)
    async with console_session(
        fleet_of(["web1"], still), still, operations=operations, size=LARGE
    ) as session:
        await session.press(key)
        assert "can't be shown: ValueError('a bug')" in session.text
        await session.press("down", "up")
        assert session.app.is_running
        await session.press("escape")
        await session.until(lambda: not session.dialog)
        assert operations.started == []
