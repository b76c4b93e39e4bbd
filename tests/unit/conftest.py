"""What the unit tests share."""

from __future__ import annotations

import pytest

from agentclient.jobs import follow


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have copies look at simulated jobs more often: it is all that takes time."""
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.02)
