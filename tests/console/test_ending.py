"""Signals, closed and stuck terminals, and a console that fails, on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.console.console_under_test import ANSWERED, SCREEN_S
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A console on a pseudo-terminal, and what it has written so far."""

    def __init__(
        self, folder: Path, *arguments: str, deaf: bool = False, term: str = "xterm-256color"
    ) -> None:
        self.folder = folder
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = os.environ | {"TERM": term, "PYTHONPATH": str(ROOT)}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.console.console_under_test", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment,
            # A session of its own, with the terminal as its controlling one: it gets the SIGHUP.
            start_new_session=True,
            preexec_fn=lambda: self._begin(deaf),
        )
        os.close(slave)
        self.output = ""
        self.open = True

    @staticmethod
    def _begin(deaf: bool) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if deaf:  # as nohup has it
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def read_until(self, wanted: str, within_s: float = 60.0) -> None:
        until = time.monotonic() + within_s
        while wanted not in self.output:
            assert time.monotonic() < until, f"no {wanted!r} in {self.output[-3000:]!r}"
            self._read(0.1)

    def _read(self, within_s: float) -> None:
        if not self.open or not select.select([self.master], [], [], within_s)[0]:
            return
        try:
            self.output += os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            self.open = False

    def write(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def answer(self) -> None:
        """Let its freeze end, though its seconds are not over."""
        (self.folder / ANSWERED).touch()

    def close(self) -> None:
        os.close(self.master)
        self.open = False

    def ended(self, within_s: float = 60.0) -> int:
        until = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < until, f"still runs: {self.output[-2000:]!r}"
            if self.open:
                self._read(0.05)
            else:
                time.sleep(0.05)
        self._read(0.2)
        return self.process.returncode

    @property
    def after_the_screen(self) -> str:
        """What was written after the alternate screen was left."""
        text = self.output.rpartition("\x1b[?1049l")[2]
        return re.sub(r"\x1b\[[0-9;?<>]*[a-zA-Z]", "", text)

    @property
    def left(self) -> str:
        return (self.folder / "left.txt").read_text()


Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Terminal] = []

    def begin(*arguments: str, deaf: bool = False, term: str = "xterm-256color") -> Terminal:
        terminal = Terminal(tmp_path, *arguments, deaf=deaf, term=term)
        started.append(terminal)
        terminal.read_until("freezing" if arguments[1] != "idle" else "thawed")
        return terminal

    yield begin
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait()
        if terminal.open:
            terminal.close()


def test_a_signal_thaws_first_and_then_ends(start: Start) -> None:
    terminal = start("600", "flying")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.read_until("thawing qemu:a: waits for the agent's answer")  # not the screen's words
    terminal.answer()
    assert terminal.ended() == 0
    assert "thawing qemu:a: waits for the agent's answer" in terminal.after_the_screen
    assert "qemu:a: thawed 2 of 2" in terminal.after_the_screen
    assert "give_up" not in terminal.left


def test_a_signal_ends_an_idle_console_with_one_line(start: Start) -> None:
    terminal = start("0", "idle")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 0
    assert terminal.after_the_screen.strip() == "frostwatch: nothing was frozen"


def test_a_second_signal_leaves_it_to_the_holder(start: Start) -> None:
    terminal = start("600", "flying")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.read_until("Ctrl-C leaves that to the holder")
    time.sleep(0.3)
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 1
    assert "qemu:a: left to its holder" in terminal.after_the_screen
    assert "if it does not: frostwatch thaw " in terminal.after_the_screen
    assert "give_up" in terminal.left


def test_a_closed_terminal_thaws_first(start: Start) -> None:
    terminal = start("1.0", "flying")
    began = time.monotonic()
    terminal.close()
    assert terminal.ended() == 0
    assert time.monotonic() - began > 0.9, "it left before its guest was thawed"


@pytest.mark.parametrize("how", ["idle", "flying"])
def test_a_closed_terminal_ends_it_also_where_nobody_hears_the_signal(
    start: Start, how: str
) -> None:
    terminal = start("1.0", how, deaf=True)
    terminal.close()
    assert terminal.ended() == 0
    if how == "flying":
        assert "cancel" in terminal.left


def stands_still(pid: int) -> bool:
    """Return whether a console's loop waits for something else than its next second."""
    before = _ran(pid)
    time.sleep(1.2)
    return before == _ran(pid) and not any(line.startswith("State:\tR") for line in before)


def _ran(pid: int) -> list[str]:
    """Return the state of a process's main thread, and how often it has run."""
    kept = ("State:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
    lines = Path(f"/proc/{pid}/task/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith(kept)]


def test_a_terminal_that_takes_no_more_words_stops_nothing(start: Start) -> None:
    """Nobody reads the terminal, so Textual's writer and then its loop block for ever."""
    terminal = start("0.5", "flying")
    for _ in range(80):
        terminal.write("?")  # opens the help, or closes it: a large repaint each
    until(lambda: stands_still(terminal.process.pid))
    terminal.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert terminal.process.wait(60) == 0
    assert time.monotonic() - began > SCREEN_S, "the terminal was not stuck: this tested nothing"


def test_a_console_that_fails_thaws_first_and_says_so(start: Start) -> None:
    terminal = start("0.5", "crash")
    assert terminal.ended() == 1
    assert "a bug in the console" in terminal.output
    assert "qemu:a: thawed 2 of 2" in terminal.output
    assert "cancel" in terminal.left


def test_quitting_by_key_waits_for_the_thaw_and_tells_nothing_after(start: Start) -> None:
    terminal = start("0.5", "flying")
    terminal.write("q")
    terminal.read_until("Thaw, then quit")
    terminal.write("\r")
    assert terminal.ended() == 0
    assert "MAY STILL" not in terminal.after_the_screen


def test_ctrl_c_leaves_from_a_dialog_after_a_drag_with_the_mouse(start: Start) -> None:
    terminal = start("0", "idle")
    terminal.write("\x1b[<0;10;10M\x1b[<32;30;14M\x1b[<0;30;14m?\x03")
    assert terminal.ended() == 0
    assert "\x1b]52" not in terminal.output, "something was put into the clipboard"


def test_a_console_that_cannot_be_stopped_says_so(start: Start) -> None:
    """It leads its session: no shell is there that could let it go on."""
    terminal = start("0", "idle")
    terminal.write("\x1a")
    terminal.read_until("can't be stopped here")
    terminal.write("q")
    assert terminal.ended() == 0
    assert "frostwatch: stopped; nothing is in flight. fg goes on." in terminal.output


@pytest.mark.parametrize("arguments", [("--drill",), ("--or-drill",), ()])
def test_no_console_is_opened_where_its_screen_would_go_into_a_file(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    master, slave = pty.openpty()
    errors = tmp_path / "errors.log"
    with errors.open("wb") as file:
        command = [sys.executable, "-m", "tui.main", *arguments]
        console = subprocess.run(
            command, stdin=slave, stdout=slave, stderr=file, cwd=ROOT, timeout=60, check=False
        )
    os.close(slave)
    os.close(master)
    assert console.returncode == 2
    assert errors.read_text().startswith("frostwatch: stderr is not a terminal")
    assert len(errors.read_text().splitlines()) == 1


def test_a_terminal_without_colours_gets_none(start: Start) -> None:
    terminal = start("0", "idle", term="dumb")
    terminal.write("q")
    assert terminal.ended() == 0
    assert not re.search(r"\x1b\[[0-9;]*[34]8;[25];", terminal.output)
    assert not re.search(r"\x1b\[(?:[0-9]+;)*[349][0-7](?:;[0-9]+)*m", terminal.output)
    assert terminal.output.isascii()
