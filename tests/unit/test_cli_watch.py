"""`frostwatch watch` whose output can't be written, and whose sources fail: one sentence each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentclient.model.snapshot import LeftBy, VmState
from tests.unit.cli_fakes import AT, FakeEngine, FakeWatcher, World, frozen, world
from tui.cli.commands import watch as watch_module
from tui.main import run

__all__ = ["world"]

WATCH = [sys.executable, "-m", "tui.main", "--drill", "1", "watch"]


def test_a_full_disk_ends_it_with_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(WATCH, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    sentence = "the watch ends: its output can't be written (No space left on device)"
    assert (done.returncode, done.stderr) == (1, f"frostwatch: {sentence}\n")


def test_a_reader_that_leaves_ends_it_with_one_sentence() -> None:
    reads, writes = os.pipe()
    child = subprocess.Popen(WATCH, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    os.read(reads, 1)
    os.close(reads)
    _, said = child.communicate(timeout=60)
    sentence = "the watch ends: its output can't be written (nobody reads it any more)"
    assert (child.returncode, said) == (1, f"frostwatch: {sentence}\n")


class Once(threading.Event):
    """Signals that come after some ticks."""

    requests = 0

    def __enter__(self) -> Once:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_source_that_fails_is_told_once_for_as_long_as_it_does(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db1")
    signals, fails = Once(), iter([(), ("a",), ("a", "b"), ("b",), ("b",), ("a", "b")])

    def problems(_: FakeWatcher) -> tuple[str, ...]:
        found = next(fails, None)
        if found is None:
            signals.requests = 1
        return found or ()

    monkeypatch.setattr(FakeWatcher, "problems", property(problems), raising=False)
    monkeypatch.setattr(FakeEngine, "watch", lambda _: None)
    monkeypatch.setattr(watch_module, "Signals", lambda: signals)
    monkeypatch.setattr(watch_module, "TICK_S", 0.0)
    assert run(["watch"]) == 0
    seen = capsys.readouterr()
    assert seen.err.splitlines() == ["frostwatch: a", "frostwatch: b", "frostwatch: a"]
    assert "vm-found" in seen.out


def test_what_matters_has_a_command_run(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file, out = tmp_path / "hook", tmp_path / "out"
    new = tmp_path / "new"
    file.write_text(f"#!/bin/sh\nenv | grep ^FROSTWATCH_ > '{new}' && mv '{new}' '{out}'\n")
    file.chmod(0o755)
    monkeypatch.setenv("FROSTWATCH_NOTIFY_COMMAND", str(file))
    for name in ("db1", "web1"):
        one = world.add(name)
        state = VmState(one, freeze=frozen(foreign=False), left=LeftBy(1, 7, "u", AT))
        world.seen[name] = state
    signals, looks = Once(), iter(range(6000))

    def problems(_: FakeWatcher) -> tuple[str, ...]:
        if out.exists() or next(looks, None) is None:
            signals.requests = 1
        time.sleep(0.01)
        return ()

    monkeypatch.setattr(FakeWatcher, "problems", property(problems), raising=False)
    monkeypatch.setattr(FakeEngine, "watch", lambda one: one.watcher.visit_all(1.0))
    monkeypatch.setattr(watch_module, "Signals", lambda: signals)
    monkeypatch.setattr(watch_module, "TICK_S", 0.0)
    assert run(["watch", "web1"]) == 0
    told = dict(line.split("=", 1) for line in out.read_text().splitlines())
    assert told["FROSTWATCH_EVENT"] == "left-frozen"
    assert told["FROSTWATCH_VM"] == "qemu:web1"
    assert told["FROSTWATCH_STATE"] == "frozen"
    assert told["FROSTWATCH_LEVEL"] == "error"
    assert "which has ended" in told["FROSTWATCH_TEXT"]
    assert "left-frozen" in capsys.readouterr().out, "and it is told as ever"


@pytest.mark.parametrize("command", [["watch"], ["list", "--watch", "--json"]])
def test_a_reader_that_has_left_ends_it_also_where_nothing_happens_any_more(
    command: list[str],
) -> None:
    reads, writes = os.pipe()
    words = [sys.executable, "-m", "tui.main", "--no-config", "--drill", "1", *command]
    child = subprocess.Popen(words, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    told = b""
    while b"alive" not in told:  # all that there is to tell of a guest that has no trouble
        told += os.read(reads, 65536)
    os.close(reads)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, "(nobody reads it any more)" in said) == (1, True), said
