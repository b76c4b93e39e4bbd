"""Watches the channels that somebody else holds: what they have pending, from the monitor alone.

A held channel is looked at four times a second, less often where very many are. Every eighth look
is an ordinary one, which sees what the others leave out, such as a migration. What others have left
pending, or have lost, is kept until an agent has answered or the guest has ended: every second look
is for it then.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from agentclient.fleet.others_events import ended_by, line_of
from agentclient.fleet.others_left import LeftFrozen, as_of
from agentclient.fleet.others_writes import WriteCounters
from agentclient.fleet.store import Fleet
from agentclient.freeze.others_watch import OthersEventKind, OthersWatch
from agentclient.freeze.writes_watch import WritesWatch
from agentclient.journal.figures import Figures, pending_for_long
from agentclient.journal.history import last_figures_of_others
from agentclient.journal.others_entry import record_others
from agentclient.model.others import ChannelClient, Others, WritesSeen, waits_while_connected
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import (
    Cause,
    FreezeState,
    KnownBy,
    Level,
    OthersState,
    RunState,
)
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentclient.journal.storage.database import Rows, Statement
    from agentclient.journal.writer import Journal

LOOK_EVERY_S: Final = 0.25
# However many channels are held, their looks are no more than so many a second: where something is
# pending, and where a client only stays connected, as libvirt always does.
MOST_LOOKS: Final = 400
MOST_IDLE_LOOKS: Final = 200
_IDLE: Final = frozenset({OthersState.IDLE, OthersState.HELD})
_PENDING: Final = frozenset({OthersState.PENDING, OthersState.LOST, OthersState.LEFT})
_UNMOVED_S: Final = 10.0
_ORDINARY: Final = 8
_ORDINARY_WHEN_LEFT: Final = 2
# Nothing is frozen any more, and nobody can be asked.
_ENDED: Final = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED, RunState.MIGRATED})
_ENDS: Final = frozenset(
    {
        Cause.VM_GONE,
        Cause.GUEST_RESET,
        Cause.GUEST_SHUTDOWN,
        Cause.GUEST_PANICKED,
        Cause.MIGRATED,
    }
)


class Seen(NamedTuple):
    """What a look at a held channel has shown.

    Attributes:
        others: what they have pending now; None if nobody holds the channel any more.
        lines: what is to be logged, each with its level.
        ended: the commands of others that are over, for the journal.
    """

    others: Others | None
    lines: tuple[tuple[Level, str], ...] = ()
    ended: tuple[OthersEnded, ...] = ()


@dataclass(slots=True)
class _Held:
    """A channel that is held by others, or was until they left something pending or lost.

    Attributes:
        vm: the VM; another start of it is another guest.
        writes: how much the guest writes meanwhile.
        watch: what they have pending; None before the first look at what is counted.
        looks: how many looks there were.
        client: who holds it.
        lost_by: who has lost a command; others may have come since.
        to_be_named: whether to find who holds it.
        usual: how long others' last ones took.
        asked: the journal was asked for that.
    """

    vm: Vm
    writes: WritesWatch
    watch: OthersWatch | None = None
    looks: int = 0
    client: ChannelClient | None = None
    lost_by: ChannelClient | None = None
    to_be_named: bool = True
    usual: Figures | None = None
    asked: bool = False

    @property
    def has_left(self) -> bool:
        """Whether they have left, with something pending or lost."""
        return self.watch is not None and self.watch.has_left


class HeldChannels:
    """The channels that others hold, each with the machine that watches it."""

    def __init__(self) -> None:
        self._held: dict[VmId, _Held] = {}
        self._before: dict[VmId, ChannelClient] = {}
        self._frozen = LeftFrozen()
        self._writes = WriteCounters(self._is_pending)
        self._idle: set[VmId] = set()

    def __len__(self) -> int:
        return len(self._held)

    def wants_traffic(self, vm_id: VmId) -> bool:
        """Return whether the next look at a VM's monitor is for what is counted at its port."""
        held = self._held.get(vm_id)
        if held is None:
            return False
        held.looks += 1
        ordinary = _ORDINARY_WHEN_LEFT if held.has_left else _ORDINARY
        return self.is_leaving(vm_id) or held.looks % ordinary != 0

    def is_leaving(self, vm_id: VmId) -> bool:
        """Return whether a client has left, and the next look tells if it had its answer."""
        held = self._held.get(vm_id)
        return held is not None and held.watch is not None and held.watch.leaving

    def wants_writes(self, vm_id: VmId, now: float) -> bool:
        """Return whether the next look is for how much the guest has written, as well.

        Args:
            vm_id: the VM.
            now: seconds of the monotonic clock.
        """
        return self._writes.are_wanted(vm_id, now)

    def _is_pending(self, vm_id: VmId) -> bool:
        held = self._held.get(vm_id)
        return held is not None and held.watch is not None and held.watch.state in _PENDING

    def is_held(self, vm_id: VmId) -> bool:
        """Return whether others hold a VM's channel, so that it is looked at more often."""
        held = self._held.get(vm_id)
        return held is not None and not held.has_left

    def look_within_s(self, vm_id: VmId) -> float:
        """Return within how many seconds a VM is looked at again; infinite if nobody holds it."""
        if not self.is_held(vm_id):
            return math.inf
        if vm_id in self._idle:
            return max(LOOK_EVERY_S, len(self._idle) / MOST_IDLE_LOOKS)
        return max(LOOK_EVERY_S, (len(self._held) - len(self._idle)) / MOST_LOOKS)

    def named(self, vm_id: VmId, client: ChannelClient | None) -> None:
        """Take who holds a VM's channel."""
        held = self._held.get(vm_id)
        if held is not None:
            held.client, held.to_be_named = _known_best(held.client, client), False

    def is_to_be_named(self, vm_id: VmId) -> bool:
        """Return whether to find who holds a VM's channel: it may be another one by now."""
        held = self._held.get(vm_id)
        return held is not None and held.to_be_named

    def before(self, vm_id: VmId) -> ChannelClient | None:
        """Return who held a VM's channel until its agent was asked; None if nobody was seen."""
        return self._before.get(vm_id)

    def forget(self, vm_id: VmId) -> None:
        """Forget a VM."""
        self._release(vm_id)
        self._before.pop(vm_id, None)
        self._frozen.forget(vm_id)
        self._writes.forget(vm_id)

    def _release(self, vm_id: VmId) -> None:
        self._held.pop(vm_id, None)
        self._idle.discard(vm_id)

    def may_freeze(self, vm_id: VmId) -> bool:
        """Return whether others have left a command that may run yet, and freeze the guest."""
        held = self._held.get(vm_id)
        return held is not None and held.has_left

    def asked(self, journal: Journal | None, fleet: Fleet, before: VmState, after: VmState) -> None:
        """Take that a VM's agent was asked: who is to blame, and how long they left it frozen.

        Args:
            journal: keeps for how long others had frozen it; None for no journal.
            fleet: what is known of all VMs.
            before: what was known of the VM.
            after: what is known of it now.
        """
        if after.agent.how is not KnownBy.REPLY:
            return
        if self.may_freeze(after.id):
            self._release(after.id)
        mono, at = time.monotonic(), fleet.wall()
        if after.freeze.state is not FreezeState.THAWED:
            self._frozen.since(after.freeze, after.id, mono, at)
            return
        self._before.pop(after.id, None)
        was = before.freeze
        frozen_at = self._frozen.since(was, after.id, mono, at)
        self._frozen.forget(after.id)
        if frozen_at is not None and was.since is not None:
            ended = OthersEnded(OthersResult.THAWED, was.by, was.since, at, mono - frozen_at)
            last = ended.after(after.others_last)
            fleet.update(after.id, lambda old: old._replace(others_last=last))
            if journal is not None:
                record_others(journal, after.vm, ended)

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
        mono, at = time.monotonic(), fleet.wall()
        seen = self.looked(state, view, mono, at)
        others = seen.others if seen is not None else state.others
        last = state.others_last
        for one in seen.ended if seen is not None else ():
            last = one.after(last)
        if others is not None and others.state is OthersState.PENDING and journal is not None:
            self._ask_usual(journal, state.vm)
        if (others, last) != (state.others, state.others_last):
            fleet.update(state.id, lambda old: old._replace(others=others, others_last=last))
        if (info := self._frozen.told(state, mono, at)) != state.freeze:
            fleet.update(
                state.id,
                lambda old: old._replace(freeze=info) if old.freeze == state.freeze else old,
            )
        if seen is None:
            return
        for level, line in seen.lines:
            fleet.log(state.id, level, printable(line, 500))
        for one in seen.ended if journal is not None else ():
            assert journal is not None, "it is asked just before"
            record_others(journal, state.vm, one)

    def _ask_usual(self, journal: Journal, vm: Vm) -> None:
        """Have the journal tell, later, how long the last ones took; nobody waits for its disk."""
        held = self._held.get(vm.id)
        if held is None or held.asked:
            return
        held.asked = True
        query = last_figures_of_others(vm)

        def know(found: list[Rows]) -> Sequence[Statement]:
            held.usual = query.parse(found)
            return ()

        journal.put(query.statements, know)

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
        writes = self._writes.take(state.id, mono, view)
        held = self._of(state.vm)
        if held is None:
            if view.client and is_others(state):
                # The next look asks for what is counted.
                self._held[state.id] = _Held(state.vm, writes)
            return None if state.others is None else Seen(None)
        if held.has_left and not is_others(state):
            return None  # it is a frostwatch who is connected
        if held.watch is None:
            if view.traffic is None and view.client and held.looks < _ORDINARY:
                return None
            held.watch = OthersWatch(view, mono)
        return self._watched(held, state, view, mono, wall)

    def _watched(
        self, held: _Held, state: VmState, view: MonitorView, mono: float, wall: datetime
    ) -> Seen:
        """Take what a look shows of a client whose channel is watched."""
        watch, had_left = held.watch, held.has_left
        assert watch is not None, "it is watched"
        waits = waits_while_connected(held.client, state.vm.locked_by)
        events = watch.on_look(mono, view, waits=waits)
        left = any(event.kind is OthersEventKind.LEFT for event in events)
        if left and (not had_left or watch.state is OthersState.LEFT):
            held.lost_by = held.client
        if had_left and _has_ended(watch, view):
            self._release(state.id)
            return Seen(None)
        by = held.lost_by if had_left and held.has_left else held.client
        lines = tuple(line for event in events if (line := line_of(event, by)) is not None)
        told = before.writes if (before := state.others) is not None else None
        ended = tuple(
            one for event in events if (one := ended_by(event, by, wall, told)) is not None
        )
        if _is_idle(watch, mono):
            self._idle.add(state.id)
        else:
            self._idle.discard(state.id)
        if any(event.kind is OthersEventKind.PENDING for event in events):
            # Another one may have come between two looks, and the last ones took longer than once.
            held.to_be_named, held.asked = True, False
        if left and by is not None:
            self._before[state.id] = by
        stays = held.has_left and not _has_ended(watch, view)
        if not stays and (left or (not is_others(state) and not view.client)):
            self._release(state.id)
            return Seen(None, lines, ended)
        return Seen(_others(held, watch, state, mono, wall), lines, ended)

    def _of(self, vm: Vm) -> _Held | None:
        """Return what is known of a VM's channel; nothing of another start of it."""
        held = self._held.get(vm.id)
        if held is not None and _start(held.vm) != _start(vm):
            self._release(vm.id)
            return None
        return held


def is_others(state: VmState) -> bool:
    """Return whether a client of a VM's channel is nobody of this host's frostwatches."""
    return state.progress is None and state.held_by is None and state.vm.agent is not None


def _known_best(before: ChannelClient | None, now: ChannelClient | None) -> ChannelClient | None:
    """Return which tells more of who holds a channel: a process that ends loses its name first."""
    if before is None or now is None:
        return now or before
    same = before.pid == now.pid and now.started in (None, before.started)
    ending = now.user is None or (now.task is None and before.task is not None)
    return before if same and ending else now


def _is_idle(watch: OthersWatch, mono: float) -> bool:
    """Return whether a client only stays connected, as far as can be told."""
    unmoved = watch.state is OthersState.UNKNOWN and mono - watch.since >= _UNMOVED_S
    return unmoved or watch.state in _IDLE


def _has_ended(watch: OthersWatch, view: MonitorView) -> bool:
    """Return whether nothing of the guest that they froze, perhaps, is left."""
    return bool(view.gone) or view.run_state in _ENDED or watch.cause in _ENDS


def _start(vm: Vm) -> tuple[object, ...]:
    return vm.process, vm.generation


def _others(held: _Held, watch: OthersWatch, state: VmState, mono: float, wall: datetime) -> Others:
    before = state.others
    pending = watch.state is OthersState.PENDING
    overdue = pending_for_long(held.usual, mono - watch.since) if pending else None
    same = before.since if before is not None and before.state is watch.state else None
    writes, wrote_at = held.writes, None
    seen = writes.since(watch.waits_since) if watch.state in _PENDING else None
    if seen is WritesSeen.STOPPED and writes.wrote_at is not None:
        stopped = before.wrote_at if before is not None else None
        wrote_at = as_of(stopped, mono - writes.wrote_at, wall)
    return Others(
        watch.state,
        as_of(same, mono - watch.since, wall),
        held.lost_by if watch.has_left else held.client,
        watch.cause,
        watch.took_s,
        watch.certain,
        watch.why_blind,
        overdue,
        watch.has_left,
        seen,
        wrote_at,
    )
