"""What stands on a terminal after many small updates is what the console takes it to be."""

from __future__ import annotations

import difflib
import json
import os
import random
import re
import time

import pyte
import pytest

from tests.benchmarks.on_pty import OnPty, on_pty

SIZE = (160, 50)
# How long the last of its updates may take to be written on a busy machine, in seconds.
PATIENCE_S = 60.0
KEYS = ("j", "k", "s", "S", " ", "l", "h", "/vm\r", "\x1b", "f", "\x1b", "?", "\x1b", "G", "g", "L")
# What Textual asks a terminal about itself, which this one does not know.
UNKNOWN = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\")


class Terminal:
    """A terminal that is looked at now and then."""

    def __init__(self, console: OnPty) -> None:
        self._console = console
        self._screen = pyte.Screen(*SIZE)
        self._stream = pyte.ByteStream(self._screen)
        self._read = 0

    def lines(self) -> list[str]:
        """Return what it shows once nothing more is written."""
        self._console.wait_until_quiet()
        written = self._console.everything
        self._stream.feed(UNKNOWN.sub(b"", written[self._read :]))
        self._read = len(written)
        return [line.rstrip() for line in self._screen.display]


def asked(say: int, answers: int) -> list[str]:
    """Return the lines that the console means to show."""
    os.write(say, b"?")
    return [line.rstrip() for line in json.loads(os.read(answers, 1 << 20))]


@pytest.mark.parametrize("private", [1, 0], ids=["private", "public"])
def test_the_terminal_shows_what_the_console_means(private: int) -> None:
    ears, dice = [os.pipe(), os.pipe()], random.Random(3)
    (source, say), (answers, sink) = ears
    program = ("-m", "tests.console.on_terminal", str(source), str(sink), str(private))
    with on_pty(program, SIZE, pass_fds=(source, sink)) as console:
        terminal = Terminal(console)
        console.wait_for("vm-00")
        for _ in range(6):
            for _ in range(12):
                os.write(say, b"!")
                if dice.random() < 0.5:
                    console.press(dice.choice(KEYS))
                time.sleep(0.03)
            until = time.monotonic() + PATIENCE_S
            while (shown := terminal.lines()) != (meant := asked(say, answers)):
                assert time.monotonic() < until, "\n".join(difflib.ndiff(shown, meant))
        written = console.everything.decode(errors="replace")
    for fd in (*ears[0], *ears[1]):
        os.close(fd)
    assert "データ-1" in written
    assert "2/6" in written
