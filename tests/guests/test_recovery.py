"""Console and holder killed together: the next frostwatch finds what they have left (P4)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentclient.journal.writer import default_path
from tests.guests import command
from tests.guests.command import Frostwatch, Json, holders_of, kill_holder_and_console
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until

# What is told stands in the journal a moment later: nobody waits for the disk.
WRITTEN_S = 1.0


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def leave_frozen(guest: Guest, frostwatch: Frostwatch) -> int:
    """Freeze, kill whoever would thaw it, and return the pid of the dead console."""
    child = frostwatch.freeze_until("held", "--hold", "100")
    time.sleep(WRITTEN_S)
    kill_holder_and_console(child.pid)
    child.wait()
    assert guest.frozen_mounts() == {"a", "b"}
    return child.pid


def listed(frostwatch: Frostwatch) -> tuple[Json, str]:
    """What `list` says of the guest, and whether anything was left; others may run here, too."""
    code, lines, err = frostwatch.run("list")
    assert code == 0
    (line,) = [each for each in lines if each["id"] == frostwatch.vm]
    return line, err


def history(frostwatch: Frostwatch) -> list[Json]:
    """Return the windows of the guest, the newest first."""
    code, lines, err = frostwatch.run("history", frostwatch.vm)
    assert code == 0, err
    return lines[:-1]


def test_the_next_list_tells_it_and_a_thaw_needs_no_foreign(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    pid = leave_frozen(calm, frostwatch)
    (left,) = history(frostwatch)
    assert (left["state"], left["settled"], left["by"]["pid"]) == ("left", False, pid)
    line, err = listed(frostwatch)
    assert line["freeze"]["state"] == "frozen"
    assert line["freeze"]["foreign"] is False
    assert line["freeze"]["left_by"]["pid"] == pid
    assert line["freeze"]["since"] == line["freeze"]["left_by"]["time"]
    assert f"left frozen by frostwatch (pid {pid}" in err
    assert "thaw it with: frostwatch thaw --vm" in err
    assert "--foreign" not in err
    code, told, _ = frostwatch.run("thaw", frostwatch.vm)
    assert code == 0
    assert (told[-1]["ok"], told[-1]["thawed"]) == (True, 2)
    calm.assert_thawed()
    thaw, freeze = history(frostwatch)
    assert (thaw["kind"], thaw["settled"], thaw["thaw"]["thawed"]) == ("thaw", True, 2)
    assert (freeze["state"], freeze["settled"]) == ("closed", True)
    assert "thawed later" in freeze["note"]
    assert freeze["result"]["outcome"] == "verified"
    line, err = listed(frostwatch)
    assert (line["freeze"]["state"], line["freeze"]["left_by"], err) == ("thawed", None, "")


def test_thawed_by_somebody_else_the_window_is_settled_and_a_later_freeze_is_foreign(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    leave_frozen(calm, frostwatch)
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        somebody.thaw()
    line, _ = listed(frostwatch)
    assert line["freeze"]["state"] == "thawed"
    (row,) = history(frostwatch)
    assert (row["state"], row["settled"], row["note"]) == ("closed", True, "found thawed")
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2
    line, err = listed(frostwatch)
    assert (line["freeze"]["foreign"], line["freeze"]["left_by"], err) == (True, None, "")
    code, told, _ = frostwatch.run("thaw", frostwatch.vm)
    assert (code, told[-1]["refused"]) == (1, True)
    assert calm.frozen_mounts() == {"a", "b"}
    assert frostwatch.run("thaw", "--foreign", frostwatch.vm)[0] == 0
    calm.assert_thawed()


def test_a_socket_that_is_away_ends_no_window(calm: Guest, frostwatch: Frostwatch) -> None:
    """Its QEMU runs on, and has frozen file systems: a path proves nothing (P9)."""
    leave_frozen(calm, frostwatch)
    aside = calm.agent_socket.with_suffix(".aside")
    calm.agent_socket.rename(aside)
    frostwatch.run("list")
    (left,) = history(frostwatch)
    assert (left["state"], left["settled"], left["note"]) == ("left", False, None)
    assert left["process"]["pid"] == calm.qemu_pid, "whom the kernel names as the peer"
    aside.rename(calm.agent_socket)
    assert frostwatch.run("thaw", frostwatch.vm)[0] == 0
    calm.assert_thawed()
    assert all(row["settled"] for row in history(frostwatch))


def test_left_while_it_was_pending_it_is_found_as_soon_as_it_can_be(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    """Nobody reads the freeze's answer: the agent spins until somebody connects (§3.5)."""
    calm.slow_hook(3.0)
    hooks = len(calm.hook_log())
    child = frostwatch.freeze_until("sent", "--hold", "100")
    wait_until(lambda: len(calm.hook_log()) > hooks, PATIENCE_S, "the freeze's hook")
    kill_holder_and_console(child.pid)
    child.wait()
    line, err = listed(frostwatch)
    assert line["freeze"]["left_by"]["pid"] == child.pid
    assert "left frozen" in err
    assert frostwatch.run("thaw", frostwatch.vm)[0] == 0
    calm.assert_thawed()
    assert all(row["settled"] for row in history(frostwatch))


def test_a_window_that_the_holder_has_ended_says_so(calm: Guest, frostwatch: Frostwatch) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    (holder,) = holders_of(child.pid)
    time.sleep(WRITTEN_S)
    child.kill()
    calm.assert_thawed()
    wait_until(lambda: ended(holder), PATIENCE_S, "the holder's end")
    (row,) = history(frostwatch)
    assert (row["state"], row["settled"]) == ("closed", True)
    note, cut = row["note"].split("; ")
    assert note == "taken over by the holder: the console has gone"
    assert cut.endswith("of 1 min 40 s: the holder thawed it")
    assert (row["thaw"]["ok"], row["thaw"]["thawed"]) == (True, 2)
    assert row["held_s"] > 0
    assert row["events"][-1]["event"] == "thawed"


def ended(process: int) -> bool:
    try:
        return b") Z " in Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return True


def kill(console: int, dice: random.Random) -> None:
    """Kill the console, its holder, or both."""
    holders = holders_of(console)
    which = dice.choice(("console", "both", "holder"))
    for holder in holders if which != "console" else ():
        os.kill(holder, signal.SIGKILL)
    if which != "holder":
        os.kill(console, signal.SIGKILL)


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(1800)
def test_after_kills_at_any_moment_nothing_is_unknown(
    calm: Guest, frostwatch: Frostwatch, kills: int
) -> None:
    calm.slow_hook(0.3)
    dice = random.Random(kills)
    for _ in range(kills):
        child = frostwatch.freeze_until("preparing", "--hold", "1")
        time.sleep(dice.uniform(0.0, 2.0))
        if child.poll() is None:
            kill(child.pid, dice)
        child.communicate(timeout=PATIENCE_S)
        wait_until(lambda: code_of_thaw(frostwatch) == 0, PATIENCE_S, "the thaw of what is ours")
        calm.assert_thawed()
    with sqlite3.connect(default_path()) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    listed(frostwatch)
    rows = history(frostwatch)
    assert sum(row["kind"] == "freeze" for row in rows) == min(kills, 50) or len(rows) == 50
    assert {(row["state"], row["settled"]) for row in rows} == {("closed", True)}
    assert all(row["note"] or row["result"] or row["thaw"] for row in rows)


def code_of_thaw(frostwatch: Frostwatch) -> int:
    return frostwatch.run("thaw", frostwatch.vm)[0]


@pytest.fixture
def tiny_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 512 KiB in the place of the state directory."""
    place = tmp_path / "state"
    place.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can't be mounted here: run as root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_fills_up_in_the_middle_costs_the_history_alone(
    calm: Guest, frostwatch: Frostwatch, tiny_disk: Path
) -> None:
    calm.slow_hook(2.0)
    child = frostwatch.freeze_until("sent", "--hold", "1")
    assert list(tiny_disk.rglob("journal.db")), "it was written while there was room"
    with suppress(OSError), (tiny_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
    code, lines, _ = command.ended(child)
    assert code == 0
    assert (lines[-1]["event"], lines[-1]["certified"]) == ("outcome", True)
    calm.assert_thawed()
    (tiny_disk / "filler").unlink()
    code, _, _ = command.ended(frostwatch.start("history", "--json"))
    assert code == 0, "the file is readable all the same"
