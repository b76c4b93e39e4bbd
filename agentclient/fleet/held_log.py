"""Copies into a VM's log what another frostwatch writes into the journal about its window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentclient.fleet.store import Fleet
from agentclient.journal.held_by_others import HeldEvent, events_of
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import Level
from agentclient.model.vm import VmId

# More windows are not asked about at once; the others come with the next looks.
MOST_WINDOWS: Final = 200
# A window that is over is asked about so often yet: its end is written a moment later.
LAST_LOOKS: Final = 2


@dataclass(slots=True)
class _Window:
    """A window of another frostwatch.

    Attributes:
        vm_id: the VM that it is about.
        held: whose it is.
        told: the number of the last event of it that was told.
        asked: at which look the journal was asked for it last.
        looks: how often it is asked about yet, once it is over.
    """

    vm_id: VmId
    held: HeldBy
    told: int = 0
    asked: int = 0
    looks: int = 0


class HeldLog:
    """Reads what is new about the windows of other frostwatches; not thread-safe.

    Args:
        journal: where they write it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._windows: dict[int, _Window] = {}
        self._looks = 0

    def look(self, fleet: Fleet) -> None:
        """Write to the logs of all VMs that other frostwatches hold what these have written."""
        known = {state.id: state.held_by for state in fleet.states()}
        self._windows = {
            number: window for number, window in self._windows.items() if window.vm_id in known
        }
        for vm_id, held in known.items():
            if held is not None and held.window is not None:
                window = self._windows.setdefault(held.window, _Window(vm_id, held))
                window.held, window.looks = held, LAST_LOOKS + 1
        if not self._windows:
            return
        self._looks += 1
        turns = sorted(self._windows.items(), key=lambda one: one[1].asked)[:MOST_WINDOWS]
        asked = {number: window.told for number, window in turns}
        found = self._journal.ask(events_of(asked), PATIENCE_S)
        if found is None:
            return
        for event in found:
            self._windows[event.window].told = event.number
            self._tell(fleet, self._windows[event.window], event)
        for number, window in turns:
            window.asked, window.looks = self._looks, window.looks - 1
            if not window.looks:
                del self._windows[number]

    def _tell(self, fleet: Fleet, window: _Window, event: HeldEvent) -> None:
        level = Level(event.level) if event.level in list(Level) else Level.INFO
        try:
            at = datetime.fromisoformat(event.at)
        except ValueError:
            at = None
        fleet.log(window.vm_id, level, f"{window.held.who}: {event.text}", at)
