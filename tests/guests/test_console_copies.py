"""The console on a terminal copies a real guest's disks, by the keys of a person."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.on_pty import OnPty, on_pty
from tests.guests.lab import PATIENCE_S, Guest, check_copy
from tests.guests.lab.shell import wait_until
from tests.guests.storages import ROOT, unanswered


@contextmanager
def console_of(guest: Guest) -> Iterator[OnPty]:
    known = ("--vm", guest.vm_argument, "--named-only")
    with on_pty(("-m", "tui.main", *known), size=(120, 40)) as console:
        console.wait_for("alive")
        yield console


def begin(console: OnPty, folder: Path, rate: str) -> None:
    """Ask for a backup, and begin it."""
    console.press("c")
    console.wait_for("Copy the disks of")
    console.wait_for("used, qcow2")
    console.press("\x1b[A" * 3 + "\x15" + str(folder))  # from the last field upwards
    console.wait_for("GiB free")
    console.press("\x1b[B" * 2 + rate + "\r")


def test_a_backup_by_keys_is_consistent(calm: Guest, tmp_path: Path) -> None:
    with console_of(calm) as console:
        begin(console, tmp_path, "1G")
        console.wait_for("backup complete, consistent")
        calm.assert_thawed()
        console.press("q")
        assert console.process.wait(PATIENCE_S) == 0
    (manifest,) = tmp_path.rglob("manifest.json")
    assert json.loads(manifest.read_text())["consistency"] == "consistent"
    for disk in ("a", "b"):
        assert not check_copy(manifest.parent / f"{disk}.qcow2").needs_recovery


def test_a_copy_that_was_stopped_or_quit_leaves_nothing(calm: Guest, tmp_path: Path) -> None:
    with console_of(calm) as console:
        begin(console, tmp_path, "100K")
        console.wait_for("copying what the disks held")
        console.press("x")
        console.wait_for("and undo it?")
        console.press("\r")
        console.wait_for("backup cancelled")
        assert list(tmp_path.rglob("*.qcow2")) == []
        console.press("c")
        console.wait_for("100K")  # remembered
        console.wait_for("used, qcow2")
        console.press("\r")
        wait_until(lambda: calm.qmp("query-block-jobs"), PATIENCE_S, "a job runs")
        console.press("q")
        console.wait_for("Quit while")
        console.press("\r")
        assert console.process.wait(PATIENCE_S) == 0
    assert list(tmp_path.rglob("*.qcow2")) == []
    assert calm.qmp("query-jobs") == []
    calm.assert_thawed()


def test_a_copy_of_a_killed_console_is_ended_by_the_next_one(calm: Guest, tmp_path: Path) -> None:
    with console_of(calm) as console:
        begin(console, tmp_path, "100K")
        console.wait_for("copying what the disks held")
        console.process.kill()
        console.process.wait(PATIENCE_S)
    calm.assert_thawed()
    assert calm.qmp("query-block-jobs")
    with console_of(calm) as console:
        console.wait_for("left copy; c asks whether")
        console.press("c")
        console.wait_for("its jobs are cancelled")
        console.press("\x1b[C\r")
        console.wait_for("what was left is ended")
        wait_until(lambda: calm.qmp("query-jobs") == [], PATIENCE_S, "no job is left")
        console.press("q")
        assert console.process.wait(PATIENCE_S) == 0
    assert list(tmp_path.rglob("*.qcow2")) == []


def entered(console: OnPty, folder: Path) -> bool:
    """Press Enter, and return whether the folder has a complete copy soon after."""
    console.press("\r")
    time.sleep(3.0)
    return any(folder.rglob("manifest.json"))


@ROOT
def test_a_folder_whose_storage_hangs_keeps_neither_the_form_nor_the_console(
    calm: Guest, tmp_path: Path
) -> None:
    well = tmp_path / "well"
    well.mkdir()
    with unanswered(tmp_path / "hung") as hung, console_of(calm) as console:
        console.press("c")
        console.wait_for("used, qcow2")
        console.press("\x1b[A" * 3 + "\x15" + str(hung))
        console.wait_for("looking …")
        console.press("\r")
        console.wait_for("looking at the disks and the folder")
        console.press("\x1b")
        console.wait_until_quiet()
        closed = console.written
        console.press("c")
        console.wait_for("used, qcow2", after=closed)
        console.press("\x1b[A" * 3 + "\x15" + str(well))
        console.wait_for("GiB free", after=closed)
        console.press("\x1b[B" * 2 + "1G")
        # What was seen free may be of a folder whose name was typed by half: then it looks still.
        wait_until(lambda: entered(console, well), PATIENCE_S, "a copy")
        console.press("q")
        assert console.process.wait(PATIENCE_S) == 0
    assert len(list(well.rglob("manifest.json"))) == 1
