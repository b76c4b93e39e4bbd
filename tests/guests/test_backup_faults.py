"""Backups of real guests when something fails: the guest goes on, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from agentclient.jobs.archive import safe_name
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.fleece import Fleece
from agentclient.jobs.thread_reserve import MOST_WORKERS
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobStage,
)
from tests.guests.backing_up import (
    Backups,
    bitmaps,
    in_the_stage,
    in_the_window,
    node_names,
    nothing_is_left,
    read_manifest,
    restore,
    truth,
)
from tests.guests.command import Frostwatch
from tests.guests.conftest import Boot
from tests.guests.copying import add_target, backup, transaction
from tests.guests.lab import PATIENCE_S, Guest, check_copy
from tests.guests.lab.shell import wait_until
from tests.guests.storages import ROOT, hanging, on_loop, small
from tests.guests.threads import threads_kept

Where = Literal["auto", "off"]
SLOW = 12 << 20
HANGS_S = 4.0
HOME = safe_name("faulty")


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with two disks, for all tests of this module."""
    guest = module_boot(name="faulty", mounts=("a", "b"), tools=True)
    guest.fill("a", 16 << 20)
    return guest


def copying(guest: Guest) -> None:
    """Wait until QEMU copies: the guest is thawed, or about to be."""

    def runs() -> bool:
        jobs = guest.qmp("query-jobs")
        return any((one["type"], one["status"]) == ("backup", "running") for one in jobs)

    wait_until(runs, PATIENCE_S, "a backup's job")


def _failed(outcome: JobOutcome | None, *words: str) -> JobOutcome:
    assert outcome is not None
    assert outcome.result is JobResult.FAILED, outcome.reason
    assert outcome.consistency is Consistency.NONE
    for word in words:
        assert word in outcome.reason, outcome.reason
    return outcome


def _nothing_below(folder: Path) -> None:
    assert list(folder.iterdir()) == []


@ROOT
def test_without_room_nothing_is_begun(writer: Guest, tmp_path: Path) -> None:
    nodes = node_names(writer)
    with small(tmp_path / "small", "2m") as place, Backups(writer, place) as backups:
        outcome = backups.start().wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.refusal is JobRefusal.NO_SPACE
        assert outcome.window is None
        _nothing_below(place)
    nothing_is_left(writer, nodes)


@ROOT
@pytest.mark.parametrize("fleece", ["auto", "folder"])
def test_a_target_that_becomes_full_breaks_the_backup_alone(
    writer: Guest, fleece: str, tmp_path: Path
) -> None:
    nodes, begun = node_names(writer), bitmaps(writer)
    kept = tmp_path / "kept"
    kept.mkdir()
    where: Any = kept if fleece == "folder" else fleece
    with (
        small(tmp_path / "small", "80m") as place,
        Backups(writer, place) as backups,
        writer.append_load("a") as load,
    ):
        filler = place / "filler"

        def fill() -> None:
            with filler.open("wb") as file:
                file.write(bytes(70 << 20))

        job = backups.start(on_event=in_the_window(fill), fleece=where)
        outcome = _failed(job.wait(PATIENCE_S), "No space left on device")
        assert outcome.left == ()
        load.wait_for(10)
        filler.unlink()
        _nothing_below(place)
    _nothing_below(kept)
    nothing_is_left(writer, nodes)
    assert bitmaps(writer) == begun
    assert writer.status() == "running"
    writer.assert_thawed()


@ROOT
def test_without_a_fleece_the_vm_that_a_full_target_stops_goes_on(
    writer: Guest, tmp_path: Path
) -> None:
    nodes, seen = node_names(writer), len(writer.events)
    writer.shell("dd if=/dev/urandom of=/mnt/a/old bs=1M count=20 conv=fsync 2>/dev/null")
    with (
        small(tmp_path / "small", "80m") as place,
        Backups(writer, place) as backups,
        writer.append_load("a") as load,
    ):
        filler = place / "filler"

        def fill_and_write() -> None:
            with suppress(OSError), filler.open("wb") as file:
                file.write(bytes(80 << 20))
            again = "dd if=/dev/zero of=/mnt/a/old bs=1M count=20 conv=notrunc,fsync"
            writer.shell(f"{again} >/dev/null 2>&1 &")

        then = in_the_stage(JobStage.COPYING, fill_and_write)
        outcome = _failed(
            backups.start("a", on_event=then, limit=1, fleece="off").wait(PATIENCE_S),
            "the VM has stopped at an error of a storage (io-error)",
        )
        assert outcome.left == ()
        assert any(one["event"] == "BLOCK_IO_ERROR" for one in writer.events[seen:])
        assert "it goes on without the copy" in backups.texts
        load.wait_for(10)
        filler.unlink()
        _nothing_below(place)
    nothing_is_left(writer, nodes)
    assert writer.status() == "running"
    writer.assert_thawed()


@ROOT
def test_the_vm_that_a_killed_ones_full_target_stops_goes_on_once_that_is_cleared(
    writer: Guest, tmp_path: Path
) -> None:
    nodes, begun = node_names(writer), bitmaps(writer)
    writer.shell("dd if=/dev/urandom of=/mnt/a/old bs=1M count=20 conv=fsync 2>/dev/null")
    frostwatch = Frostwatch(writer)
    with small(tmp_path / "small", "80m") as place:
        more = ("--to", str(place), "--disk", "a", "--fleece", "off", "--rate", "1")
        child = frostwatch.start("backup", writer.name, *more)
        copying(writer)
        wait_until(lambda: not writer.frozen_mounts(), PATIENCE_S, "the thaw")
        child.kill()
        child.wait()
        filler = place / "filler"
        with suppress(OSError), filler.open("wb") as file:
            file.write(bytes(80 << 20))
        again = "dd if=/dev/zero of=/mnt/a/old bs=1M count=20 conv=notrunc,fsync"
        writer.shell(f"{again} >/dev/null 2>&1 &")
        wait_until(lambda: writer.status() == "io-error", PATIENCE_S, "a write that fails")
        code, (told,), said = frostwatch.run("jobs", "--clear", writer.name)
        assert (code, told["cleared"]["resumed"], told["cleared"]["left"]) == (0, True, []), said
        assert writer.status() == "running"
        filler.unlink()
        assert [list(one.iterdir()) for one in place.iterdir()] == [[]], "the VM's folder alone"
    frostwatch.close()
    nothing_is_left(writer, nodes)
    assert bitmaps(writer) == begun
    writer.assert_thawed()


def test_a_failure_loses_nothing_of_the_chain(writer: Guest, tmp_path: Path) -> None:
    with Backups(writer, tmp_path / "to") as backups, writer.append_load("a", "b") as load:
        backups.make()
        load.wait_for(10)
        job = backups.start(incremental=True, limit=1 << 16)
        copying(writer)
        time.sleep(1.0)
        load.wait_for(10)
        job.cancel()
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.result is JobResult.CANCELLED
        assert outcome.left == ()
        load.wait_for(10)
        kept: dict[str, bytes] = {}

        def keep() -> None:
            for disk in "ab":
                kept[disk] = truth(writer, disk, tmp_path / f"truth-{disk}")

        backups.make(incremental=True, on_event=in_the_window(keep))
        _, last = backups.verify()
    assert restore(last, tmp_path / "restored") == kept


def test_a_filter_stays_as_long_as_others_have_theirs_above(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="shared", mounts=("a",), attach="blockdev")
    with Backups(guest, tmp_path / "to") as backups:
        job = backups.start(limit=1)
        copying(guest)
        wait_until(lambda: not guest.frozen_mounts(), PATIENCE_S, "the thaw")
        add_target(guest, "a", tmp_path / "theirs.qcow2")
        transaction(guest, [backup(guest, "a", "to-a", speed=1)])
        job.cancel()
        outcome = job.wait(PATIENCE_S)
    assert outcome is not None
    assert outcome.result is JobResult.CANCELLED
    (clause,) = [one for one in outcome.left if "the filter" in one]
    assert "a copy of others has its own above" in clause
    guest.shell("echo still > /mnt/a/still; sync")
    theirs = [one["id"] for one in guest.qmp("query-jobs")]
    assert theirs == ["backup-a"]


def test_files_that_are_moved_away_while_they_are_written_are_named(
    writer: Guest, tmp_path: Path
) -> None:
    nodes = node_names(writer)
    aside = tmp_path / "aside"
    with Backups(writer, tmp_path / "to") as backups:
        job = backups.start("a", limit=1)
        copying(writer)
        (file,) = (tmp_path / "to").rglob("a.qcow2")
        file.rename(aside)
        job.cancel()
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.left == (f"the incomplete file {file}, which was moved to {aside}",)
    aside.unlink()
    frostwatch = Frostwatch(writer)
    (tmp_path / "again").mkdir()
    more = ("--to", str(tmp_path / "again"), "--disk", "a", "--rate", "1", "--fleece", "off")
    child = frostwatch.start("backup", writer.name, *more)
    copying(writer)
    child.kill()
    child.wait()
    (file,) = (tmp_path / "again").rglob("a.qcow2")
    file.rename(aside)
    code, (told,), _ = frostwatch.run("jobs", "--clear", writer.name)
    frostwatch.close()
    (clause,) = told["cleared"]["left"]
    assert code == 1
    assert str(file) in clause
    assert str(aside) in clause
    nothing_is_left(writer, nodes)
    writer.assert_thawed()


def test_the_agent_killed_in_the_window_is_no_consistent_copy(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="agentless", mounts=("a",), respawn=0)
    nodes = node_names(guest)
    with Backups(guest, tmp_path / "to") as backups:
        job = backups.start(on_event=in_the_window(guest.kill_agent))
        outcome = _failed(job.wait(PATIENCE_S), "no consistent copy was taken")
        assert outcome.window is not None
        assert not outcome.window.certified
        _nothing_below(tmp_path / "to")
        outcome, _ = backups.make(
            policy=FreezePolicy.PREFER, on_event=in_the_window(guest.kill_agent)
        )
        assert outcome.consistency is Consistency.CRASH_CONSISTENT
        assert "not certified" in outcome.reason
    nothing_is_left(guest, nodes)
    guest.assert_thawed()


@pytest.mark.parametrize("policy", [FreezePolicy.REQUIRE, FreezePolicy.PREFER])
def test_a_guest_that_others_thaw_before_the_copy_is_taken(
    writer: Guest, policy: FreezePolicy, tmp_path: Path
) -> None:
    with Backups(writer, tmp_path / "to") as backups:
        job = backups.start(policy=policy, on_event=in_the_window(backups.thaw))
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None, backups.texts
        if policy is FreezePolicy.REQUIRE:
            _failed(outcome, "the guest was thawed before the copy could be taken")
            return
        assert outcome.ok, outcome.reason
        assert outcome.consistency is Consistency.CRASH_CONSISTENT
        assert "the guest was thawed before the copy could be taken" in outcome.reason
        (verified,) = backups.verify()
        assert verified.ok


@pytest.mark.parametrize(
    ("fleece", "owner", "taken_by"),
    [("auto", Fleece, "put_in"), ("off", BlockLayer, "transaction")],
)
def test_what_is_taken_while_the_guest_is_being_thawed_is_not_consistent(
    writer: Guest,
    fleece: Where,
    owner: type,
    taken_by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes, take = node_names(writer), getattr(owner, taken_by)
    writer.held_hook("thaw")  # it writes again before its agent says so
    with Backups(writer, tmp_path / "to") as backups:

        def take_late(*given: Any, **more: Any) -> None:
            threading.Thread(target=backups.thaw).start()
            wait_until(lambda: not writer.frozen_mounts(), PATIENCE_S, "it writes again")
            take(*given, **more)
            writer.release_hook()

        monkeypatch.setattr(owner, taken_by, take_late)
        outcome = backups.start(fleece=fleece).wait(PATIENCE_S)
        assert outcome is not None, backups.texts
        _failed(outcome, "the guest was thawed before the copy could be taken")
    writer.clear_hook()
    nothing_is_left(writer, nodes)


def test_a_guest_that_others_thaw_among_the_filters_is_copied_at_one_moment_all_the_same(
    writer: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in = Fleece.put_in
    with Backups(writer, tmp_path / "to") as backups:

        def thawed_meanwhile(*given: Any) -> None:
            put_in(*given)
            backups.thaw()

        monkeypatch.setattr(Fleece, "put_in", thawed_meanwhile)
        outcome, _ = backups.make(policy=FreezePolicy.PREFER)
        assert outcome.consistency is Consistency.CRASH_CONSISTENT
        assert "copied as of one moment now" in backups.texts
        (verified,) = backups.verify()
        assert verified.ok


def test_a_reset_in_the_window_is_no_consistent_copy(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="reset", mounts=("a",))
    nodes = node_names(guest)
    with Backups(guest, tmp_path / "to") as backups:
        job = backups.start(on_event=in_the_window(lambda: guest.qmp("system_reset")))
        outcome = _failed(job.wait(PATIENCE_S), "no consistent copy was taken")
        assert outcome.left == ()
        _nothing_below(tmp_path / "to")
    nothing_is_left(guest, nodes)


def test_a_reset_while_copying_changes_nothing(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="later", mounts=("a",), tools=True)
    guest.fill("a", 16 << 20)
    nodes = node_names(guest)
    kept: dict[str, bytes] = {}
    with Backups(guest, tmp_path / "to") as backups:
        job = backups.start(
            limit=SLOW,
            on_event=in_the_window(lambda: kept.update(a=truth(guest, "a", tmp_path / "truth"))),
        )
        copying(guest)
        guest.reset(wait=False)
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.ok, outcome.reason
        (verified,) = backups.verify()
    assert restore(verified, tmp_path / "restored") == kept
    guest.wait_reset()
    nothing_is_left(guest, nodes)


@pytest.mark.parametrize("when", ["window", "copying"])
def test_qemu_killed(boot: Boot, when: str, tmp_path: Path) -> None:
    guest = boot(name="killed", mounts=("a",), tools=True)
    guest.fill("a", 8 << 20)
    with Backups(guest, tmp_path / "to") as backups:
        if when == "window":
            job = backups.start(on_event=in_the_window(guest.kill_qemu))
        else:
            job = backups.start(limit=1 << 16)
            copying(guest)
            guest.kill_qemu()
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.result is JobResult.FAILED
        assert outcome.left == ()
    _nothing_below(tmp_path / "to")


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("freezing the guest", marks=pytest.mark.soak),
        pytest.param("taking the copy", marks=pytest.mark.soak),
        "copying",
    ],
)
def test_a_console_that_is_killed_leaves_what_the_next_one_clears(
    writer: Guest, when: str, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    nodes = node_names(writer)
    with Backups(writer, to) as backups, writer.append_load("a", "b") as load:
        backups.make()
        begun = bitmaps(writer)
        frostwatch = Frostwatch(writer)
        slowly = ("--mode", "incremental", "--rate", "16K")
        child = frostwatch.start("backup", writer.name, "--to", str(to), *slowly)
        assert child.stdout is not None
        for line in child.stdout:
            if when in line:
                break
        if when == "copying":
            copying(writer)
        child.send_signal(signal.SIGKILL)
        child.wait()
        load.wait_for(10)
        writer.assert_thawed()
        subprocess.run(["sleep", "1"], check=True)
        code, _, said = frostwatch.run("jobs", "--clear", writer.name)
        assert code == 0, said
        nothing_is_left(writer, nodes)
        assert threads_kept(writer) == 0
        (folder,) = (to / HOME).iterdir()
        assert (folder / "manifest.json").exists(), "the other one's folder is gone with it"
        assert bitmaps(writer) == begun
        kept: dict[str, bytes] = {}

        def keep() -> None:
            for disk in "ab":
                kept[disk] = truth(writer, disk, tmp_path / f"truth-{disk}")

        _, folder = backups.make(incremental=True, on_event=in_the_window(keep))
        verified = {one.folder: one for one in backups.verify()}
        assert [one.ok for one in verified.values()] == [True, True]
        chain = read_manifest(folder)["chain"]
        for names in bitmaps(writer).values():
            assert len([name for name in names if chain in name]) == 1
    assert restore(verified[folder], tmp_path / "restored") == kept


@ROOT
def test_a_target_that_hangs_for_a_while_breaks_nothing(writer: Guest, tmp_path: Path) -> None:
    nodes = node_names(writer)
    fleece = tmp_path / "fleece"
    fleece.mkdir()
    with on_loop(tmp_path) as place, Backups(writer, place / "to") as backups:
        with writer.append_load("a", "b") as load:
            load.wait_for(10)
            job = backups.start(fleece=fleece, limit=SLOW)
            copying(writer)
            since = load.counter()
            with hanging(place):
                time.sleep(HANGS_S)
                assert job.wait(0) is None
                kept = threads_kept(writer)
            load.wait_for(50)
            stalls = load.stalls(since=since)
            outcome = job.wait(PATIENCE_S)
        assert kept > MOST_WORKERS
        assert threads_kept(writer) == 0
        print(f"while the target hung for {HANGS_S:g} s: {stalls.worst_ms:.0f} ms")
        assert stalls.worst_ms < HANGS_S * 750
        assert outcome is not None
        assert outcome.ok, outcome.reason
        assert outcome.left == ()
        assert check_copy(Path(str(outcome.disks[0].target))).consistent
    _nothing_below(fleece)
    nothing_is_left(writer, nodes)


@ROOT
@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fleece", ["auto", "off"])
def test_where_the_fleece_hangs_as_well_the_guest_waits_for_a_bounded_time(
    writer: Guest, fleece: Where, tmp_path: Path
) -> None:
    nodes = node_names(writer)
    with on_loop(tmp_path) as place, Backups(writer, place / "to") as backups:
        with writer.append_load("a", "b") as load:
            load.wait_for(10)
            job = backups.start(fleece=fleece, limit=1 << 20)
            copying(writer)
            since = load.counter()
            with hanging(place):
                time.sleep(30.0)
            load.wait_for(50)
            worst = load.stalls(since=since).worst_ms
            outcome = job.wait(120.0)
        assert outcome is not None
        print(
            f"fleece {fleece}: the target hung for 30 s, a write waited {worst:.0f} ms; {outcome}"
        )
        if fleece == "auto":
            assert worst < 15_000.0
            assert "could not be kept" in outcome.reason
        else:
            assert worst > 25_000.0
        assert outcome.left == ()
    nothing_is_left(writer, nodes)
    writer.assert_thawed()
