"""What pages, palette and columns look like: compared pictures, each reached by real keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.model.states import Level
from tests.console.console_session import make_app, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import every_state
from tests.console.guest_report import REPORT, past
from tui.console.app import FrostwatchApp
from tui.shared.glyphs import Signs

Compare = Callable[..., bool]
SIZES = [(80, 24), (120, 40), (200, 60)]
PAGES = {
    "explain": ("slash", *"mail", "enter", "i", "j"),
    "guest": ("slash", *"app-10", "enter", "d", "3"),
    "past": ("slash", *"app-10", "enter", "d", "6", "j"),
    "events": ("E", "up"),
    "palette": ("slash", *"app-10", "enter", "colon", *"co", "down"),
    "columns": ("C", "down", "down", "space", "down", "right"),
}


def app_of(still: StillClock, *, plain: bool = False) -> FrostwatchApp:
    fleet = every_state(still)
    for number, level in enumerate(Level):
        still.advance(61)
        fleet.log(qemu("mail"), level, f"line {number}: the agent's words " + "and more " * number)
    operations = FakeOperations()
    operations.report, operations.past = REPORT, past()
    return make_app(fleet, still, operations, signs=Signs(ascii=plain))


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40", "200x60"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page(snap_compare: Compare, still: StillClock, page: str, size: tuple[int, int]) -> None:
    assert snap_compare(app_of(still), press=PAGES[page], terminal_size=size)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_colour(
    snap_compare: Compare, still: StillClock, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_of(still), press=PAGES[page], terminal_size=SIZES[0])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_ascii(snap_compare: Compare, still: StillClock, page: str) -> None:
    assert snap_compare(app_of(still, plain=True), press=PAGES[page], terminal_size=SIZES[0])
