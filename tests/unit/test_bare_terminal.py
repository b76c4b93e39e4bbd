"""What is written without a screen: broken at words on a terminal, and one line elsewhere."""

from __future__ import annotations

import os
import pty
import termios

import pytest

from tui.console.bare_terminal import tell_stderr

TEXT = (
    "frostwatch: qemu:mail1: frozen: 1 file system, coverage 1 of 1; left to its holder (pid 7121),"
    " which thaws it in 1 min 23 s; to end it: frostwatch thaw --foreign qemu:mail1"
)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def told_on(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write to a file descriptor in the place of stderr."""
    before = os.dup(2)
    os.dup2(number, 2)
    try:
        with open(2, "w", closefd=False) as stream:
            monkeypatch.setattr("sys.__stderr__", stream)
            tell_stderr(TEXT)
    finally:
        os.dup2(before, 2)
        os.close(before)


@pytest.mark.usefixtures("stderr")
def test_on_a_terminal_it_is_broken_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    told_on(slave, monkeypatch)
    lines = os.read(master, 4096).decode().replace("\r", "").rstrip("\n").split("\n")
    os.close(master)
    os.close(slave)
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == TEXT
    assert any("frostwatch thaw --foreign qemu:mail1" in line for line in lines)


@pytest.mark.usefixtures("stderr")
def test_elsewhere_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    told_on(writer, monkeypatch)
    os.close(writer)
    assert os.read(reader, 4096).decode() == f"{TEXT}\r\n"
    os.close(reader)
