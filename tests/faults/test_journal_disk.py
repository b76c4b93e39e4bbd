"""Real disks that fail the journal: full, read-only, frozen. Needs root, for a disk of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import Trouble
from agentclient.model.vm import Vm
from tests.drilled import drill_of

ROOT = Path(__file__).parents[2]
# Two seconds for the journal, two for what lies beside it, and a machine that may be very busy.
BOUND_S = 60.0


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    with drill_of({"db1": Trouble.FAST}) as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", image], capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True)
    if made.returncode or mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["fsfreeze", "-u", folder], capture_output=True)
    subprocess.run(["umount", "-l", folder], check=True)


class Shell:
    """Runs ``frostwatch`` with its journal on a disk."""

    def __init__(self, vm: Vm, state: Path) -> None:
        assert vm.agent is not None
        assert vm.monitor is not None
        self._words = ["--vm", f"name=db1,agent={vm.agent.path},monitor={vm.monitor.path}"]
        self._environment = {**os.environ, "XDG_STATE_HOME": str(state)}

    def run(self, word: str, *more: str) -> tuple[int, str, str]:
        named = [] if word == "history" else [*self._words, "--named-only"]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tui.main", word, *named, *more],
            cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert time.monotonic() - began < BOUND_S, done.stderr
        return done.returncode, done.stdout, done.stderr

    def freeze(self) -> tuple[list[dict[str, object]], int]:
        """Freeze and thaw; return the events, and where among them the freeze was sent."""
        code, out, err = self.run("freeze", "socket:db1", "--hold", "1s", "--json")
        events = [json.loads(line) for line in out.splitlines()]
        assert code == 0, err
        assert events[-1]["outcome"] == "verified"
        return events, [event["event"] for event in events].index("sent")


def told_before_the_freeze(shell: Shell, why: str) -> None:
    """The freeze works, and was told to be without a journal before it was sent."""
    events, sent = shell.freeze()
    texts = [str(event["text"]) for event in events[:sent]]
    assert any(why in text and "will be foreign" in text for text in texts), texts
    _, doctor, _ = shell.run("doctor", "--json")
    (finding,) = [
        each for each in map(json.loads, doctor.splitlines()) if each["subject"] == "journal"
    ]
    assert finding["level"] == "warning"
    assert why in finding["text"]


def test_a_frozen_disk_keeps_nobody(drill: Drill, disk: Path) -> None:
    shell = Shell(drill.vms[0], disk / "state")
    shell.freeze()
    subprocess.run(["fsfreeze", "-f", disk], check=True)
    code, out, err = shell.run("list")
    assert (code, "db1" in out) == (0, True)
    assert "its disk is frozen, or hangs" in err
    assert "shown as foreign" in err
    code, out, err = shell.run("history")
    assert (code, out) == (1, "")
    assert "its disk is frozen, or hangs" in err
    told_before_the_freeze(shell, "its disk is frozen, or hangs")
    subprocess.run(["fsfreeze", "-u", disk], check=True)
    until = time.monotonic() + BOUND_S
    while len(shell.run("history", "--json")[1].splitlines()) < 2:
        assert time.monotonic() < until, "what was said to the frozen disk is written after all"


def test_a_disk_that_freezes_in_a_hold_delays_no_thaw(drill: Drill, disk: Path) -> None:
    shell = Shell(drill.vms[0], disk / "state")
    shell.freeze()
    freezer = subprocess.Popen(
        ["sh", "-c", f"sleep 0.8; exec fsfreeze -f {disk}"]  # somewhere in what follows
    )
    shell.freeze()
    freezer.wait()


def test_a_full_disk(drill: Drill, disk: Path) -> None:
    shell = Shell(drill.vms[0], disk / "state")
    fill(disk)
    told_before_the_freeze(shell, "No space left on device")
    (disk / "filler").unlink()
    shell.freeze()
    fill(disk)
    told_before_the_freeze(shell, "the disk is full")
    code, out, _ = shell.run("history", "--json")
    assert (code, len(out.splitlines())) == (0, 1), "what stands there is read"


def test_a_read_only_disk(drill: Drill, disk: Path) -> None:
    shell = Shell(drill.vms[0], disk / "state")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    told_before_the_freeze(shell, "Read-only file system")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    shell.freeze()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    told_before_the_freeze(shell, "read-only")
    code, out, _ = shell.run("history", "--json")
    assert (code, len(out.splitlines())) == (0, 1), "what stands there is read"
    code, out, err = shell.run("list")
    assert (code, err) == (0, ""), "and it proves what it proves"


def test_no_home(drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(drill.vms[0], Path("relative"))
    shell._environment["HOME"] = str(tmp_path / "file" / "home")
    (tmp_path / "file").touch()
    told_before_the_freeze(shell, "Not a directory")
    code, _, err = shell.run("history")
    assert code == 1
    assert "Not a directory" in err
    assert "nothing was frozen" not in err


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
