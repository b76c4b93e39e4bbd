"""Screens of a console that has begun in greyscale (`NO_COLOR`): pictures that are compared.

`test_every_screen.py` turns each console in colour grey, and compares it with the same pictures.
"""

from __future__ import annotations

import pytest

from tests.console.every_screen import SIZES, draw
from tests.console.fakes import StillClock

# Of each way to colour something: signs and words, bars, a chart, fields, what has the cursor.
BEGUN_GREY = ("banner", "freeze", "ladder", "palette", "pane", "table", "timeline", "vm-past")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", BEGUN_GREY)
async def test_a_screen(
    still: StillClock, pytestconfig: pytest.Config, name: str, size: str
) -> None:
    await draw(still, pytestconfig, name, size, "grey")
