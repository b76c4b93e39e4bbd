"""What the timeline, banner, ladder, history, certificate and handover look like, by real keys.

After a change on purpose: ``pytest tests/console/test_drawn_views.py --snapshot-update``, and look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from textual.pilot import Pilot

from agentclient.fleet.store import Fleet
from tests.console.console_session import make_app
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of
from tests.console.held import group_held, left_frozen
from tests.console.past import past_of_web1
from tests.console.test_handover import BAD, FakeBook
from tui.shared.glyphs import Signs

Compare = Callable[..., bool]


class Scene(NamedTuple):
    """A fleet, the keys, and the words that are there once all has been drawn."""

    fleet: Callable[[StillClock], Fleet]
    keys: tuple[str, ...]
    words: str
    handover: bool = False


def with_past(still: StillClock) -> Fleet:
    return fleet_of(["web1"], still)


SCENES = {
    "group": Scene(group_held, ("home",), "TAKE YOUR SNAPSHOT NOW"),
    "history": Scene(with_past, ("H", "j", "j", "j", "j"), "past freezes"),
    "certificate": Scene(with_past, ("H", "enter"), "CERTIFIED"),
    "ladder": Scene(left_frozen, ("home", "R", "4"), "which rung"),
    "handover": Scene(with_past, (), "since you left", handover=True),
}
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
LOOKS = [(size, "colour") for size in SIZES] + [("80x24", "grey"), ("80x24", "ascii")]


@pytest.mark.parametrize(("size", "look"), LOOKS)
@pytest.mark.parametrize("name", SCENES)
def test_a_view(
    snap_compare: Compare,
    still: StillClock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: str,
    look: str,
) -> None:
    if look == "grey":
        monkeypatch.setenv("NO_COLOR", "1")
    scene = SCENES[name]
    operations = FakeOperations()
    operations.past = past_of_web1()
    book = FakeBook(BAD)
    app = make_app(
        scene.fleet(still),
        still,
        operations,
        signs=Signs(ascii=look == "ascii"),
        handover=(lambda: book) if scene.handover else None,
    )

    async def drawn(pilot: Pilot[None]) -> None:
        await pilot.press(*scene.keys)
        for _ in range(500):
            await pilot.pause(0.02)
            strips = app.screen._compositor.render_strips()
            if any(scene.words in strip.text for strip in strips):
                return
        raise AssertionError(f"{scene.words!r} is not on the screen")

    assert snap_compare(app, run_before=drawn, terminal_size=SIZES[size])
