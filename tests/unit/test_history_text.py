"""What the journal knows of a window, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentclient.journal.window_row import WindowRow
from tests.console.past import VERIFIED, past_window
from tui.shared.history_text import notes

MAYBE = "MAY BE FROZEN"


def kept(**changes: Any) -> WindowRow:
    """Return a window that its console has left to the holder on purpose, at noon."""
    outcome = VERIFIED | {"certified": False, "settled": False, "thawed": None, "kept": True}
    row = past_window(1, timedelta(0), outcome, sent=0.1, replied=2.0, held=2.0, ended=6.0)
    return replace(row, **{"settled": False, "hold_s": 90.0, **changes})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (kept(), ["left to its holder until 12:01:32", MAYBE]),
        (kept(hold_s=None), ["left to its holder", MAYBE]),
        (kept(outcome=VERIFIED | {"settled": False}), [MAYBE]),
        (kept(settled=True), []),
    ],
)
def test_who_holds_a_window_that_is_not_thawed_yet_is_named(
    row: WindowRow, said: list[str]
) -> None:
    assert list(notes(row)) == said
