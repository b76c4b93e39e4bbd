"""What changed between two looks at a VM's monitor: its port, its run state, its counters. Pure."""

from __future__ import annotations

from enum import StrEnum

from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, RunState

BLOCKED_STATES = frozenset(
    {RunState.PAUSED, RunState.IO_ERROR, RunState.SUSPENDED, RunState.MIGRATING}
)
RELEASED_BY = {
    RunState.PAUSED: "resume the VM",
    RunState.IO_ERROR: "repair its storage, then resume it",
    RunState.SUSPENDED: "wake it up",
    RunState.MIGRATING: "wait for the migration's end, or cancel it",
}


class Change(StrEnum):
    """What one look showed that the look before did not; the texts are in `CHANGE_TEXT`."""

    CLOSED = "closed"
    OPENED = "opened"
    RESTARTED = "restarted"
    HINT = "hint"
    DEVICE_RESET = "device-reset"
    RESET = "reset"
    GONE = "gone"
    MIGRATED = "migrated"
    SHUTDOWN = "shutdown"
    PANICKED = "panicked"
    BLOCKED = "blocked"
    RELEASED = "released"


_CLOSINGS = frozenset(
    {Change.CLOSED, Change.RESTARTED, Change.DEVICE_RESET, Change.RESET, Change.GONE}
)
GUEST_ENDED = frozenset({Change.GONE, Change.MIGRATED, Change.SHUTDOWN, Change.PANICKED})
CHANGE_TEXT = {
    Change.CLOSED: "the agent's port closed",
    Change.OPENED: "the agent's port opened: an agent is there again",
    Change.RESTARTED: "the agent's port closed and opened again: the agent was restarted",
    Change.HINT: "a port of the same device closed or opened: perhaps the agent's",
    Change.DEVICE_RESET: (
        "the device of the agent's port was set up anew: the agent was restarted, perhaps with its "
        "whole guest"
    ),
    Change.RESET: "the guest was reset",
    Change.GONE: "the VM's process has gone",
    Change.MIGRATED: "the VM has migrated away: its guest runs elsewhere",
    Change.SHUTDOWN: "the guest has shut down",
    Change.PANICKED: "the guest has panicked",
}
_CAUSES = {
    Change.CLOSED: Cause.AGENT_GONE,
    Change.RESTARTED: Cause.AGENT_RESTARTED,
    Change.DEVICE_RESET: Cause.UNKNOWN,
    Change.RESET: Cause.GUEST_RESET,
    Change.GONE: Cause.VM_GONE,
    Change.MIGRATED: Cause.MIGRATED,
    Change.SHUTDOWN: Cause.GUEST_SHUTDOWN,
    Change.PANICKED: Cause.GUEST_PANICKED,
}
# A guest that was reset or that ended explains a closed port better than an agent that left. The
# best explanation comes last: a guest that shuts down resets its devices while it does so.
_EXPLAINS_MORE = (
    Cause.UNKNOWN,  # a device that was set up anew: which of the others it is can't be told
    Cause.GUEST_PANICKED,
    Cause.GUEST_RESET,
    Cause.GUEST_SHUTDOWN,
    Cause.VM_GONE,
    Cause.MIGRATED,
)
PROVEN = frozenset(_EXPLAINS_MORE[1:])
"""The causes that a look has shown, which explain why an agent has gone."""
# What an agent that has gone explains better.
_VAGUE = frozenset({None, Cause.UNKNOWN, Cause.CHANNEL_BROKEN})
# What a port that closes is taken for until QEMU says that the guest sleeps.
_MAY_BE_SLEEP = frozenset({Cause.UNKNOWN, Cause.AGENT_GONE})
# An index of a queue has 16 bits; and between two looks no agent reads so many commands.
_INDEXES = 1 << 16
_MOST_READS = 1024
# A guest that goes to sleep leaves its devices first; QEMU says *suspended* so much later at most.
_SLEEPS_WITHIN_S = 2.0


class PortWatch:
    """The agent's port and the VM's run state, from a baseline on (protocol §1.10).

    Args:
        baseline: what was seen before the freeze was sent.
        now: when that was (seconds of the monotonic clock).

    Attributes:
        view: the last look; its counter of written bytes is the last one that was seen.
        seen_at: when the port's state was last seen; None if never.
        ever_closed: the port has closed since the baseline, or its channel broke.
        reset: QEMU told that the guest was reset.
        device_reset: the port's device was set up anew, perhaps by a reset.
        cause: why the port closed; None while it has not.
        read: whether the agent has read a command since the baseline; None if that can't be seen.
        written_now: the host's counter of written bytes by the last look; None if that had none.
        changes: everything that changed since the baseline, oldest first.
    """

    def __init__(self, baseline: MonitorView, now: float) -> None:
        self._baseline = baseline
        self._openings = baseline.openings
        self._resets = baseline.resets
        self._reads = baseline.reads
        self._open = baseline.port_open
        self._run_state = baseline.run_state
        self._blocked_since: float | None = None
        self._blocked_s = 0.0
        self._ended = False
        self._slept = False
        self._left_at: float | None = None  # when its port closed or was set up anew
        self._migrating = baseline.run_state is RunState.MIGRATING
        self.view = baseline
        self.seen_at: float | None = now if baseline.port_open is not None else None
        self.ever_closed = False
        self.reset = False
        self.device_reset = False
        self.cause: Cause | None = None
        self.read: bool | None = None
        self.written_now = baseline.written_bytes
        self.changes: list[Change] = []

    @property
    def open(self) -> bool | None:
        """Whether the port was open when it was last seen; None if never."""
        return self._open

    @property
    def run_state(self) -> RunState:
        """The run state when it was last seen."""
        return self._run_state

    @property
    def blocked(self) -> bool:
        """Whether the host keeps the guest from answering."""
        return self._run_state in BLOCKED_STATES

    @property
    def visible(self) -> bool:
        """Whether the port's state was ever seen."""
        return self.seen_at is not None

    @property
    def uncounted(self) -> bool:
        """Whether the port can be seen, but nothing counts its openings between two looks."""
        return self.visible and self._openings is None

    @property
    def written_bytes(self) -> int | None:
        """Bytes that the guest wrote since the baseline; None if that can't be seen."""
        before, after = self._baseline.written_bytes, self.view.written_bytes
        return None if before is None or after is None else max(0, after - before)

    def blocked_s(self, now: float) -> float:
        """Return for how many seconds the host has kept the guest from answering."""
        since = self._blocked_since
        return self._blocked_s + (now - since if since is not None else 0.0)

    def on_look(self, now: float, view: MonitorView) -> list[Change]:
        """Take one look at the monitor.

        Args:
            now: seconds of the monotonic clock.
            view: what it showed.

        Returns:
            What the look before did not show, the gravest first.
        """
        changes = self._ends(view) + self._resets_seen(view) + self._port_changes(view)
        changes += self._run_state_changes(now, view)
        self.changes += changes
        for change in changes:
            self._note(change)
        if not _CLOSINGS.isdisjoint(changes):
            self._left_at = now
        if view.port_open is not None:
            self.seen_at = now
            self._open = view.port_open
        if Change.BLOCKED in changes and view.run_state is RunState.SUSPENDED:
            self._note_sleep(now)
        if view.port_open and view.run_state is RunState.RUNNING:
            self._slept = False  # awake, and its queues are set up: what falls now is a reset
        if view.reads is not None and self._baseline.reads is not None:
            self.read = bool(self.read) or view.reads != self._baseline.reads
        written = self.written_now = view.written_bytes
        self.view = view._replace(
            written_bytes=self.view.written_bytes if written is None else written
        )
        return changes

    def _ends(self, view: MonitorView) -> list[Change]:
        ends = {
            RunState.MIGRATED: Change.MIGRATED,
            RunState.SHUTDOWN: Change.SHUTDOWN,
            RunState.PANICKED: Change.PANICKED,
        }
        change = Change.GONE if view.gone else ends.get(view.run_state)
        if change is None or self._ended:
            return []
        self._ended = True
        return [change]

    def _resets_seen(self, view: MonitorView) -> list[Change]:
        counted = _fell(self._openings, view.openings) or _began_anew(self._reads, view.reads)
        self._reads = view.reads if view.reads is not None else self._reads
        told = view.resets is not None and self._resets is not None and view.resets > self._resets
        self._resets = view.resets if view.resets is not None else self._resets
        self._slept = self._slept or view.run_state is RunState.SUSPENDED
        if counted:
            self._openings = view.openings
        if told:
            return [Change.RESET]
        # The counter of openings may have counted up again before a look sees that it fell; then
        # the index of reads has not.
        # A counter that fell, or that wrapped (it has 16 bits), proves no reset: a guest that loads
        # the port's driver anew stays frozen. Nor is waking up one, which sets up the queues anew
        # (protocol §1.13).
        return [Change.DEVICE_RESET] if counted and not self._slept else []

    def _port_changes(self, view: MonitorView) -> list[Change]:
        moved = (
            view.openings is not None
            and self._openings is not None
            and view.openings != self._openings
        )
        self._openings = view.openings if view.openings is not None else self._openings
        if view.port_open is False:
            return [Change.CLOSED] if self._open is not False else []
        if view.port_open is None:
            return []
        if self._open is False:
            return [Change.OPENED]
        if moved:
            return [Change.RESTARTED if view.sole_port else Change.HINT]
        return []

    def _note_sleep(self, now: float) -> None:
        """Take that the guest sleeps: a port that closed just before has closed for that."""
        just_before = self._left_at is not None and now - self._left_at <= _SLEEPS_WITHIN_S
        if just_before and self._open is False and self.cause in _MAY_BE_SLEEP:
            self.cause = Cause.GUEST_SUSPENDED

    def on_cause(self, cause: Cause) -> None:
        """Take a cause that no look has shown, unless a look has shown one that explains more."""
        if self.cause in (Cause.VM_GONE, Cause.GUEST_SHUTDOWN, Cause.MIGRATED):
            return
        if self.cause in PROVEN and _strength(cause) < _strength(self.cause):
            return
        if cause is not Cause.AGENT_GONE or self.cause in _VAGUE:
            self.cause = cause

    def why_more(self, than: Cause | None) -> str | None:
        """Return, as a clause, what explains more by now than a cause; None if nothing does."""
        if self.cause not in PROVEN or _strength(self.cause) <= _strength(than):
            return None
        return next(CHANGE_TEXT[change] for change, cause in _CAUSES.items() if cause is self.cause)

    def on_gone(self) -> None:
        """Take that the VM has gone, which something else than a look has proven (P9)."""
        if not self._ended:
            self._ended = True
            self.changes.append(Change.GONE)
            self._note(Change.GONE)

    def on_new_agent(self) -> None:
        """Take that an agent answered after the port had closed, before a look has shown it."""
        if self.cause is Cause.AGENT_GONE:
            self.cause = Cause.AGENT_RESTARTED

    def _run_state_changes(self, now: float, view: MonitorView) -> list[Change]:
        if view.run_state is RunState.UNKNOWN or view.run_state is self._run_state:
            return []
        was_blocked = self.blocked
        self._run_state = view.run_state
        if not view.gone:
            self._migrating = view.run_state is RunState.MIGRATING
        if self.blocked == was_blocked:
            return []
        if view.run_state is RunState.MIGRATED:  # nothing is released: it runs elsewhere
            self._blocked_s, self._blocked_since = self.blocked_s(now), None
            return []
        if self.blocked:
            self._blocked_since = now
            return [Change.BLOCKED]
        self._blocked_s = self.blocked_s(now)
        self._blocked_since = None
        return [Change.RELEASED]

    def _note(self, change: Change) -> None:
        if change in _CLOSINGS:
            self.ever_closed = True
        self.device_reset = self.device_reset or change is Change.DEVICE_RESET
        self.reset = self.reset or change is Change.RESET
        cause = _CAUSES.get(change, self.cause)
        if change is Change.GONE and self._migrating:
            cause = Cause.MIGRATED
        if change is Change.CLOSED and self._slept:
            cause = Cause.GUEST_SUSPENDED
        elif change is Change.OPENED and self.cause is Cause.AGENT_GONE:
            cause = Cause.AGENT_RESTARTED
        if _strength(cause) >= _strength(self.cause):
            self.cause = cause


def _fell(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after < before


def _began_anew(before: int | None, after: int | None) -> bool:
    """Return whether an index of a queue (16 bits, it wraps) has moved as no reading moves it."""
    if before is None or after is None:
        return False
    return (after - before) % _INDEXES > _MOST_READS


def _strength(cause: Cause | None) -> int:
    """Return how well `cause` explains a closed port."""
    return _EXPLAINS_MORE.index(cause) if cause in _EXPLAINS_MORE else -1
