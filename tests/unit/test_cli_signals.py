from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import Progress
from agentclient.model.states import OutcomeKind, Phase
from tests.unit.cli_fakes import World, vm, world
from tests.waiting import until
from tui.cli.report import progress_text
from tui.main import run

__all__ = ["world"]

ROOT = Path(__file__).parents[2]


def _after_start(world: World, *numbers: signal.Signals, pause_s: float = 0.4) -> None:
    def send() -> None:
        world.operations.ready.wait(60)
        for number in numbers:
            time.sleep(pause_s)
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_cancels_and_tells_what_is_waited_for(
    world: World, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    world.add("web1")
    world.operations.pending = True
    _after_start(world, number)
    assert run(["freeze", "web1"]) == 1
    assert world.operations.started[0].calls[0] == "cancel"
    assert "give_up" not in world.operations.started[0].calls
    assert f"{number.name}: waiting until 1 VM is thawed" in capsys.readouterr().err


def test_handlers_are_put_back(world: World) -> None:
    world.add("web1")
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run(["freeze", "web1"])
    after = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert before == after


_CHILD = """
import sys, threading
from pathlib import Path
from tests.unit.cli_fakes import World
from tui.cli import session
from tui.main import main
world = World()
world.add("web1")
world.operations.pending = True
world.operations.stubborn = "stubborn" in sys.argv
session.build_engine = world.engine
ready = Path(sys.argv[1])
def tell():
    world.operations.ready.wait(60)
    ready.touch()
threading.Thread(target=tell, daemon=True).start()
sys.argv = ["frostwatch", "freeze", "web1"]
main()
"""


def _child(tmp_path: Path, *words: str, **streams: Any) -> subprocess.Popen[str]:
    ready = tmp_path / "ready"
    child: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(ready), *words], cwd=ROOT, text=True, **streams
    )
    until(ready.exists)
    time.sleep(0.3)
    return child


def _stubborn(tmp_path: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    """Start a freeze that no signal ends; return it, and the files of its stdout and stderr."""
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        return _child(tmp_path, "stubborn", stdout=stdout, stderr=stderr), out, err


def test_the_second_signal_leaves_loudly_with_the_command_for_a_person(tmp_path: Path) -> None:
    child, out, err = _stubborn(tmp_path)
    child.send_signal(signal.SIGTERM)
    until(lambda: "SIGTERM: waiting until" in err.read_text())
    time.sleep(0.5)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 1
    assert "MAY BE FROZEN! Its holder thaws it" in err.read_text()
    assert "if it does not: frostwatch thaw qemu:web1" in err.read_text()
    assert "next: frostwatch thaw qemu:web1" in out.read_text()


def test_two_signals_at_once_are_one_wish_and_a_second_hangup_is_none(tmp_path: Path) -> None:
    child, _, err = _stubborn(tmp_path)
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        child.send_signal(number)  # so both come at once, also where we are slow between them
    until(lambda: "waiting until" in err.read_text())
    time.sleep(0.6)
    child.send_signal(signal.SIGHUP)
    time.sleep(3.0)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 1


def test_a_reader_that_leaves_is_a_signal(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = _child(tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "nobody reads our output any more: waiting until 1 VM is thawed" in err
    assert "Traceback" not in err


def test_a_reader_that_stands_still_holds_up_no_signal(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    child = _child(tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    child.send_signal(signal.SIGTERM)  # thaws, and the output is still stuck
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(1.0)
    for _ in range(60):  # what comes soon after the first one is the same request
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
            break
    assert child.returncode == 1
    os.close(reading)
    child.communicate()


def _run_list(**streams: Any) -> subprocess.CompletedProcess[str]:
    code = _CHILD.replace('"freeze", "web1"', '"list", "--json"')
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-c", code, os.devnull], cwd=ROOT, text=True, timeout=60, **streams
    )
    return done


def test_a_list_that_nobody_reads_is_one_sentence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _run_list(stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 2
    assert done.stderr == "frostwatch: nobody reads our output any more\n"


@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("doctor",), ("explain",)])
def test_a_full_disk_for_stdout_is_one_sentence(words: tuple[str, ...]) -> None:
    done = _on("/dev/full", *words)
    assert done.returncode == 1
    assert done.stderr == "frostwatch: our output can't be written: No space left on device\n"


@pytest.mark.parametrize("to", ["/dev/full", None, "gone"])
def test_a_plugin_whose_line_can_not_be_written_is_unknown(to: str | None) -> None:
    done = _on(to, "list", "--format", "nagios")
    assert done.returncode == 3, "1 and 2 are findings of the VMs"
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("frostwatch: ")


def test_a_reader_that_leaves_after_one_line_is_no_failure() -> None:
    """The command has the exit code that it has with one who reads all of it."""
    tells = "[tell('x') or time.sleep(0.3) for _ in range(3)]"
    program = f"{_TELLS}\nmain.cli.callback = lambda **_: {tells} and 1\nexit(main.run([]))"
    python = shlex.join([sys.executable, "-c", program])
    done = subprocess.run(
        ["bash", "-c", f"{python} | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "x\n", "")


_TELLS = """
import time
from tui import main
from tui.cli.tell import whole as tell
"""


_DRILL = ("--no-config", "--drill", "3")


def _on(to: str | None, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a stdout: a file, closed, or a pipe whose reader has gone."""
    command = shlex.join([sys.executable, "-m", "tui.main", *_DRILL, *words])
    line = {None: f"{command} >&-", "gone": f"{{ sleep 0.2; {command}; }} | true"}
    text = line.get(to, f"{command} > {to}")
    return subprocess.run(
        ["bash", "-c", f"{text}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT, text=True, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip


def test_a_closed_stdout_is_refused_before_a_guest_gets_its_number() -> None:
    code = f'"$1" -c "$0" {os.devnull} >&-'
    command = ["sh", "-c", code, _CHILD, sys.executable]
    done = subprocess.run(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    assert "stdout is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_progress_is_honest_about_what_is_not_known() -> None:
    pending = Progress(
        "freeze", Phase.PENDING, "the agent's answer", 0.0, step=2, steps=6, sent_at=10.0,
        step_ends_at=1210.0, ends_at=3610.0, heard_at=5.0, read=None, written_bytes=None,
    )  # fmt: skip
    assert progress_text(pending, 700.0) == (
        "pending: waits for the agent's answer, step 2/6, 8:30 left of this step, 48:30 in all, "
        "silent for 11:35, read by the agent: unknown, bytes written: unknown"
    )


def test_progress_of_a_window_says_when_it_ends() -> None:
    held = Progress(
        "freeze", Phase.HELD, "the hold's end", 0.0, held_since=10.0, hold_ends_at=130.0
    )
    assert progress_text(held, 40.0) == "held, held for 0:30, thawed on its own in 1:30"


def test_the_next_command_can_be_pasted() -> None:
    assert thaw_command(vm("a b")) == "frostwatch thaw 'qemu:a b'"
    named = vm("x", "socket", Path("/run/a b.sock"))
    lone = named._replace(agent=None, monitor=None)  # as the journal has it
    assert thaw_command(lone).startswith(f"frostwatch thaw --vm name={lone.name},agent=PATH ")
    assert thaw_command(named, foreign=True) == (
        "frostwatch thaw --vm 'name=x,agent=/run/a b.sock' --foreign socket:x"
    )


def test_an_outcome_that_never_came_is_never_a_success(world: World) -> None:
    world.add("web1")
    world.operations.results = {"web1": Outcome(OutcomeKind.TIMEOUT, "nothing", settled=True)}
    assert run(["freeze", "web1"]) == 1
