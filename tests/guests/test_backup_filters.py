"""Filters of a backup that QEMU refuses: whatever becomes of the copy, the guest goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.qmp_session import Ask
from agentclient.jobs import fleece
from agentclient.model.job import JobResult
from agentclient.protocol.qmp_block import Disk
from tests.guests.backing_up import Backups, node_names, nothing_is_left, restore
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest

# A word that no QEMU knows, as those before 7.2 don't know what a filter does on errors.
UNKNOWN = "no-such-word"


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with two disks, for all tests of this module."""
    return module_boot(name="filtered", mounts=("a", "b"), tools=True)


def refused(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Have QEMU refuse to make a filter, from the `first` one on."""
    build, built = fleece._made, 0

    def spoilt(*given: Any) -> Ask:
        nonlocal built
        built += 1
        ask = build(*given)
        return ask if built < first else Ask(ask.command, {**ask.arguments, UNKNOWN: 1})

    monkeypatch.setattr(fleece, "_made", spoilt)


def fails(guest: Guest, to: Path, nodes: Sequence[str]) -> None:
    """Make a backup that fails for the word that QEMU does not know, and leaves nothing."""
    with Backups(guest, to) as backups:
        outcome = backups.start(fleece="auto").wait(PATIENCE_S)
        assert outcome is not None, backups.texts
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert UNKNOWN in outcome.reason
    nothing_is_left(guest, nodes)


@pytest.mark.parametrize("first", [1, 2], ids=["of the first disk", "of the second"])
def test_where_a_filter_is_refused_the_backup_is_made_without(
    writer: Guest, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = node_names(writer)
    refused(monkeypatch, first)
    with Backups(writer, tmp_path / "to") as backups:
        _, folder = backups.make(fleece="auto")
        assert "no fleecing: a target that stalls can stall the guest's writes" in backups.texts
        (verified,) = backups.verify()
    assert (verified.folder, verified.ok) == (folder, True)
    nothing_is_left(writer, nodes)
    writer.assert_thawed()
    assert set(restore(verified, tmp_path / "restored")) == {"a", "b"}


@pytest.mark.parametrize("first", [3, 4], ids=["of the first disk", "of the second"])
def test_where_a_filter_that_was_tried_can_not_be_made_again_nothing_is_frozen(
    writer: Guest, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, hooks = node_names(writer), writer.hook_log()
    refused(monkeypatch, first)
    fails(writer, tmp_path / "to", nodes)
    assert writer.hook_log() == hooks


def test_where_one_filter_can_not_be_put_in_the_other_is_taken_out(
    writer: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each disk's filter is put in and taken out to try it, and then the first one is put in."""
    nodes = node_names(writer)
    build, put_in = fleece._above, 0

    def spoilt(disk: Disk, node: str) -> Ask:
        nonlocal put_in
        put_in += node != disk.node
        last = put_in == 4 and node != disk.node
        return build(disk, UNKNOWN if last else node)

    monkeypatch.setattr(fleece, "_above", spoilt)
    fails(writer, tmp_path / "to", nodes)
    writer.assert_thawed()
