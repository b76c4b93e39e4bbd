"""Threads that QEMU keeps for the guest while a copy is made: how many, where, and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.host.thread_limit import threads_left
from agentclient.access.monitor import Monitor
from agentclient.jobs import thread_reserve
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.left import clear, find_copies
from agentclient.jobs.mirror import MirrorJob, MirrorRequest
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.thread_reserve import MAIN_LOOP, SPARE, UNSET, Limits, ThreadReserve
from agentclient.model.job import JobStage
from agentclient.model.vm import Process
from agentclient.protocol.job_names import JobId
from agentclient.protocol.qmp_block import Disk
from tests.unit.copy_harness import CopyHarness
from tests.unit.copying_qemu import Scene, scene
from tests.unit.event_loops import LIMITS, MAX, MIN
from tests.unit.fake_qemu import FakeJob, FakeQemu

__all__ = ["scene"]

OWN = {"kind": "main-loop", MIN: 2, MAX: 64}
IOTHREAD: dict[str, Any] = {"kind": "iothread", **LIMITS}


@pytest.fixture
def qemu() -> FakeQemu:
    return FakeQemu()


@pytest.fixture
def block(qemu: FakeQemu) -> BlockLayer:
    return BlockLayer(cast(Monitor, qemu))


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def reserve(block: BlockLayer, told: list[str]) -> ThreadReserve:
    return ThreadReserve(block, None, lambda _, text: told.append(text))


@pytest.fixture
def disks(block: BlockLayer) -> tuple[Disk, ...]:
    return block.disks()


@pytest.mark.parametrize(
    ("found", "busy", "kept"),
    [
        (UNSET, 16, Limits(24, 64)),
        (UNSET, 80, Limits(88, 88)),
        (Limits(30, 64), 16, Limits(30, 64)),
        (Limits(30, 200), 80, Limits(88, 200)),
        # Somebody wants no more than these.
        (Limits(0, 20), 16, Limits(20, 20)),
    ],
)
def test_more_threads_are_kept_than_can_hang(found: Limits, busy: int, kept: Limits) -> None:
    assert found.above(busy) == kept


def test_the_main_loop_gets_an_object_once_and_its_limits_back(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    for _ in range(2):
        reserve.take(disks, 8)
        assert qemu.loops.limits(MAIN_LOOP) == (2 * 8 + 2 + SPARE, 64)
        reserve.give_back()
        assert qemu.loops.limits(MAIN_LOOP) == UNSET
    assert qemu.asked.count("object-add") == 1


def test_a_main_loop_of_the_operators_keeps_its_values(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    qemu.loops.loops["theirs"] = dict(OWN)
    reserve.take(disks, 8)
    assert qemu.loops.limits("theirs") == (26, 64)
    reserve.give_back()
    assert qemu.loops.limits("theirs") == (2, 64)
    assert "object-add" not in qemu.asked


def test_limits_that_somebody_changes_meanwhile_are_theirs(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    reserve.take(disks, 8)
    qemu.loops.loops[MAIN_LOOP][MIN] = 40
    reserve.give_back()
    assert qemu.loops.limits(MAIN_LOOP) == (40, 64)


def test_no_limit_is_above_another_on_the_way(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    reserve.take(disks, 40)
    assert qemu.loops.limits(MAIN_LOOP) == (90, 90)
    reserve.give_back()
    assert qemu.loops.limits(MAIN_LOOP) == UNSET


@pytest.mark.parametrize("how", ["disk", "mapping", "controller"])
def test_each_iothread_keeps_threads_for_its_own_disks(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...], how: str
) -> None:
    qemu.loops.loops["io0"] = dict(IOTHREAD)
    first = disks[0].qdev
    bus = {"parent_bus": "/machine/peripheral/scsi/virtio-backend/scsi.0"}
    devices: dict[str, dict[str, dict[str, Any]]] = {
        "disk": {first: {"iothread": "/objects/io0", "iothread-vq-mapping": []}},
        "mapping": {first: {"iothread": "", "iothread-vq-mapping": [{"iothread": "io0"}]}},
        "controller": {
            first: bus,
            "/machine/peripheral/scsi/virtio-backend": {"iothread": "/objects/io0"},
        },
    }
    qemu.loops.devices = devices[how]
    reserve.take(disks, 8)
    assert qemu.loops.limits("io0") == (8 + SPARE, 64)
    assert qemu.loops.limits(MAIN_LOOP) == (2 + 8 + SPARE, 64)
    reserve.give_back()
    assert qemu.loops.limits("io0") == UNSET


def test_while_a_job_goes_on_its_threads_are_kept(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    reserve.take(disks, 8)
    job = JobId("backup", Process(7, 9), "abcdef01").job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 40, stalls=True)
    reserve.give_back()
    assert qemu.loops.limits(MAIN_LOOP) == (26, 64)
    del qemu.jobs[job]
    reserve.give_back()
    assert qemu.loops.limits(MAIN_LOOP) == UNSET


def test_too_low_a_maximum_of_somebodys_is_told(
    qemu: FakeQemu, reserve: ThreadReserve, disks: tuple[Disk, ...], told: list[str]
) -> None:
    qemu.loops.loops["theirs"] = OWN | {MAX: 16}
    reserve.take(disks, 8)
    assert len(told) == 1
    assert "(thread-pool-max of /objects/theirs is 16, and 18 may hang)" in told[0]
    assert qemu.loops.limits("theirs") == (16, 16)
    reserve.give_back()
    assert qemu.loops.limits("theirs") == (2, 16)


def test_where_the_control_group_has_no_room_nothing_is_changed(
    qemu: FakeQemu,
    reserve: ThreadReserve,
    disks: tuple[Disk, ...],
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_reserve, "threads_left", lambda _: 51)
    reserve.take(disks, 8)
    assert "lets it start 51 more" in told.pop()
    assert qemu.loops.limits(MAIN_LOOP) == UNSET
    monkeypatch.setattr(thread_reserve, "threads_left", lambda _: 52)
    reserve.take(disks, 8)
    assert (qemu.loops.limits(MAIN_LOOP), told) == ((26, 64), [])


def test_a_job_tells_once_that_an_old_qemu_keeps_none_and_goes_on(tmp_path: Path) -> None:
    harness = CopyHarness()
    harness.qemu.loops.old = True
    request = BackupRequest(folder=tmp_path, fleece="auto")
    outcome = BackupJob(harness.context(), request).run()
    assert outcome.ok, outcome.reason
    told = [event.text for event in harness.events if "keeps no threads" in event.text]
    assert len(told) == 1
    assert "does not accept value 'main-loop'" in told[0]


@pytest.mark.parametrize("fails", [False, True])
def test_a_mirrors_threads_are_given_back_whatever_comes_of_it(scene: Scene, fails: bool) -> None:
    kept: list[tuple[int, int]] = []

    def look() -> None:
        kept.append(scene.qemu.loops.limits(MAIN_LOOP))
        if fails:
            scene.qemu.fail()

    scene.at_stage(JobStage.MIRRORING, look)
    outcome = MirrorJob(scene.context(), MirrorRequest(folder=scene.folder)).run()
    assert outcome.ok is not fails, outcome.reason
    assert kept == [(2 + 2 * 16 + SPARE, 64)]
    assert scene.qemu.loops.limits(MAIN_LOOP) == UNSET


def test_what_a_killed_one_has_left_is_set_back_when_it_is_cleared(
    qemu: FakeQemu, block: BlockLayer, reserve: ThreadReserve, disks: tuple[Disk, ...]
) -> None:
    reserve.take(disks, 8)
    job = JobId("backup", Process(7, 9), "abcdef01").job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 40, stalls=True)
    (copy,) = find_copies(block, lambda _: True)
    assert clear(block, copy, None).left == ()
    assert qemu.loops.limits(MAIN_LOOP) == UNSET


def test_what_a_killed_one_has_left_is_set_back_by_the_next_copy(
    qemu: FakeQemu, block: BlockLayer, disks: tuple[Disk, ...]
) -> None:
    for _ in range(2):
        later = ThreadReserve(block, None, print)
        later.take(disks, 8)
    later.give_back()
    assert qemu.loops.limits(MAIN_LOOP) == UNSET


@pytest.mark.parametrize(
    ("lines", "files", "left"),
    [
        ("0::/a/b\n", {"a/b/pids": ("max", "9"), "a/pids": ("50", "20")}, 30),
        ("0::/a/b\n", {"a/b/pids": ("12", "9"), "a/pids": ("50", "20")}, 3),
        ("0::/a\n", {"a/pids": ("max", "9")}, None),
        ("8:pids:/a\n0::/\n", {"pids/a/pids": ("12", "10")}, 2),
        ("0::/../other\n", {}, None),
    ],
)
def test_the_room_is_that_of_the_narrowest_control_group(
    tmp_path: Path, lines: str, files: dict[str, tuple[str, str]], left: int | None
) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text(lines)
    for name, (most, now) in files.items():
        folder = (tmp_path / "groups" / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pids.max").write_text(f"{most}\n")
        (folder / "pids.current").write_text(f"{now}\n")
    found = threads_left(Process(7, 1), tmp_path / "proc", tmp_path / "groups")
    assert found == left
