"""Copies into a VM's log what another frostwatch writes into the journal about its window."""

from __future__ import annotations

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


class HeldLog:
    """Reads what is new about the windows of other frostwatches; not thread-safe.

    Args:
        journal: where they write it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._told: dict[int, int] = {}  # of each window, the number of its last event

    def look(self, fleet: Fleet) -> None:
        """Write to the logs of all VMs that other frostwatches hold what these have written."""
        held = {
            state.held_by.window: (state.id, state.held_by)
            for state in fleet.states()
            if state.held_by is not None and state.held_by.window is not None
        }
        self._told = {window: self._told.get(window, 0) for window in held}
        if not held:
            return
        asked = dict(sorted(self._told.items(), key=lambda one: one[1])[:MOST_WINDOWS])
        for event in self._journal.ask(events_of(asked), PATIENCE_S) or ():
            self._told[event.window] = event.number
            self._tell(fleet, *held[event.window], event)

    def _tell(self, fleet: Fleet, vm_id: VmId, held: HeldBy, event: HeldEvent) -> None:
        level = Level(event.level) if event.level in list(Level) else Level.INFO
        try:
            at = datetime.fromisoformat(event.at)
        except ValueError:
            at = None
        fleet.log(vm_id, level, f"{held.who}: {event.text}", at)
