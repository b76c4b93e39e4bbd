"""Whichever system call fails, of the console's or of its holder's: no guest stays frozen unsaid.

Each point is one call of one run, and one way to fail. After each run the guest is thawed in the
end, or somebody was told loudly that it may not be; nothing hangs; no exception escapes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.holder import process
from agentclient.holder.client import HolderClient
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.operations.manager import OperationManager
from agentclient.operations.operation import AnyOperation
from tests.faults.holder_under_fault import command
from tests.faults.inject import FOR_EVER, Injector, Point, sample
from tests.faults.simulated import Simulated
from tests.guests.faults import signal_process
from tests.processes import children, words_of
from tests.waiting import until

# Nothing may take longer; most take a second.
OUTCOME_S = 60.0
THAWED_S = 60.0
TOLD = ("MAY STILL BE FROZEN", "NOBODY STANDS BY")
HOLD_S = 0.25
A_FEW = 5
MANY = 300
ALL = 1 << 20
LASTING = 12


@dataclass
class Run:
    """One freeze of a simulated guest, and what came of it."""

    guest: Simulated
    texts: list[str] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)
    operations: OperationManager = field(init=False)
    operation: AnyOperation = field(init=False)
    holder: HolderClient = field(default_factory=HolderClient)
    escaped: list[str] = field(default_factory=list)

    def begin(self, hold_s: float) -> None:
        fleet = Fleet()
        fleet.set_vms("socket", [self.guest.vm])
        self.operations = OperationManager(fleet, AccessPool(), holder=self.holder)
        schedule = Schedule(2.0, 1.0, 1, hold_s=hold_s, thaw_timeout_s=3.0)
        request = FreezeRequest(schedule=schedule)
        self.operation = self.operations.freeze(self.guest.vm, request, self._listen)

    def _listen(self, event: Event) -> None:
        self.texts.append(event.text)
        if event.kind is EventKind.HELD:
            self.held.set()
        if event.kind is EventKind.SENT:
            self.sent.set()
        if event.kind is EventKind.OUTCOME:
            self.held.set()
            self.sent.set()

    def outcome(self) -> Outcome:
        outcome = self.operation.wait(OUTCOME_S)
        assert isinstance(outcome, Outcome), f"it hangs: {self.texts}"
        return outcome

    def await_text(self, words: str) -> None:
        end = time.monotonic() + THAWED_S
        while not any(words in text for text in self.texts):
            assert time.monotonic() < end, self.texts
            time.sleep(0.02)

    def await_thaw(self) -> bool:
        end = time.monotonic() + THAWED_S
        while self.guest.frozen and time.monotonic() < end:
            time.sleep(0.01)
        return not self.guest.frozen

    def judge(self, *, for_ever: bool) -> None:
        outcome = self.outcome()
        if outcome.settled:
            assert not self.guest.frozen, f"called settled: {outcome}\n{self.texts}"
        else:
            assert outcome.next, outcome
        told = any(word in text for text in (*self.texts, outcome.reason) for word in TOLD)
        told = told or (for_ever and not outcome.settled)
        assert told or self.await_thaw(), f"left frozen, and nobody told: {outcome}\n{self.texts}"
        assert not self.escaped, self.escaped


# -- what happens in a run -----------------------------------------------------------------


def hold_and_thaw(run: Run) -> None:
    """Freeze, hold, thaw."""
    run.begin(HOLD_S)
    run.outcome()


def give_up(run: Run) -> None:
    """Leave while the freeze is pending: the holder thaws."""
    run.begin(HOLD_S)
    run.sent.wait(OUTCOME_S)
    run.operation.give_up()
    run.outcome()


def channel_drops(run: Run) -> None:
    """QEMU drops the channel in the hold: another one is opened, and armed."""
    run.begin(30.0)
    run.held.wait(OUTCOME_S)
    run.guest.drop_client()
    run.outcome()


def holder_dies(run: Run) -> None:
    """The holder is killed in the hold: the console goes on with its spare, and a new holder."""
    run.begin(30.0)
    run.held.wait(OUTCOME_S)
    if run.holder.pid is not None:
        signal_process(run.holder.pid, signal.SIGKILL)
    run.outcome()


def console_leaves(run: Run) -> None:
    """The console hangs up in the hold: the holder takes over."""
    run.begin(30.0)
    run.held.wait(OUTCOME_S)
    run.holder.close()
    run.outcome()


# Longer than a hurry waits for a last answer.
SLOW_HOOK_S = 1.5
SCENES: list[Callable[[Run], None]] = [
    hold_and_thaw,
    give_up,
    channel_drops,
    holder_dies,
    console_leaves,
]


# -- where it fails ------------------------------------------------------------------------


@dataclass
class Stage:
    """Where the runs take place."""

    folder: Path
    patch: pytest.MonkeyPatch
    runs: int = 0

    def run(
        self, scene: Callable[[Run], None], ours: Point | None, holders: Point | None
    ) -> tuple[Run, Injector, Counter[str]]:
        """Play a scene once, with a failure in the console or in its (first) holder."""
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        seen = folder / "seen"
        points = [holders]

        def commands() -> list[list[str]]:
            return [command(seen, points.pop() if points else None)]

        self.patch.setattr(process, "commands", commands)
        escaped: list[str] = []
        self.patch.setattr(
            threading, "excepthook", lambda args: escaped.append(repr(args.exc_value))
        )
        with Simulated(folder, SLOW_HOOK_S if scene is give_up else 0.1) as guest:
            run = Run(guest, escaped=escaped)
            for_ever = any(point and point.lasts == FOR_EVER for point in (ours, holders))
            with Injector(point=ours) as calls:
                try:
                    scene(run)
                    run.judge(for_ever=for_ever)
                finally:
                    run.operations.stop(1.0)
                    _reap(run, for_ever=for_ever)
        counts = Counter(seen.read_text().split()) if seen.exists() else Counter[str]()
        return run, calls, counts


def _reap(run: Run, *, for_ever: bool) -> None:
    """Wait until no holder is left, so that none lives on into the next run.

    Also none that the console has given up: it has a guest to thaw, finds it thawed, and ends. One
    whose calls fail for ever tries for ever.
    """
    end = time.monotonic() + (0.0 if for_ever else THAWED_S)
    while (left := _holders()) and time.monotonic() < end:
        time.sleep(0.01)
    for pid in left:
        signal_process(pid, signal.SIGKILL)
    assert for_ever or not left, f"a holder does not leave: {run.texts}"
    until(lambda: run.holder.pid is None, "the console's own knowledge of that")


def _holders() -> list[int]:
    """Return the holders that this process has started and that have not ended."""
    pids = children(os.getpid())
    return [one for one in pids if any("holder_under_fault" in word for word in words_of(one))]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_without_a_fault(stage: Stage, scene: Callable[[Run], None]) -> None:
    run, _, _ = stage.run(scene, None, None)
    outcome = run.outcome()
    assert run.await_thaw(), (outcome, run.texts)
    if scene is hold_and_thaw:
        assert outcome.certified, run.texts
    assert outcome.settled or scene is give_up


@pytest.mark.parametrize("whose", ["console", "holder"])
@pytest.mark.parametrize(
    ("lasts", "most"),
    [
        pytest.param(1, A_FEW, id="some-once"),
        pytest.param(LASTING, A_FEW, id="some-for-a-while"),
        pytest.param(FOR_EVER, A_FEW, id="some-for-ever"),
        pytest.param(1, ALL, id="all-once", marks=pytest.mark.soak),
        pytest.param(LASTING, MANY, id="many-for-a-while", marks=pytest.mark.soak),
        pytest.param(FOR_EVER, MANY, id="many-for-ever", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(7200)
def test_each_call_fails_in_turn(
    stage: Stage, whose: str, lasts: int, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = []
    points = list(_points(stage, whose, lasts, most))
    assert len(points) >= 2, "nothing would fail at all"
    for scene, point in points:
        ours, holders = (point, None) if whose == "console" else (None, point)
        try:
            stage.run(scene, ours, holders)
        except AssertionError as error:
            problems.append(f"{scene.__name__}, {point}: {str(error)[:3000]}")
    with capsys.disabled():
        how = {1: "once", FOR_EVER: "for ever"}.get(lasts, f"{lasts} times")
        print(f"\n  {whose}: {len(points)} points failed {how}; {len(problems)} problems")
    assert not problems, "\n\n".join(problems)


def _points(
    stage: Stage, whose: str, lasts: int, most: int
) -> Iterator[tuple[Callable[[Run], None], Point]]:
    scenes = SCENES if most > A_FEW else SCENES[lasts % 2 :: 2]
    for scene in scenes:
        _, calls, seen = stage.run(scene, None, None)
        if whose == "holder":
            calls.counts = seen
        for point in sample(calls.points(lasts=lasts), most // len(scenes)):
            yield scene, point
