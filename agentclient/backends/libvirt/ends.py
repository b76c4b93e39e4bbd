"""How a start of a domain has begun and ended: with its guest, or while that goes on. No I/O."""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

from agentclient.backends.libvirt.generation import number_of, uuid_of

# So many ends are remembered: the newest.
MOST: Final = 4096


class End(Enum):
    """What has become of the guest of a start that does not run any more."""

    GONE = "it has ended"
    MOVED = "it has migrated, or was saved"


# By virDomainEventStoppedDetailType: shutdown, destroyed, crashed, migrated, saved, failed, and
# another state was loaded.
_BY_EVENT: Final = {
    0: End.GONE,
    1: End.GONE,
    2: End.GONE,
    3: End.MOVED,
    4: End.MOVED,
    5: End.GONE,
    6: End.GONE,
}
# By virDomainShutoffReason: shutdown, destroyed, crashed, migrated, saved, another state was
# loaded, and the daemon has found it dead. Not 0, which is *unknown*, nor 6: a later start failed,
# perhaps that of a guest that was saved.
_BY_REASON: Final = {
    1: End.GONE,
    2: End.GONE,
    3: End.GONE,
    4: End.MOVED,
    5: End.MOVED,
    7: End.GONE,
    8: End.GONE,
}


def end_of_event(detail: int) -> End | None:
    """Return what the event of a domain's stop tells (virDomainEventStoppedDetailType)."""
    return _BY_EVENT.get(detail)


def end_of_reason(reason: object) -> End | None:
    """Return what tells why a domain is off (virDomainShutoffReason); None if nothing does."""
    return _BY_REASON.get(reason) if isinstance(reason, int) else None


class Birth(Enum):
    """Which guest a start of a domain has begun with."""

    BOOTED = "a new one"
    INCOMING = "one that had run before: it has migrated here, or was restored"


# By virDomainEventStartedDetailType: booted, migrated, restored. Another state that was loaded, and
# a domain that woke up, say nothing of the start before.
_STARTED: Final = {0: Birth.BOOTED, 1: Birth.INCOMING, 2: Birth.INCOMING}
# By virDomainRunningReason, until it is paused: booted, migrated, restored.
_RUNNING: Final = {1: Birth.BOOTED, 2: Birth.INCOMING, 3: Birth.INCOMING}


def birth_of_event(detail: int) -> Birth | None:
    """Return what the event of a domain's start tells (virDomainEventStartedDetailType)."""
    return _STARTED.get(detail)


def birth_of_reason(reason: object) -> Birth | None:
    """Return what tells why a domain runs (virDomainRunningReason); None if nothing does."""
    return _RUNNING.get(reason) if isinstance(reason, int) else None


class Ends(Protocol):
    """Who knows how starts of domains have ended."""

    def end_of(self, uuid: str, generation: str) -> End | None:
        """Return how a start has ended; None if it runs, or if that is not known (P9)."""


class ToldEnds:
    """The ends that events have told, each of the start that it is about.

    The event of an end does not say which start that was, and is heard before or after what else
    shows that the start ran.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # that of the start that runs, by the domain's UUID
        self._generations: dict[tuple[str, int], str] = {}  # what tells it for good
        self._unnumbered: dict[str, End] = {}  # of a start that was not seen yet, by its UUID
        self._unnamed: dict[tuple[str, int], End] = {}  # of one that only its event has shown
        self._ends: dict[str, End] = {}  # by what tells the start for good

    def runs(self, generation: str) -> None:
        """Take that a start was seen to run: by an answer that may be older than an event."""
        uuid, number = uuid_of(generation), number_of(generation)
        start = uuid, number
        if generation in self._ends:
            return
        end = self._unnamed.pop(start, None)
        if end is None and uuid not in self._numbers:
            end = self._unnumbered.pop(uuid, None)
            if end is None:
                self._numbers[uuid] = number
        if end is None:
            self._generations[start] = generation
        else:
            self._keep(generation, end)

    def on_started(self, uuid: str, number: int) -> None:
        """Take the event of a domain's start."""
        self._numbers[uuid] = number
        self._unnumbered.pop(uuid, None)

    def on_stopped(self, uuid: str, end: End) -> None:
        """Take the event of a domain's end."""
        number = self._numbers.pop(uuid, None)
        if number is None:
            self._unnumbered[uuid] = end
            return
        generation = self._generations.pop((uuid, number), None)
        if generation is None:
            self._unnamed[uuid, number] = end
        else:
            self._keep(generation, end)

    def miss(self) -> None:
        """Take that no event is heard from now on: what runs may end untold."""
        for known in (self._numbers, self._generations, self._unnumbered, self._unnamed):
            known.clear()

    def get(self, generation: str) -> End | None:
        """Return how a start has ended, as far as events have told."""
        return self._ends.get(generation)

    def _keep(self, generation: str, end: End) -> None:
        self._ends[generation] = end
        if len(self._ends) > MOST:
            del self._ends[next(iter(self._ends))]
