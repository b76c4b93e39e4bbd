"""What all tests of the console share."""

from __future__ import annotations

import pytest

from tests.console.fakes import StillClock


@pytest.fixture
def still() -> StillClock:
    """Return a clock that stands still until it is told to go on."""
    return StillClock()


@pytest.fixture(autouse=True)
def _short_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pilot look more often whether the app has come to rest: it naps 20 ms for each key."""
    monkeypatch.setattr("textual._wait.SLEEP_GRANULARITY", 0.005)
