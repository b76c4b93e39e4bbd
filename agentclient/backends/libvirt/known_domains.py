"""What is known of the domains of one daemon, from its lists and events. No I/O, and no lock."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from agentclient.backends.libvirt.ends import Birth, End, ToldEnds
from agentclient.backends.libvirt.watched_domain import WatchedDomain
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState

_AWAY: Final = "the domain is not there any more, and whether its guest has ended is not known"


class Heard(Enum):
    """What an event of a port has come to."""

    NOTHING = auto()
    TAKEN = auto()
    NOT_KNOWN = auto()  # its domain has to be described anew


class KnownDomains:
    """The domains of one daemon; its lock is held by whoever calls.

    Attributes:
        running: those that run, or did when they were last listed, by their UUIDs.
        current: they have been listed by the connection that is there now.
    """

    def __init__(self) -> None:
        self.running: dict[str, WatchedDomain] = {}
        self.current = False
        self._new: dict[str, WatchedDomain] = {}  # those that are described now
        self._told = ToldEnds()
        self._off: dict[str, End | None] = {}  # how those ended that are defined and do not run
        self._births: dict[tuple[str, int], Birth] = {}  # of those that were not described yet

    # -- what others read ---------------------------------------------------------------------

    def is_gone(self, uuid: str, generation: str) -> bool | None:
        """Return whether the guest of a start has ended; None if it is not known (P9)."""
        told = self._told.get(generation)
        if told is not None:
            return True if told is End.GONE else None
        if not self.current:
            return None
        found = self.running.get(uuid)
        if found is None:
            return True if self._off.get(uuid) is End.GONE else None
        if found.generation == generation:
            return False
        # Else it may be the same guest, which was saved.
        return True if found.birth is Birth.BOOTED else None

    def end_of(self, uuid: str, generation: str) -> End | None:
        """Return how a start has ended; None if it runs, or if that is not known (P9)."""
        return End.GONE if self.is_gone(uuid, generation) else self._told.get(generation)

    def view(self, uuid: str, generation: str) -> MonitorView:
        """Return what is known of a start."""
        if self._told.get(generation) is End.MOVED:
            return MonitorView(RunState.MIGRATED)
        found = self.running.get(uuid)
        if found is not None and found.generation == generation:
            return found.view
        gone = self.is_gone(uuid, generation)
        return MonitorView(gone=gone, problem=None if gone or not self.current else _AWAY)

    # -- lists --------------------------------------------------------------------------------

    def known(self, uuid: str, number: int) -> WatchedDomain | None:
        """Return the domain that has this number; None if it has to be described first."""
        found = self.running.get(uuid)
        return found if found is not None and found.number == number and self.current else None

    def describe(self, uuid: str, name: str, number: int, generation: str) -> WatchedDomain:
        """Return a domain that is being described; it takes events from now on."""
        found = self.running.get(uuid)
        if found is None or found.generation != generation:
            found = WatchedDomain(uuid, name, number, generation)
            found.birth = self._births.get((uuid, number))
        self._told.runs(generation)
        self._new[uuid] = found
        return found

    def take(self) -> None:
        """Take that what was asked about some has been noted."""
        self._new.clear()

    def take_all(self, running: dict[str, WatchedDomain], off: dict[str, End | None]) -> set[str]:
        """Take a list of all domains.

        Args:
            running: those that run, by their UUIDs.
            off: how those have ended that are defined and do not run.

        Returns:
            The UUIDs of those that do not run any more.
        """
        gone = self.running.keys() - running.keys()
        self._new.clear()
        self.running, self._off, self.current = running, off, True
        return gone

    def miss(self) -> None:
        """Take that nothing is heard of them from now on."""
        self.current = False
        self._new.clear()
        self._births.clear()
        self._told.miss()

    # -- events -------------------------------------------------------------------------------

    def on_started(self, uuid: str, number: int, birth: Birth | None) -> None:
        """Take that a domain was started."""
        self._told.on_started(uuid, number)
        known = self._new.get(uuid) or self.running.get(uuid)
        if known is not None and known.number == number:
            known.birth = birth
        elif birth is not None:
            self._births[uuid, number] = birth

    def on_stopped(self, uuid: str, end: End) -> None:
        """Take that a domain has stopped."""
        self._told.on_stopped(uuid, end)
        self._births = {start: birth for start, birth in self._births.items() if start[0] != uuid}

    def on_powered_off(self, uuid: str) -> None:
        """Take that a guest has shut down."""
        known = self._new.get(uuid) or self.running.get(uuid)
        if known is not None:
            known.powered_off = True

    def on_reset(self, uuid: str) -> bool:
        """Take that a domain was reset; return whether it is known."""
        if uuid not in self.running:
            return False
        self.running[uuid].resets += 1
        return True

    def on_port(self, uuid: str, alias: str | None, *, is_open: bool) -> Heard:
        """Take that the port of an agent has opened or closed (see `Listener`)."""
        known = self._new.get(uuid) or self.running.get(uuid)
        if known is None:
            return Heard.NOTHING
        if known.channel is None:
            # Its XML may be of before: a channel was added, or it is being read.
            return Heard.NOT_KNOWN
        if alias not in (None, known.channel.alias):
            return Heard.NOTHING
        known.take_port(is_open=is_open)
        return Heard.TAKEN
