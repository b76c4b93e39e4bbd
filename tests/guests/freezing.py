"""Freezes of real guests as an operator asks for them, with everything that is told about them.

operator = Operator(guest)
running = operator.freeze(hold_s=2)
running.wait_event(EventKind.HELD)
outcome = running.outcome()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict, Unpack

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backends
from agentclient.backends.explicit import ExplicitBackend
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.fleet.store import Fleet
from agentclient.model.events import Ended, Event, EventKind
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.rescue import RescueOutcome, RescueTimes, Rung, Step
from agentclient.model.snapshot import Progress
from agentclient.model.states import OutcomeKind, Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from agentclient.operations.manager import OperationManager
from agentclient.operations.operation import AnyOperation
from tests.guests.lab import PATIENCE_S, Guest

# Several guests at once may keep one from its turn for a second.
_STILL_S = 2.0


class Times(TypedDict, total=False):
    """The parts of a `Schedule` that a freeze of a test may have otherwise."""

    first_timeout_s: float
    probe_timeout_s: float
    probes: int
    hold_s: float
    thaw_timeout_s: float


class Bounds(TypedDict, total=False):
    """The parts of `RescueTimes` that a rung of a test may have otherwise."""

    hold_s: float
    thaw_s: float
    wait_s: float
    before_s: float
    after_s: float
    agent_s: float
    boot_s: float


@dataclass(frozen=True)
class TimedEvent:
    """One event, and when it was told (monotonic clock)."""

    at: float
    event: Event


class Running:
    """A freeze or a thaw in flight (or ended), and what was told about it so far.

    Attributes:
        began_at: when it was asked for (monotonic clock).
    """

    def __init__(self, fleet: Fleet, vm: Vm) -> None:
        self.began_at = time.monotonic()
        self.operation: AnyOperation
        self._fleet = fleet
        self._vm = vm
        self._told: list[TimedEvent] = []
        self._news = threading.Condition()

    def listen(self, event: Event) -> None:
        """Take an event; called on the worker's thread."""
        with self._news:
            self._told.append(TimedEvent(time.monotonic(), event))
            self._news.notify_all()

    @property
    def told(self) -> list[TimedEvent]:
        """All events so far, in order."""
        with self._news:
            return list(self._told)

    @property
    def kinds(self) -> list[EventKind]:
        """The kinds of all events so far, in order."""
        return [one.event.kind for one in self.told]

    @property
    def texts(self) -> str:
        """The sentences of all events so far, for a message or a search."""
        return "\n".join(
            f"{one.at - self.began_at:8.3f} {one.event.kind:14} {one.event.text}"
            for one in self.told
        )

    @property
    def progress(self) -> Progress | None:
        """How far it has got; None when it has ended."""
        return self._fleet.get(self._vm.id).progress

    def find(self, kind: EventKind, holding: str = "") -> list[TimedEvent]:
        """All events of a kind so far with a text that holds some words."""
        return [one for one in self.told if one.event.kind is kind and holding in one.event.text]

    def wait_event(
        self, kind: EventKind, holding: str = "", timeout: float = PATIENCE_S
    ) -> TimedEvent:
        """Wait until an event of a kind was told (or give the first that was).

        Args:
            kind: what happened.
            holding: words that its text must hold.
            timeout: seconds.
        """
        with self._news:
            came = self._news.wait_for(lambda: bool(self.find(kind, holding)), timeout)
        assert came, f"no {kind} {holding!r} in {timeout:g} s; but:\n{self.texts}"
        return self.find(kind, holding)[0]

    def wait_progress(
        self, holds: Callable[[Progress], bool], timeout: float = PATIENCE_S
    ) -> Progress:
        """Wait until the shown progress is as it should be; seconds."""
        deadline = time.monotonic() + timeout
        while True:
            progress = self.progress
            if progress is not None and holds(progress):
                return progress
            assert time.monotonic() < deadline, f"in vain; now: {progress}\n{self.texts}"
            time.sleep(0.02)

    def verdict(self, timeout: float = PATIENCE_S) -> Outcome:
        """Wait for the freeze's first verdict."""
        return _outcome(self.wait_event(EventKind.VERDICT, timeout=timeout))

    def revisions(self) -> list[Outcome]:
        """All verdicts that were revised to so far."""
        return [_outcome(one) for one in self.find(EventKind.REVISED)]

    def outcome(self, timeout: float = PATIENCE_S) -> Outcome:
        """Wait for the freeze's last outcome; the events must tell the same."""
        outcome = self.operation.wait(timeout)
        assert isinstance(outcome, Outcome), f"still running: {self.progress}\n{self.texts}"
        # What a holder tells of a guest that was left to it may come later still.
        ended = [one for one in self.told if isinstance(one.event.details, Ended)]
        assert _outcome(ended[-1]) == outcome, self.texts
        assert self.kinds.count(EventKind.OUTCOME) == 1, self.texts
        assert self.kinds.count(EventKind.VERDICT) == 1, self.texts
        return outcome

    def thaw_outcome(self, timeout: float = PATIENCE_S) -> ThawOutcome:
        """Wait for a thaw's outcome."""
        outcome = self.operation.wait(timeout)
        assert isinstance(outcome, ThawOutcome), f"still running: {self.progress}\n{self.texts}"
        return outcome

    def rescue_outcome(self, timeout: float = PATIENCE_S) -> RescueOutcome:
        """Wait for what a rung found; it is told before it is taken, and its end is told last."""
        outcome = self.operation.wait(timeout)
        assert isinstance(outcome, RescueOutcome), f"still running: {self.progress}\n{self.texts}"
        assert self.kinds[0] is EventKind.RUNG, self.texts
        assert self.told[-1].event.details == Ended(outcome), self.texts
        assert self.kinds.count(EventKind.OUTCOME) == 1, self.texts
        return outcome

    def assert_order(self, *kinds: EventKind) -> None:
        """Assert that these were told in this order, others perhaps in between."""
        rest = iter(self.kinds)
        missing = next((kind for kind in kinds if kind not in rest), None)
        assert missing is None, f"{missing} is missing, or out of order:\n{self.texts}"


class Operator:
    """Somebody with frostwatch and one guest.

    Args:
        guest: a real one.
        monitor: may look at its monitor.
        ours: the monitor serves nobody else, and is held.
        transport: what the agent's channel is, where the source knows it.
        read_only: may send nothing to a guest.
        monitor_path: a monitor in the place of the guest's own.
        locked_by: what the VM's manager says that it is doing with it.

    Attributes:
        remote_hold: insists on freezes where nobody stands by.
    """

    remote_hold = False

    def __init__(
        self,
        guest: Guest,
        *,
        monitor: bool = True,
        ours: bool = False,
        transport: Transport = Transport.UNKNOWN,
        read_only: bool = False,
        monitor_path: Path | None = None,
        locked_by: str | None = None,
    ) -> None:
        self.guest = guest
        path = monitor_path or guest.monitor_socket
        channel = MonitorChannel(path, ours) if monitor else None
        agent = AgentChannel(guest.agent_socket, transport=transport)
        self.vm = Vm(VmId("socket", guest.name), agent, channel, locked_by=locked_by)
        # As the command line does it for a VM that is named with --vm, and for no other.
        self.reach(Backends([ExplicitBackend([self.vm])], [QemuBackend()]), read_only=read_only)

    def reach(self, backends: Backends, *, read_only: bool = False) -> None:
        """Reach the VM by these backends."""
        self.fleet = Fleet()
        self.fleet.set_vms(self.vm.source, [self.vm])
        self.accesses = AccessPool(backends)
        self.operations = OperationManager(self.fleet, self.accesses, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def freeze(self, *mounts: str, strict: bool = False, **times: Unpack[Times]) -> Running:
        """Begin a freeze; its thaw may have to wait for a guest that boots on a slow machine."""
        schedule = Schedule(**({"thaw_timeout_s": PATIENCE_S} | times))
        running = Running(self.fleet, self.vm)
        running.operation = self.operations.freeze(
            self.vm,
            FreezeRequest(mounts, strict, schedule, remote_hold=self.remote_hold),
            running.listen,
        )
        return running

    def thaw(self, *, foreign: bool = False) -> Running:
        """Begin a thaw."""
        running = Running(self.fleet, self.vm)
        running.operation = self.operations.thaw(self.vm, foreign=foreign, on_event=running.listen)
        return running

    def rescue(self, step: Step | Rung, *, person: bool = True, **times: Unpack[Bounds]) -> Running:
        """Take a rung of the rescue ladder."""
        running = Running(self.fleet, self.vm)
        running.operation = self.operations.rescue(
            self.vm,
            step if isinstance(step, Step) else Step(step),
            person=person,
            times=RescueTimes(**({"agent_s": PATIENCE_S} | times)),
            on_event=running.listen,
        )
        return running

    def close(self) -> None:
        """End everything; what can't be thawed is given up, for the guest's own clean-up."""
        self.operations.stop(2.0)
        self.accesses.close()


def in_the_hook(
    guest: Guest, operator: Operator, seconds: float | None = None, **times: Unpack[Times]
) -> Running:
    """Begin a freeze, and return when its hook runs; `release_hook` ends it, or so many seconds."""
    hooks = len(guest.hook_log())
    if seconds is None:
        guest.held_hook()
    else:
        guest.slow_hook(seconds)
    running = operator.freeze(**times)
    running.wait_event(EventKind.SENT)
    guest.shell(f"while [ $(wc -l </run/lab/hook.log) -le {hooks} ]; do sleep 0.02; done")
    return running


def evidence(outcome: Outcome) -> dict[str, str]:
    """What speaks for or against it: ``{"reply": "for", ...}``."""
    return {piece.name: str(piece.result) for piece in outcome.evidence}


def value(outcome: Outcome, name: str) -> str | int | None:
    """What one piece of evidence says."""
    return next(piece.value for piece in outcome.evidence if piece.name == name)


WHOLE = dict.fromkeys(("reply", "coverage", "status", "port", "read"), "for")


def assert_certified(outcome: Outcome, frozen: int = 2) -> None:
    """Assert that a freeze was verified, held and thawed with nothing against it."""
    assert outcome.kind is OutcomeKind.VERIFIED, outcome
    assert (outcome.frozen, outcome.thawed) == (frozen, frozen)
    assert outcome.cause is None
    assert outcome.settled
    assert outcome.next is None
    assert evidence(outcome) == WHOLE | {
        "status-at-thaw": "for",
        # No bytes written prove nothing on an idle guest.
        "writes": "unknown",
        "thaw": "for",
    }
    assert value(outcome, "writes") == 0
    assert outcome.certified


def _outcome(told: TimedEvent) -> Outcome:
    ended = told.event.details
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Outcome)
    return ended.outcome


def bytes_read(guest: Guest) -> int:
    """What moves when the guest reads from its agent's port, as the lab's own monitor shows."""
    path = "/machine/peripheral/vser/virtio-backend"
    # The guest's own index: QEMU's copy of it stands still on QEMU 10 (docs/versions.md).
    element = guest.qmp("x-query-virtio-queue-element", path=path, queue=4, index=0)
    return int(element["avail"]["idx"])


def all_read(guest: Guest) -> int:
    """The same once it stands still: a guest on a busy host is slow to read what it was sent."""
    last, since = bytes_read(guest), time.monotonic()
    while time.monotonic() - since < _STILL_S:
        time.sleep(0.05)
        now = bytes_read(guest)
        if now != last:
            last, since = now, time.monotonic()
    return last


def agent_cpu_s(guest: Guest, seconds: float) -> float:
    """How much CPU time the agent uses in so many seconds from now on."""
    look = "cut -d' ' -f14,15 /proc/$(pidof qemu-ga)/stat"
    used = guest.shell(f"{look}; sleep {seconds:g}; {look}", timeout=seconds + PATIENCE_S).split()
    before, after = (sum(map(int, pair)) for pair in (used[:2], used[2:]))
    return (after - before) / 100
