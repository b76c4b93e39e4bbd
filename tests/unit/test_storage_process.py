"""What may hang on a storage, and is done in a process of its own, which is left behind then."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentclient.jobs import storage_process
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete, delete_files, delete_folder, delete_unless_open
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.opened import inode
from agentclient.jobs.storage_process import StorageHangs, call_in_order
from agentclient.model.vm import Process

Calls = list[Callable[[], object]]


def test_each_call_has_what_came_of_it(tmp_path: Path) -> None:
    calls: Calls = [
        partial(os.stat, tmp_path),
        partial(os.stat, tmp_path / "none"),
        partial(int, "x"),
    ]
    found, missing, wrong = call_in_order(calls)
    assert isinstance(found, os.stat_result)
    assert found.st_ino == tmp_path.stat().st_ino
    assert isinstance(missing, FileNotFoundError)
    assert "invalid literal" in str(wrong), "what is wrong in a function is told as well"
    assert call_in_order([]) == []


def test_one_that_hangs_is_left_and_nothing_behind_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    calls: Calls = [partial(os.getpid), partial(time.sleep, 600.0), partial(os.unlink, path)]
    for bound_s in (1.0, 10.0, 60.0):  # the first one is Python's start, on a busy machine
        pid, hangs, behind = call_in_order(calls, bound_s)
        if isinstance(pid, int):
            break
    assert isinstance(pid, int)
    assert isinstance(hangs, StorageHangs)
    assert isinstance(behind, StorageHangs)
    assert hangs.strerror == f"its storage has not answered for {bound_s:g} s"
    assert path.exists()
    end = time.monotonic() + 60.0
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end, "what can be ended is ended"
        time.sleep(0.05)


def test_one_that_never_reads_what_it_is_to_do_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python itself is loaded from may hang as well; a pipe holds 64 kB."""
    monkeypatch.setattr(storage_process, "_BOOT", "import time; time.sleep(600)")
    (hangs,) = call_in_order([partial(len, b"x" * 1_000_000)], 1.0)
    assert isinstance(hangs, StorageHangs)
    monkeypatch.setattr(storage_process, "CALL_S", 0.5)
    with pytest.raises(JobFailed, match=r"making a file: its storage has not answered for 0.5 s"):
        made_apart(JobControl(), "making a file", partial(len, b"x" * 1_000_000), print)


def test_ctrl_c_ends_its_process_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    real, children = storage_process.started, []

    def started(*args: Any) -> subprocess.Popen[bytes]:
        children.append(real(*args))
        return children[-1]

    def interrupted(*_: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage_process, "started", started)
    monkeypatch.setattr(storage_process, "read_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call_in_order([partial(time.sleep, 600.0)])
    (child,) = children
    assert child.wait(60.0) == -signal.SIGKILL


def test_a_process_that_dies_is_no_storage_that_hangs() -> None:
    calls: Calls = [partial(os._exit, 3), partial(os.getpid)]
    died, behind = call_in_order(calls)
    for one in (died, behind):
        assert isinstance(one, OSError)
        assert one.strerror == "the process that was to do it has ended"


def test_without_a_process_nothing_is_done_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> object:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(storage_process, "started", none)
    (tmp_path / "a").touch()
    (left,) = delete_files([("the file a", tmp_path / "a", None)])
    assert left is not None
    assert "this host has no process left" in left


def test_it_inherits_no_descriptor(tmp_path: Path) -> None:
    (number,) = call_in_order([partial(os.listdir, "/proc/self/fd")])
    assert isinstance(number, list)
    assert len(number) <= 4, "its own three, and that of the folder"


def test_files_are_deleted_if_they_are_the_same_still(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    number = inode(old)
    new.touch()
    new.replace(old)
    files = [("old", old, number), ("none", tmp_path / "none", None), ("folder", tmp_path, None)]
    replaced, missing, folder = delete_files(files)
    assert (replaced, missing) == (None, None)
    assert old.exists(), "it is another file"
    assert folder is not None
    assert folder.startswith("folder (")
    away = tmp_path / "away" / "old"
    assert delete_files([("no folder", away, None)]) == [None]
    (left,) = delete_files([("old", old, inode(old))])
    assert (left, old.exists()) == (None, False)


def test_a_file_that_a_process_has_open_stays(tmp_path: Path) -> None:
    path, me = tmp_path / "a", Process(os.getpid(), 1)
    with path.open("w"):
        assert not delete_unless_open(path, inode(path), me)
    assert path.exists()
    number = inode(path)
    assert delete_unless_open(None, number, me)
    assert path.exists(), "it was only looked for"
    assert delete_unless_open(path, number, me)
    assert not path.exists()
    delete(path, number)


def test_a_folder_is_deleted_with_its_own_file_alone(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "one"
    folder.mkdir(parents=True)
    (folder / "begun").touch()
    (folder / "other").touch()
    assert "not empty" in delete_folder(folder, "begun", parent=True)[0]
    assert (folder / "begun").exists()
    (folder / "other").unlink()
    assert delete_folder(folder, "begun", parent=True) == []
    assert not (tmp_path / "home").exists()
    assert delete_folder(folder, "begun", parent=True) == []


def test_a_folder_that_is_exchanged_for_another_meanwhile_costs_no_file_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns a part of the path can move it between the look at a file and its deletion."""
    mine, theirs, way = tmp_path / "mine", tmp_path / "theirs", tmp_path / "way"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "file").touch()
    way.symlink_to(mine)
    number = inode(way / "file")
    real = os.stat

    def look(*args: Any, **more: Any) -> os.stat_result:
        found = real(*args, **more)
        if way.readlink() == mine and (found.st_dev, found.st_ino) == number:
            way.unlink()
            way.symlink_to(theirs)
        return found

    monkeypatch.setattr(os, "stat", look)
    delete(way / "file", number)
    assert (theirs / "file").exists()
    assert not (mine / "file").exists()
