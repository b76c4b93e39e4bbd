"""What the log and the journal keep of what another client has met. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agentclient.freeze.others_watch import OthersEvent, OthersEventKind
from agentclient.model.durations import in_words
from agentclient.model.others import ChannelClient, WritesSeen
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.states import Level

_RESULTS: Final = {
    OthersEventKind.ANSWERED: OthersResult.ANSWERED,
    OthersEventKind.LOST: OthersResult.LOST,
    OthersEventKind.LEFT: OthersResult.LEFT,
}


def ended_by(
    event: OthersEvent, by: ChannelClient | None, wall: datetime, writes: WritesSeen | None
) -> OthersEnded | None:
    """Return the command of others that an event has ended; None if it has not ended any.

    Args:
        event: what they have met.
        by: who they are; None if that isn't known.
        wall: the wall clock at the event.
        writes: what the host's counter of the guest's writes told until then; None if nothing.
    """
    result = _RESULTS.get(event.kind)
    if result is None or (event.kind is OthersEventKind.LEFT and not event.certain):
        return None
    seconds = event.at - event.since
    since = wall - timedelta(seconds=seconds)
    return OthersEnded(result, by, since, wall, seconds, event.cause, writes)


def line_of(event: OthersEvent, by: ChannelClient | None) -> tuple[Level, str] | None:
    """Return the line of the log about an event; None if it is not worth one.

    Args:
        event: what others have met.
        by: who they are; None if that isn't known.
    """
    who = "others" if by is None else str(by)
    for_s = in_words(event.at - event.since)
    match event.kind:
        case OthersEventKind.PENDING:
            likely = "a command is pending" if event.certain else "a command is likely pending"
            return Level.INFO, f"{who}: {likely} for {for_s}"
        case OthersEventKind.ANSWERED:
            return Level.INFO, f"{who}: their command was answered after {for_s}"
        case OthersEventKind.LOST:
            why = f"{event.cause}: it will not be answered"
            waits = ", and they go on waiting" if not event.left else ""
            return Level.WARNING, f"{who}: their command is lost after {for_s} ({why}{waits})"
        case OthersEventKind.LEFT if event.cause is not None:
            return Level.WARNING, f"{who}: they left; what they lost may have frozen the guest"
        case OthersEventKind.LEFT if event.certain:
            return Level.WARNING, f"{who}: they left, with a command pending for {for_s}"
    return None
