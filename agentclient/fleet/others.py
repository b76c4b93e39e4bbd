"""Watches the channels that somebody else holds: what they have pending, from the monitor alone.

A held channel is looked at four times a second. Every eighth look is an ordinary one, which sees
what the others leave out, such as a migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agentclient.freeze.others_watch import OthersEvent, OthersEventKind, OthersWatch
from agentclient.model.durations import in_words
from agentclient.model.snapshot import ChannelClient, MonitorView, Others, VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId

LOOK_EVERY_S: Final = 0.25
_ORDINARY: Final = 8


class Seen(NamedTuple):
    """What a look at a held channel has shown.

    Attributes:
        others: what they have pending now; None if nobody holds the channel any more.
        lines: what is to be logged, each with its level.
    """

    others: Others | None
    lines: tuple[tuple[Level, str], ...] = ()


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
        left = any(event.kind is OthersEventKind.LEFT for event in events)
        if left or (not is_others(state) and not view.client):
            self.forget(state.id)
        if left and not any(event.certain for event in events):
            return Seen(None, lines)
        return Seen(_others(held, held.watch, state, mono, wall), lines)


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
