"""Old copies are deleted, and nothing that a kept one, or the next one, builds on."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.jobs import prune
from agentclient.jobs.archive import Begun, make_folder, write_begun
from agentclient.jobs.prune import decide, homes_to_prune
from agentclient.model.errors import BadInput
from tests.unit.archives import Archive, archive
from tui.main import run

__all__ = ["archive"]


NOW = datetime(2026, 12, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_now", lambda: NOW)


def decided(archive: Archive, keep: int) -> tuple[set[str], dict[str, str]]:
    """What is to be deleted, and why the others stay."""
    (home,) = homes_to_prune(archive.folder)
    found = decide(home, keep)
    gone = {one.copy.backup.folder.name for one in found if one.delete}
    return gone, {one.copy.backup.folder.name: one.why for one in found if not one.delete}


def test_the_newest_stay_with_all_that_they_build_on(archive: Archive) -> None:
    old = archive.add()
    old_second = archive.add(old)
    full = archive.add()
    second = archive.add(full)
    third = archive.add(second)
    gone, kept = decided(archive, 1)
    assert gone == {old.name, old_second.name}
    assert kept == {
        third.name: prune.NEWEST,
        second.name: prune.BUILT_ON,
        full.name: prune.BUILT_ON,
    }
    assert decided(archive, 3)[0] == {old.name, old_second.name}
    assert decided(archive, 4)[0] == set()
    assert decided(archive, 4)[1][old.name] == prune.BUILT_ON


def test_why_more_stay_than_were_asked_for_is_told(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    full = archive.add()
    archive.add(full)
    assert run(["backup", "prune", str(archive.folder), "--keep", "1"]) == 0
    newest, older = capsys.readouterr().out.splitlines()
    assert ": " not in newest.removeprefix("kept: ")
    assert older == f"kept: {full}, 108 B: what is kept builds on it"


def test_one_is_newer_than_what_it_builds_on_whatever_the_clock_has_said(archive: Archive) -> None:
    old = archive.add()
    full = archive.add()
    back = {"taken": "2026-11-01T00:00:00+00:00"}  # the clock was set right in between
    second = archive.add(full, times=back)
    gone, kept = decided(archive, 1)
    assert gone == {old.name}
    assert kept == {second.name: prune.NEWEST, full.name: prune.BUILT_ON}


@pytest.mark.parametrize("at", ["2030-01-01T00:00:00+00:00", "2026-12-02T00:11:00+00:00"])
def test_beside_one_of_a_time_that_is_to_come_nothing_is_deleted(
    archive: Archive, at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = archive.add(times={"taken": at})
    first, last = archive.add(), archive.add()
    gone, kept = decided(archive, 1)
    assert gone == set()
    assert kept == {wrong.name: prune.TO_COME, first.name: prune.LATER, last.name: prune.LATER}
    assert run(["backup", "prune", str(archive.folder), "--keep", "1"]) == 1
    said = capsys.readouterr().out
    assert f"LEFT: {wrong}, 108 B: by its time it was taken later than now" in said
    assert last.exists()


def test_hosts_may_have_clocks_that_differ_a_little(archive: Archive) -> None:
    first = archive.add()
    last = archive.add(times={"taken": "2026-12-02T00:09:00+00:00"})
    gone, kept = decided(archive, 1)
    assert (gone, set(kept)) == ({first.name}, {last.name})


def test_a_branch_that_nothing_builds_on_goes_alone(archive: Archive) -> None:
    full = archive.add()
    branch = archive.add(full)
    second = archive.add(full)
    gone, kept = decided(archive, 1)
    assert gone == {branch.name}
    assert set(kept) == {full.name, second.name}


def test_what_the_disks_record_for_stays(archive: Archive) -> None:
    recorded = archive.add()
    mirror = archive.mirror(b"1" * (1 << 20))
    gone, kept = decided(archive, 1)
    assert gone == set()
    assert kept == {mirror.name: prune.NEWEST, recorded.name: prune.RECORDS}


def test_what_a_running_one_may_build_on_stays(archive: Archive) -> None:
    first = archive.add(id="11111111", chain="11111111")
    last = archive.add()
    folder = make_folder(archive.home, datetime(2026, 12, 1, tzinfo=UTC))
    write_begun(folder, Begun("01234567", "11111111"))
    gone, kept = decided(archive, 1)
    assert gone == set()
    assert kept[first.name] == prune.BEGUN
    assert kept[folder.name] == "it has no manifest: it is not complete"
    assert kept[last.name] == prune.NEWEST


def test_what_is_broken_is_left_and_counts_for_none(archive: Archive) -> None:
    first, second, last = archive.add(), archive.add(), archive.add()
    (last / "a.qcow2").unlink()
    gone, kept = decided(archive, 1)
    assert gone == {first.name}
    assert kept[second.name] == prune.NEWEST
    assert "a.qcow2 can't be opened" in kept[last.name]


def test_what_one_builds_on_through_a_gap_stays(archive: Archive, tmp_path: Path) -> None:
    full = archive.add()
    branch = archive.add(full)
    second = archive.add(full)
    third = archive.add(second)
    other, last = archive.add(), archive.add()
    second.rename(tmp_path / "away")  # and it may come back
    gone, kept = decided(archive, 1)
    assert gone == {other.name}
    assert kept[full.name] == kept[branch.name] == prune.GAP
    assert "its chain is broken" in kept[third.name]
    assert kept[last.name] == prune.NEWEST
    (tmp_path / "away").rename(second)
    (third / "a.qcow2").unlink()  # nothing is missing between them
    assert decided(archive, 1)[0] == {other.name, branch.name}


def test_beside_what_cannot_be_read_nothing_is_deleted(archive: Archive) -> None:
    first, second = archive.add(), archive.add()
    (archive.add() / "manifest.json").write_text('{"kind": "frostwatch-backup", "schema": 2}')
    gone, kept = decided(archive, 1)
    assert gone == set()
    assert kept[first.name] == prune.UNREAD
    assert kept[second.name] == prune.NEWEST


def test_the_command_deletes_and_tells(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    first = archive.add()
    second = archive.add(first)
    third = archive.add()
    words = ["backup", "prune", str(archive.folder), "--keep", "1"]
    assert run([*words, "--dry-run"]) == 0
    assert f"would delete: {first}" in capsys.readouterr().out
    assert run([*words, "--dry-run", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["action"] for one in found] == ["kept", "would-delete", "would-delete"]
    assert [one["backup"] for one in found] == [str(third), str(second), str(first)]
    assert first.exists()
    assert run(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"kept: {third}, ")
    assert said[1].startswith(f"deleted: {second}, ")
    assert list(archive.home.iterdir()) == [third]
    assert run(words) == 0


def test_a_folder_with_something_else_is_left_whole(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    first = archive.add()
    archive.add()
    (first / "mine").touch()
    assert run(["backup", "prune", str(archive.folder), "--keep", "1"]) == 1
    assert "its folder has something else: mine" in capsys.readouterr().out
    assert sorted(one.name for one in first.iterdir()) == ["a.qcow2", "manifest.json", "mine"]


def test_what_a_kill_left_beside_a_manifest_goes_as_well(archive: Archive) -> None:
    first = archive.add(id="11111111", chain="11111111")
    write_begun(first, Begun("11111111", "11111111"))
    last = archive.add()
    assert run(["backup", "prune", str(archive.folder), "--keep", "1"]) == 0
    assert list(archive.home.iterdir()) == [last]


def test_one_that_was_changed_meanwhile_is_left(archive: Archive) -> None:
    first = archive.add()
    archive.add()
    (home,) = homes_to_prune(archive.folder)
    (one,) = [each for each in decide(home, 1) if each.delete]
    archive.change(first, lambda found: found.update(why="because"))
    with pytest.raises(prune.NotDeleted, match="not what it was"):
        prune.delete(one.copy)
    assert (first / "a.qcow2").exists()


def test_what_can_not_be_deleted_is_no_complete_copy_any_more(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = archive.add()
    archive.add()
    whole = os.unlink

    def unlink(name: str, **more: int) -> None:
        if name == "a.qcow2":
            raise PermissionError(1, "Operation not permitted")
        whole(name, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    assert run(["backup", "prune", str(archive.folder), "--keep", "1"]) == 1
    assert f"LEFT: {first}" in capsys.readouterr().out
    assert [one.name for one in first.iterdir()] == ["a.qcow2"]


def test_bad_input(archive: Archive, tmp_path: Path) -> None:
    folder = archive.add()
    archive.add()
    with pytest.raises(BadInput, match="is the folder of one copy"):
        homes_to_prune(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="there is no backup"):
        homes_to_prune(empty)
    assert run(["backup", "prune", str(archive.folder)]) == 2
    assert run(["backup", "prune", str(archive.folder), "--keep", "0"]) == 2
