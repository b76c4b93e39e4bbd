"""A freeze's window, from the freeze's acknowledgement to the thaw, watched while it is held. Pure.

A port that closes puts the window *at risk*: the next agent's status settles that, as soon as there
is one. Writes, a reset and an agent that says thawed *break* the window. At its end the monitor is
looked at once more, since the thaw itself writes.
"""

from __future__ import annotations

from typing import Final

from agentclient.freeze.effects import Effect, NewTicket, ReportEvent, Resync, Send
from agentclient.freeze.port_watch import CHANGE_TEXT, GUEST_ENDED, Change, PortWatch
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind, GuestWrote
from agentclient.model.states import FreezeState, Level
from agentclient.protocol.qga_commands import STATUS
from agentclient.protocol.qga_events import Reply, Synced, WireEvent
from agentclient.protocol.qga_replies import freeze_state

LAST_LOOK_S: Final = 0.5
# How long a Windows guest's shadow copy keeps writes back (protocol §3.12).
WINDOWS_S: Final = 10.0
WINDOWS_LOST: Final = (
    "a Windows guest lets writes go 10 s after its freeze, whatever its agent says: the window's "
    "consistency is lost"
)
WRITERS: Final = (
    "swap, raw disks, software RAID and file systems that can't freeze write rightly, anything "
    "else means that the window is broken"
)


class Window:
    """The time in which the guest is to be frozen.

    Args:
        since: when the freeze was acknowledged (seconds of the monotonic clock).
        hold_s: how long it may last.
        watch: the port and the host's write counters; fed by the freeze.
        whole: the freeze covers all that the guest could freeze; else the rest writes rightly.
        windows: the guest is a Windows one.
        new_ticket: numbers for the requests.
        written_before: the host's write counter by a look that began after the acknowledgement;
            None if there was none yet: then the first look from now on is where it begins.

    Attributes:
        since: as given.
        ends_at: when it is thawed on its own.
        at_risk: the port closed while it was held.
        broken: why a copy that is made in it is not consistent; None while it may be.
        over: the guest is to be thawed now.
        unseen: why the port was not seen at the last look, though it can be; None if it was.
        written_bytes: what the host saw written since; None if that can't be seen.
        whole: as given.
        windows: as given.
    """

    def __init__(
        self,
        since: float,
        hold_s: float,
        watch: PortWatch,
        new_ticket: NewTicket,
        *,
        written_before: int | None = None,
        whole: bool = True,
        windows: bool = False,
    ) -> None:
        self.since = since
        self.ends_at = since + hold_s
        self.at_risk = False
        self.broken: str | None = None
        self.over = False
        self.unseen: str | None = None
        self.written_bytes: int | None = None
        self._lost_at = since + WINDOWS_S if windows else float("inf")
        self._watch = watch
        self.whole = whole
        self.windows = windows
        self._ticket = new_ticket
        self._written_before = written_before
        self._last_look_by: float | None = None
        self._sync_ticket = 0
        self._status_ticket = 0
        if written_before is not None:
            self._count_writes()

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        ends_at = self.ends_at if self._last_look_by is None else self._last_look_by
        return min(ends_at, self._lost_at)

    @property
    def wants_look(self) -> bool:
        """Whether its end waits for nothing but a look at the monitor."""
        return self._last_look_by is not None

    def on_reply(self, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        match event:
            case Synced(ticket) if ticket == self._sync_ticket:
                self._status_ticket = self._ticket()
                return [Send(self._status_ticket, STATUS)]
            case Reply(ticket, value) if ticket == self._status_ticket:
                state = freeze_state(value)
                if state is FreezeState.THAWED:
                    self.break_now("the window was broken: the next agent says thawed")
                text = f"the agent's status: {state or 'unreadable'}"
                return [ReportEvent(EventKind.REPLY, Level.INFO, text)]
        return []

    def on_changes(self, now: float, changes: list[Change]) -> list[Effect]:
        """Take what a look at the monitor showed."""
        effects: list[Effect] = []
        for change in changes:
            effects += self._changed(change)
        if self._count_writes():
            text = f"{self.written_bytes} bytes were written while the freeze is held: {WRITERS}"
            self.broken = self.broken or text
            details = GuestWrote(self.written_bytes)
            effects.append(ReportEvent(EventKind.CONTRADICTION, Level.ERROR, text, details))
        view = self._watch.view
        blind = self._watch.visible and view.port_open is None
        self.unseen = (view.problem or "it has no state") if blind else None
        if self._last_look_by is not None and not self.over and not blind:
            effects += self._end(now)
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if now < self.wakes_at or self.over:
            return []
        if now >= self._lost_at:
            self._lost_at = float("inf")
            self.broken = self.broken or WINDOWS_LOST
            return [
                ReportEvent(EventKind.CONTRADICTION, Level.ERROR, WINDOWS_LOST),
                *self.on_tick(now),
            ]
        seen = self._watch.visible or self._watch.view.written_bytes is not None
        if self._last_look_by is None and seen:
            self._last_look_by = now + LAST_LOOK_S
            return []
        return self._end(now)

    def extend(self, seconds: float, most_s: float) -> float:
        """Hold it for longer, or for less long.

        Args:
            seconds: how much longer; below zero it ends earlier.
            most_s: how long a window may be held in all.

        Returns:
            By how many seconds it ends later; 0 once it is over, or ends right now.
        """
        if self.over or self._last_look_by is not None:
            return 0.0
        ends_at = min(self.ends_at + seconds, self.since + most_s)
        if seconds > 0:
            ends_at = max(ends_at, self.ends_at)
        more_s = ends_at - self.ends_at
        self.ends_at = ends_at
        return more_s

    def end(self, now: float) -> list[Effect]:
        """End it now: it has served its purpose."""
        self.ends_at = min(self.ends_at, now)
        return self.on_tick(now)

    def break_now(self, why: str) -> None:
        """Break and end it: a copy can't become consistent any more.

        Args:
            why: one sentence.
        """
        self.broken = self.broken or why
        self.over = True

    def _end(self, now: float) -> list[Effect]:
        self.over = True
        return [
            ReportEvent(EventKind.NOTE, Level.INFO, f"thawing after {in_words(now - self.since)}")
        ]

    def _changed(self, change: Change) -> list[Effect]:
        if change is Change.RESET or change in GUEST_ENDED:
            self.break_now(f"the window was broken: {CHANGE_TEXT[change]}")
            return []
        effects: list[Effect] = []
        restarted = change in (Change.RESTARTED, Change.DEVICE_RESET)
        if (change is Change.CLOSED or restarted) and not self.at_risk:
            self.at_risk = True
            text = "at risk: the agent's port closed while the freeze is held"
            effects.append(ReportEvent(EventKind.AT_RISK, Level.WARNING, text))
        if change is Change.OPENED or (restarted and self._watch.open):
            self._sync_ticket = self._ticket()
            effects.append(Resync(self._sync_ticket))
        return effects

    def _count_writes(self) -> bool:
        """Take the host's counters; return whether they contradict the freeze from now on."""
        after = self._watch.written_now
        if self._written_before is None:
            self._written_before = after
        if self._written_before is None or after is None:
            return False
        had = bool(self.written_bytes)
        self.written_bytes = max(0, after - self._written_before)
        return self.whole and self.written_bytes > 0 and not had
