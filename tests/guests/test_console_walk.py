"""By keys alone, on real guests: find the frozen one, understand it, thaw it, and hand it over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.benchmarks.on_pty import OnPty, on_pty
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest, RawClient

CONSOLE = ("-m", "tui.main", "--named-only")
ESCAPE, RIGHT, ENTER, CLEAR_LINE = "\x1b", "\x1b[C", "\r", "\x15"
SMALL_MIB = 96


def fleet(boot: Boot, count: int, agents: int) -> list[Guest]:
    """Boot small guests; in so many of them an agent runs, as in a fleet not all have one."""
    return [
        boot(name=f"vm-{number:03d}", mounts=("a",), memory=SMALL_MIB, autostart=number < agents)
        for number in range(count)
    ]


def freeze_and_leave(guest: Guest) -> None:
    """As a backup does that dies before its thaw."""
    with RawClient(guest.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 1


def go_to_what_is_frozen(console: OnPty) -> None:
    until = time.monotonic() + PATIENCE_S
    while b"frozen, and not provably" not in console.everything:
        assert time.monotonic() < until, "it was never found"
        console.press("L")
        time.sleep(0.5)


def press(console: OnPty, keys: str, words: str) -> None:
    """Press keys, and wait for what comes of them."""
    before = console.written
    console.press(keys)
    console.wait_for(words, before)


@pytest.mark.parametrize(
    ("count", "agents"), [(4, 3), pytest.param(100, 40, marks=pytest.mark.soak)]
)
def test_from_a_frozen_guest_among_many_to_a_report(
    boot: Boot, tmp_path: Path, count: int, agents: int
) -> None:
    guests = fleet(boot, count, agents)
    frozen = guests[agents // 2]
    freeze_and_leave(frozen)
    report = tmp_path / "night.md"
    known = [word for guest in guests for word in ("--vm", guest.vm_argument)]
    with on_pty((*CONSOLE, *known)) as console:
        go_to_what_is_frozen(console)
        press(console, "i", "The guest can't write.")
        press(console, ESCAPE, "Sort ")
        press(console, "t", f"Thaw somebody else's freeze of {frozen.name}?")
        press(console, RIGHT + ENTER, "thawed 1 file system, and the agent says thawed")
        frozen.assert_thawed()
        press(console, "w", "Take away")
        press(console, "5", "Save the report")
        press(console, CLEAR_LINE + str(report) + ENTER, "the report is in ")
        console.press("q")
        assert console.process.wait(PATIENCE_S) == 0
    text = report.read_text()
    assert frozen.name in text
    assert "a foreign freeze was found" in text
    assert "thawed 1 file system, and the agent says thawed" in text
