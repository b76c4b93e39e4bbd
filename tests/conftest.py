"""What every kind of test needs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_state_of_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what frostwatch remembers between runs away from the person who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
