"""A command that runs while guests are frozen, as scripts and people start it (real guests)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, Json, ended
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until
from tui.shared.signals import SAME_REQUEST_S

Pair = tuple[Guest, Guest]


@pytest.fixture(scope="module")
def two(module_boot: Boot) -> Pair:
    """Two guests with one disk each."""
    return module_boot(name="run0", mounts=("a",)), module_boot(name="run1", mounts=("a",))


@pytest.fixture
def pair(two: Pair) -> Iterator[Pair]:
    """The same, put back to how they were after each test."""
    yield two
    for guest in two:
        guest.calm_down()


@pytest.fixture
def one(pair: Pair) -> Guest:
    """The first of them."""
    return pair[0]


@pytest.fixture
def frostwatch(pair: Pair) -> Iterator[Frostwatch]:
    started = Frostwatch(pair[0])
    yield started
    started.close()


@pytest.fixture
def frostwatch_of_both(pair: Pair) -> Iterator[Frostwatch]:
    started = Frostwatch(*pair)
    yield started
    started.close()


def start(frostwatch: Frostwatch, *words: str, more: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a command under a freeze of all VMs; `more` are options."""
    return frostwatch.start("freeze", *frostwatch.vms, "--json", *more, "--", *words)


def run(
    frostwatch: Frostwatch, *words: str, more: tuple[str, ...] = ()
) -> tuple[int, list[Json], str]:
    """The same, and wait for its end."""
    return ended(start(frostwatch, *words, more=more))


def job_of(lines: list[Json], vm: str | None = None) -> Json:
    """What came of it for a VM (or for the only one)."""
    jobs = [line for line in lines if line["event"] == "job" and vm in (None, line["vm"])]
    assert len(jobs) == 1
    return jobs[0]


def told(lines: list[Json]) -> list[str]:
    """What has happened to the command, in order."""
    return [line["what"] for line in lines if line["event"] == "command"]


def until_told(child: subprocess.Popen[str], what: str) -> list[Json]:
    """Read until this was told of the command."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "command" and lines[-1]["what"] == what:
            return lines
    raise AssertionError(f"ended without {what}: {lines}")


def is_there(pid: int) -> bool:
    """Whether a process runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until_there(path: Path) -> tuple[str, ...]:
    """The words of a command that ends once a file is there, so that a test may take its time."""
    return ("sh", "-c", "while [ ! -e $0 ]; do sleep 0.1; done", str(path))


def test_it_runs_once_the_guest_is_verified_and_the_guest_is_thawed_when_it_ends(
    one: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    script = "env | grep ^FROSTWATCH_ >$0; cat /proc/uptime >>$0; echo said; sleep 0.5"
    code, lines, err = run(frostwatch, "sh", "-c", script, str(tmp_path / "seen"))
    assert (code, err) == (0, "said\n"), "its stdout is kept apart from our JSON"
    one.assert_thawed()
    job = lines[-1]
    assert (job["event"], job["job"], job["vm"]) == ("job", "command", frostwatch.vm)
    assert (job["result"], job["consistency"], job["ok"]) == ("complete", "consistent", True)
    command = job["command"]
    assert (command["exit_code"], command["signal"], command["inside"]) == (0, None, True)
    assert command["argv"][:2] == ["sh", "-c"]
    kinds = [line["event"] for line in lines]
    assert kinds.index("held") < kinds.index("command") < kinds.index("thaw-sent")
    assert told(lines) == ["began", "ended"]
    moments = command["moments"]
    names = ["frozen", "began", "ended", "thawing", "thawed"]
    seconds = [moments[name]["s"] for name in names]
    assert seconds == sorted(seconds)
    assert moments["ended"]["s"] - moments["began"]["s"] >= 0.5
    assert all(line["s"] >= 0 for line in lines)
    assert [line["s"] for line in lines] == sorted(line["s"] for line in lines)
    frozen, thawed = (datetime.fromisoformat(moments[name]["at"]) for name in ("frozen", "thawed"))
    apart = moments["thawed"]["s"] - moments["frozen"]["s"]
    assert (thawed - frozen).total_seconds() == pytest.approx(apart, abs=0.003)

    seen = dict(row.split("=", 1) for row in (tmp_path / "seen").read_text().splitlines()[:-1])
    assert seen["FROSTWATCH_VMS"] == frostwatch.vm
    assert seen["FROSTWATCH_UNTIL"] == moments["until"]["at"]
    left = float(seen["FROSTWATCH_SECONDS"])
    assert 100 < left <= 120, "as long as a window may be held"
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert 90 < float(seen["FROSTWATCH_UNTIL_MONOTONIC"]) - now <= 120


@pytest.mark.parametrize(
    ("script", "exit_code", "number"),
    [("exit 3", 3, None), ("kill -KILL $$", None, "SIGKILL"), ("kill -SEGV $$", None, "SIGSEGV")],
)
def test_one_that_fails_or_is_killed_is_no_copy(
    one: Guest, frostwatch: Frostwatch, script: str, exit_code: int | None, number: str | None
) -> None:
    code, lines, _ = run(frostwatch, "sh", "-c", script)
    assert code == 1
    job = job_of(lines)
    assert (job["result"], job["consistency"], job["ok"]) == ("failed", "none", False)
    assert (job["command"]["exit_code"], job["command"]["signal"]) == (exit_code, number)
    assert job["window"]["certified"]
    one.assert_thawed()


def test_one_that_outlasts_its_window_is_told_at_once_and_left_running(
    one: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    child = start(frostwatch, *until_there(tmp_path / "end"), more=("--hold", "1"))
    lines = until_told(child, "overran")
    moments = lines[-1]["s"] - next(line["s"] for line in lines if line["event"] == "held")
    assert moments >= 0.9
    assert is_there(lines[-1]["pid"])
    wait_until(lambda: not one.frozen_mounts(), PATIENCE_S, "the thaw while the command runs")
    (tmp_path / "end").touch()
    code, rest, _ = ended(child)
    assert code == 1
    job = job_of(rest)
    assert (job["result"], job["consistency"]) == ("complete", "crash-consistent")
    assert (job["ok"], job["command"]["overran"], job["command"]["inside"]) == (False, True, False)
    assert "after the freeze window" in job["reason"]
    assert job["window"]["certified"], "the window itself was well"


def test_one_that_outlasts_its_window_is_ended_with_its_group_if_asked(
    one: Guest, frostwatch: Frostwatch
) -> None:
    script = "trap '' TERM; sleep 300 & echo $!; wait; sleep 300"
    code, lines, err = run(
        frostwatch, "sh", "-c", script, more=("--hold", "3", "--on-overrun", "kill")
    )
    assert code == 1
    assert told(lines) == ["began", "overran", "stopped", "stopped", "ended"]
    job = job_of(lines)
    assert (job["result"], job["consistency"]) == ("failed", "none")
    assert (job["command"]["signal"], job["command"]["stopped"]) == ("SIGKILL", "SIGKILL")
    assert not is_there(int(err))
    one.assert_thawed()


def test_a_child_that_holds_stdout_is_not_waited_for_and_is_named(
    one: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    out = tmp_path / "pid"
    script = "sleep 300 & echo $! >$0"
    child = start(frostwatch, "sh", "-c", script, str(out))
    until_told(child, "ended")
    pid = int(out.read_text())
    one.assert_thawed()
    assert child.wait(PATIENCE_S) == 0
    assert is_there(pid)
    assert child.stdout is not None
    (job,) = [line for line in map(json.loads, child.stdout) if line["event"] == "job"]
    assert job["left"] == [f"process group {job['command']['pid']} goes on"]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("as_json", [True, False])
def test_one_that_floods_a_pipe_that_nobody_reads_delays_no_thaw(
    one: Guest, frostwatch: Frostwatch, as_json: bool
) -> None:
    more = ("--json",) if as_json else ()
    hold = ("--hold", "2", "--on-overrun", "kill")
    child = frostwatch.start("freeze", *frostwatch.vms, *more, *hold, "--", "yes", "x" * 1000)
    # Not by a look at it while it is frozen, which a slow machine may miss.
    wait_until(lambda: one.hook_log()[-2:] == ["freeze", "thaw"], PATIENCE_S, "the thaw")
    one.assert_thawed()
    out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert (err if as_json else out).count("x" * 1000) > 10


def test_stdin_is_the_commands_and_may_be_closed(frostwatch: Frostwatch, tmp_path: Path) -> None:
    script = "cat >$0; exec <&-; sleep 0.1"
    arguments = ["freeze", *frostwatch.vms, "--json", "--", "sh", "-c", script]
    for given, seen in (("some words", "some words"), (None, "")):
        out = tmp_path / "in"
        closed = ["sh", "-c", 'exec "$@" <&-', "sh"] if given is None else []
        child = subprocess.run(
            [*closed, sys.executable, "-m", "tui.main", *frostwatch.known, *arguments, str(out)],
            input=given,
            text=True,
            capture_output=True,
            cwd=Path(__file__).parents[2],
            timeout=PATIENCE_S,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        assert out.read_text() == seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_thaws_and_ends_the_command(
    one: Guest, frostwatch: Frostwatch, number: signal.Signals
) -> None:
    child = start(frostwatch, "sleep", "300")
    pid = until_told(child, "began")[-1]["pid"]
    assert one.frozen_mounts()
    child.send_signal(number)
    code, lines, err = ended(child)
    assert code == 1
    assert number.name in err
    job = job_of(lines)
    assert (job["result"], job["consistency"]) == ("cancelled", "none")
    assert (job["command"]["signal"], job["window"]["settled"]) == ("SIGTERM", True)
    assert not is_there(pid)
    one.assert_thawed()


def test_a_second_signal_kills_it_and_leaves_at_once(
    one: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = "trap '' TERM; touch $0; while :; do sleep 1; done"
    child = start(frostwatch, "sh", "-c", script, str(ready))
    pid = until_told(child, "began")[-1]["pid"]
    wait_until(ready.exists, PATIENCE_S, "it minds no TERM")
    child.send_signal(signal.SIGINT)
    (*_, stopped) = until_told(child, "stopped")
    assert "TERM" in stopped["text"]
    time.sleep(2 * SAME_REQUEST_S)
    child.send_signal(signal.SIGINT)
    code, lines, _ = ended(child)
    assert code == 1
    # Left to itself it would be killed 5 s after the first one.
    assert all(line["s"] - stopped["s"] < 5 for line in lines)
    wait_until(lambda: not one.frozen_mounts(), PATIENCE_S, "the thaw")
    wait_until(lambda: not is_there(pid), PATIENCE_S, "the command's end")


def test_a_killed_console_leaves_the_command_and_its_holder_thaws(
    one: Guest, frostwatch: Frostwatch
) -> None:
    child = start(frostwatch, "sleep", "300")
    pid = until_told(child, "began")[-1]["pid"]
    child.kill()
    wait_until(lambda: not one.frozen_mounts(), PATIENCE_S, "the holder's thaw")
    assert is_there(pid), "what it does is its own"
    os.kill(pid, signal.SIGKILL)
    one.assert_thawed()


@pytest.mark.parametrize("how", ["agent", "reset"])
def test_a_window_that_breaks_is_told_while_the_command_runs(
    one: Guest, frostwatch: Frostwatch, how: str, tmp_path: Path
) -> None:
    child = start(frostwatch, *until_there(tmp_path / "end"))
    until_told(child, "began")
    if how == "agent":
        one.kill_agent()
    else:
        one.reset(wait=False)
    lines = []
    assert child.stdout is not None
    for line in child.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "at-risk" or lines[-1].get("what") == "broken":
            break
    assert lines
    assert lines[-1].get("what") != "ended"
    (tmp_path / "end").touch()
    if how == "agent":
        one.start_agent()
    else:
        one.wait_reset()
    code, rest, _ = ended(child)
    assert code == 1
    job = job_of([*lines, *rest])
    assert (job["result"], job["ok"]) == ("complete", False)
    assert job["consistency"] == "crash-consistent"


@pytest.mark.parametrize("together", [True, False])
def test_two_guests_are_frozen_while_it_runs(
    pair: Pair, frostwatch_of_both: Frostwatch, together: bool, tmp_path: Path
) -> None:
    pair[1].slow_hook(1.0)
    more = ("--together",) if together else ()
    child = start(frostwatch_of_both, *until_there(tmp_path / "end"), more=more)
    lines = until_told(child, "began")
    assert all(guest.frozen_mounts() for guest in pair)
    (tmp_path / "end").touch()
    code, rest, _ = ended(child)
    assert code == 0
    lines += rest
    for guest in pair:
        guest.assert_thawed()
    for vm in frostwatch_of_both.vms:
        job = job_of(lines, vm)
        assert (job["ok"], job["consistency"]) == (True, "consistent")
    groups = [line for line in lines if line["event"] == "group"]
    assert [line["together"] for line in groups] == [True, True][: 2 * together]


@pytest.mark.parametrize("together", [True, False])
def test_if_one_guest_cannot_be_frozen_nothing_is_run(
    pair: Pair, frostwatch_of_both: Frostwatch, together: bool, tmp_path: Path
) -> None:
    pair[1].kill_agent()
    more = ("--together",) if together else ()
    ran = tmp_path / "ran"
    code, lines, _ = run(frostwatch_of_both, "touch", str(ran), more=more)
    assert code == 1
    assert not ran.exists()
    for vm in frostwatch_of_both.vms:
        job = job_of(lines, vm)
        assert (job["result"], job["refusal"]) == ("refused", "not-frozen")
        assert job["command"]["pid"] is None
        assert "run1" in job["reason"]
        if not together:
            assert job["next"].endswith(f"-- touch {ran}"), "the command's own line once more"
    pair[0].assert_thawed()

    code, lines, _ = run(frostwatch_of_both, "touch", str(ran), more=(*more, "--policy", "prefer"))
    assert (code, ran.exists()) == (0, True)
    other = job_of(lines, frostwatch_of_both.vms[1])
    assert (other["ok"], other["consistency"]) == (True, "crash-consistent")
    if not together:
        assert job_of(lines, frostwatch_of_both.vms[0])["consistency"] == "consistent"


@pytest.mark.parametrize(
    "words", [(), ("",), ("nope-nope",), ("--", "true"), ("/",), ("/etc/passwd",)]
)
def test_what_cannot_be_run_freezes_nothing(
    one: Guest, frostwatch: Frostwatch, words: tuple[str, ...]
) -> None:
    before = one.hook_log()
    code, lines, err = run(frostwatch, *words)
    assert (code, lines) == (2, [])
    assert err.count("\n") == 1
    assert one.hook_log() == before


def test_odd_words_reach_it_as_they_are(frostwatch: Frostwatch, tmp_path: Path) -> None:
    words = ["a b", "--json", "", "--", "'\"$HOME`;", "é\udcff", "-h"]
    out = tmp_path / "words"
    code, _, err = run(frostwatch, "sh", "-c", 'printf "%s\\0" "$@" >$0', str(out), *words)
    assert code == 0, err
    assert out.read_bytes().split(b"\0")[:-1] == [os.fsencode(word) for word in words]


def test_a_person_reads_what_happens_and_the_command_writes_beside(
    one: Guest, frostwatch: Frostwatch
) -> None:
    child = frostwatch.start("freeze", one.name, "--", "echo", "hello there")
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (0, "")
    assert "\nhello there\n" in out
    assert "command: the command runs, pid " in out
    assert "command: the command has ended: exit code 0" in out
    assert "certified consistent" in out.splitlines()[-1]


@pytest.mark.soak
@pytest.mark.alone
def test_how_soon_a_guest_writes_again(
    frostwatch: Frostwatch, record_property: Callable[[str, object], None]
) -> None:
    began, thawed = [], []
    for _ in range(20):
        code, lines, _ = run(frostwatch, "true")
        assert code == 0
        moments = job_of(lines)["command"]["moments"]
        verdict = next(line["s"] for line in lines if line["event"] == "verdict")
        began.append(moments["began"]["s"] - verdict)
        thawed.append(moments["thawed"]["s"] - moments["ended"]["s"])
    record_property("verdict to begin, s", sorted(began))
    record_property("end to thawed, s", sorted(thawed))
    assert sorted(began)[10] < 0.1
    assert sorted(thawed)[10] < 1.0
