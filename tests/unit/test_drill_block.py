"""The block layer of a drill's guest, in virtual time: what QEMU would say of disks and jobs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.presence import is_gone
from agentclient.backends.drill.block import BlockError, DrillBlock
from agentclient.backends.drill.copy_troubles import (
    CANCELLED,
    COPY_TROUBLES,
    DATA_BYTES,
    NO_SPACE,
    RATE,
    ROOT_BYTES,
    CopyTrouble,
)
from agentclient.backends.drill.guest import DrillGuest
from agentclient.backends.drill.plan import make_guest, plan
from agentclient.backends.drill.troubles import Trouble
from agentclient.protocol.job_names import CopyKey, JobId
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus, disks, jobs, running
from tests.unit.drill_virtual import ask

GUESTS = Path(__file__).parents[1] / "guests"
DOCUMENT = Path(__file__).parents[2] / "docs" / "drill.md"
SYSTEM, DATA = "drive-virtio0", "drive-virtio1"


def block_of(trouble: CopyTrouble = CopyTrouble.NONE) -> DrillBlock:
    return DrillBlock("db1", ("vda", "vdb"), trouble)


def begin(block: DrillBlock, now: float = 0.0, *, grouped: bool = True, speed: int = 0) -> None:
    """Begin a backup of both disks."""
    for number in (0, 1):
        file = {"driver": "file", "node-name": f"t{number}-f", "filename": f"/to/{number}"}
        block.run(now, "blockdev-add", file)
        node = {"driver": "qcow2", "node-name": f"t{number}", "file": f"t{number}-f"}
        block.run(now, "blockdev-add", node)
    actions = [
        {
            "type": "blockdev-backup",
            "data": {"job-id": f"j{n}", "device": device, "target": f"t{n}", "speed": speed},
        }
        for n, device in enumerate((SYSTEM, DATA))
    ]
    mode = {"properties": {"completion-mode": "grouped"}} if grouped else {}
    block.run(now, "transaction", {"actions": actions, **mode})


def seen(block: DrillBlock, now: float) -> dict[str, BlockJob]:
    """What frostwatch makes of the replies."""
    found = jobs(block.run(now, "query-jobs", {}), block.run(now, "query-block-jobs", {}))
    return {one.id: one for one in found}


def test_every_behaviour_was_seen_on_a_real_guest() -> None:
    assert set(COPY_TROUBLES) == set(CopyTrouble)
    text = "\n".join(path.read_text() for path in sorted(GUESTS.glob("test_*.py")))
    there = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    for trouble, told in COPY_TROUBLES.items():
        assert told.shown_by in there, trouble
        assert 10 < len(told.clause) <= 100


def test_the_document_names_the_guests_of_the_usual_drill() -> None:
    told = DOCUMENT.read_text()
    for guest in plan():
        row = f"| `{guest.name}` | {COPY_TROUBLES[guest.copies].clause} |"
        assert (row in told) == (guest.copies is not CopyTrouble.NONE), guest


@pytest.mark.parametrize("count", [13, 24, 100, 1000])
def test_every_trouble_is_there_and_never_the_first_guest_has_one(count: int) -> None:
    found = [guest.copies for guest in plan(count) if guest.trouble is Trouble.FAST]
    assert found[0] is CopyTrouble.NONE
    assert set(found) == (set(CopyTrouble) if count > 13 else {CopyTrouble.NONE})
    others = [guest.copies for guest in plan(count) if guest.trouble is not Trouble.FAST]
    assert set(others) == {CopyTrouble.NONE}


def test_disks_have_sizes_and_an_empty_drive_is_among_them() -> None:
    system, data, drive = disks(block_of().run(0.0, "query-block", {}))
    assert (system.ref, system.size, system.format) == (SYSTEM, ROOT_BYTES, "qcow2")
    assert (data.ref, data.size, data.format) == (DATA, DATA_BYTES, "qcow2")
    assert (drive.empty, drive.removable) == (True, True)


def test_jobs_advance_with_time_and_end() -> None:
    block = block_of()
    begin(block)
    assert [one.done for one in seen(block, 10.0).values()] == [10 * RATE, 10 * RATE]
    after = seen(block, 30.0)
    assert (after["j0"].status, after["j0"].error) == (BlockJobStatus.CONCLUDED, None)
    assert after["j1"].status is BlockJobStatus.RUNNING
    assert seen(block, 40.0)["j1"].done == DATA_BYTES
    for number in (0, 1):
        block.run(41.0, "job-dismiss", {"id": f"j{number}"})
        block.run(41.0, "blockdev-del", {"node-name": f"t{number}"})
        block.run(41.0, "blockdev-del", {"node-name": f"t{number}-f"})
    assert (block.jobs, block.nodes) == ({}, {})


def test_a_limit_counts_from_when_it_is_set() -> None:
    block = block_of()
    begin(block, speed=RATE // 4)
    assert seen(block, 8.0)["j0"].done == 2 * RATE
    block.run(8.0, "block-job-set-speed", {"device": "j0", "speed": 0})
    found = seen(block, 9.0)
    assert (found["j0"].done, found["j0"].speed) == (3 * RATE, 0)


def test_a_full_target_ends_the_job_and_its_group() -> None:
    block = block_of(CopyTrouble.FULL)
    begin(block, speed=RATE // 2)
    ended = seen(block, 100.0)
    assert (ended["j1"].error, ended["j1"].done) == (NO_SPACE, DATA_BYTES // 2)
    assert ended["j0"].has_ended
    fast = block_of(CopyTrouble.FULL)
    begin(fast)
    fast.run(0.0, "block-job-set-speed", {"device": "j0", "speed": 1})
    assert seen(fast, 30.0)["j0"].error == CANCELLED
    alone = block_of(CopyTrouble.FULL)
    begin(alone, grouped=False)
    alone.run(0.0, "block-job-set-speed", {"device": "j0", "speed": 1})
    assert seen(alone, 30.0)["j0"].error is None


def test_a_stalled_one_goes_nowhere_and_can_be_cancelled() -> None:
    block = block_of(CopyTrouble.STALLS)
    begin(block)
    assert seen(block, 1000.0)["j1"].done == DATA_BYTES // 3
    block.run(1000.0, "block-job-cancel", {"device": "j1", "force": True})
    assert seen(block, 1001.0)["j1"].error == CANCELLED


def test_somebody_elses_job_keeps_others_off_and_begins_again() -> None:
    block = block_of(CopyTrouble.OTHERS)
    (job,) = running(block.run(10_000.0, "query-jobs", {})) or ()
    assert (job.process, job.ended) == (None, False)
    with pytest.raises(BlockError, match="busy: block device is in use by block job: backup"):
        begin(block, 10.0)
    assert set(block.jobs) == {SYSTEM}


def test_what_was_left_has_the_names_of_a_frostwatch_that_has_ended() -> None:
    block = block_of(CopyTrouble.LEFT)
    (job,) = running(block.run(5.0, "query-jobs", {})) or ()
    assert job.process is not None
    assert is_gone(job.process)
    name = JobId.parse(job.id)
    assert name is not None
    assert {CopyKey.of_node(node) for node in block.nodes} == {name.key}


def test_all_actions_take_effect_or_none() -> None:
    block = block_of(CopyTrouble.RAW)
    kind = "blockdev-snapshot-internal-sync"
    both: list[dict[str, Any]] = [
        {"type": kind, "data": {"device": device, "name": "one"}} for device in (SYSTEM, DATA)
    ]
    with pytest.raises(BlockError, match="does not support internal snapshots"):
        block.run(0.0, "transaction", {"actions": both})
    assert [disk.snapshots for disk in block.disks] == [[], []]
    block.run(0.0, "transaction", {"actions": both[:1]})
    assert disks(block.run(0.0, "query-block", {}))[0].snapshots[0].name == "one"
    with pytest.raises(BlockError, match="already exists"):
        block.run(0.0, "transaction", {"actions": both[:1]})
    block.run(0.0, "blockdev-snapshot-delete-internal-sync", {"device": SYSTEM, "name": "one"})
    assert block.disks[0].snapshots == []


def test_an_overlay_becomes_what_is_written_on() -> None:
    block = block_of()
    block.run(0.0, "blockdev-add", {"driver": "file", "node-name": "o-f", "filename": "/over"})
    block.run(0.0, "blockdev-add", {"driver": "qcow2", "node-name": "o", "file": "o-f"})
    act = {"type": "blockdev-snapshot", "data": {"node": "#block001", "overlay": "o"}}
    block.run(0.0, "transaction", {"actions": [act]})
    system, *_ = disks(block.run(0.0, "query-block", {}))
    assert (system.node, system.file, system.depth) == ("o", "/over", 1)
    assert [image.file for image in system.chain] == ["/over", "/drill/db1-vda.qcow2"]
    with pytest.raises(BlockError, match="in use"):
        block.run(0.0, "blockdev-del", {"node-name": "o"})


def test_a_filter_above_a_disk_is_read_as_the_disk() -> None:
    block = block_of()
    system = block.disks[0]
    node = {"driver": "copy-before-write", "node-name": "c", "file": system.node}
    block.run(0.0, "blockdev-add", node)
    block.run(0.0, "qom-set", {"path": system.qdev, "property": "drive", "value": "c"})
    block.run(0.0, "blockdev-add", {"driver": "snapshot-access", "node-name": "s", "file": "c"})
    block.run(0.0, "blockdev-add", {"driver": "file", "node-name": "t", "filename": "/to"})
    data = {"job-id": "j", "device": "s", "target": "t"}
    block.run(0.0, "transaction", {"actions": [{"type": "blockdev-backup", "data": data}]})
    assert seen(block, 10.0)["j"].total == ROOT_BYTES
    assert disks(block.run(10.0, "query-block", {}))[0].node == "c"
    with pytest.raises(BlockError, match="in use"):
        block.run(10.0, "blockdev-del", {"node-name": "c"})
    block.run(10.0, "blockdev-del", {"node-name": "s"})
    block.run(10.0, "qom-set", {"path": system.qdev, "property": "drive", "value": system.base})
    block.run(10.0, "blockdev-del", {"node-name": "c"})
    assert set(block.nodes) == {"t"}
    with pytest.raises(BlockError, match="not found"):
        block.run(10.0, "qom-set", {"path": "/machine/none", "property": "drive", "value": "t"})


def test_a_raw_disk_keeps_no_bitmap() -> None:
    block = block_of(CopyTrouble.RAW)
    bitmap = {"node": DATA, "name": "since", "persistent": True}
    with pytest.raises(BlockError, match="persistent"):
        block.run(0.0, "block-dirty-bitmap-add", bitmap)
    block.run(0.0, "block-dirty-bitmap-add", {**bitmap, "node": SYSTEM})
    assert disks(block.run(0.0, "query-block", {}))[0].bitmaps[0].persistent
    block.run(0.0, "block-dirty-bitmap-remove", {"node": SYSTEM, "name": "since"})
    assert block.disks[0].bitmaps == {}


def test_a_mirror_is_ready_and_ends_as_a_copy_unless_it_is_forced() -> None:
    block = block_of()
    begin(block, grouped=False)
    for name in ("j0", "j1"):
        block.run(1.0, "job-cancel", {"id": name})
        block.run(1.0, "job-dismiss", {"id": name})
    for name, target in (("m0", "t0"), ("m1", "t1")):
        device = SYSTEM if target == "t0" else DATA
        block.run(1.0, "blockdev-mirror", {"job-id": name, "device": device, "target": target})
    with pytest.raises(BlockError, match="cannot accept command verb"):
        block.run(2.0, "job-complete", {"id": "m1"})
    assert seen(block, 100.0)["m0"].status is BlockJobStatus.READY
    assert seen(block, 100.0)["m0"].ready
    block.run(100.0, "block-job-cancel", {"device": "m0"})
    block.run(100.0, "block-job-cancel", {"device": "m1", "force": True})
    ended = seen(block, 100.0)
    assert (ended["m0"].error, ended["m1"].error) == (None, CANCELLED)


def test_a_guest_that_nobody_copies_has_no_block_layer() -> None:
    guest = DrillGuest(make_guest("db", 1, Trouble.FAST))
    assert ask(guest, 0.0, ("query-jobs", {})) == [[]]
    assert guest.has_no_jobs
    (found,) = ask(guest, 0.0, ("query-block", {}))
    assert [one["device"] for one in found] == [SYSTEM, DATA, "drive-ide2"]
    left = DrillGuest(replace(guest.plan, copies=CopyTrouble.LEFT))
    assert len(ask(left, 0.0, ("query-jobs", {}))[0]) == 1
