"""A page of a browser has no clipboard for us: nothing says that something is in it."""

from __future__ import annotations

import pytest

from tests.console.console_session import LARGE, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, lost, put

PAGE = ("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")


@pytest.mark.parametrize("keys", [("i", "y"), ("w", "1"), ("d", "y"), ("y",)])
async def test_nothing_is_said_to_be_copied(
    still: StillClock, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    fleet = fleet_of(["mail"], still)
    put(fleet, qemu("mail"), last=lost(settled=False))
    async with console_session(fleet, still, size=LARGE) as session:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv(*PAGE)
        for name in ("TMUX", "STY"):
            monkeypatch.delenv(name, raising=False)
        await session.press("home", *keys)
        for words in ("in the clipboard", "copied the", "should your terminal not take it"):
            assert words not in session.text
        assert "mail" in session.text
