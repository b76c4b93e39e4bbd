"""The schedule of visits: spread over time, less often for VMs that don't answer. No I/O."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from agentclient.model.vm import VmId

# Each visit without an answer doubles the wait for the next, up to this many times the interval.
MOST_BACK_OFF: Final = 16
# The factor of the interval for an agent that once ended when it was asked.
RARELY: Final = 8
# Seconds between two questions to a guest that may be frozen: a connection alone releases an agent
# that spins on an unread reply (protocol §3.5), and a freeze that was queued may have run since.
LEFT_AGAIN_S: Final = 3.0
# Seconds from a question until the next one for the reason alone that a client has left: one that
# connects anew for each command, as Proxmox's does, would meet us between all of them (P5).
RELEASED_AGAIN_S: Final = 2.0
# Seconds after the first question without an answer until the next: a busy host delays both.
MISSED_AGAIN_S: Final = 3.0
# Seconds for which a client that was seen counts as connected where later looks show nothing.
CLIENT_COUNTS_S: Final = 60.0
# The rate limit at the start, when each agent is asked for more than later.
FIRST_QUESTIONS_A_SECOND: Final = 100


@dataclass(slots=True)
class VmTimes:
    """A VM's place in the schedule.

    Attributes:
        due: when it is visited next, by the monotonic clock; infinite during a visit.
        agent_due: from when on a visit asks its agent as well, by the monotonic clock.
        port_interval_s: seconds between two looks at its monitor.
        agent_interval_s: seconds between two questions to its agent.
        blind: how many times in a row its monitor could not be read.
        late: whether its monitor had not answered in time at the last visit.
        misses: how many times in a row its agent has not answered.
        was_open: whether its port was open at the last visit; None if that is not known.
        was_taken: whether a client was connected to its channel at the last visit.
        released: somebody has left its channel, and its agent was not asked since.
        asked_at: when its agent was asked last, by the monotonic clock.
        hurry: visit it again as soon as the current visit has ended.
        unanswered: its agent has not answered the last question.
        client_seen_at: when a client was seen last at its channel, by the monotonic clock; minus
            infinity once it was seen that none is there.
    """

    due: float
    agent_due: float
    port_interval_s: float
    agent_interval_s: float
    blind: int = 0
    late: bool = False
    misses: int = 0
    was_open: bool | None = None
    was_taken: bool = False
    released: bool = False
    asked_at: float = -math.inf
    hurry: bool = False
    unanswered: bool = False
    client_seen_at: float = -math.inf

    def sees_client(self, client: bool | None, now: float, *, blind: bool) -> bool:
        """Take what a look shows of the channel; return whether a client counts as connected.

        A look that shows nothing, at a busy host, is no proof that the client has left.

        Args:
            client: whether it shows a client; None if it can't tell.
            now: the time.
            blind: the monitor was not seen, where it would have shown a client.
        """
        if client is not None or not blind:
            self.client_seen_at = now if client else -math.inf
        return now - self.client_seen_at < CLIENT_COUNTS_S


class Timetable:
    """The schedule of all VMs; times are seconds of the monotonic clock.

    Args:
        port_interval_s: seconds between two looks at a VM's monitor, unless `pace` has set others.
        agent_interval_s: seconds between two questions to its agent, likewise.
    """

    def __init__(self, port_interval_s: float, agent_interval_s: float) -> None:
        self._port_interval_s = port_interval_s
        self._agent_interval_s = agent_interval_s
        self._times: dict[VmId, VmTimes] = {}
        self._queue: list[tuple[float, int, VmId]] = []
        self._order = itertools.count()

    def __getitem__(self, vm_id: VmId) -> VmTimes:
        return self._times[vm_id]

    def __contains__(self, vm_id: VmId) -> bool:
        return vm_id in self._times

    def keep(self, known: Collection[VmId], now: float) -> list[VmId]:
        """Add the VMs that are new, drop those that are not in `known`, and return the latter.

        The first visits of new VMs are spread over the interval, so that there is never a burst.
        """
        new = [vm_id for vm_id in known if vm_id not in self._times]
        looks_s = min(self._port_interval_s, len(new) / FIRST_QUESTIONS_A_SECOND)
        questions_s = min(self._agent_interval_s, len(new) / FIRST_QUESTIONS_A_SECOND)
        for index, vm_id in enumerate(new):
            share = index / len(new)
            agent_due = now + share * questions_s
            self._times[vm_id] = VmTimes(
                0.0, agent_due, self._port_interval_s, self._agent_interval_s
            )
            self._put(vm_id, now + share * looks_s)
        gone = [vm_id for vm_id in self._times if vm_id not in known]
        for vm_id in gone:
            del self._times[vm_id]
        return gone

    def pace(self, vm_id: VmId, port_interval_s: float, agent_interval_s: float) -> None:
        """Set a VM's own intervals, in seconds; they apply from its next visit on."""
        times = self._times[vm_id]
        times.port_interval_s, times.agent_interval_s = port_interval_s, agent_interval_s

    def soon(self, vm_id: VmId, now: float) -> None:
        """Make a VM due at once, with its agent."""
        if vm_id not in self._times:
            return
        times = self._times[vm_id]
        times.agent_due = 0.0
        if math.isinf(times.due):
            times.hurry = True
        else:
            self._put(vm_id, now)

    def is_visited(self, vm_id: VmId) -> bool:
        """Return whether a VM is being visited now."""
        return vm_id in self._times and math.isinf(self._times[vm_id].due)

    def look_soon(self, vm_id: VmId, now: float) -> None:
        """Make a VM due at once, without its agent, unless its monitor can't be seen."""
        times = self._times.get(vm_id)
        if times is not None and not times.blind and now < times.due:
            self._put(vm_id, now)

    def take(self, now: float) -> VmId | None:
        """Return a VM that is due, and mark it as being visited; None if none is due."""
        if self.next_at > now:
            return None
        vm_id = heapq.heappop(self._queue)[2]
        times = self._times[vm_id]
        # A late visit doesn't delay the next one: that is due one interval after this due time.
        times.due = math.inf
        return vm_id

    @property
    def next_at(self) -> float:
        """When the next VM is due, by the monotonic clock; infinite if there is none."""
        while self._queue:
            at, _, vm_id = self._queue[0]
            if vm_id in self._times and self._times[vm_id].due == at:
                return at
            heapq.heappop(self._queue)  # a stale entry: it was rescheduled, or dropped
        return math.inf

    def late_once(self, vm_id: VmId, late: bool) -> bool:
        """Note whether a VM's monitor was late, and return whether it was, and not before."""
        times = self._times.get(vm_id)
        if times is None:
            return False
        was_late, times.late = times.late, late
        return late and not was_late

    def visited(
        self, vm_id: VmId, began: float, now: float, *, blind: bool, within_s: float = math.inf
    ) -> None:
        """Schedule the next visit of a VM whose visit has ended.

        Args:
            vm_id: the VM.
            began: when this visit was due.
            now: the time.
            blind: its monitor could not be read.
            within_s: seconds after which it is visited again at the latest, if it can be seen.
        """
        if vm_id not in self._times:
            return
        times = self._times[vm_id]
        times.blind = times.blind + 1 if blind else 0
        if times.hurry:
            times.hurry = False
            self._put(vm_id, now)
            return
        interval = min(times.port_interval_s, within_s) * _back_off(times.blind)
        self._put(vm_id, max(now, began + interval))

    def asked(
        self,
        vm_id: VmId,
        now: float,
        *,
        alive: bool,
        within_s: float = math.inf,
        rarely: bool = False,
    ) -> None:
        """Schedule the next question to a VM's agent.

        Args:
            vm_id: the VM.
            now: the time.
            alive: the agent has answered.
            within_s: seconds after which it is asked again at the latest.
            rarely: the agent once ended when it was asked: ask it less often.
        """
        times = self._times[vm_id]
        times.misses = 0 if alive else times.misses + 1
        interval_s = times.agent_interval_s * _back_off(times.misses)
        if times.misses == 1:
            interval_s = min(interval_s, MISSED_AGAIN_S)
        if rarely:
            interval_s = max(interval_s, RARELY * times.agent_interval_s)
        times.agent_due = now + min(interval_s, within_s)

    def _put(self, vm_id: VmId, at: float) -> None:
        self._times[vm_id].due = at
        heapq.heappush(self._queue, (at, next(self._order), vm_id))


def _back_off(misses: int) -> int:
    return min(1 << min(misses, 10), MOST_BACK_OFF)
