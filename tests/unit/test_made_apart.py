"""What is made outside of a copy's folder: undone where it comes when nobody waits any more."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete
from agentclient.jobs.errors import JobCancelled, JobFailed, JobRefused
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.new_file import new_file
from agentclient.jobs.opened import inode
from agentclient.model.job import JobRefusal

PATIENCE_S = 60.0


def test_what_is_taken_stays(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    making = partial(new_file, path, 0, None)
    number = made_apart(JobControl(), "making it", making, partial(delete, path))
    assert number == inode(path)


def test_why_it_is_refused_is_told_with_the_step(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    path.touch()
    with pytest.raises(JobRefused, match="exists, and is not overwritten") as told:
        made_apart(JobControl(), "", partial(new_file, path, 0, None), partial(delete, path))
    assert told.value.refusal is JobRefusal.TARGET_EXISTS
    assert told.value.next_step == "name another folder, or move that file away"
    assert path.exists()


def test_an_error_of_the_system_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        made_apart(JobControl(), "", partial(os.stat, tmp_path / "none"), partial(id))


def test_what_comes_too_late_is_undone(tmp_path: Path) -> None:
    def too_late(undo: Callable[[object], object]) -> None:
        with pytest.raises(JobFailed, match=r"making it takes longer than 0\.3 s: .* deleted"):
            made_apart(JobControl(), "making it", _opening(tmp_path), undo, 0.3)

    _undone(tmp_path, too_late)


def test_what_comes_after_a_cancellation_is_undone(tmp_path: Path) -> None:
    control = JobControl()

    def cancelled(undo: Callable[[object], object]) -> None:
        threading.Timer(0.3, control.cancel).start()
        with pytest.raises(JobCancelled):
            made_apart(control, "making it", _opening(tmp_path), undo)

    _undone(tmp_path, cancelled)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(JobFailed, match="has ended"):
        made_apart(JobControl(), "", partial(os._exit, 3), partial(id))


def _opening(folder: Path) -> Callable[[], object]:
    """Return what hangs until somebody reads from a pipe: as a storage that does not answer."""
    os.mkfifo(folder / "pipe")
    return partial(Path.write_text, folder / "pipe", "late")


def _undone(folder: Path, given_up: Callable[[Callable[[object], object]], None]) -> None:
    path = folder / "made"
    path.mkdir()
    began = time.monotonic()
    given_up(partial(shutil.rmtree, path))
    assert path.exists()
    assert (folder / "pipe").read_text() == "late"
    while path.exists():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.02)
