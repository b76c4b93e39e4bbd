"""Copies of guests under libvirt, by libvirt: backups, snapshots, and commands under a freeze."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.model.job import Consistency, JobRefusal, JobResult, JobStage
from tests.guests.backing_up import in_the_stage
from tests.guests.lab import DomainGuest, Libvirtd, boot_domain
from tests.guests.libvirt_copying import (
    Copier,
    assert_consistent,
    assert_whole,
    image_of,
    nothing_is_left,
)

DISKS = {"a": "vda", "b": "vdb"}


@pytest.fixture(scope="module")
def writer(libvirtd: Libvirtd) -> Iterator[DomainGuest]:
    """A guest with tools, for the tests of this module."""
    with boot_domain(libvirtd, name="writer", tools=True) as guest:
        yield guest


@pytest.fixture
def copier(writer: DomainGuest, tmp_path: Path) -> Iterator[Copier]:
    """Somebody who copies its disks, and leaves nothing."""
    with Copier(writer, tmp_path / "to") as one:
        yield one
    nothing_is_left(writer)


def test_backups_full_and_incremental_are_consistent(copier: Copier, writer: DomainGuest) -> None:
    durable: dict[str, int] = {}
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        look = in_the_stage(JobStage.STARTING, lambda: durable.update(load.durable()))
        outcome, first = copier.backup(on_event=look)
        assert_whole({disk: first / f"{name}.qcow2" for disk, name in DISKS.items()}, durable)
        load.wait_for(20)
        _, second = copier.backup(on_event=look, incremental=True)
        assert_whole({disk: second / f"{name}.qcow2" for disk, name in DISKS.items()}, durable)
    assert [one.disk for one in outcome.disks] == ["vda", "vdb"]


def test_a_snapshot_is_consistent_listed_and_folded_back(
    copier: Copier, writer: DomainGuest
) -> None:
    durable: dict[str, int] = {}
    images = {disk: image_of(writer, disk) for disk in DISKS}
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        look = in_the_stage(JobStage.THAWING, lambda: durable.update(load.durable()))
        outcome = copier.snapshot("whole", on_event=look)
        assert_consistent(outcome, copier.texts)
        load.wait_for(20)
        assert_whole(images, durable)
        (found,) = copier.engine.jobs.snapshots(copier.vm)
        assert (found.name, found.consistency) == ("whole", Consistency.CONSISTENT)
        listed = writer.daemon.virsh("snapshot-list", writer.name)
        assert "whole" in listed
        deleted = copier.delete("whole")
        assert (deleted.result, deleted.left) == (JobResult.COMPLETE, ()), deleted.reason
        load.wait_for(20)
    assert copier.engine.jobs.snapshots(copier.vm) == ()
    assert "whole" not in writer.daemon.virsh("snapshot-list", writer.name)
    assert str(images["a"]) in writer.daemon.virsh("domblklist", writer.name)


def test_what_libvirt_can_not_do_is_refused_before_anything_starts(copier: Copier) -> None:
    outcome = copier.snapshot("inside", external=False)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.MANAGED)
    assert "--external" in (outcome.next or "")
