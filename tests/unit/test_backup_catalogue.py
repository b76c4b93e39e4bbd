"""What a folder of copies holds is listed without reading an image."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentclient.jobs import chain
from agentclient.jobs.archive import Begun, make_folder, read_backup, write_begun
from agentclient.jobs.catalogue import Listed, look
from agentclient.jobs.manifest import Manifest
from agentclient.model.errors import BadInput
from agentclient.model.job import Consistency
from tests.unit.archives import Archive, archive
from tui.cli.commands import backup_list
from tui.main import run

__all__ = ["archive"]


def listed(folder: Path) -> dict[Path, Listed]:
    return {one.backup.folder: one for home in look(folder) for one in home.copies}


def begun(archive: Archive, chain: str = "89abcdef") -> Path:
    folder = make_folder(archive.home, datetime(2026, 12, 1, tzinfo=UTC))
    write_begun(folder, Begun("01234567", chain))
    return folder


def test_each_copy_says_what_it_needs_and_whether_it_is_complete(archive: Archive) -> None:
    full = archive.add()
    second = archive.add(full)
    mirror = archive.mirror(b"1" * 512)
    running = begun(archive)
    found = listed(archive.folder)
    assert list(found) == [full, second, mirror, running]
    assert [one.complete for one in found.values()] == [True, True, True, False]
    assert found[second].needs == (second, full)
    assert {one.vm for one in found.values()} == {"db"}
    assert list(listed(archive.home)) == list(found)
    assert list(listed(second)) == [second]
    assert listed(second)[second].needs == (second, full)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "a.qcow2").unlink(), "a.qcow2 can't be opened"),
        (lambda folder: os.truncate(folder / "a.qcow2", 50), "has not the length that it had"),
        (lambda folder: (folder / "manifest.json").unlink(), "its chain is broken"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "its chain is broken"),
    ],
)
def test_what_is_missing_is_told_of_all_that_builds_on_it(
    archive: Archive, harm: Callable[[Path], object], words: str
) -> None:
    full = archive.add()
    second = archive.add(full)
    third = archive.add(second)
    harm(second)
    found = listed(archive.folder)
    assert found[full].complete
    assert not found[third].complete
    assert words in str(found[third].problem)


def test_a_folder_that_cannot_be_read_is_told(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add()
    (archive.folder / "web").mkdir()
    whole: Any = os.scandir

    def scandir(path: object) -> Any:
        if str(path).endswith("/web"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [home.problem for home in look(archive.folder)] == [None, "Permission denied"]
    assert run(["backup", "list", str(archive.folder)]) == 1
    assert "web can't be read: Permission denied" in capsys.readouterr().err


def test_a_file_systems_own_folder_is_no_copy(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = archive.add()
    (archive.folder / "lost+found").mkdir()
    whole: Any = os.open

    def refused(path: object, *how: Any, **more: Any) -> Any:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return whole(path, *how, **more)

    monkeypatch.setattr(os, "open", refused)
    assert list(listed(archive.folder)) == [copy]
    assert [home.problem for home in look(archive.folder)] == [None]


def test_the_table_tells_mode_chain_grade_and_size(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    full = archive.add()
    archive.add(full, consistency=Consistency.CRASH_CONSISTENT)
    archive.mirror(b"1" * 512)
    running = begun(archive)
    assert run(["backup", "list", str(archive.folder)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert re.split("  +", head) == list(backup_list.HEADER)
    assert [row.split()[1] for row in rows[:2]] == [full.name, "20261129T041500Z"]
    assert [re.split(r"  +", row)[3] for row in rows[:4]] == [
        "full",
        "incremental",
        "mirror",
        "backup",
    ]
    chains = [re.split(r"  +", row)[4] for row in rows[:4]]
    assert chains[0] == chains[1] != chains[2]
    assert [row.split()[-2:] for row in rows[:3]] == [["108", "B"], ["135", "B"], ["512", "B"]]
    assert "consistent " in rows[0]
    assert "crash-consistent" in rows[1]
    assert "incomplete" in rows[3]
    assert f"db/{running.name}: it has no manifest: it is not complete" in rows
    assert rows[-1].startswith("restore one: frostwatch backup restore ")


def test_the_commands_that_it_names_can_be_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spaced = Archive(tmp_path / "my copies")
    spaced.folder.mkdir()
    folder = spaced.add()
    assert run(["backup", "list", str(spaced.folder)]) == 0
    *_, check, restore = capsys.readouterr().out.splitlines()
    assert shlex.split(check)[-1] == str(spaced.folder)
    assert shlex.split(restore)[-3:] == [str(folder), "--to", "NEWDIR"]


def test_what_cannot_be_read_is_not_called_incomplete(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    (archive.add() / "manifest.json").write_text("{}")
    begun(archive)
    assert run(["backup", "list", str(archive.folder)]) == 0
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert "unreadable" in first
    assert "incomplete" in second


@pytest.mark.parametrize(
    "taken", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "yesterday", ""]
)
def test_a_time_that_can_not_be_is_none(
    archive: Archive, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = archive.add(times={"taken": taken})
    later = archive.add()
    assert run(["backup", "list", str(archive.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[2] == "-"
    assert run(["backup", "prune", "--keep", "1", str(archive.folder)]) == 0
    assert (strange.exists(), later.exists()) == (False, True), "its folder's name tells its age"


def test_each_folder_is_looked_into_once_however_many_build_on_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = None
    for _ in range(6):
        above = archive.add(above)
    looked: list[str] = []
    whole = chain._missing

    def missing(folder: Path, manifest: Manifest) -> str | None:
        looked.append(folder.name)
        return whole(folder, manifest)

    monkeypatch.setattr(chain, "_missing", missing)
    assert all(one.complete for one in listed(archive.folder).values())
    assert sorted(looked) == sorted(one.name for one in archive.home.iterdir())


def test_a_signal_ends_the_wait_for_a_storage_that_hangs(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    back, returned = threading.Event(), threading.Event()

    def hangs(_: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        back.wait(60.0)
        returned.set()

    monkeypatch.setattr(backup_list, "look", hangs)
    assert run(["backup", "list", str(archive.folder)]) == 1
    assert not returned.is_set(), "the command has waited for the storage"
    back.set()
    assert "SIGTERM: stopped; nothing was listed" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("name", ["db", "a-machine-with-quite-a-long-name-0123456789"])
def test_on_a_terminal_it_is_no_wider(
    archive: Archive, columns: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = {"id": f"qemu:{name}", "name": name, "uuid": None}
    full = archive.add(vm=vm)
    archive.add(full, vm=vm, consistency=Consistency.CRASH_CONSISTENT)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = backup_list._lines(list(listed(archive.folder).values()))
    assert max(map(len, lines)) < columns
    assert "crash-consistent" in lines[2]
    assert full.name in lines[1]
    assert lines[1].startswith(name[:4])
    if columns != 100:
        assert ("incremental" in lines[2]) is (columns == 200)


def test_for_a_program_it_is_one_object_a_line(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    full = archive.add()
    second = archive.add(full)
    begun(archive)
    assert run(["backup", "list", "--json", str(archive.folder)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["complete"] for one in found] == [True, True, False]
    assert found[1]["needs"] == [str(second), str(full)]
    assert found[0]["chain"] == found[1]["chain"] == found[0]["id"]
    assert (found[1]["mode"], found[1]["kind"]) == ("incremental", "backup")
    assert found[1]["disks"] == ["a"]
    assert found[2]["consistency"] == "none"
    assert (found[2]["kind"], found[2]["chain"], found[2]["bytes"]) == ("backup", "89abcdef", 0)


def test_an_empty_folder_is_no_error_and_none_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backup", "list", str(tmp_path)]) == 0
    assert "there is no backup in" in capsys.readouterr().err
    assert run(["backup", "list", str(tmp_path / "none")]) == 2
    with pytest.raises(BadInput):
        look(tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lsit", "/b"], "backup has no command 'lsit' (did you mean list?)"),
        (["ls", "/b"], "(did you mean list?)"),
        (["delete", "/b"], "(did you mean prune?)"),
        (["revert", "/b"], "(did you mean restore?)"),
        (["list", "--to", "/b"], "a VM called list has its id, as in qemu:list"),
        (["verify", "--to=/b"], "a VM called verify has its id, as in qemu:verify"),
        (["--json", "list", "/b"], "before its options: frostwatch backup list DIR --json"),
    ],
)
def test_what_was_meant_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backup", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "\x1b[2J"}, {"chain": "\x1b[2J"}, {"chain": ""}, {"chain": "x" * 99}, {"id": 7},
    ],
)  # fmt: skip
def test_what_says_that_a_copy_was_begun_has_ids(
    archive: Archive, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _begun_by_hand(archive, changes)
    assert read_backup(folder) is None
    (folder / "a.qcow2").touch()
    found = read_backup(folder)
    assert found is not None
    assert found.begun is None
    run(["backup", "list", str(archive.folder)])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 10**30}, {"pid": -1}, {"pid": True}, {"pid": "1"}, {"start_ticks": 10**30},
        {"host": None},
    ],
)  # fmt: skip
def test_what_says_that_a_copy_was_begun_may_name_no_process(
    archive: Archive, changes: dict[str, object]
) -> None:
    found = read_backup(_begun_by_hand(archive, changes))
    assert found is not None
    assert found.begun is not None
    assert found.begun.process is None


def _begun_by_hand(archive: Archive, changes: dict[str, object]) -> Path:
    archive.add()
    folder = make_folder(archive.home, datetime(2026, 12, 1, tzinfo=UTC))
    write_begun(folder, Begun("01234567", "01234567"))
    path = folder / "begun.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder
