"""Each system call of the journal fails once, or from then on, while a guest is frozen and thawed.

In every run the guest is thawed, the freeze is not held up, the journal can be read afterwards, and
what does not stand in it was told.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import Trouble
from agentclient.fleet.store import Fleet
from agentclient.journal.storage import process
from agentclient.journal.writer import START_S, Journal
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.vm import Vm
from agentclient.operations.manager import OperationManager
from tests.drilled import drill_of
from tests.faults import journal_calls
from tests.faults.inject import FOR_EVER, Injector, Point, call, no_thread, sample
from tests.needed import program
from tests.unit.journals import nothing, rows

pytestmark = pytest.mark.usefixtures("patient")

HOLD_S = 0.3
# What a freeze may take longer than one whose journal is well; the machine may be very busy.
SLACK_S = 30.0
# SQLite itself tries for up to ten seconds to get a lock that the system fails to give or to take.
ENDED_S = 60.0
# What the console's side of the journal calls.
OURS: Final = (
    call("pipe", os, "pipe2", errno.EMFILE),
    call("spawn", os, "posix_spawnp", errno.EAGAIN, errno.ENOMEM, errno.ENOENT),
    call("thread", threading.Thread, "start", no_thread),
    call("write", os, "write", errno.EPIPE, errno.EAGAIN),
    call("read", os, "read", errno.EIO, errno.EAGAIN),
    call("poll", select, "poll", errno.ENOMEM),
)


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    with drill_of({"db1": Trouble.FAST}) as started:
        yield started


class Run:
    """One freeze, its hold and its thaw, with a journal."""

    def __init__(self, vm: Vm, path: Path) -> None:
        self.path = path
        self.told: list[Event] = []
        began = time.monotonic()
        self._sent_s = 0.0
        fleet = Fleet()
        fleet.set_vms(vm.source, [vm])
        journal = Journal(path)
        operations = OperationManager(fleet, AccessPool(), journal=journal)
        request = FreezeRequest(schedule=Schedule(hold_s=HOLD_S))
        self.outcome = operations.freeze(vm, request, self._hear).wait(60.0)
        self.seconds = time.monotonic() - began
        operations.stop(1.0)
        journal.close(2.0)
        self.closed_s = time.monotonic() - began - self.seconds
        self.untold = list(iter(journal.take_notice, None))

    def _hear(self, event: Event) -> None:
        self.told.append(event)

    def check(self) -> None:
        """Hold what has happened against what was promised."""
        outcome = self.outcome
        assert isinstance(outcome, Outcome)
        assert (outcome.kind, outcome.settled) == ("verified", True), outcome.reason
        assert self.seconds < HOLD_S + START_S + SLACK_S
        assert self.closed_s < 2.0 + 1.0 + SLACK_S
        again = Journal(self.path)
        until = time.monotonic() + ENDED_S
        while self.path.exists() and not again.write(nothing()):
            assert time.monotonic() < until, again.problem
        found = rows(again)
        assert again.problem is None
        again.close()
        said = [event.text for event in self.told if event.kind is EventKind.NOTE]
        if not found or not found[0].settled or len(found[0].events) < len(self.told) - len(said):
            assert any("journal" in text for text in (*said, *self.untold)), found
        if not found or found[0].times["armed"] is None:
            sent = [event.kind for event in self.told].index(EventKind.SENT)
            before = [event.text for event in self.told[:sent]]
            assert any("will be foreign" in text for text in before)


def test_nothing_fails(drill: Drill, tmp_path: Path) -> None:
    run = Run(drill.vms[0], tmp_path / "journal.db")
    run.check()
    assert not [event for event in run.told if "journal" in event.text]
    assert run.untold == []


@pytest.mark.parametrize("most", [10, pytest.param(100_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(7200)
def test_each_call_of_its_process_fails(
    drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    program("strace", package="strace")
    if (reason := journal_calls.why_not()) is not None:
        pytest.skip(reason)
    trace = tmp_path / "trace"
    monkeypatch.setattr(process, "command", lambda path: journal_calls.counted(path, trace))
    Run(drill.vms[0], tmp_path / "counted" / "journal.db").check()
    every = journal_calls.points(trace)
    assert {point.call for point in every} >= {"openat", "pwrite64", "fcntl", "mkdir"}
    chosen = journal_calls.sample(every, most)
    told = 0
    for number, point in enumerate(chosen):
        monkeypatch.setattr(
            process, "command", lambda path, point=point: journal_calls.failing(path, point)
        )
        run = Run(drill.vms[0], tmp_path / str(number) / "journal.db")
        monkeypatch.undo()
        try:
            run.check()
        except AssertionError as error:
            raise AssertionError(f"{point}: {error}") from error
        told += any("journal" in event.text for event in run.told)
    assert told, "nothing has failed at all"
    print(f"\n{len(chosen)} of {len(every)} points of the journal's process; told in {told}")


@pytest.mark.parametrize("most", [10, pytest.param(100_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(7200)
def test_each_call_of_our_side_of_it_fails(drill: Drill, tmp_path: Path, most: int) -> None:
    with Injector(OURS, _journals) as calls:
        well = Run(drill.vms[0], tmp_path / "counted" / "journal.db")
    well.check()
    every = [*calls.points(), *calls.points(lasts=FOR_EVER)]
    chosen = sample(every, most)
    assert chosen, "nothing would fail at all"
    for number, point in enumerate(chosen):
        with Injector(OURS, _journals, point) as failing:
            run = Run(drill.vms[0], tmp_path / str(number) / "journal.db")
        try:
            run.check()
        except AssertionError as error:
            raise AssertionError(f"{point}: {error}") from error
        assert failing.reached or _may_be_spared(point)
    print(f"\n{len(chosen)} of {len(every)} points of the console's side")


def _may_be_spared(point: Point) -> bool:
    """How often it is written, read and waited depends on how much came at once."""
    return point.call in ("write", "read", "poll", "pipe", "spawn")


def _journals(frame: FrameType) -> bool:
    return f"{os.sep}agentclient{os.sep}journal{os.sep}" in frame.f_code.co_filename
