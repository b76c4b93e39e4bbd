"""For how long the tests' consoles wait for their holders."""

from __future__ import annotations

import pytest

from agentclient.holder import process
from agentclient.holder.process import HolderProcess


def wait_for_holders(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have this process wait so long for what its holders acknowledge, and for their words."""
    patch.setattr(process, "ACK_S", seconds)
    patch.setattr(HolderProcess.ask, "__kwdefaults__", {"timeout_s": seconds})
