"""What fails around a snapshot: nothing is certified that is not, and what is left is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.qmp_session import Ask, QmpSession
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.model.disk_snapshot import SnapshotKind
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobStage,
)
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.protocol.job_names import is_claim
from tests.guests.conftest import Boot
from tests.guests.faults import JOURNAL_DISK_BYTES, small_disk, why_not
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.copies import snapshots
from tests.guests.lab.process import make_disk
from tests.guests.lab.shell import wait_until
from tests.guests.snapshotting import Photographer

BOTH = pytest.mark.parametrize("external", [False, True], ids=["internal", "external"])
IN_THE_WINDOW = JobStage.STARTING


@pytest.fixture
def photographer(calm: Guest) -> Iterator[Photographer]:
    """Somebody who takes snapshots of the module's shared guest, and leaves none."""
    with Photographer(calm) as one:
        yield one
        if calm.alive:
            _delete_all(one)


def _delete_all(photographer: Photographer) -> None:
    found = list(photographer.list().values())
    for each in reversed(found):
        photographer.delete(each.name, external=each.kind is SnapshotKind.EXTERNAL)
    assert photographer.list() == {}


def _nodes(guest: Guest) -> list[str]:
    found = guest.qmp("query-named-block-nodes")
    names = [str(one["node-name"]) for one in found]
    # The claim of one that was killed counts for nothing: the next copy takes it away.
    return [one for one in names if one.startswith("fw-") and not is_claim(one)]


def assert_nothing_is_left(guest: Guest, outcome: JobOutcome) -> None:
    assert outcome.left == (), outcome.left
    folder = guest.places.directory
    assert {one.name for one in folder.glob("*.qcow2")} == {
        f"{one}.qcow2" for one in guest.options.disks
    }
    assert list(folder.glob("*.json")) == []
    assert all(snapshots(one) == [] for one in folder.glob("*.qcow2"))
    assert (_nodes(guest), guest.qmp("query-jobs")) == ([], [])


def _hurt(guest: Guest) -> dict[str, Callable[[], object]]:
    return {"agent": guest.kill_agent, "reset": lambda: guest.reset(wait=False)}


@pytest.mark.parametrize(
    ("what", "external"),
    [("agent", False), ("agent", True), ("reset", True)],
    ids=["agent-internal", "agent-external", "reset-external"],
)
def test_what_is_not_certified_is_undone_if_that_is_required(
    calm: Guest, photographer: Photographer, what: str, external: bool
) -> None:
    calm.set_respawn(0)
    outcome = photographer.take("hurt", external=external, at={IN_THE_WINDOW: _hurt(calm)[what]})
    assert (outcome.result, outcome.ok) == (JobResult.FAILED, False)
    assert outcome.consistency is Consistency.NONE
    assert "no consistent copy was taken" in outcome.reason
    assert outcome.window is not None
    assert not outcome.window.certified
    again = "folded back" if external else "is deleted again"
    assert any(again in note for note in photographer.notes), photographer.notes
    if what == "reset":
        calm.wait_up()
    assert_nothing_is_left(calm, outcome)


@BOTH
def test_what_is_not_certified_is_kept_and_marked_if_that_is_allowed(
    calm: Guest, photographer: Photographer, external: bool
) -> None:
    calm.set_respawn(0)
    outcome = photographer.take(
        "hurt",
        external=external,
        policy=FreezePolicy.PREFER,
        at={IN_THE_WINDOW: calm.kill_agent},
    )
    assert (outcome.result, outcome.ok) == (JobResult.COMPLETE, True)
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert "crash-consistent only: the freeze window is not certified" in outcome.reason
    (found,) = photographer.list().values()
    assert found.consistency is Consistency.CRASH_CONSISTENT
    assert "not certified" in found.reason


def test_without_an_agent_it_is_refused_or_crash_consistent(
    calm: Guest, photographer: Photographer
) -> None:
    calm.set_respawn(None)
    calm.kill_agent()
    calm.wait_agent_gone()
    refused = photographer.take("none")
    assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.NOT_FROZEN)
    assert refused.next is not None
    assert "then: frostwatch snapshot create" in refused.next
    assert refused.next.endswith(f"socket:{calm.name} none")
    assert_nothing_is_left(calm, refused)
    external = photographer.take("none", external=True)
    assert external.refusal is JobRefusal.NOT_FROZEN
    assert_nothing_is_left(calm, external)
    kept = photographer.take("kept", policy=FreezePolicy.PREFER)
    assert (kept.ok, kept.consistency) == (True, Consistency.CRASH_CONSISTENT)
    paused = photographer.take("paused", policy=FreezePolicy.SUSPEND)
    assert (paused.paused, paused.consistency) == (True, Consistency.CRASH_CONSISTENT)
    assert calm.status() == "running"
    assert photographer.list()["kept"].consistency is Consistency.CRASH_CONSISTENT
    assert photographer.list()["paused"].consistency is Consistency.CRASH_CONSISTENT


def test_what_another_takes_of_that_name_meanwhile_stays_and_nothing_is_taken(
    calm: Guest, photographer: Photographer
) -> None:
    outcome = photographer.take(
        "same",
        at={
            IN_THE_WINDOW: lambda: calm.qmp(
                "blockdev-snapshot-internal-sync", device="b", name="same"
            )
        },
    )
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert "same" in outcome.reason
    found = photographer.list()["same"]
    assert ([one.disk for one in found.disks], found.consistency) == (["b"], None)
    calm.assert_thawed()


def test_an_overlay_that_another_adds_meanwhile_stays_and_nothing_is_taken(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(name="theirs", mounts=("a", "b"))

    def interfere() -> None:
        guest.qmp(
            "blockdev-snapshot-sync", device="b", format="qcow2",
            snapshot_file=str(tmp_path / "theirs.qcow2"),
        )  # fmt: skip

    with Photographer(guest) as photographer:
        outcome = photographer.take("ours", external=True, at={IN_THE_WINDOW: interfere})
        assert (outcome.result, outcome.left) == (JobResult.FAILED, ()), outcome
        files = {one["device"]: one["inserted"]["file"] for one in guest.qmp("query-block")}
    assert files["b"] == str(tmp_path / "theirs.qcow2")
    assert files["a"] == str(guest.places.disk("a", "qcow2"))
    assert _nodes(guest) == []
    assert not list(guest.places.directory.glob("*.ours.*"))
    guest.assert_thawed()


def test_an_overlay_that_was_moved_away_is_named_when_its_snapshot_is_deleted(
    calm: Guest, photographer: Photographer, tmp_path: Path
) -> None:
    taken = photographer.take("moved", "a", external=True, policy=FreezePolicy.NEVER)
    (overlay,) = [Path(one.target or "") for one in taken.disks]
    overlay.rename(tmp_path / "aside")
    outcome = photographer.delete("moved", external=True)
    assert outcome.ok, outcome.reason
    (clause,) = outcome.left
    assert clause.startswith(f"the overlay {overlay}, if it was moved away")
    assert_nothing_is_left(calm, outcome._replace(left=()))


@BOTH
def test_a_qemu_that_stands_still_for_a_while_is_waited_for(
    calm: Guest, photographer: Photographer, external: bool
) -> None:
    def stand_still() -> None:
        os.kill(calm.qemu_pid, signal.SIGSTOP)
        threading.Timer(2.0, os.kill, (calm.qemu_pid, signal.SIGCONT)).start()

    outcome = photographer.take("slow", external=external, at={IN_THE_WINDOW: stand_still})
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert outcome.seconds > 2
    calm.assert_thawed()


@BOTH
def test_a_qemu_that_stands_still_for_too_long_leaves_nothing(
    calm: Guest, photographer: Photographer, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SnapshotRequest(
        name="late",
        external=external,
        freeze=FreezeRequest(schedule=Schedule(hold_s=3.0)),
    )

    # It stands still when it has greeted, so that the transaction waits in its socket.
    ask = QmpSession.ask

    def stand_still(session: QmpSession, asks: Sequence[Ask]) -> Any:
        if asks[0].command == "transaction":
            os.kill(calm.qemu_pid, signal.SIGSTOP)
            threading.Timer(6.0, os.kill, (calm.qemu_pid, signal.SIGCONT)).start()
        return ask(session, asks)

    monkeypatch.setattr(QmpSession, "ask", stand_still)
    outcome = photographer.take_as(request)
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert "did not answer transaction in time" in outcome.reason
    # Whether QEMU still takes it, or drops it with our session: nothing of it is left.
    assert_nothing_is_left(calm, outcome)
    calm.assert_thawed()


@BOTH
def test_a_snapshot_that_was_taken_without_an_answer_is_found_and_undone(
    calm: Guest, photographer: Photographer, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = BlockLayer.transaction

    def unanswered(block: BlockLayer, actions: Sequence[object], timeout_s: float) -> None:
        transaction(block, actions, timeout_s)
        raise JobFailed("monitor: its answer is lost")

    monkeypatch.setattr(BlockLayer, "transaction", unanswered)
    outcome = photographer.take("unanswered", external=external)
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    again = "folded back" if external else "is deleted again"
    assert any(again in note for note in photographer.notes), photographer.notes
    assert_nothing_is_left(calm, outcome)
    calm.assert_thawed()


@BOTH
def test_a_vm_that_ends_in_the_window_leaves_what_is_named(
    boot: Boot, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = boot(name="ends")
    transaction = BlockLayer.transaction

    def end(block: BlockLayer, actions: Sequence[object], timeout_s: float) -> None:
        guest.kill_qemu()
        transaction(block, actions, timeout_s)

    monkeypatch.setattr(BlockLayer, "transaction", end)
    with Photographer(guest) as photographer:
        outcome = photographer.take("gone", external=external)
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert len(outcome.left) == len(guest.options.disks)
    if external:
        assert all("overlay" in one for one in outcome.left)
    else:
        assert f"qemu-img snapshot -d gone {guest.places.disk('a', 'qcow2')}" in outcome.left[0]


@BOTH
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_console_that_is_killed_in_the_window_leaves_the_guest_thawed(
    boot: Boot, external: bool, moment: str
) -> None:
    guest = boot(name="killed", mounts=("a", "b"))
    kind = "external" if external else "internal"
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.guests.snapshot_child",
            guest.vm_argument,
            "cut",
            kind,
            moment,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "in the window"
        assert guest.frozen_mounts() == {"a", "b"}
    finally:
        child.kill()
        child.communicate()
    wait_until(lambda: not guest.frozen_mounts(), PATIENCE_S, "thawed by the holder")
    with Photographer(guest) as photographer:
        found = photographer.list()
        if moment == "before":
            assert found == {}
            for left in photographer.engine.jobs.in_qemu(photographer.vm):
                assert photographer.engine.jobs.clear(photographer.vm, left).left == ()
            assert _nodes(guest) == []
            assert not list(guest.places.directory.glob("*.cut.*")), "its record as well"
            assert photographer.take("cut", external=external).ok
            return
        assert (found["cut"].consistency, len(found["cut"].disks)) == (None, 2)
        assert photographer.engine.jobs.in_qemu(photographer.vm) == ()
        assert photographer.delete("cut", external=external).ok
    assert not list(guest.places.directory.glob("*.cut.*"))


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_a_full_disk_takes_nothing(boot: Boot, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as small:
        image = small / "full.qcow2"
        make_disk(image, 64 << 20)
        guest = boot(
            name="full",
            mounts=("a",),
            extra=(
                "-drive",
                f"if=none,id=full,file={image}",
                "-device",
                "virtio-blk-pci,drive=full",
            ),
        )
        filler = small / "filler"
        with suppress(OSError):
            filler.write_bytes(bytes(JOURNAL_DISK_BYTES))
        with Photographer(guest) as photographer:
            outcome = photographer.take("full")
            assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
            assert "No space" in outcome.reason
            assert photographer.list() == {}
            refused = photographer.take("full", "a", external=True, folder=small)
            assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.NO_SPACE)
            assert refused.times.frozen is None
            filler.unlink()
            assert photographer.take("full").ok
        guest.assert_thawed()
        guest.close()
