"""What all tests of the console share."""

from __future__ import annotations

import pytest

from tests.console.fakes import StillClock
from tests.console.idle import patch_idle_wait
from tests.console.style_sheets import patch_style_sheets


@pytest.fixture
def still() -> StillClock:
    """Return a clock that stands still until it is told to go on."""
    return StillClock()


@pytest.fixture(autouse=True)
def _rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pilot wait until the app has come to rest; style sheets are read once."""
    patch_idle_wait(monkeypatch)
    patch_style_sheets(monkeypatch)
