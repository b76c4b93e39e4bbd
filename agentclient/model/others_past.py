"""How a command of others ended that a guest had kept waiting for a second or more."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from agentclient.model.others import ChannelClient, WritesSeen
    from agentclient.model.states import Cause

_KEPT: Final = 3


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
        writes: what the host's counter of the guest's writes told at its end; None if nothing.
        earlier: the last few that ended before it, oldest first: a reader may come late.
    """

    result: OthersResult
    by: ChannelClient | None
    since: datetime
    until: datetime
    seconds: float
    cause: Cause | None = None
    writes: WritesSeen | None = None
    earlier: tuple[OthersEnded, ...] = ()

    @property
    def alone(self) -> OthersEnded:
        """The same, without those before it."""
        return self._replace(earlier=()) if self.earlier else self

    def after(self, before: OthersEnded | None) -> OthersEnded:
        """Return the same, with what ended before it.

        Args:
            before: the one before; None if it is the first.
        """
        past = (*before.earlier, before.alone) if before is not None else ()
        return self._replace(earlier=past[-_KEPT:])


def ended_since(before: OthersEnded | None, last: OthersEnded | None) -> tuple[OthersEnded, ...]:
    """Return those that have ended since a reader last looked, oldest first.

    Args:
        before: the last one then; None if there was none.
        last: the last one now.
    """
    if last is None or last == before:
        return ()
    known = (*last.earlier, last.alone)
    if before is not None and before.alone in known:
        return known[known.index(before.alone) + 1 :]
    return known
