"""A backup without a guest: what it asks of QEMU, and what becomes of it, whatever fails."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.qmp_session import Ask
from agentclient.jobs import targets
from agentclient.jobs.archive import Begun, safe_name, write_begun
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.chain import PREFIX
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.fleece import is_place, take_out_left
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.targets import Target, Targets
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobRefusal,
    JobResult,
)
from agentclient.model.vm import Process, VmId
from agentclient.protocol.job_names import CopyKey, JobId, is_filter
from agentclient.protocol.qmp_graph import files_below
from tests.unit.copy_harness import BROKEN, VERIFIED, CopyHarness, FakeFreeze
from tests.unit.fake_qemu import FakeJob

HOME = safe_name("web1")


class Maker:
    """Makes backups of a VM that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.harness = CopyHarness()
        self.qemu = self.harness.qemu
        self.transactions: list[dict[str, Any]] = []
        self.qemu.on_ask = self._see

    def _see(self, ask: Ask) -> None:
        if ask.command == "transaction":
            self.transactions.append(dict(ask.arguments))

    def make(self, **request: Any) -> JobOutcome:
        """Make one."""
        values: dict[str, Any] = {"folder": self.folder, "fleece": "off"} | request
        return BackupJob(self.harness.context(), BackupRequest(**values)).run()

    @property
    def marks(self) -> dict[str, list[str]]:
        """The bitmaps of each disk."""
        return {node: sorted(each) for node, each in self.qemu.bitmaps.items()}

    @property
    def folders(self) -> list[Path]:
        """The folders of backups."""
        return sorted((self.folder / HOME).iterdir()) if (self.folder / HOME).exists() else []

    def manifest(self, number: int = -1) -> dict[str, Any]:
        """What a manifest says."""
        found: dict[str, Any] = json.loads((self.folders[number] / "manifest.json").read_text())
        return found

    def nothing_is_left(self) -> None:
        """Neither in QEMU nor on the disk."""
        assert self.qemu.nodes == {}
        assert self.qemu.jobs == {}
        assert not any(self.qemu.above.values())
        assert list(self.folder.iterdir()) == []
        assert not any(self.marks.values())


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    folder = tmp_path / "to"
    folder.mkdir()
    made = Maker(folder)
    yield made
    assert not made.qemu.would_have_ended


def test_all_disks_and_their_bitmaps_are_of_one_transaction(maker: Maker) -> None:
    outcome = maker.make()
    assert outcome.ok, outcome.reason
    (transaction,) = maker.transactions
    kinds = [each["type"] for each in transaction["actions"]]
    assert kinds == ["block-dirty-bitmap-add"] * 2 + ["blockdev-backup"] * 2
    assert "properties" not in transaction
    manifest = maker.manifest()
    name = f"{PREFIX}{manifest['chain']}-{manifest['id']}"
    names = [f"{name}-0", f"{name}-1"]
    assert maker.marks == {"#blocka": names[:1], "#blockb": names[1:]}
    assert [each["bitmap"] for each in manifest["disks"]] == names
    assert [each.checksum for each in outcome.disks] == [x["sha256"] for x in manifest["disks"]]
    assert manifest["consistency"] == "consistent"
    assert manifest["versions"]["qemu"] == "7.2.22 (Debian)"
    assert maker.qemu.nodes == {}


def test_without_bitmaps_the_copies_are_completed_together(maker: Maker) -> None:
    assert maker.make(record=False).ok
    assert maker.transactions[0]["properties"] == {"completion-mode": "grouped"}
    assert maker.marks == {}


def test_what_is_asked_for_reaches_qemu(maker: Maker) -> None:
    maker.harness.control.set_limit(5000)
    assert maker.make(compress=True, disks=("b",)).ok
    (each,) = [one["data"] for one in maker.transactions[0]["actions"] if "job-id" in one["data"]]
    assert each["compress"] is True
    assert each["speed"] == 5000
    assert each["device"] == "b"
    assert each["sync"] == "full"


def test_the_bitmap_of_the_last_one_is_removed_once_the_next_is_complete(maker: Maker) -> None:
    assert maker.make().ok
    first = maker.marks["#blocka"]
    names = {name for each in maker.marks.values() for name in each}
    assert maker.make(incremental=True).ok
    jobs = [each["data"] for each in maker.transactions[1]["actions"][2:]]
    assert {(each["sync"], each["bitmap-mode"], each["bitmap"]) for each in jobs} == {
        ("bitmap", "never", name) for name in names
    }
    assert maker.manifest()["parent"]["folder"] == maker.folders[0].name
    assert maker.marks["#blocka"] != first
    assert len(maker.marks["#blocka"]) == 1


def test_a_full_one_begins_a_chain_and_removes_the_bitmaps_of_those_before(maker: Maker) -> None:
    assert maker.make().ok
    maker.qemu.bitmaps["#blocka"]["frostwatch-ffffffff-00000000"] = {"name": "x"} | {
        "name": "frostwatch-ffffffff-00000000"
    }
    maker.qemu.bitmaps["#blocka"]["somebody's"] = {"name": "somebody's"}
    assert maker.make().ok
    ours = [name for name in maker.marks["#blocka"] if maker.manifest()["chain"] in name]
    assert len(ours) == 1
    others = set(maker.marks["#blocka"]) - set(ours)
    assert others == {"frostwatch-ffffffff-00000000", "somebody's"}


def _renamed(maker: Maker) -> None:
    maker.harness.vm = maker.harness.vm._replace(id=VmId("qemu", "other"))


def _texts(maker: Maker) -> list[str]:
    return [event.text for event in maker.harness.events]


def test_a_full_one_ends_the_chains_of_the_vms_former_name(maker: Maker) -> None:
    assert maker.make().ok
    first = maker.manifest()["chain"]
    _renamed(maker)
    assert maker.make(record=False).ok
    assert all(first in name for name in maker.marks["#blocka"]), "it replaces none"
    assert maker.make().ok
    told = [text for text in _texts(maker) if "was called" in text]
    assert told == [
        f"the VM was called {HOME}: no more is recorded for its backups in {maker.folder / HOME} "
        "once this full one is complete"
    ]
    (mark,) = maker.marks["#blocka"]
    assert first not in mark


def test_the_chain_of_a_former_name_goes_on_where_its_folder_is_renamed(maker: Maker) -> None:
    assert maker.make().ok
    _renamed(maker)
    outcome = maker.make(incremental=True)
    assert outcome.refusal is JobRefusal.BITMAP
    assert f"it was called {HOME} then, and has backups in {maker.folder / HOME}" in outcome.reason
    assert outcome.next is not None
    _, old, new = outcome.next.rpartition(": ")[2].split()
    Path(old).rename(new)
    assert maker.make(incremental=True).ok


def test_a_copied_vms_chain_is_not_taken_for_that_of_its_former_name(maker: Maker) -> None:
    maker.harness.vm = maker.harness.vm._replace(uuid="11111111-1111-1111-1111-111111111111")
    assert maker.make().ok
    first = maker.manifest()["chain"]
    _renamed(maker)
    maker.harness.vm = maker.harness.vm._replace(uuid="22222222-2222-2222-2222-222222222222")
    assert maker.make().ok
    assert not any("was called" in text for text in _texts(maker))
    assert any(f"(chain {first})" in text for text in _texts(maker))
    assert any(first in name for name in maker.marks["#blocka"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inconsistent": True}, "can't be relied on"),
        ({"recording": False}, "can't be relied on"),
        ({"persistent": False}, "can't be relied on"),
        ({"name": "other"}, "has not recorded"),
    ],
)
def test_a_bitmap_that_cannot_be_relied_on_is_refused(
    maker: Maker, change: dict[str, Any], words: str
) -> None:
    assert maker.make().ok
    for mark in maker.qemu.bitmaps["#blocka"].values():
        mark.update(change)
    outcome = maker.make(incremental=True)
    assert outcome.refusal is JobRefusal.BITMAP
    assert words in outcome.reason
    assert len(maker.folders) == 1


def test_the_bitmap_of_one_disk_is_not_taken_for_that_of_another(maker: Maker) -> None:
    assert maker.make().ok
    marks = maker.qemu.bitmaps
    marks["#blocka"], marks["#blockb"] = marks["#blockb"], marks["#blocka"]
    outcome = maker.make(incremental=True)
    assert outcome.refusal is JobRefusal.BITMAP
    assert "the disk a has not recorded what was written since" in outcome.reason


@pytest.mark.parametrize(
    ("host", "pid", "words"),
    [
        (None, None, "it can be deleted: rm -r "),
        (socket.gethostname(), 2**22 + 1, "it can be deleted: rm -r "),
        (socket.gethostname(), None, "frostwatch (pid {pid}) may be at work on it"),
        ("other", 7, "begun on the host other; once its frostwatch has ended there, it can be"),
    ],
)
def test_a_folder_without_a_manifest_is_named_with_what_can_be_done(
    maker: Maker, host: str | None, pid: int | None, words: str
) -> None:
    folder = maker.folder / HOME / "20260301T000000Z"
    folder.mkdir(parents=True)
    write_begun(folder, Begun("01234567", "89abcdef"))
    said = json.loads((folder / "begun.json").read_text())
    if host is None:
        del said["host"]  # as an older frostwatch has written it
    else:
        said |= {"host": host, "pid": pid or said["pid"]}
    (folder / "begun.json").write_text(json.dumps(said))
    assert maker.make().ok
    (told,) = [event.text for event in maker.harness.events if "never completed" in event.text]
    words = words.format(pid=os.getpid())
    assert told.startswith(f"{folder} is a backup that was never completed: {words}")
    assert folder.exists()


def test_nobody_is_told_to_delete_what_a_process_has_open(maker: Maker, tmp_path: Path) -> None:
    folder = maker.folder / HOME / "20260301T000000Z"
    folder.mkdir(parents=True)
    write_begun(folder, Begun("01234567", "89abcdef"))
    said = json.loads((folder / "begun.json").read_text()) | {"pid": 2**22 + 1}
    (folder / "begun.json").write_text(json.dumps(said))
    (maker.folder / "link").symlink_to(maker.folder)
    maker.folder /= "link"
    here = f"(pid {os.getpid()}) has a.qcow2 open: "
    with (folder / "a.qcow2").open("w"):
        for process, words in (
            (None, f"a process {here}end that process first"),
            (Process(os.getpid(), 1), f"the VM's QEMU {here}end the copy first, which deletes"),
        ):
            maker.harness.events.clear()
            maker.harness.access.process = process
            maker.make()
            told = next(one.text for one in maker.harness.events if "never completed" in one.text)
            assert words in told
            assert "; after that it can be deleted: rm -r" in told


def test_a_filter_that_others_have_theirs_above_stays_and_is_named(maker: Maker) -> None:
    see = maker.qemu.on_ask

    def put_above(ask: Ask) -> None:
        see(ask)
        if ask.command == "transaction":
            inserted = maker.qemu._drive("a", 64 << 20)["inserted"]
            maker.qemu.more_of_drive["a"] = {"inserted": inserted | {"node-name": "#theirs"}}

    maker.qemu.on_ask = put_above
    outcome = maker.make(fleece="auto", record=False)
    assert "a copy of others has its own above, #theirs" in str(outcome.left)
    ours = maker.qemu.above["/machine/peripheral/disk-a"]
    assert ours.startswith("fw-"), "the guest's device still writes through both"


def _without_drives(maker: Maker, nodes: dict[str, str]) -> None:
    """Have the disks attached by ``-blockdev``: they have no drive's id."""
    for name, node in nodes.items():
        inserted = maker.qemu._drive(name, 64 << 20)["inserted"]
        marks = list(maker.qemu.bitmaps.get(name, {}).values())
        now = inserted | {"node-name": node, "dirty-bitmaps": marks}
        maker.qemu.more_of_drive[name] = {"device": "", "inserted": now}


@pytest.mark.parametrize("nodes", [{"a": "a", "b": "b"}, {"a": "new-a", "b": "new-b"}])
def test_a_chain_that_calls_disks_by_their_nodes_goes_on(
    maker: Maker, nodes: dict[str, str]
) -> None:
    _without_drives(maker, {"a": "a", "b": "b"})
    assert [each.disk for each in maker.make().disks] == ["disk-a", "disk-b"]
    path = maker.folders[0] / "manifest.json"
    old = json.loads(path.read_text())
    for each in old["disks"]:
        each["name"] = each["node"]
    path.write_text(json.dumps(old))
    _without_drives(maker, {"a": "a", "b": "b"})
    for drive in maker.qemu.more_of_drive.values():
        drive["inserted"]["node-name"] = nodes[drive["inserted"]["node-name"]]
    outcome = maker.make(incremental=True)
    assert outcome.ok, outcome.reason
    assert [each["name"] for each in maker.manifest()["disks"]] == ["a", "b"]
    names = [each["bitmap"] for each in old["disks"]]
    jobs = [each["data"] for each in maker.transactions[1]["actions"][2:]]
    assert [each["bitmap"] for each in jobs] == names


def test_a_disk_is_named_by_its_node_below_an_overlay_as_well(maker: Maker) -> None:
    _without_drives(maker, {"a": "a", "b": "b"})
    drive = maker.qemu.more_of_drive["a"]["inserted"]
    drive["node-name"] = "overlay"
    behind = drive["image"] | {"filename": "/images/base.qcow2"}
    drive["image"] = drive["image"] | {"filename": "/images/top.qcow2", "backing-image": behind}
    maker.qemu.nodes["a"] = "/images/base.qcow2"
    for name in ("a", "overlay", "disk-a"):
        outcome = maker.make(disks=(name,))
        assert outcome.ok, outcome.reason
        assert [each.disk for each in outcome.disks] == ["disk-a"]
    # The name that stays is the stronger one.
    maker.qemu.more_of_drive["b"]["inserted"]["node-name"] = "disk-a"
    assert [each.disk for each in maker.make(disks=("disk-a",)).disks] == ["disk-a"]


def test_a_disk_of_another_size_and_a_new_disk_are_refused(maker: Maker) -> None:
    assert maker.make(disks=("a",)).ok
    outcome = maker.make(incremental=True)
    assert "no copy of the disk b" in outcome.reason
    maker.qemu.drives["a"] *= 2
    outcome = maker.make(incremental=True, disks=("a",))
    assert "had another size then" in outcome.reason
    assert outcome.refusal is JobRefusal.BITMAP


def test_with_auto_it_is_incremental_where_it_can_be_and_else_full_and_says_why(
    maker: Maker,
) -> None:
    def why() -> list[str]:
        told = [event.text for event in maker.harness.events]
        maker.harness.events.clear()
        return [text for text in told if "a full backup is made" in text]

    assert maker.make(incremental=True, or_full=True).ok
    assert maker.manifest()["mode"] == "full"
    assert why() == [
        "a full backup is made, no incremental one: there is no complete backup of this VM to "
        "build on"
    ]
    assert maker.make(incremental=True, or_full=True).ok
    assert maker.manifest()["mode"] == "incremental"
    assert why() == []
    maker.qemu.bitmaps = {node: {} for node in maker.qemu.bitmaps}
    assert maker.make(incremental=True, or_full=True).ok
    assert maker.manifest()["mode"] == "full"
    assert "has not recorded what was written since" in why()[0]


def test_a_copy_that_fails_ends_the_others_and_leaves_nothing(maker: Maker) -> None:
    def fail(job: FakeJob) -> None:
        if job.type == "backup" and job.id.endswith("1"):
            job.fails_at = 1

    maker.qemu.on_job = fail
    outcome = maker.make()
    assert outcome.result is JobResult.FAILED
    assert "the copy of b failed: No space left on device" in outcome.reason
    assert outcome.left == ()
    maker.nothing_is_left()


def test_a_vm_that_stops_at_an_error_goes_on_without_the_copy(maker: Maker) -> None:
    def stop(job: FakeJob) -> None:
        if job.type == "backup":
            job.stalls, maker.qemu.running, maker.qemu.stopped_at = True, False, "io-error"

    maker.qemu.on_job = stop
    outcome = maker.make()
    assert outcome.result is JobResult.FAILED
    assert "the VM has stopped at an error of a storage (io-error)" in outcome.reason
    assert (maker.qemu.running, outcome.left) == (True, ())
    told = [event.text for event in maker.harness.events]
    assert any("it goes on without the copy" in text for text in told)
    maker.nothing_is_left()


def test_a_complete_copy_outlives_a_monitor_that_is_silent_for_a_moment(maker: Maker) -> None:
    silent = iter([True, True, False])

    def ask(command: Ask) -> None:
        maker.qemu.hangs.discard("job-dismiss")
        job_of_copy = str(command.arguments.get("id", "")).rpartition(".")[2].isdigit()
        if command.command == "job-dismiss" and job_of_copy and next(silent, False):
            maker.qemu.hangs.add("job-dismiss")

    maker.qemu.on_ask = ask
    outcome = maker.make()
    assert outcome.ok, outcome.reason
    assert next(silent, None) is None
    assert maker.qemu.jobs == {}


def test_a_vm_that_somebody_has_paused_stays_so(maker: Maker) -> None:
    def fail(job: FakeJob) -> None:
        if job.type == "backup":
            job.fails_at, maker.qemu.running = 1, False

    maker.qemu.on_job = fail
    assert maker.make().result is JobResult.FAILED
    assert not maker.qemu.running


def test_a_qemu_that_ends_before_it_has_closed_the_copy_has_made_none(maker: Maker) -> None:
    """The tables of a qcow2 are in QEMU's memory until it closes the file."""

    def end(ask: Ask) -> None:
        if ask.command == "blockdev-del" and str(ask.arguments["node-name"]).endswith("-t1"):
            maker.harness.access.gone = True
            maker.qemu.hangs.add("blockdev-del")

    maker.qemu.on_ask = end
    outcome = maker.make()
    assert outcome.result is JobResult.FAILED
    assert "the VM has ended, perhaps before its QEMU had written all of it" in outcome.reason
    assert list(maker.folder.rglob("manifest.json")) == []


@pytest.mark.parametrize("policy", [FreezePolicy.REQUIRE, FreezePolicy.PREFER])
def test_a_window_that_breaks_is_no_consistent_copy(maker: Maker, policy: FreezePolicy) -> None:
    maker.harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    outcome = maker.make(policy=policy)
    if policy is FreezePolicy.REQUIRE:
        assert outcome.result is JobResult.FAILED
        maker.nothing_is_left()
    else:
        assert outcome.consistency is Consistency.CRASH_CONSISTENT
        assert maker.manifest()["consistency"] == "crash-consistent"
        assert maker.manifest()["window"]["certified"] is False


@pytest.mark.parametrize(
    "command", ["blockdev-add", "blockdev-create", "transaction", "query-block"]
)
def test_whatever_qemu_refuses_nothing_is_left(maker: Maker, command: str) -> None:
    maker.qemu.refuses[command] = "no"
    outcome = maker.make()
    assert not outcome.ok
    assert "no" in outcome.reason
    maker.nothing_is_left()


def test_a_filter_that_was_left_is_refused_with_what_ends_it(maker: Maker) -> None:
    node = JobId("backup", Process(7, 9), "abcdef01").node("c0")
    maker.qemu.nodes[node] = "/images/a.qcow2"
    outcome = maker.make()
    assert outcome.refusal is JobRefusal.JOB_RUNNING
    assert f"the filter of another copy is above a disk of the VM: {node}" in outcome.reason
    assert "frostwatch jobs --clear" in (outcome.next or "")
    assert list(maker.qemu.nodes) == [node]


def test_a_filter_of_somebody_elses_copy_is_refused(maker: Maker) -> None:
    inserted = {"node-name": "f0", "drv": "copy-before-write", "image": {"virtual-size": 1}}
    maker.qemu.more_of_drive["b"] = {"inserted": inserted}
    outcome = maker.make(disks=("a",))
    assert outcome.refusal is JobRefusal.JOB_RUNNING
    assert "frostwatch" not in (outcome.next or "")


def test_a_disk_that_cannot_record_is_told_and_copied(maker: Maker) -> None:
    maker.qemu.refuses["block-dirty-bitmap-add"] = "too many bitmaps"
    assert maker.make().ok
    told = " ".join(event.text for event in maker.harness.events)
    assert "no incremental backup can be built on this one" in told
    assert "too many bitmaps" in told
    assert maker.manifest()["disks"][0]["bitmap"] is None
    outcome = maker.make(incremental=True)
    assert "was not recorded" in outcome.reason


def test_another_vms_backups_are_not_mixed_with_ours(maker: Maker) -> None:
    assert maker.make().ok
    found = maker.manifest()
    found["vm"]["uuid"] = "11111111-1111-1111-1111-111111111111"
    (maker.folders[0] / "manifest.json").write_text(json.dumps(found))
    maker.harness.vm = maker.harness.vm._replace(uuid="22222222-2222-2222-2222-222222222222")
    outcome = maker.make()
    assert outcome.refusal is JobRefusal.TARGET
    assert "another VM of this name" in outcome.reason


def test_cancelled_while_copying_nothing_is_left(maker: Maker) -> None:
    def stop(job: FakeJob) -> None:
        job.stalls = job.type == "backup"
        if job.stalls:
            maker.harness.control.cancel()

    maker.qemu.on_job = stop
    outcome = maker.make()
    assert outcome.result is JobResult.CANCELLED
    maker.nothing_is_left()


def test_with_a_fleece_the_window_holds_the_filters_alone(maker: Maker, tmp_path: Path) -> None:
    fleece = tmp_path / "fleece"
    fleece.mkdir()
    asked: list[tuple[str, bool]] = []
    see = maker.qemu.on_ask

    def watch(ask: Ask) -> None:
        see(ask)
        frozen = any(not one.done for one in maker.harness.freezes)
        asked.append((ask.command, frozen))

    maker.qemu.on_ask = watch
    outcome = maker.make(fleece=fleece)
    assert outcome.ok, outcome.reason
    inside = [command for command, frozen in asked if frozen and not command.startswith("query")]
    assert inside == ["transaction", "qom-set", "qom-set"]
    jobs = [each["data"] for each in maker.transactions[1]["actions"]]
    assert all(each["device"].startswith("fw-") for each in jobs)
    assert maker.transactions[1]["properties"] == {"completion-mode": "grouped"}
    assert list(fleece.iterdir()) == []
    assert maker.qemu.nodes == {}
    assert not any(maker.qemu.above.values())


def test_what_is_left_of_a_fleece_is_named_also_where_the_copy_fails_after_it(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, left = Targets.remove, "the incomplete file a.fleece, which was moved to /b/a.fleece"

    def removed(of: Targets, *given: Any) -> list[str]:
        found = [left] if any(one.path.suffix == ".fleece" for one in of.made) else []
        return remove(of, *given) + found

    def fails(*_: object) -> None:
        raise JobFailed("the storage did not take the copy")

    monkeypatch.setattr(Targets, "remove", removed)
    monkeypatch.setattr(Targets, "sync", fails)
    outcome = maker.make(fleece="auto")
    assert outcome.result is JobResult.FAILED
    assert outcome.left == (left,)


def test_where_there_can_be_no_filter_it_is_told_and_copied(maker: Maker) -> None:
    maker.qemu.refuses["qom-set"] = "Property 'drive' can't be set"
    outcome = maker.make(fleece="auto")
    told = " ".join(event.text for event in maker.harness.events)
    assert "no fleecing: a target that stalls can stall the guest's writes" in told
    assert outcome.result is JobResult.FAILED or outcome.ok
    del maker.qemu.refuses["qom-set"]


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_where_a_filter_is_refused_no_device_is_given_the_node_that_it_has(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Each disk's is made to try it, and then both are made; the maker asks what a device got."""
    made = 0

    def refuse(ask: Ask) -> None:
        nonlocal made
        is_filter = ask.arguments.get("driver") == "copy-before-write"
        made += is_filter
        maker.qemu.refuses = {"blockdev-add": "no"} if is_filter and made >= first else {}

    maker.qemu.on_ask = refuse
    outcome = maker.make(fleece="auto")
    assert outcome.ok is (first <= 2), outcome.reason
    assert outcome.left == ()
    assert not any(maker.qemu.above.values())


def test_without_a_freeze_two_disks_are_taken_by_one_transaction(maker: Maker) -> None:
    filters: list[list[str]] = []
    see = maker.qemu.on_ask

    def watch(ask: Ask) -> None:
        see(ask)
        if ask.command == "transaction":
            filters.append([node for node in maker.qemu.nodes if is_filter(node)])

    maker.qemu.on_ask = watch
    assert maker.make(fleece="auto", policy=FreezePolicy.NEVER).ok
    assert filters == [[]]
    kinds = [each["type"] for each in maker.transactions[0]["actions"]]
    assert kinds == ["block-dirty-bitmap-add"] * 2 + ["blockdev-backup"] * 2
    assert not list(maker.folders[0].glob("*.fleece"))


@pytest.mark.parametrize("ended", [True, False])
def test_where_the_guest_goes_on_among_the_filters_all_disks_are_copied_at_one_moment_later(
    maker: Maker, *, ended: bool
) -> None:
    see = maker.qemu.on_ask
    maker.harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)

    def thaw(ask: Ask) -> None:
        see(ask)
        if ended and ask.command == "qom-set":  # else nobody knows before the end of the window
            for one in maker.harness.freezes:
                one.break_window()

    maker.qemu.on_ask = thaw
    outcome = maker.make(fleece="auto", policy=FreezePolicy.PREFER)
    assert outcome.ok, outcome.reason
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    bitmaps, copies = maker.transactions
    assert {each["type"] for each in bitmaps["actions"]} == {"block-dirty-bitmap-add"}
    devices = [each["data"]["device"] for each in copies["actions"]]
    assert devices == ["a", "b"], "the disks themselves, and no filter"
    assert any("copied as of one moment now" in event.text for event in maker.harness.events)
    assert not list(maker.folders[0].glob("*.fleece"))
    assert maker.qemu.nodes == {}
    assert not any(maker.qemu.above.values())


def test_a_demanded_window_that_is_over_among_the_filters_ends_the_copy(maker: Maker) -> None:
    see = maker.qemu.on_ask

    def thaw(ask: Ask) -> None:
        see(ask)
        if ask.command == "qom-set":
            for one in maker.harness.freezes:
                one.break_window()

    maker.qemu.on_ask = thaw
    outcome = maker.make(fleece="auto")
    assert outcome.result is JobResult.FAILED
    assert "its disks are not of one moment" in outcome.reason
    maker.nothing_is_left()


def test_a_fleece_that_fails_is_told_and_nothing_is_left(maker: Maker) -> None:
    def fail(job: FakeJob) -> None:
        if job.type == "backup":
            job.end("Permission denied")

    maker.qemu.on_job = fail
    outcome = maker.make(fleece="auto")
    assert "what the guest has overwritten could not be kept" in outcome.reason
    assert "--fleece DIR" in str(outcome.next)
    maker.nothing_is_left()


GRAPH = {
    "nodes": [
        {"id": 1, "type": "block-backend", "name": "a"},
        {"id": 2, "type": "block-driver", "name": "fw-2s-5yc1s-abcd-c0"},
        {"id": 4, "type": "block-driver", "name": "#blocka"},
        {"id": 6, "type": "block-driver", "name": "fw-2s-5yc1s-abcd-p0"},
        {"id": 7, "type": "block-driver", "name": "fw-2s-5yc1s-abcd-s0"},
    ],
    "edges": [
        {"name": "root", "parent": 1, "child": 2},
        {"name": "file", "parent": 7, "child": 2},
        {"name": "file", "parent": 2, "child": 4},
        {"name": "target", "parent": 2, "child": 6},
        {"name": "file", "parent": 99, "child": 4},
    ],
}


def test_what_is_below_a_node_is_read() -> None:
    assert files_below(GRAPH) == {
        "fw-2s-5yc1s-abcd-s0": "fw-2s-5yc1s-abcd-c0",
        "fw-2s-5yc1s-abcd-c0": "#blocka",
    }
    odd: list[object] = [None, [], {"nodes": 5, "edges": [5, {}]}, {"edges": GRAPH["edges"]}]
    odd += [{"nodes": GRAPH["nodes"], "edges": [{"name": "file", "parent": [7], "child": 2}]}]
    for strange in odd:
        assert files_below(strange) == {}


@pytest.mark.parametrize("graph", [GRAPH, {}])
def test_a_filter_that_was_left_is_taken_out_or_named(maker: Maker, graph: object) -> None:
    key = CopyKey.of_node("fw-2s-5yc1s-abcd-c0")
    assert key is not None
    maker.qemu.above["/machine/peripheral/disk-a"] = "fw-2s-5yc1s-abcd-c0"
    maker.qemu.nodes = {"fw-2s-5yc1s-abcd-s0": "", "fw-2s-5yc1s-abcd-c0": ""}
    maker.qemu.graph = graph
    left = take_out_left(maker.harness.context().block(), key)
    if graph:
        assert left == []
        assert not any(maker.qemu.above.values())
        assert maker.qemu.nodes == {"fw-2s-5yc1s-abcd-c0": ""}
    else:
        assert left == [
            "the filter fw-2s-5yc1s-abcd-c0 above the disk a (QEMU does not tell what is below it)"
        ]
    assert take_out_left(maker.harness.context().block(), key._replace(token="xxxx")) == []


def test_the_places_of_a_fleece_are_told_from_copies() -> None:
    assert is_place("fw-2s-5yc1s-abcd-p0-f")
    assert not is_place("fw-2s-5yc1s-abcd-t0-f")
    assert not is_place("p0-f")


def test_qemu_waits_for_no_storage_and_a_copy_is_complete_once_that_has_it(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[Any] = []
    maker.qemu.on_ask = lambda ask: (
        added.append(ask.arguments.get("cache"))
        if ask.command == "blockdev-add" and ask.arguments["driver"] in ("file", "qcow2")
        else None
    )
    complete: dict[str, bool] = {}

    def sync(made: list[Target]) -> None:
        for target in made:
            complete[target.path.name] = (target.path.parent / "manifest.json").exists()

    monkeypatch.setattr(targets, "sync_all", sync)
    assert maker.make(fleece="auto").ok
    assert added == [{"no-flush": True}] * 8
    assert complete == {"a.qcow2": False, "b.qcow2": False}
