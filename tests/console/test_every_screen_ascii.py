"""Every screen at three sizes in ASCII: pictures that are compared."""

from __future__ import annotations

import pytest

from tests.console.every_screen import draw, wanted
from tests.console.fakes import StillClock


@pytest.mark.parametrize(("name", "size"), wanted("ascii"))
async def test_a_screen(
    still: StillClock, pytestconfig: pytest.Config, name: str, size: str
) -> None:
    await draw(still, pytestconfig, name, size, "ascii")
