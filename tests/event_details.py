"""What an event tells beside its text, by the names that it has in JSON."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, Final, cast

from agentclient.model import events
from agentclient.model.events import Details, Ended

_ENDINGS: Final = ("outcome", "thaw", "rescue")
_KINDS: Final = (
    events.FreezeSent,
    events.StepBegan,
    events.FreezeAnswered,
    events.ThawAnswered,
    events.AnsweredWithError,
    events.PortChanged,
    events.WindowOpened,
    events.HoldExtended,
    events.GuestWrote,
    events.TakesLonger,
    events.ThawEnded,
    events.RungBegan,
)


def event_details(**named: Any) -> Details | None:
    """Return the details that have just these fields; such as no event has, for strange ones."""
    if not named:
        return None
    for name in _ENDINGS:
        if named.keys() == {name}:
            return Ended(named[name])
    for kind in _KINDS:
        if set(kind._fields) == named.keys():
            return cast(Details, kind(**named))
    return cast(Details, namedtuple("Strange", list(named))(**named))
