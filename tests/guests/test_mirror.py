"""Mirrors of real guests under a write load: consistent, of one moment, and given up as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agentclient.jobs.mirror import MirrorJob
from agentclient.model.job import Consistency, FreezePolicy, JobRefusal, JobResult, JobStage
from agentclient.protocol.job_names import JobId
from tests.guests import command as commands
from tests.guests.command import Frostwatch
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest, check_copy, check_database
from tests.guests.lab.shell import wait_until
from tests.guests.mirroring import Mirrors
from tests.guests.threads import threads_kept

MIB = 1 << 20


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with tools, two ext4 and an xfs, for all tests of this module."""
    return module_boot(name="mirrored", mounts=("a", "b", "x"), tools=True)


@pytest.fixture
def mirrors(writer: Guest, tmp_path: Path) -> Iterator[Mirrors]:
    with Mirrors(writer, tmp_path / "to") as made:
        yield made
    writer.calm_down()


# -- what it is worth -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_mirrors_under_load_are_consistent(mirrors: Mirrors, kind: str) -> None:
    guest = mirrors.guest
    held: dict[str, int] = {}
    with guest.append_load("a", "b", "x") as load, guest.database("b") as rows:
        load.wait_for(10)
        outcome = mirrors.make(
            format=kind, at_stage={JobStage.STARTING: lambda: held.update(load.durable())}
        )
        committed = rows.committed()
    assert outcome.consistency is Consistency.CONSISTENT, outcome.reason
    assert outcome.ok
    assert outcome.left == ()
    mirrors.nothing_is_left(files=True)
    guest.assert_thawed()
    verified = mirrors.verify()
    assert verified.ok, verified.problems
    assert verified.manifest is not None
    assert (verified.manifest.word, verified.manifest.certified) == ("mirror", True)
    first, second = (check_copy(mirrors.copy / f"{disk}.{kind}") for disk in "ab")
    third = check_copy(mirrors.copy / f"x.{kind}", "xfs")
    for one, disk in ((first, "a"), (second, "b"), (third, "x")):
        assert one.consistent, one.said
        assert one.gapless
        assert held[disk] <= one.last <= held[disk] + 1
    # All disks are of one instant.
    assert first.last - second.last in (0, 1)
    assert second.last - third.last in (0, 1)
    database = check_database(mirrors.copy / f"b.{kind}")
    assert database.whole
    assert 0 < database.last <= committed


def test_without_a_freeze_it_needs_recovery_and_is_of_one_moment_all_the_same(
    mirrors: Mirrors,
) -> None:
    with mirrors.guest.append_load("a", "b") as load:
        load.wait_for(10)
        outcome = mirrors.make("a", "b", policy=FreezePolicy.NEVER)
    assert outcome.ok
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert "crash-consistent only" in outcome.reason
    first, second = (check_copy(mirrors.copy / f"{disk}.qcow2") for disk in "ab")
    assert first.needs_recovery
    assert second.needs_recovery
    assert mirrors.guest.status() == "running"


def test_what_the_disk_does_not_use_takes_no_room(mirrors: Mirrors) -> None:
    assert mirrors.make("x", format="raw").ok
    found = (mirrors.copy / "x.raw").stat()
    assert found.st_size == 320 * MIB
    assert found.st_blocks * 512 < 40 * MIB


def test_a_vm_without_an_agent_is_paused_and_goes_on(boot: Boot, tmp_path: Path) -> None:
    guest = boot(autostart=False, mounts=("a", "b"), tools=True)
    with Mirrors(guest, tmp_path / "to") as mirrors, guest.append_load("a", "b") as load:
        refused = mirrors.make()
        assert (refused.refusal, mirrors.stages) == (JobRefusal.NOT_FROZEN, [JobStage.PREPARING])
        mirrors.nothing_is_left()
        load.wait_for(10)
        # Somebody resumes it before the disks are completed: it is paused once more for that.
        outcome = mirrors.make(
            policy=FreezePolicy.SUSPEND, at_stage={JobStage.STARTING: guest.resume}
        )
        assert guest.status() == "running"
        load.wait_for(10)
        mirrors.nothing_is_left(files=True)
    assert outcome.ok, outcome.reason
    assert (outcome.paused, outcome.consistency) == (True, Consistency.CRASH_CONSISTENT)
    first, second = (check_copy(mirrors.copy / f"{disk}.qcow2") for disk in "ab")
    assert first.needs_recovery
    assert second.needs_recovery


# -- speed, and the moment ----------------------------------------------------------------


def test_the_limit_counts_and_may_be_changed_meanwhile(mirrors: Mirrors) -> None:
    mirrors.guest.fill("a", 12 * MIB)
    job = mirrors.start("a", limit=MIB)
    mirrors.wait_stage(JobStage.MIRRORING)
    time.sleep(3.0)
    assert mirrors.stages[-1] is JobStage.MIRRORING
    (found,) = mirrors.guest.qmp("query-block-jobs")
    assert found["speed"] == MIB
    assert found["offset"] < found["len"]
    job.set_limit(0)
    outcome = job.wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.ok, outcome.reason


def test_a_reset_while_it_waits_is_no_more_than_writes(mirrors: Mirrors) -> None:
    guest = mirrors.guest
    job = mirrors.start("a", wait=True)
    mirrors.wait_stage(JobStage.READY)
    guest.reset()
    with guest.append_load("a") as load:
        load.wait_for(10)
        job.complete_now()
        outcome = job.wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.consistency is Consistency.CONSISTENT, outcome.reason
    assert check_copy(mirrors.copy / "a.qcow2").consistent


def test_on_the_command_line_it_waits_for_a_signal(mirrors: Mirrors) -> None:
    command = Frostwatch(mirrors.guest)
    arguments = ["mirror", command.vm, "--to", str(mirrors.folder), "--disk", "a"]
    child = command.start(*arguments, "--rate", "20M", "--wait", "--json")
    wait_until(lambda: any(mirrors.folder.rglob("a.qcow2")), PATIENCE_S, "it has begun")
    wait_until(_is_ready(mirrors.guest), PATIENCE_S, "it is ready")
    time.sleep(1.5)
    assert not mirrors.guest.frozen_mounts()
    child.send_signal(signal.SIGUSR1)
    code, told, said = commands.ended(child)
    assert code == 0, said
    assert told[-1]["event"] == "job"
    assert (told[-1]["result"], told[-1]["consistency"]) == ("complete", "consistent")
    stages = [one["stage"] for one in told if one["event"] == "stage"]
    assert stages[-5:] == ["ready", "freezing", "starting", "thawing", "finishing"]
    assert any(one["event"] == "progress" and one["limit"] == 20 * MIB for one in told)
    assert f"kill -USR1 {child.pid}" in said
    assert check_copy(mirrors.copy / "a.qcow2").consistent
    code, told, _ = command.run(*arguments)
    assert (code, told[-1]["ok"]) == (0, True)
    code, found, _ = command.run("backup", "verify", str(mirrors.folder))
    assert (code, [one["kind"] for one in found]) == (0, ["mirror", "mirror"])


def _is_ready(guest: Guest) -> Callable[[], bool]:
    def look() -> bool:
        found = guest.qmp("query-block-jobs")
        return bool(found) and all(one["ready"] for one in found)

    return look


# -- what goes wrong ------------------------------------------------------------------------


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder.mkdir()
    options = f"size={size},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(path: Path) -> None:
    """Write to a file until its file system is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(65536)):
            continue


def test_no_room_at_the_start_is_refused_and_in_the_middle_ends_it(
    writer: Guest, tmp_path: Path
) -> None:
    for disk in "ab":
        writer.fill(disk, 16 * MIB)
    with (
        _small_disk(tmp_path / "small", 32 * MIB) as folder,
        Mirrors(writer, folder) as mirrors,
    ):
        assert mirrors.make().refusal is JobRefusal.NO_SPACE
        mirrors.nothing_is_left()
        job = mirrors.start("b", limit=4 * MIB)
        mirrors.wait_stage(JobStage.MIRRORING)
        other = folder / "somebody's"
        _fill(other)
        ended = job.wait(PATIENCE_S)
        assert ended is not None
        assert (ended.result, ended.consistency) == (JobResult.FAILED, Consistency.NONE)
        assert "No space left" in ended.reason
        assert JobStage.FREEZING not in mirrors.stages
        other.unlink()
        mirrors.nothing_is_left()


@pytest.mark.parametrize("stage", [JobStage.MIRRORING, JobStage.READY, JobStage.STARTING])
def test_one_of_two_that_is_ended_takes_the_other_with_it(
    mirrors: Mirrors, stage: JobStage
) -> None:
    def end() -> None:
        job = next(one for one in guest.qmp("query-jobs") if one["type"] == "mirror")
        guest.qmp("block-job-cancel", device=job["id"], force=True)

    guest = mirrors.guest
    limit = MIB if stage is JobStage.MIRRORING else 0
    wait = stage is JobStage.READY
    done = threading.Timer(1.0, end) if wait or limit else None
    if done is not None:
        outcome_of = mirrors.start("a", "b", limit=limit, wait=wait)
        mirrors.wait_stage(stage)
        done.start()
        outcome = outcome_of.wait(PATIENCE_S)
    else:
        outcome = mirrors.make("a", "b", at_stage={stage: end})
    assert outcome is not None
    assert outcome.result is JobResult.FAILED, outcome.reason
    assert "the copy of" in outcome.reason
    mirrors.nothing_is_left()
    guest.assert_thawed()


@pytest.mark.parametrize(
    "stage", [JobStage.MIRRORING, JobStage.READY, JobStage.FREEZING, JobStage.STARTING]
)
def test_cancelled_at_any_stage_it_leaves_nothing(mirrors: Mirrors, stage: JobStage) -> None:
    begun: list[MirrorJob] = []

    def cancel() -> None:
        while not begun:
            time.sleep(0.01)
        begun[0].cancel()

    limit = MIB if stage is JobStage.MIRRORING else 0
    begun.append(mirrors.start("a", "b", limit=limit, at_stage={stage: cancel}))
    outcome = begun[0].wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.result is JobResult.CANCELLED, outcome.reason
    mirrors.nothing_is_left()
    mirrors.guest.assert_thawed()


def test_where_a_freeze_is_preferred_one_that_is_thawed_by_others_ends_no_copy(
    mirrors: Mirrors,
) -> None:
    def thaw() -> None:
        mirrors.engine.thaw(mirrors.vm).wait(PATIENCE_S)

    with mirrors.guest.append_load("a", "b") as load:
        load.wait_for(10)
        outcome = mirrors.make(
            "a", "b", policy=FreezePolicy.PREFER, at_stage={JobStage.STARTING: thaw}
        )
    assert outcome.ok, outcome.reason
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert "the guest was thawed before the copy could be taken" in outcome.reason
    first, second = (check_copy(mirrors.copy / f"{disk}.qcow2") for disk in "ab")
    assert first.last - second.last in (0, 1), "it was paused: they are of one moment"


def test_an_agent_that_dies_in_the_window_certifies_nothing(mirrors: Mirrors) -> None:
    guest = mirrors.guest
    guest.set_respawn(0.2)
    outcome = mirrors.make("a", "b", at_stage={JobStage.STARTING: guest.kill_agent})
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert "no consistent copy was taken" in outcome.reason
    mirrors.nothing_is_left()
    guest.assert_thawed()


def test_a_guest_that_is_reset_in_the_window_gives_no_copy(mirrors: Mirrors) -> None:
    guest = mirrors.guest
    outcome = mirrors.make("a", at_stage={JobStage.STARTING: lambda: guest.reset(wait=False)})
    assert outcome.result is JobResult.FAILED, outcome.reason
    mirrors.nothing_is_left()
    guest.wait_reset()


@pytest.mark.parametrize("stage", [JobStage.MIRRORING, JobStage.STARTING])
def test_a_qemu_that_is_killed_ends_it(boot: Boot, tmp_path: Path, stage: JobStage) -> None:
    guest = boot(mounts=("a",))
    limit = 1 if stage is JobStage.MIRRORING else 0
    with Mirrors(guest, tmp_path / "to") as mirrors:
        outcome = mirrors.make("a", limit=limit, at_stage={stage: guest.kill_qemu})
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert list(mirrors.folder.iterdir()) == []
    assert outcome.left == ()


@pytest.mark.parametrize("where", ["ready", "in the window"])
def test_a_console_that_is_killed_leaves_what_the_next_one_ends(
    mirrors: Mirrors, where: str
) -> None:
    guest = mirrors.guest
    seconds = "60" if where == "in the window" else "0"
    arguments = [guest.vm_argument, str(mirrors.folder), seconds]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.guests.mirroring", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert any(line.strip() == where for line in child.stdout)
    wait_until(_is_ready(guest), PATIENCE_S, "it is ready")
    child.kill()
    child.communicate()
    wait_until(lambda: not guest.frozen_mounts(), PATIENCE_S, "its holder has thawed")
    left = [one["id"] for one in guest.qmp("query-jobs")]
    assert len(left) == 3
    assert threads_kept(guest) > 0
    found = JobId.parse(left[0])
    assert found is not None
    assert (found.kind, found.process.pid) == ("mirror", child.pid)
    command = Frostwatch(guest)
    code, told, _ = command.run("jobs", "--clear", guest.name)
    command.close()
    assert (code, told[0]["cleared"]["left"]) == (0, [])
    assert not any(mirrors.folder.glob("*/*"))
    mirrors.nothing_is_left(files=True)
    assert threads_kept(guest) == 0
    guest.assert_thawed()
