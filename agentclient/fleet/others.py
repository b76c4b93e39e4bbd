"""Watches the channels that somebody else holds: what they have pending, from the monitor alone.

A held channel is looked at four times a second. Every eighth look is an ordinary one, which sees
what the others leave out, such as a migration.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from agentclient.fleet.store import Fleet
from agentclient.freeze.others_watch import OthersEvent, OthersEventKind, OthersWatch
from agentclient.journal.others_entry import record_others
from agentclient.model.durations import in_words
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import Cause, Level
from agentclient.model.text import printable
from agentclient.model.vm import VmId

if TYPE_CHECKING:
    from agentclient.journal.writer import Journal

LOOK_EVERY_S: Final = 0.25
_ORDINARY: Final = 8
_RESULTS: Final = {
    OthersEventKind.ANSWERED: "answered",
    OthersEventKind.LOST: "lost",
    OthersEventKind.LEFT: "left",
}


class Ended(NamedTuple):
    """What came of a command of others that was pending for a second or more.

    Attributes:
        result: ``answered``, ``lost`` or ``left``.
        by: who held the channel; None if that isn't known.
        since: when it was first seen pending.
        cause: why it is lost; None if it is not.
    """

    result: str
    by: ChannelClient | None
    since: datetime
    cause: Cause | None


class Seen(NamedTuple):
    """What a look at a held channel has shown.

    Attributes:
        others: what they have pending now; None if nobody holds the channel any more.
        lines: what is to be logged, each with its level.
        ended: the commands of others that are over, for the journal.
    """

    others: Others | None
    lines: tuple[tuple[Level, str], ...] = ()
    ended: tuple[Ended, ...] = ()


@dataclass(slots=True)
class _Held:
    """A channel that is held by others."""

    watch: OthersWatch | None = None
    looks: int = 0
    client: ChannelClient | None = None


class HeldChannels:
    """The channels that others hold, each with the machine that watches it."""

    def __init__(self) -> None:
        self._held: dict[VmId, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def wants_traffic(self, vm_id: VmId) -> bool:
        """Return whether the next look at a VM's monitor is for what is counted at its port."""
        held = self._held.get(vm_id)
        if held is None:
            return False
        held.looks += 1
        return held.looks % _ORDINARY != 0

    def is_held(self, vm_id: VmId) -> bool:
        """Return whether others hold a VM's channel, so that it is looked at more often."""
        return vm_id in self._held

    def named(self, vm_id: VmId, client: ChannelClient | None) -> None:
        """Take who holds a VM's channel."""
        held = self._held.get(vm_id)
        if held is not None:
            held.client = client or held.client

    def forget(self, vm_id: VmId) -> None:
        """Watch a VM's channel no more."""
        self._held.pop(vm_id, None)

    def report(
        self, fleet: Fleet, journal: Journal | None, state: VmState, view: MonitorView
    ) -> None:
        """Take a look at a VM's monitor, and write what follows to fleet, log and journal.

        Args:
            fleet: what is known of all VMs.
            journal: keeps what others had pending; None for no journal.
            state: what is known of the VM.
            view: what the look has shown.
        """
        at = fleet.wall()
        seen = self.looked(state, view, time.monotonic(), at)
        others = seen.others if seen is not None else state.others if view.client else None
        if others != state.others:
            fleet.update(state.id, lambda old: old._replace(others=others))
        if seen is None:
            return
        for level, line in seen.lines:
            fleet.log(state.id, level, printable(line, 500))
        for one in seen.ended if journal is not None else ():
            assert journal is not None, "it is asked just before"
            record_others(
                journal,
                state.vm,
                one.by,
                result=one.result,
                since=one.since,
                until=at,
                cause=one.cause,
            )

    def looked(self, state: VmState, view: MonitorView, mono: float, wall: datetime) -> Seen | None:
        """Take a look at a VM's monitor.

        Args:
            state: what is known of the VM.
            view: what the look has shown.
            mono: the monotonic clock.
            wall: the wall clock.

        Returns:
            What follows; None if nothing does.
        """
        held = self._held.get(state.id)
        if held is None:
            if view.client and is_others(state):
                self._held[state.id] = _Held()  # the next look asks for what is counted
            return None
        if held.watch is None:
            if view.traffic is None and view.client and held.looks < _ORDINARY:
                return None
            held.watch = OthersWatch(view, mono)
        events = held.watch.on_look(mono, view)
        who = "others" if held.client is None else str(held.client)
        lines = tuple(line for event in events if (line := _line(event, who)) is not None)
        ended = tuple(
            Ended(
                _RESULTS[one.kind],
                held.client,
                wall - timedelta(seconds=mono - one.since),
                one.cause,
            )
            for one in events
            if one.kind in _RESULTS and (one.kind is not OthersEventKind.LEFT or one.certain)
        )
        left = any(event.kind is OthersEventKind.LEFT for event in events)
        if left or (not is_others(state) and not view.client):
            self.forget(state.id)
        if left and not any(event.certain for event in events):
            return Seen(None, lines, ended)
        return Seen(_others(held, held.watch, state, mono, wall), lines, ended)


def is_others(state: VmState) -> bool:
    """Return whether a client of a VM's channel is nobody of this host's frostwatches."""
    return state.progress is None and state.held_by is None and state.vm.agent is not None


def _others(held: _Held, watch: OthersWatch, state: VmState, mono: float, wall: datetime) -> Others:
    before = state.others
    since = wall - timedelta(seconds=mono - watch.since)
    if before is not None and before.state is watch.state:
        since = before.since  # the same moment, told in the same words
    return Others(
        watch.state,
        since,
        held.client,
        watch.cause,
        watch.took_s,
        watch.certain,
        watch.why_blind,
    )


def _line(event: OthersEvent, who: str) -> tuple[Level, str] | None:
    """Return the line of the log about an event; None if it is not worth one."""
    for_s = in_words(event.at - event.since)
    match event.kind:
        case OthersEventKind.PENDING:
            likely = "a command is pending" if event.certain else "a command is likely pending"
            return Level.INFO, f"{who}: {likely} for {for_s}"
        case OthersEventKind.ANSWERED:
            return Level.INFO, f"{who}: their command was answered after {for_s}"
        case OthersEventKind.LOST:
            why = f"{event.cause}: it will not be answered, and they go on waiting"
            return Level.WARNING, f"{who}: their command is lost after {for_s} ({why})"
        case OthersEventKind.LEFT if event.certain:
            return Level.WARNING, f"{who}: they left, with a command pending for {for_s}"
    return None
