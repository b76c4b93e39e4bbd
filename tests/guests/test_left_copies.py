"""What a killed frostwatch leaves of a copy: the next one finds it, and ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient import Engine
from agentclient.jobs.left import LeftCopy
from tests.guests.command import Frostwatch
from tests.guests.conftest import Boot
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until


@contextmanager
def _copying(
    guest: Guest,
    folder: Path,
    *,
    policy: str = "require",
    limit: int = 1,
    seconds: float = 0,
    hold_s: float = LONG_WINDOW.schedule.hold_s,
    stops_at: tuple[str, ...] = (),
) -> Iterator[subprocess.Popen[str]]:
    """Make a copy of disk a in a process of its own."""
    arguments = [guest.vm_argument, str(folder), policy, str(limit), str(seconds), str(hold_s)]
    arguments += stops_at
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.guests.copying_child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _wait_for(child: subprocess.Popen[str], stage: str) -> None:
    assert child.stdout is not None
    told = []
    for line in child.stdout:
        told.append(line.strip())
        if told[-1] == stage:
            return
    raise AssertionError(f"it never said {stage}: {told}")


def _left(guest: Guest) -> tuple[Engine, LeftCopy]:
    engine = Engine([guest.vm_argument], named_only=True)
    (copy,) = engine.jobs.in_qemu(engine.find_one(guest.name))
    return engine, copy


def _nodes(guest: Guest) -> list[str]:
    found = guest.qmp("query-named-block-nodes")
    return [one["node-name"] for one in found if one["node-name"].startswith("fw-")]


def test_a_copy_that_was_left_while_it_is_copied_is_found_and_ended(
    guest: Guest, tmp_path: Path
) -> None:
    with _copying(guest, tmp_path) as child:
        _wait_for(child, "copying")
        engine, copy = _left(guest)
        assert copy.running
        assert "which runs" in str(copy)
        with pytest.raises(ValueError, match="is not left"):
            engine.jobs.clear(engine.find_one(guest.name), copy)
        engine.close()
        child.kill()
        child.wait()
    guest.assert_thawed()
    engine, copy = _left(guest)
    with engine:
        assert (copy.running, copy.kind, copy.complete) == (False, "backup", False)
        vm = engine.find_one(guest.name)
        engine.visit()
        (job,) = engine.fleet.get(vm.id).left_jobs
        assert "which has ended" in str(job)
        (file,) = tmp_path.rglob("a.qcow2")
        cleared = engine.jobs.clear(vm, copy)
        first, bitmap, folder = cleared.removed
        assert (first, folder) == (str(file), str(file.parent))
        assert bitmap.startswith("the bitmap frostwatch-")
        assert (cleared.kept, cleared.left) == ((), ())
        assert engine.jobs.in_qemu(vm) == ()
    assert not file.parent.exists()
    assert (_nodes(guest), guest.qmp("query-jobs")) == ([], [])


def test_a_copy_that_was_left_before_it_began_leaves_no_node(guest: Guest, tmp_path: Path) -> None:
    guest.hanging_hook()
    with _copying(guest, tmp_path) as child:
        _wait_for(child, "freezing")
        wait_until(lambda: guest.hook_log() == ["freeze"], PATIENCE_S, "the freeze runs")
        child.kill()
        child.wait()
    guest.clear_hook()
    engine, copy = _left(guest)
    with engine:
        assert (copy.running, copy.jobs, len(copy.nodes)) == (False, (), 3)
        cleared = engine.jobs.clear(engine.find_one(guest.name), copy)
        assert (len(cleared.removed), cleared.left) == (2, ()), "the file, and its folder"
    assert (list(tmp_path.rglob("*.qcow2")), _nodes(guest)) == ([], [])


def test_a_copy_that_was_complete_when_it_was_found_is_kept(guest: Guest, tmp_path: Path) -> None:
    with _copying(guest, tmp_path, limit=0, seconds=60) as child:
        _wait_for(child, "in the window")
        wait_until(
            lambda: any(job["status"] == "concluded" for job in guest.qmp("query-jobs")), 60, "end"
        )
        child.kill()
        child.wait()
        wait_until(lambda: not guest.frozen_mounts(), PATIENCE_S, "thawed by the holder")
    command = Frostwatch(guest)
    code, lines, _ = command.run("jobs", guest.name)
    assert (code, lines[0]["running"], lines[0]["complete"]) == (1, False, True)
    code, lines, _ = command.run("jobs", "--clear", guest.name)
    (file,) = tmp_path.rglob("a.qcow2")
    assert (code, lines[0]["cleared"]["kept"]) == (0, [str(file)])
    assert command.run("jobs", guest.name)[:2] == (0, [])
    command.close()
    assert file.exists()
    assert _nodes(guest) == []


def test_a_vm_that_was_paused_for_a_copy_goes_on_when_frostwatch_is_killed(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(autostart=False)
    with _copying(guest, tmp_path, policy="suspend", seconds=60) as child:
        _wait_for(child, "in the window")
        assert guest.status() == "paused"
        child.kill()
        child.wait()
        wait_until(lambda: guest.status() == "running", PATIENCE_S, "it goes on")


def test_a_vm_that_was_paused_for_a_copy_goes_on_when_frostwatch_is_stopped(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(autostart=False)
    with _copying(guest, tmp_path, policy="suspend", limit=0, seconds=1, hold_s=5) as child:
        _wait_for(child, "in the window")
        child.send_signal(signal.SIGSTOP)
        assert guest.status() == "paused"
        wait_until(lambda: guest.status() == "running", PATIENCE_S, "it goes on")
        child.send_signal(signal.SIGCONT)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert "somebody has resumed the VM before the copy could be taken" in out
    assert "crash-consistent" in out
    assert guest.status() == "running"


@pytest.mark.parametrize(
    ("command", "sent"), [("transaction", "half"), ("cont", "none"), ("stop", "none")]
)
def test_a_vm_goes_on_when_frostwatch_is_stopped_in_the_middle_of_a_visit(
    boot: Boot, tmp_path: Path, command: str, sent: str
) -> None:
    """A monitor serves one client at a time: whoever is stopped as that one keeps all others out.

    Nor does it pause the VM afterwards, when nobody stands by any more.
    """
    guest, hold_s = boot(autostart=False), 15.0
    with _copying(
        guest, tmp_path, policy="suspend", limit=0, hold_s=hold_s, stops_at=(command, sent)
    ) as child:
        _wait_for(child, "freezing")
        began = time.monotonic()
        _wait_for(child, "in a visit")
        wait_until(lambda: "State:\tT" in status_of(child), PATIENCE_S, "it has stopped itself")
        state, after_s = guest.status(), time.monotonic() - began
        # A machine that takes longer than the window has nobody paused any more.
        assert state == ("running" if command == "stop" else "paused") or after_s > hold_s, after_s
        wait_until(lambda: guest.status() == "running", PATIENCE_S, "it goes on")
        child.send_signal(signal.SIGCONT)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, guest.status()) == (0, "running")
    assert "complete, and certified" not in out
    assert (_nodes(guest), guest.qmp("query-jobs")) == ([], [])


def status_of(child: subprocess.Popen[str]) -> str:
    """Return what the kernel says of a process."""
    return Path(f"/proc/{child.pid}/status").read_text()


def test_a_vm_without_an_agent_is_paused_for_the_copy_and_goes_on(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(autostart=False)
    with _copying(guest, tmp_path, policy="suspend", limit=0) as child:
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert "crash-consistent only: the VM has no agent, and was paused" in out
    assert guest.status() == "running"


def test_nothing_is_copied_through_the_filters_that_a_killed_backup_has_left(
    guest: Guest, tmp_path: Path
) -> None:
    command = Frostwatch(guest)
    (tmp_path / "again").mkdir()
    child = command.start("backup", guest.name, "--to", str(tmp_path), "--rate", "1")
    wait_until(lambda: guest.qmp("query-block-jobs") != [], PATIENCE_S, "it copies")
    child.kill()
    child.wait()
    _refused(command, guest, tmp_path / "again", "a block job runs on the VM: backup frostwatch.")
    job, *_ = guest.qmp("query-block-jobs")  # its end is the others' as well
    guest.qmp("block-job-cancel", device=job["device"], force=True)
    wait_until(
        lambda: all(job["status"] == "concluded" for job in guest.qmp("query-jobs")), 60, "its end"
    )
    _refused(command, guest, tmp_path / "again", "the filter of another copy is above a disk")
    assert command.run("jobs", "--clear", guest.name)[0] == 0
    code, lines, _ = command.run("backup", guest.name, "--to", f"{tmp_path}/again")
    assert (code, lines[-1]["consistency"]) == (0, "consistent")
    command.close()
    assert _nodes(guest) == []


def _refused(command: Frostwatch, guest: Guest, folder: Path, why: str) -> None:
    """No copy is made, and it is told how to end what was left."""
    for words in (
        ("backup", guest.name, "--to", str(folder)),
        ("mirror", guest.name, "--to", str(folder)),
        ("snapshot", "create", guest.name, "again", "--external"),
    ):
        code, lines, _ = command.run(*words)
        assert (code, lines[-1]["refusal"]) == (1, "job-running")
        assert why in lines[-1]["reason"]
        assert "frostwatch jobs --clear" in lines[-1]["next"]
