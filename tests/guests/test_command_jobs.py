"""A command that starts backup jobs in QEMU: thawed once they run, copied for longer (real guests).

The command stands in for a VM manager's own backup (`backup_standin`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, Json, ended
from tests.guests.conftest import Boot
from tests.guests.copying import add_target, drop_target, mirror, size_of
from tests.guests.lab import PATIENCE_S, Guest, QmpError, check_copy
from tests.guests.lab.process import make_disk
from tests.guests.lab.shell import wait_until
from tests.guests.test_command import job_of, start, told, until_told

STANDIN = str(Path(__file__).with_name("backup_standin.py"))
JOB_STARTED = ("--thaw-when", "job-started")


@pytest.fixture(scope="module")
def shared_writer(module_boot: Boot) -> Guest:
    """A guest with two disks and tools."""
    return module_boot(name="standin", mounts=("a", "b"), tools=True)


@pytest.fixture
def writer(shared_writer: Guest) -> Iterator[Guest]:
    """The same, without jobs and targets after each test."""
    yield shared_writer
    for job in shared_writer.qmp("query-jobs"):
        with suppress(QmpError):
            shared_writer.qmp("block-job-cancel", device=job["id"], force=True)
    wait_until(lambda: _dismissed(shared_writer), PATIENCE_S, "the end of all jobs")
    for disk in "ab":
        with suppress(QmpError):
            drop_target(shared_writer, disk)
    shared_writer.calm_down()


def _dismissed(guest: Guest) -> bool:
    for job in guest.qmp("query-jobs"):
        with suppress(QmpError):
            guest.qmp("job-dismiss", id=job["id"])
    return not guest.qmp("query-jobs")


@pytest.fixture
def frostwatch(writer: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(writer)
    yield started
    started.close()


def backup_of(
    guest: Guest, folder: Path, disks: str = "ab", gap: float = 0.5, speed: int = 16 << 20
) -> list[str]:
    """The words of a command that backs up some disks, each to `folder`/DISK.qcow2."""
    for disk in disks:
        make_disk(folder / f"{disk}.qcow2", size_of(guest, disk))
    targets = [f"{disk}={folder / disk}.qcow2" for disk in disks]
    agent, monitor = str(guest.agent_socket), str(guest.monitor_socket)
    return [sys.executable, STANDIN, agent, monitor, str(speed), str(gap), *targets]


def test_the_guest_is_thawed_once_each_disk_has_its_job_and_the_copy_is_consistent(
    writer: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        begun = load.counter()
        # So slow that they run as long as it takes to look at them.
        words = backup_of(writer, tmp_path, speed=1 << 16)
        child = start(frostwatch, *words, more=JOB_STARTED)
        lines = until_told(child, "jobs-started")
        wait_until(lambda: not writer.frozen_mounts(), PATIENCE_S, "the thaw")
        assert child.poll() is None
        running = [job["status"] for job in writer.qmp("query-jobs")]
        load.wait_for(20)
        for job in writer.qmp("query-block-jobs"):
            writer.qmp("block-job-set-speed", device=job["device"], speed=0)
        code, rest, err = ended(child)
    assert code == 0, (rest, err)
    assert running == ["running", "running"], "the guest writes while it is copied"
    assert "the agent does not answer: no freeze" in err
    lines += rest
    assert told(lines) == ["began", "jobs-started", "ended"]
    job = job_of(lines)
    assert (job["consistency"], job["command"]["inside"]) == ("consistent", True)
    assert "the start of its block jobs" in job["reason"]
    moments = {name: one["s"] for name, one in job["command"]["moments"].items()}
    assert moments["began"] < moments["jobs"] <= moments["thawing"] < moments["thawed"]
    assert moments["thawed"] < moments["ended"]
    copies = [check_copy(tmp_path / f"{disk}.qcow2") for disk in "ab"]
    for copy in copies:
        assert copy.consistent, copy.said
        assert copy.gapless
    assert copies[0].last - copies[1].last in (0, 1), "both are of one moment"
    assert copies[0].last >= begun


def test_without_a_job_of_each_disk_it_is_held_to_the_windows_end(
    writer: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    words = backup_of(writer, tmp_path, "a")
    child = start(frostwatch, *words, more=(*JOB_STARTED, "--hold", "6"))
    (*_, overran) = until_told(child, "overran")
    assert "no backup job of b was seen" in overran["text"]
    code, rest, _ = ended(child)
    assert code == 1
    job = job_of(rest)
    assert (job["result"], job["consistency"]) == ("complete", "crash-consistent")
    assert job["command"]["moments"]["jobs"] is None


def test_disks_that_are_left_out_of_it_may_be_told(
    writer: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    words = backup_of(writer, tmp_path, "a")
    code, lines, _ = ended(start(frostwatch, *words, more=(*JOB_STARTED, "--disk", "a")))
    assert code == 0
    assert told(lines) == ["began", "jobs-started", "ended"]
    assert check_copy(tmp_path / "a.qcow2").consistent


def test_a_command_that_starts_no_job_has_copied_nothing(
    writer: Guest, frostwatch: Frostwatch
) -> None:
    code, lines, _ = ended(start(frostwatch, "true", more=JOB_STARTED))
    assert code == 1
    job = job_of(lines)
    assert (job["result"], job["consistency"], job["ok"]) == (
        "complete",
        "crash-consistent",
        False,
    )
    assert "no backup job of a, b was seen" in job["reason"]
    writer.assert_thawed()


@pytest.mark.parametrize("disk", ["", "nope"])
def test_it_is_refused_where_it_cannot_be_known(
    writer: Guest, frostwatch: Frostwatch, disk: str, tmp_path: Path
) -> None:
    more: tuple[str, ...] = JOB_STARTED
    if disk:
        more = (*more, "--disk", disk)
    else:
        add_target(writer, "a", tmp_path / "mirror.qcow2")
        mirror(writer, "a", "to-a")
    before = writer.hook_log()
    code, lines, _ = ended(start(frostwatch, "true", more=more))
    assert code == 1
    job: Json = job_of(lines)
    assert job["refusal"] == ("no-disk" if disk else "job-running")
    assert writer.hook_log() == before
