"""Which disks a backup job has begun to copy: by QEMU's graph, or by the job's name."""

from __future__ import annotations

from agentclient.jobs.command.started import StartedJobs
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus, Disk
from agentclient.protocol.qmp_graph import nodes_of_jobs


def _disk(name: str, node: str) -> Disk:
    return Disk(name, name, node, "", "qcow2", f"/{name}", 1, 1, False, False, False, 0)


def _job(job_id: str, kind: str = "backup", **more: object) -> BlockJob:
    job = BlockJob(job_id, kind, BlockJobStatus.RUNNING, 0, 1)
    return job._replace(**more)  # type: ignore[arg-type]


DISKS = (_disk("drive-scsi0", "#block1"), _disk("drive-scsi1", "#block2"))
GRAPH = {
    "nodes": [
        {"id": 1, "type": "block-backend", "name": "drive-scsi0"},
        {"id": 2, "type": "block-driver", "name": "#block9"},
        {"id": 3, "type": "block-driver", "name": "#block1"},
        {"id": 4, "type": "block-job", "name": "job7"},
        {"id": 5, "type": "block-driver", "name": "target"},
    ],
    "edges": [
        {"parent": 1, "child": 2, "name": "root"},
        {"parent": 2, "child": 3, "name": "file"},
        {"parent": 2, "child": 5, "name": "target"},
        {"parent": 4, "child": 2, "name": "main node"},
        {"parent": 5, "child": 2, "name": "a loop"},
    ],
}


def test_the_graph_tells_the_nodes_of_a_job_behind_its_filter() -> None:
    assert nodes_of_jobs(GRAPH) == {"job7": frozenset({"#block9", "#block1", "target"})}


def test_a_graph_that_is_not_as_documented_tells_nothing() -> None:
    odd: list[object] = [None, [], {}, {"nodes": 7, "edges": "x"}, {"nodes": [{"name": "x"}, 3]}]
    odd += [{"nodes": [{"id": [], "type": "block-job"}], "edges": [{"parent": {}, "child": []}]}]
    for graph in odd:
        assert nodes_of_jobs(graph) == {}
    assert nodes_of_jobs({"nodes": [{"id": 1, "type": "block-job"}]}) == {"None": frozenset()}


def test_all_disks_have_to_be_seen_in_one_look_or_in_several() -> None:
    started = StartedJobs(DISKS, ["old"])
    started.see(started.new([_job("job7")]), nodes_of_jobs(GRAPH))
    assert list(started.missing) == ["drive-scsi1"]
    started.see(started.new([_job("drive-scsi1")]), {})  # its name is the drive's
    assert not started.missing


def test_other_jobs_are_no_copies_of_the_moment() -> None:
    started = StartedJobs(DISKS, ["old"])
    jobs = [
        _job("old"),
        _job("frostwatch.backup.1.2.ab.0"),
        _job("drive-scsi0", "mirror"),
        _job("drive-scsi0", error="no space"),
        _job("drive-scsi0", status=BlockJobStatus.ABORTING),
    ]
    assert started.new(jobs) == ()
    assert started.others == {"mirror"}
    assert started.missing == ("drive-scsi0", "drive-scsi1")


def test_a_backup_that_is_created_paused_or_over_has_begun() -> None:
    for status in (BlockJobStatus.CREATED, BlockJobStatus.PAUSED, BlockJobStatus.CONCLUDED):
        started = StartedJobs(DISKS[:1], [])
        started.see(started.new([_job("drive-scsi0", status=status)]), {})
        assert not started.missing
