"""The console itself on a terminal, with a real guest: whatever ends it, that guest is thawed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.benchmarks.on_pty import OnPty, on_pty
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

CONSOLE = ("-m", "tui.main")
BROKEN = ("-m", "tests.guests.broken_console")


@contextmanager
def holding(guest: Guest, program: tuple[str, ...] = CONSOLE) -> Iterator[OnPty]:
    """A console that holds a freeze of `guest`, asked for with the keys of a person."""
    known = ("--vm", guest.vm_argument, "--named-only")
    with on_pty((*program, *known), size=(100, 30)) as console:
        console.wait_for("alive")
        console.press("f")
        console.wait_for("Freeze the file systems of")
        console.press("60\r")
        wait_until(lambda: guest.frozen_mounts() == {"a", "b"}, PATIENCE_S, "the freeze")
        console.wait_for("held for up to")
        yield console


def close_terminal(console: OnPty) -> None:
    spare = os.open(os.devnull, os.O_RDWR)
    os.dup2(spare, console.fd)  # the last end of the terminal is closed
    os.close(spare)


@pytest.mark.parametrize(
    "end",
    [
        lambda console: console.process.send_signal(signal.SIGTERM),
        lambda console: console.process.send_signal(signal.SIGHUP),
        lambda console: console.process.kill(),
        close_terminal,
        lambda console: console.press("q\r"),
        lambda console: console.press("qd"),
    ],
    ids=["SIGTERM", "SIGHUP", "SIGKILL", "closed-terminal", "quit-thaw", "quit-detach"],
)
def test_whatever_ends_the_console_the_guest_is_thawed(
    calm: Guest, end: Callable[[OnPty], None]
) -> None:
    with holding(calm) as console:
        end(console)
        calm.assert_thawed()
        console.process.wait(PATIENCE_S)
    assert calm.hook_log()[-2:] == ["freeze", "thaw"]


def test_an_exception_in_the_console_thaws_the_guest(calm: Guest) -> None:
    with holding(calm, BROKEN) as console:
        console.press("Z")  # the key that breaks it
        calm.assert_thawed()
        assert console.process.wait(PATIENCE_S) == 1


def test_a_stopped_console_wakes_up_to_what_was_done_in_its_name(calm: Guest) -> None:
    known = ("--vm", calm.vm_argument, "--named-only")
    with on_pty((*CONSOLE, *known), size=(100, 30)) as console:
        console.wait_for("alive")
        console.press("f")
        console.wait_for("Freeze the file systems of")
        console.press("3\r")
        console.wait_for("held for up to")  # the log's words; the dialog's are others
        console.process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        calm.assert_thawed()
        console.process.send_signal(signal.SIGCONT)
        console.wait_for("the holder took over")


def test_a_window_that_a_console_has_left_is_taken_over_by_the_next(calm: Guest) -> None:
    with holding(calm) as console:
        console.press("q")
        console.wait_for("Keep")
        console.press("k")
        assert console.process.wait(PATIENCE_S) == 0
    assert calm.frozen_mounts() == {"a", "b"}, "its holder holds it"
    known = ("--vm", calm.vm_argument, "--named-only")
    with on_pty((*CONSOLE, *known), size=(100, 30)) as console:
        console.wait_for("left to its holder")
        console.press("A")
        console.wait_for("attached to what root (pid ")
        console.press("e\r")
        console.wait_for("the hold is extended by 10")
        console.press("q")
        console.wait_for("Keep")
        assert calm.frozen_mounts() == {"a", "b"}
        console.press("\r")
        assert console.process.wait(PATIENCE_S) == 0
    calm.assert_thawed()
    assert calm.hook_log()[-2:] == ["freeze", "thaw"]
