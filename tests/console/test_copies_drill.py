"""Copies of a drill's guests through the console, by real keys: each to what has to come of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from agentclient.access.access_pool import AccessPool
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.copy_troubles import CopyTrouble
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import Trouble
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.jobs.manager import JobManager
from agentclient.model.job import Consistency, JobOutcome, JobRefusal, JobResult, JobStage
from agentclient.model.snapshot import VmState
from tests.console.console_session import LARGE
from tests.drilled import Ready, guest
from tui.console.app import FrostwatchApp

SPEED = 20.0
PATIENCE_S = 60.0


@dataclass
class Console:
    """A person in front of a drill, who copies."""

    app: FrostwatchApp
    pilot: Pilot[Any]
    fleet: Fleet
    jobs: JobManager

    async def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"in vain:\n{self.screen}"
            await self.pilot.pause(0.05)

    async def go_to(self, name: str) -> None:
        await self.pilot.press("escape", "slash", *name, "enter")
        await self.until(lambda: self.app.view.cursor == self.state(name).id)

    async def copy(self, name: str, *keys: str) -> None:
        """Choose, ask, change what is to be changed, confirm."""
        await self.go_to(name)
        await self.pilot.press("c")
        await self.until(lambda: "[x] drive-virtio1" in self.screen)
        await self.pilot.press(*keys, "enter")
        await self.until(lambda: type(self.app.screen).__name__ != "CopyDialog")

    async def outcome(self, name: str) -> JobOutcome:
        await self.until(lambda: self.state(name).last_job)
        found = self.state(name).last_job
        assert found is not None
        return found

    def state(self, name: str) -> VmState:
        return self.fleet.find(name)

    @property
    def screen(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)


@asynccontextmanager
async def sitting(*troubles: CopyTrouble) -> AsyncIterator[Console]:
    """Open the console on a drill with a guest for each of the copies' troubles."""
    guests = [replace(guest(f"vm-{one}", Trouble.FAST), copies=one) for one in troubles]
    with Drill(guests, speed=SPEED) as drill:
        fleet, accesses = Fleet(), AccessPool()
        watcher = Watcher(fleet, accesses, [DrillBackend(drill)], port_interval_s=0.3)
        operations = Ready(fleet, accesses)
        jobs = JobManager(fleet, accesses, operations)
        app = FrostwatchApp(
            fleet,
            operations,
            watcher,
            jobs=lambda: jobs,
            read_only=False,
            interval_s=15.0,
            drill=True,
        )
        try:
            watcher.list_first()
            async with app.run_test(size=LARGE) as pilot:
                console = Console(app, pilot, fleet, jobs)
                await console.until(lambda: len(app.view.rows) == len(guests))
                yield console
        finally:
            jobs.stop(5.0)
            operations.stop(2.0)
            watcher.stop()
            accesses.close()


@pytest.fixture(autouse=True)
def _in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_backups_end_as_their_guests_let_them(tmp_path: Path) -> None:
    async with sitting(CopyTrouble.NONE, CopyTrouble.FULL, CopyTrouble.OTHERS) as console:
        await console.until(lambda: console.state("vm-others").block_jobs)
        await console.copy("vm-none")
        await console.copy("vm-full")
        await console.copy("vm-others")
        refused = await console.outcome("vm-others")
        assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.JOB_RUNNING)
        await console.go_to("vm-none")
        await console.until(
            lambda: "backup: copying" in console.screen or "CONSIS" in console.screen
        )
        good = await console.outcome("vm-none")
        assert (good.result, good.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
        await console.until(lambda: "✓ backup CONSISTENT" in console.screen)
        full = await console.outcome("vm-full")
        assert (full.result, full.consistency) == (JobResult.FAILED, Consistency.NONE)
        assert "No space left on device" in full.reason
        assert full.left == ()
    files = {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*.qcow2")}
    assert files == {"vm-none"}


async def test_a_stalled_one_is_stopped_and_undone(tmp_path: Path) -> None:
    async with sitting(CopyTrouble.STALLS) as console:
        await console.copy("vm-stalls")

        def stage() -> JobStage | None:
            job = console.state("vm-stalls").job
            return job.stage if job is not None else None

        await console.until(lambda: stage() is JobStage.COPYING)
        await console.pilot.press("x")
        await console.until(lambda: "Stop the copy of vm-stalls" in console.screen)
        await console.pilot.press("enter")
        outcome = await console.outcome("vm-stalls")
        assert (outcome.result, outcome.left) == (JobResult.CANCELLED, ())
    assert list(tmp_path.rglob("*.qcow2")) == []


async def test_snapshots_are_taken_inside_or_beside_or_refused() -> None:
    async with sitting(CopyTrouble.NONE, CopyTrouble.RAW) as console:
        await console.copy("vm-none", *["right"] * 3)
        good = await console.outcome("vm-none")
        assert (good.result, good.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
        await console.copy("vm-raw")  # the kind of copy is remembered
        refused = await console.outcome("vm-raw")
        assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.RAW_DISK)


async def test_a_mirror_is_completed_in_a_window(tmp_path: Path) -> None:
    async with sitting(CopyTrouble.NONE) as console:
        await console.copy("vm-none", *["right"] * 2)
        good = await console.outcome("vm-none")
        assert (good.result, good.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert len(list(tmp_path.rglob("*.qcow2"))) == 2


async def test_what_was_left_is_found_and_ended() -> None:
    async with sitting(CopyTrouble.NONE, CopyTrouble.LEFT) as console:
        await console.go_to("vm-left")
        await console.until(lambda: "↧ left copy" in console.screen)  # a key means what is seen
        await console.pilot.press("c")
        await console.until(lambda: "drill/left-vm-left.qcow2" in console.screen)
        await console.pilot.press("right", "enter")
        await console.until(lambda: not console.state("vm-left").block_jobs)
        await console.until(lambda: "what was left is ended" in console.screen)


async def test_what_is_left_to_qemu_goes_on_there(tmp_path: Path) -> None:
    async with sitting(CopyTrouble.STALLS) as console:
        await console.copy("vm-stalls")
        vm = console.state("vm-stalls").vm
        await console.until(lambda: (job := console.state("vm-stalls").job) and job.disks)
        console.app.action_context.copies.leave_all()
        outcome = await console.outcome("vm-stalls")
        assert outcome.result is JobResult.LEFT
        (copy,) = await asyncio.to_thread(console.jobs.in_qemu, vm)
        assert (copy.kind, copy.complete) == ("backup", False)
    assert list(tmp_path.rglob("*.qcow2"))
