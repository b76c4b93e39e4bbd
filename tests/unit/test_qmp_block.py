"""What QEMU says of disks and jobs is read as it is documented; anything else raises nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.job import JobKind
from agentclient.protocol.qmp_block import (
    BlockJobStatus,
    action,
    arguments,
    disks,
    jobs,
    nodes,
    running,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "device",
                    "inserted",
                    "image",
                    "qdev",
                    "node-name",
                    "snapshots",
                    "dirty-bitmaps",
                    "id",
                    "status",
                    "error",
                    "drv",
                    "file",
                    "virtual-size",
                    "ro",
                    "cache",
                    "removable",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DRIVE: dict[str, Any] = {
    "device": "drive-scsi0",
    "qdev": "scsi0",
    "removable": False,
    "inserted": {
        "node-name": "#block162",
        "drv": "qcow2",
        "file": "a.qcow2",
        "ro": False,
        "backing_file_depth": 1,
        "image": {
            "virtual-size": 64,
            "actual-size": 32,
            "snapshots": [{"id": "1", "name": "before", "date-sec": 9, "vm-state-size": 0}],
        },
        "dirty-bitmaps": [
            {
                "name": "m",
                "persistent": True,
                "recording": True,
                "busy": False,
                "count": 5,
                "granularity": 65536,
            }
        ],
    },
}


@given(JSON, JSON)
def test_what_is_not_as_documented_is_left_out(one: object, other: object) -> None:
    disks(one)
    jobs(one, other)
    nodes(one)
    running(one)


def test_a_disk_has_all_its_names() -> None:
    (disk,) = disks([DRIVE])
    assert (disk.name, disk.ref, disk.format, disk.size, disk.allocated) == (
        "drive-scsi0",
        "drive-scsi0",
        "qcow2",
        64,
        32,
    )
    assert disk.names >= {"drive-scsi0", "scsi0"}
    assert (disk.snapshots[0].name, disk.bitmaps[0].usable, disk.bitmaps[0].dirty) == (
        "before",
        True,
        5,
    )


def test_a_disk_without_a_drive_is_called_by_its_node() -> None:
    inserted = DRIVE["inserted"] | {"node-name": "disk1"}
    (disk,) = disks([DRIVE | {"device": "", "qdev": "", "inserted": inserted}])
    assert (disk.name, disk.ref) == ("disk1", "disk1")


@pytest.mark.parametrize(
    ("qdev", "name"),
    [
        ("/machine/peripheral/disk-a/virtio-backend", "disk-a"),
        ("/machine/peripheral/stick/stick.0/legacy[0]", "stick"),
        ("/machine/peripheral-anon/device[3]/virtio-backend", "device[3]"),
        ("scsi0", "scsi0"),
        ("/machine/system.flash1", "system.flash1"),
        ("/machine/unattached/device[20]", "data"),
    ],
)
def test_a_disk_without_a_drive_is_called_by_its_device_whatever_its_node_is(
    qdev: str, name: str
) -> None:
    drive = DRIVE | {"device": "", "qdev": qdev}
    node = DRIVE["inserted"] | {"node-name": "data"}
    overlay = DRIVE["inserted"] | {"node-name": "fw-1a-2b-abcd-t0"}
    (before,) = disks([drive | {"inserted": node}])
    (after,) = disks([drive | {"inserted": overlay}])
    assert before.name == name
    assert "data" in before.names
    assert after.name == name or name == "data"


def test_disks_that_would_have_one_name_are_called_by_their_nodes() -> None:
    drive = DRIVE | {"device": "", "qdev": "/machine/peripheral/two/x/y"}
    found = [drive | {"inserted": DRIVE["inserted"] | {"node-name": one}} for one in ("p", "q")]
    assert [one.name for one in disks(found)] == ["p", "q"]


def test_an_empty_drive_is_empty() -> None:
    (disk,) = disks([{"device": "cd", "removable": True}])
    assert (disk.empty, disk.removable, disk.name) == (True, True, "cd")


def test_a_job_is_read_of_both_lists() -> None:
    listed = [
        {
            "id": "frostwatch.backup.7.9.abcdef01.0",
            "type": "backup",
            "status": "running",
            "current-progress": 5,
            "total-progress": 10,
        },
        {"id": "c", "type": "create", "status": "concluded", "error": "no space"},
        {"id": "odd", "type": "x", "status": "never heard of"},
    ]
    of_block = [
        {
            "device": "frostwatch.backup.7.9.abcdef01.0",
            "speed": 3,
            "ready": True,
            "io-status": "nospace",
        }
    ]
    copy, create, odd = jobs(listed, of_block)
    assert (copy.done, copy.total, copy.speed, copy.ready, copy.stalled) == (5, 10, 3, True, True)
    assert (copy.is_ours, create.is_ours, create.error) == (True, False, "no space")
    assert (copy.has_ended, create.has_ended) == (False, True)
    assert odd.status is BlockJobStatus.UNDEFINED


def test_an_old_qemu_knows_block_jobs_alone() -> None:
    (job,) = jobs(None, [{"device": "drive0", "type": "backup", "offset": 4, "len": 8}])
    assert (job.id, job.done, job.total) == ("drive0", 4, 8)


def test_the_jobs_of_all_are_seen() -> None:
    found = running(
        [
            {"id": "frostwatch.backup.7.9.abcdef01.0", "type": "backup", "status": "running"},
            {"id": "frostwatch.nonsense.7.9.abcdef01.0", "type": "backup", "status": "running"},
            {"id": "drive0\x1b[2J", "type": "stream", "status": "running"},
        ]
    )
    assert found is not None
    ours, odd, others = found
    assert (ours.kind, ours.process and ours.process.pid) == (JobKind.BACKUP, 7)
    assert (odd.kind, odd.process, others.kind) == (None, None, None)
    assert "\x1b" not in str(others)


def test_arguments_are_spelled_as_qmp_has_them() -> None:
    assert arguments(job_id="x", speed=None) == {"job-id": "x"}
    assert action("blockdev-backup", job_id="x") == {
        "type": "blockdev-backup",
        "data": {"job-id": "x"},
    }
