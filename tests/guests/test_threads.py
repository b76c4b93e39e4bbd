"""QEMU's threads for files: how more are kept, and what that does where a copy's target hangs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agentclient.jobs import cancel, late_end
from agentclient.jobs.thread_reserve import MAIN_LOOP, SPARE
from agentclient.model.job import FreezePolicy, JobRefusal, JobResult, JobStage, UnendedCopy
from tests.guests.conftest import Boot
from tests.guests.copying import add_target, drop_target, finish, mirror
from tests.guests.lab import PATIENCE_S, Guest, QmpError
from tests.guests.lab.shell import wait_until
from tests.guests.mirroring import Mirrors
from tests.guests.storages import ROOT, hanging, on_loop
from tests.guests.threads import threads_kept, waits

MIB = 1 << 20
HANGS_S = 4.0
IOTHREAD = ("-object", "iothread,id=io0", "-set", "device.disk-b.iothread=io0")


@pytest.fixture(scope="module")
def guest(module_boot: Boot) -> Guest:
    """A guest of which QEMU serves one disk in its main loop, and one in an iothread."""
    return module_boot(name="served", mounts=("a", "b"), tools=True, extra=IOTHREAD)


@ROOT
def test_a_mirrors_target_that_hangs_keeps_no_write_waiting(guest: Guest, tmp_path: Path) -> None:
    guest.fill("a", 16 * MIB)
    guest.fill("b", 16 * MIB)
    with on_loop(tmp_path) as place, Mirrors(guest, place / "to") as mirrors:
        with guest.append_load("a", "b") as load:
            load.wait_for(10)
            job = mirrors.start(limit=12 * MIB, policy=FreezePolicy.NEVER)
            mirrors.wait_stage(JobStage.MIRRORING)
            since = load.counter()
            with hanging(place):
                time.sleep(HANGS_S)
                assert job.wait(0) is None
                kept = threads_kept(guest), threads_kept(guest, "io0")
            load.wait_for(50)
            worst = load.stalls(since=since).worst_ms
            outcome = job.wait(PATIENCE_S)
        print(f"while the target hung for {HANGS_S:g} s: {worst:.0f} ms")
        assert outcome is not None
        assert outcome.ok, outcome.reason
        assert kept == (2 + 16 + SPARE, 16 + SPARE)
        assert worst < HANGS_S * 750
        assert (threads_kept(guest), threads_kept(guest, "io0")) == (0, 0)


@ROOT
def test_a_mirror_that_is_stopped_while_its_target_hangs_keeps_nobody_waiting(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 1.5)
    monkeypatch.setattr(late_end, "FIRST_S", 1.0)
    with on_loop(tmp_path) as place, Mirrors(guest, place / "to") as mirrors:
        with guest.append_load("a") as load:
            job = mirrors.start(wait=True, policy=FreezePolicy.NEVER)
            mirrors.wait_stage(JobStage.READY)
            load.wait_for(10)
            since = load.counter()
            with hanging(place):
                time.sleep(1.0)
                job.cancel()
                outcome = job.wait(PATIENCE_S)
                time.sleep(1.5)
                shown = _unended(mirrors)
                second = mirrors.make(policy=FreezePolicy.NEVER)
                (seen,) = mirrors.engine.jobs.in_qemu(mirrors.vm)
            load.wait_for(50)
            worst = load.stalls(since=since).worst_ms
        # Its storage answers: it is ended, and undone.
        wait_until(lambda: _unended(mirrors) is None, PATIENCE_S, "the mirror's end")
        mirrors.nothing_is_left()
    print(f"while the target hung for {HANGS_S:g} s: {worst:.0f} ms")
    assert outcome is not None
    assert outcome.result is JobResult.CANCELLED
    assert "QEMU may go on with" in outcome.left[0]
    assert shown is not None
    assert "it was stopped, and QEMU can't end it" in str(seen)
    assert (second.refusal, "can't be ended" in second.reason) == (JobRefusal.JOB_RUNNING, True)
    assert mirrors.engine.fleet.get(mirrors.vm.id).last_job == second
    assert worst < HANGS_S * 750


def _unended(mirrors: Mirrors) -> UnendedCopy | None:
    return mirrors.engine.fleet.get(mirrors.vm.id).unended


@ROOT
def test_a_copy_that_is_refused_while_another_ones_hangs_holds_nobody_up(
    guest: Guest, tmp_path: Path
) -> None:
    with on_loop(tmp_path) as place, guest.append_load("a", "b") as load:
        mirror(guest, "a", add_target(guest, "a", place / "a.qcow2"), speed=8 * MIB)
        _keep(guest, 40)
        load.wait_for(10)
        since = load.counter()
        with hanging(place), Mirrors(guest, tmp_path / "to") as mirrors:
            time.sleep(1.0)
            assert mirrors.make("b").refusal is JobRefusal.JOB_RUNNING
            time.sleep(HANGS_S - 1.0)
            assert guest.status() == "running"
        load.wait_for(50)
        worst = load.stalls(since=since).worst_ms
        guest.qmp("block-job-cancel", device="mirror-a", force=True)
        finish(guest, "mirror-a")
        drop_target(guest, "a")
        _keep(guest, 0)
    print(f"while the target hung for {HANGS_S:g} s: {worst:.0f} ms")
    assert worst < HANGS_S * 750


def _keep(guest: Guest, least: int) -> None:
    """Have the main loop keep threads."""
    if MAIN_LOOP not in str(guest.qmp("qom-list", path="/objects")):
        guest.qmp("object-add", qom_type="main-loop", id=MAIN_LOOP)
    path = f"/objects/{MAIN_LOOP}"
    guest.qmp("qom-set", path=path, property="thread-pool-min", value=least)


def test_fact_threads_are_kept_from_the_moment_that_they_are_asked_for(guest: Guest) -> None:
    path = f"/objects/{MAIN_LOOP}"
    _keep(guest, 0)
    before = len(waits(guest))
    for one in (path, "/objects/io0"):
        guest.qmp("qom-set", path=one, property="thread-pool-min", value=64)
    # They have had some for the guest's own requests.
    wait_until(lambda: len(waits(guest)) >= before + 48, PATIENCE_S, "the threads")
    with pytest.raises(QmpError, match="bad thread-pool-min"):
        guest.qmp("qom-set", path=path, property="thread-pool-min", value=65)
    assert threads_kept(guest) == 65  # it is kept all the same
    for one in (path, "/objects/io0"):
        guest.qmp("qom-set", path=one, property="thread-pool-min", value=0)
    with pytest.raises(QmpError, match="only one main-loop"):
        guest.qmp("object-add", qom_type="main-loop", id="another")
    with pytest.raises(QmpError, match="can not be deleted"):
        guest.qmp("object-del", id=MAIN_LOOP)
