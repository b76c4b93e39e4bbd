"""How a command of others ended that a guest had kept waiting for a second or more."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentclient.model.others import ChannelClient
    from agentclient.model.states import Cause


class OthersResult(StrEnum):
    """The closed list of how it ended (documented in docs/json.md)."""

    ANSWERED = "answered"
    LOST = "lost"  # it will not be answered
    LEFT = "left"  # its client left without the answer; it may run yet
    THAWED = "thawed"  # they had left the guest frozen, and it is thawed


class OthersEnded(NamedTuple):
    """A command of others that is over, or a freeze that they had left.

    Attributes:
        result: what came of it.
        by: who held the agent's channel; None if that isn't known.
        since: when it was first seen pending, or frozen.
        until: when it was seen to be over.
        seconds: how long that was, by the monotonic clock.
        cause: why it is lost; None if it is not.
    """

    result: OthersResult
    by: ChannelClient | None
    since: datetime
    until: datetime
    seconds: float
    cause: Cause | None = None
