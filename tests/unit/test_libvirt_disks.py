"""What libvirt tells of a domain's disks and jobs, and what copies say of themselves there."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

import pytest

from agentclient.access.disk_calls import BACKUP, FOLD, DiskWork
from agentclient.backends.libvirt.copy_marks import PREFIX, CopyMarks, marks_in, stem_of
from agentclient.backends.libvirt.copy_xml import (
    backup_xml,
    checkpoint_xml,
    snapshot_of,
    snapshot_xml,
    with_description,
)
from agentclient.backends.libvirt.domain_disks import (
    Checkpoint,
    checkpoint_of,
    disks_in,
    parsed,
    passed_through,
)
from agentclient.backends.libvirt.domain_jobs import Told, jobs_of
from agentclient.backends.libvirt.watched_copies import copies_in, with_left
from agentclient.model.job import JobKind
from agentclient.model.snapshot import MonitorView
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CLAIM, JobId
from agentclient.protocol.qmp_block import BlockJob

NAME = JobId("backup", Process(4_000_000, 123_456_789), "0a1b2c3d")
STEM = stem_of(NAME.node(CLAIM))
XML = """
<domain id='3'><metadata>{metadata}</metadata><devices>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2' cache='none'/>
    <source file='/vms/a.whole.qcow2' index='3'/>
    <backingStore type='file' index='1'>
      <format type='raw'/><source file='/vms/a.raw'/><backingStore/>
    </backingStore>
    {mirror}
    <target dev='vda' bus='virtio'/><alias name='ua-disk-a'/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='rbd' name='pool/b'><encryption format='luks'/></source>
    <target dev='vdb' bus='virtio'/>
  </disk>
  <disk type='block' device='lun'>
    <source dev='/dev/sdx'/><target dev='sda' bus='scsi'/>
  </disk>
  <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>
</devices></domain>
"""
FIGURES: Mapping[str, object] = {
    "block.count": 3,
    "block.0.name": "vda",
    "block.0.path": "/vms/a.whole.qcow2",
    "block.0.capacity": 1000,
    "block.0.allocation": 200,
    "block.1.name": "vda",
    "block.1.path": "/vms/a.raw",
    "block.1.capacity": 900,
    "block.1.allocation": 800,
    "block.2.name": "vdb",
    "block.2.capacity": 50,
}


def domain(metadata: str = "", mirror: str = "") -> ET.Element:
    return parsed(XML.format(metadata=metadata, mirror=mirror))


def put(marks: CopyMarks) -> str:
    """An element as libvirt keeps it: under the namespace, with the prefix."""
    text = marks.xml() or ""
    for name in ("copy", "mark", "work"):
        text = text.replace(f"<{name}", f"<{PREFIX}:{name}").replace(
            f"</{name}", f"</{PREFIX}:{name}"
        )
    return text.replace(f"<{PREFIX}:copy", f"<{PREFIX}:copy xmlns:{PREFIX}='{marks.space}'", 1)


# -- disks -----------------------------------------------------------------------------------------


def test_disks_are_told_with_their_chains_sizes_and_kinds() -> None:
    vda, vdb, lun, cdrom = disks_in(domain(), FIGURES)
    assert (vda.name, vda.node, vda.size, vda.allocated, vda.depth) == ("vda", "vda", 1000, 200, 1)
    assert [(one.file, one.format, one.allocated) for one in vda.chain] == [
        ("/vms/a.whole.qcow2", "qcow2", 200),
        ("/vms/a.raw", "raw", 800),
    ]
    assert vda.names == {"vda", "ua-disk-a"}
    assert (vda.direct, vda.no_flush) == (True, False)
    assert (vdb.file, vdb.format, vdb.chain[0].encrypted) == ("rbd:pool/b", "raw", True)
    assert (lun.file, lun.size, lun.empty) == ("/dev/sdx", 0, False)
    assert (cdrom.empty, cdrom.removable, cdrom.read_only) == (True, True, True)
    assert passed_through(domain()) == {"sda"}


def test_a_checkpoint_is_a_bitmap_of_each_disk_that_records_in_it() -> None:
    xml = (
        "<domaincheckpoint><name>c1</name><disks><disk name='vda' checkpoint='bitmap' size='77'/>"
        "<disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>"
    )
    records = [checkpoint_of(parsed(xml)), Checkpoint("c2", {"vda": None})]
    vda, vdb, *_ = disks_in(domain(), FIGURES, records)
    # Where libvirt does not tell how much was written, it may be all of it.
    assert [(one.name, one.dirty) for one in vda.bitmaps] == [("c1", 77), ("c2", 1000)]
    assert vdb.bitmaps == ()


def test_what_can_not_be_read_is_told() -> None:
    with pytest.raises(ValueError, match="can't be read"):
        parsed("<domain>")
    with pytest.raises(ValueError, match="bytes"):
        parsed(" " * (5 << 20))


# -- what copies say of themselves -----------------------------------------------------------------


def test_what_a_copy_says_is_read_again_and_that_of_others_stays_apart() -> None:
    works = (DiskWork(NAME.job(0), BACKUP, "vda", "/to/a & b.qcow2", began=True),)
    mine = CopyMarks(STEM, (CLAIM,), works)
    other = JobId("snapshot", Process(5, 6), "ffffffff")
    others = CopyMarks(stem_of(other.node(CLAIM)), (CLAIM,))
    found = marks_in(domain(put(mine) + put(others)))
    assert found == {mine.copy: mine, others.copy: others}
    assert mine.nodes() == {f"{STEM}-k": "", f"{STEM}-t0-f": "/to/a & b.qcow2"}
    assert CopyMarks(STEM).xml() is None


@pytest.mark.parametrize(
    "metadata",
    [
        "<x:copy xmlns:x='urn:others'><x:mark part='k'/></x:copy>",
        "<x:copy xmlns:x='urn:frostwatch:nonsense'><x:mark part='k'/></x:copy>",
        "<copy/>",
    ],
)
def test_what_others_keep_there_is_no_copys(metadata: str) -> None:
    assert marks_in(domain(metadata)) == {}


def test_a_work_under_another_copys_name_counts_for_nothing() -> None:
    stranger = JobId("backup", Process(7, 8), "12345678")
    works = (DiskWork(stranger.job(0), BACKUP, "vda", "/etc/passwd"),)
    (found,) = marks_in(domain(put(CopyMarks(STEM, (CLAIM,), works)))).values()
    assert found.works == ()


def test_copies_are_shown_and_those_that_nobody_follows_are_left() -> None:
    works = (DiskWork(NAME.job(0), BACKUP, "vda", "/to/a.qcow2"),)
    marks = put(CopyMarks(STEM, (CLAIM,), works))
    (job,) = copies_in(XML.format(metadata=marks, mirror=""))
    assert (job.kind, job.process, job.left) == (JobKind.BACKUP, NAME.process, False)
    (left,) = with_left(MonitorView(block_jobs=(job,))).block_jobs or ()
    assert left.left


# -- jobs ------------------------------------------------------------------------------------------


def told(
    *,
    job: Mapping[str, object] | None = None,
    backup: str | None = None,
    blocks: Mapping[str, Mapping[str, object]] | None = None,
    last: Mapping[str, object] | None = None,
    mirror: str = "",
    works: tuple[DiskWork, ...] = (),
) -> tuple[BlockJob, ...]:
    root = domain(mirror=mirror)
    seen = Told(
        root,
        job or {"type": 0},
        None if backup is None else parsed(backup),
        blocks or {},
        last or {},
    )
    return jobs_of(seen, disks_in(root, FIGURES), works)


RUNS = {"type": 2, "operation": 9}
OURS = (
    "<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'>"
    "<target file='/to/a.qcow2'/></disk><disk name='vdb' backup='no'/></disks></domainbackup>"
)
WORK = DiskWork(NAME.job(0), BACKUP, "vda", "/to/a.qcow2")
BEGAN = WORK._replace(began=True)


def test_a_backup_is_ours_by_the_file_that_it_writes() -> None:
    block = {"vda": {"type": 5, "cur": 10, "end": 100, "bandwidth": 7}}
    (ours,) = told(job=RUNS, backup=OURS, blocks=block, works=(WORK,))
    assert (ours.id, ours.done, ours.total, ours.speed) == (NAME.job(0), 10, 100, 7)
    assert not ours.has_ended
    (others,) = told(job=RUNS, backup=OURS, blocks=block, works=(WORK._replace(file="/else"),))
    assert (others.id, others.type) == ("libvirt.backup.vda", "backup")
    # A disk that is done has no job any more while the others go on.
    (done,) = told(job=RUNS, backup=OURS, works=(BEGAN,))
    assert (done.done, done.total, done.has_ended) == (1000, 1000, False)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ({"type": 3, "operation": 9}, None),
        ({"type": 4, "operation": 9, "errmsg": "No space left on device"}, "No space left"),
        ({"type": 5, "operation": 9}, "libvirt has ended it"),
        ({"type": 3, "operation": 5}, "does not tell how it ended"),
        ({}, "does not tell how it ended"),
    ],
)
def test_how_a_backup_ended_is_told_by_what_libvirt_keeps(
    last: Mapping[str, object], error: str | None
) -> None:
    (job,) = told(last=last, works=(BEGAN,))
    assert job.has_ended
    assert (job.error is None) if error is None else (error in (job.error or ""))


def test_what_was_planned_and_never_begun_is_no_job() -> None:
    assert told(last={"type": 3, "operation": 9}, works=(WORK,)) == ()


def test_jobs_of_others_and_of_the_whole_domain_are_seen() -> None:
    blocks: dict[str, dict[str, object]] = {"vda": {"type": 1, "cur": 1, "end": 2}, "vdb": {}}
    found = told(job={"type": 1, "operation": 5}, blocks=blocks)
    assert [(one.id, one.type) for one in found] == [
        ("libvirt.stream.vda", "stream"),
        ("libvirt.migration", "migration"),
    ]


FOLDS = DiskWork(NAME.job("c0"), FOLD, "vda", "/vms/a.whole.qcow2", began=True)
COMMITS = {"vda": {"type": 4, "cur": 5, "end": 9}}


def test_an_overlay_that_is_folded_back_is_ready_and_then_gone() -> None:
    (running,) = told(blocks=COMMITS, works=(FOLDS,))
    assert (running.ready, running.done, running.total) == (False, 5, 9)
    mirror = "<mirror type='file' job='active-commit' ready='yes'/>"
    (ready,) = told(blocks=COMMITS, mirror=mirror, works=(FOLDS,))
    assert ready.ready
    (ended,) = told(works=(FOLDS,))
    assert (ended.has_ended, ended.error) == (True, "it was ended before its end")
    (folded,) = told(works=(FOLDS._replace(file="/vms/a.newer.qcow2"),))
    assert (folded.has_ended, folded.error) == (True, None)


def test_a_copy_of_others_is_not_taken_for_a_planned_fold() -> None:
    planned = FOLDS._replace(began=False)
    (job,) = told(blocks={"vda": {"type": 2, "cur": 5, "end": 9}}, works=(planned,))
    assert job.id == "libvirt.mirror.vda"


# -- what libvirt is told --------------------------------------------------------------------------


def test_each_other_disk_is_left_out_by_name() -> None:
    works = [WORK._replace(file="/to/<a>.qcow2")]
    root = ET.fromstring(backup_xml(works, ["vdb"], "since-then"))
    assert root.get("mode") == "push"
    assert root.findtext("incremental") == "since-then"
    first, second = root.iterfind("disks/disk")
    target = first.find("target")
    assert target is not None
    assert target.get("file") == "/to/<a>.qcow2"
    assert (second.get("name"), second.get("backup")) == ("vdb", "no")
    record = ET.fromstring(checkpoint_xml("c1", ["vda"], ["vdb"]))
    kinds = [(one.get("name"), one.get("checkpoint")) for one in record.iterfind("disks/disk")]
    assert kinds == [("vda", "bitmap"), ("vdb", "no")]


def test_a_snapshot_is_of_disks_alone_and_is_read_again() -> None:
    text = snapshot_xml("whole", {"vda": "/vms/a.whole.qcow2"}, ["vdb"], "so & so")
    root = ET.fromstring(text)
    assert root.find("memory") is None
    ET.SubElement(root, "creationTime").text = "1700000000"
    found = snapshot_of(root, children=True)
    assert (found.name, found.seconds, found.memory) == ("whole", 1_700_000_000, False)
    assert (found.overlays, found.inside) == ({"vda": "/vms/a.whole.qcow2"}, ())
    assert found.children
    assert ET.fromstring(with_description(root, "worth it")).findtext("description") == "worth it"
