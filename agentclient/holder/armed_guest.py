"""One guest in the holder, however it is reached: when it is taken over, and how it is thawed."""

from __future__ import annotations

import itertools
import os
import selectors
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentclient.access.multiplexer import Multiplexer
from agentclient.access.stream import StreamEnded
from agentclient.freeze.effects import Effect, Resync, Send
from agentclient.freeze.machine import ConnectAttempt, MachineInputs, step
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport, ThawStage
from agentclient.holder.messages import Body, number, text
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import MonitorView

# Seconds after the hold's end in which the console may still thaw the guest itself.
GRACE_S: Final = 0.25
# Seconds without a channel, in a thaw, until a person is told of it.
AWAY_S: Final = 60.0


class State(StrEnum):
    """Who talks to the guest: the console, nobody, or the holder."""

    RELAYED = "relayed"
    BROKEN = "broken"  # the guest's end has closed, and the console has been told
    THAWING = "thawing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class HolderServices:
    """What the holder provides to each armed guest.

    Attributes:
        selector: where sockets are registered, with the method to call as data.
        multiplexer: runs the exchanges with monitors.
        broken: is called with an armed guest whose QEMU has closed the agent's channel.
        done: is called with an armed guest and the report of its thaw.
        ready: is called with an armed guest that has connected by its recipe, or with why it has
            not.
    """

    selector: selectors.BaseSelector
    multiplexer: Multiplexer
    broken: Callable[[ArmedGuest], None]
    done: Callable[[ArmedGuest, ThawReport], None]
    ready: Callable[[ArmedGuest, str | None], None] = lambda _, __: None


class ArmedGuest(ABC):
    """One guest that the holder passes requests to, and thaws if the console can't.

    Args:
        body: the console's message that armed it (`ConsoleMessage.ARM`).
        services: what the holder provides.
    """

    def __init__(self, body: Body, services: HolderServices) -> None:
        self.key = text(body, "key")
        self.name = text(body, "vm")
        self.body = body
        self._services = services
        self.state = State.RELAYED
        self._console_thaws = False
        self._hold_s = 0.0
        self._bound_at = float("inf")
        self._deadline = self._late_at = float("inf")
        self._ends_at: float | None = None
        self._counted = False  # the hold, from the freeze's reply
        self._latest_at = 0.0
        self.kept = False
        """Its console has left the window: it is held to its end without one."""
        self._away_since: float | None = None  # in the thaw: its channel
        self._told_late: set[bool] = set()
        self._machine: ThawMachine | None = None
        self._ended: StreamEnded | None = None  # until the machine was told

    # -- what the console says ------------------------------------------------------------

    def intend(self, body: Body, now: float) -> None:
        """Note that a freeze comes next, or was sent before (`ConsoleMessage.INTENT`)."""
        self._note_intent(sent=body.get("sent") is True)
        self._console_thaws = body.get("thawing") is True
        self._hold_s = number(body, "hold_s")
        self._bound_at = now + number(body, "bound_s")
        self._deadline = self._bound_at + GRACE_S

    def hold(self, body: Body, now: float) -> None:
        """Note when the open window ends, and until when it may last (`ConsoleMessage.HOLD`)."""
        seconds = number(body, "seconds")
        self._ends_at = now + seconds
        self._latest_at = now + max(seconds, number(body, "most_s"))
        self._deadline = self._ends_at + GRACE_S

    def keep(self) -> str | None:
        """Hold the window to its end without a console; return why not, None if that is done."""
        if self.state is not State.RELAYED or not self.window_open or self._console_thaws:
            return "its window is not open"
        self._stop_relay()
        self.kept, self._deadline = True, self.ends_at
        return None

    def extend(self, seconds: float) -> float:
        """Hold a kept window for longer; return by how many seconds."""
        more_s = min(seconds, self.room_s)
        self._ends_at = self._deadline = self.ends_at + more_s
        return more_s

    def console_thaws(self) -> None:
        """Note that the console may have sent a thaw; a second one runs the hook again."""
        self._console_thaws = True

    def disarm(self) -> None:
        """Close both ends: the console has seen that the guest is thawed."""
        self._end()

    # -- what the holder decides ----------------------------------------------------------

    @property
    def window_open(self) -> bool:
        """Whether the console has said that the window is open."""
        return self._ends_at is not None

    @property
    def ends_at(self) -> float:
        """When the window ends (monotonic clock); never, while it is not open."""
        return float("inf") if self._ends_at is None else self._ends_at

    @property
    def room_s(self) -> float:
        """By how many seconds the window may be held longer."""
        return max(0.0, self._latest_at - self.ends_at)

    @property
    def wakes_at(self) -> float:
        """When `tick` must be called at the latest, by the monotonic clock."""
        if self._machine is not None:
            return self._machine.wakes_at
        # Past the deadline, only a console that has fallen silent makes the holder take over.
        return self._deadline if self._deadline > time.monotonic() else float("inf")

    def overdue(self, now: float) -> bool:
        """Return whether the window should have ended by `now`."""
        if self.state not in (State.RELAYED, State.BROKEN):
            return False
        # A stopped console can't report the freeze's reply, from which the hold counts.
        if self._answered and not self.window_open and not self._counted:
            self._counted = True
            self._deadline = now + self._hold_s + GRACE_S
        return now >= self._deadline

    def take_over(self, now: float) -> bool:
        """Close the console's end, and begin to thaw the guest if it may be frozen.

        Returns:
            False if nothing was sent that could have frozen the guest.
        """
        self._stop_relay()
        if not self._may_have_run:
            self._end()
            return False
        self._late_at = max(now, self._bound_at) + number(
            self.body, "thaw_s", DEFAULT_POLICY.thaw_timeout_s
        )
        plan = self._take_channel()
        self.state = State.THAWING
        self._watch = PortWatch(MonitorView(problem="not looked at yet"), now)
        self._machine = ThawMachine(plan, self._watch, self._tickets().__next__, now)
        self.perform(self._machine.start(now))
        self._step(MachineInputs())
        return True

    def late(self, now: float) -> str | None:
        """Return what it means that the thaw is later than any console would wait; each word once.

        What may be frozen is not given up while nothing proves its end (P9): a person has to know.
        """
        if self.state is not State.THAWING or self._machine is None:
            return None
        if self._machine.stage is not ThawStage.RECONNECTING:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        away = self._away_since is not None and now - self._away_since >= AWAY_S
        if now < self._late_at or away in self._told_late:
            return None
        self._told_late.add(away)
        return _away() if away else _queued()

    def fail(self, why: str) -> None:
        """Report a bug in the holder as a thaw that has failed."""
        step = text(self.body, "command")
        report = ThawReport(None, None, None, False, f"the holder failed: {why}", step)
        self._end()
        self._services.done(self, report)

    def tick(self, now: float) -> None:
        """Do what is due: look at the port, and let the thaw machine resend or give up."""
        if self._machine is not None:
            self._do_due(now)
            self._step(MachineInputs())

    # -- thawing --------------------------------------------------------------------------

    def _plan(self, *, connected: bool, owned: bool = False, clean: bool = False) -> ThawPlan:
        return ThawPlan(
            vm=self.name,
            timeout_s=number(self.body, "thaw_s", DEFAULT_POLICY.thaw_timeout_s),
            # A freeze that is still queued will run, whatever its bound was: the holder stays until
            # the agent has processed it.
            patience_s=0.0 if self._answered else float("inf"),
            owned=owned,
            clean=clean,
            connected=connected,
            ask=self._console_thaws,
            command=text(self.body, "command"),
            freeze_succeeded=self._answered,
        )

    def _step(self, inputs: MachineInputs) -> None:
        """Step the thaw machine; if the channel broke meanwhile, step it again with that."""
        if self._machine is not None:
            step(self._machine, inputs, self)
        while self._machine is not None and self._ended is not None:
            ended, self._ended = self._ended, None
            told = MachineInputs(ended=str(ended), gone=self._is_gone(), cause=ended.cause)
            step(self._machine, told, self)

    def now(self) -> float:
        """Return the time of the monotonic clock."""
        return time.monotonic()

    def perform(self, effects: list[Effect]) -> None:
        """Apply the thaw machine's effects, and finish when it has a report."""
        for effect in effects:
            if self.state is State.DONE:
                return
            if isinstance(effect, Send | Resync):
                self._send(effect)
        if self._machine is not None and self._machine.report is not None:
            report = self._machine.report
            self._end()
            self._services.done(self, report)

    def _end(self) -> None:
        self._close()
        self.state = State.DONE
        self._machine, self._deadline = None, float("inf")

    # -- how it is reached ----------------------------------------------------------------

    @property
    @abstractmethod
    def _may_have_run(self) -> bool:
        """Whether anything was sent that could have frozen the guest."""

    @property
    @abstractmethod
    def _answered(self) -> bool:
        """Whether the guest has answered since the freeze."""

    @abstractmethod
    def _note_intent(self, *, sent: bool) -> None:
        """Note that a freeze comes next; `sent`: it was sent on an earlier connection."""

    @abstractmethod
    def _stop_relay(self) -> None:
        """Close the console's end."""

    @abstractmethod
    def _take_channel(self) -> ThawPlan:
        """Begin to talk to the guest in place of the console; return how to thaw it."""

    def _tickets(self) -> itertools.count[int]:
        """Return fresh numbers for the thaw's requests."""
        return itertools.count(1)

    @abstractmethod
    def _do_due(self, now: float) -> None:
        """Do what is due in a thaw, beside the thaw machine's own."""

    @abstractmethod
    def _send(self, effect: Send | Resync) -> None:
        """Send a request of the thaw machine to the agent."""

    @abstractmethod
    def reconnect(self) -> ConnectAttempt:
        """Try once to open a new channel."""

    @abstractmethod
    def _is_gone(self) -> bool | None:
        """Return whether the VM has gone; None if that is not known."""

    @abstractmethod
    def _close(self) -> None:
        """Close what is open to the guest and to the console."""


def _away() -> str:
    return (
        "its agent's channel stays away, and whether the VM has ended can't be told: IT MAY BE "
        f"FROZEN. This holder (pid {os.getpid()}) stays, and tries again, more rarely with time. "
        "NEXT: bring back what serves the channel; if the VM has ended, the holder does no harm"
    )


def _queued() -> str:
    return (
        "its freeze waits in the agent still: IT WILL FREEZE when the agent wakes. This holder "
        f"(pid {os.getpid()}) stays, and thaws it then"
    )
