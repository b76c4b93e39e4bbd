"""How a hold is chosen: through presets, or digit by digit; never longer than it may be."""

from __future__ import annotations

import pytest

from tui.console.dialogs.hold_choice import HoldChoice


@pytest.mark.parametrize(
    ("wishes", "seconds"),
    [
        ([], 0),
        (["less"], 0),
        (["more"], 5),
        (["more"] * 9, 120),
        (["4", "5"], 45),
        (["9", "9", "9"], 120),
        (["more", "7"], 7),
        (["4", "5", "erase"], 4),
        (["4", "5", "more", "3"], 3),
        (["2", "more"], 5),
    ],
)
def test_a_hold(wishes: list[str], seconds: int) -> None:
    hold = HoldChoice(120.0)
    for wish in wishes:
        match wish:
            case "more" | "less":
                hold.step(1 if wish == "more" else -1)
            case "erase":
                hold.erase()
            case digit:
                hold.type_digit(int(digit))
    assert hold.seconds == seconds
