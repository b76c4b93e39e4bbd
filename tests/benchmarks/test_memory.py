"""What the console keeps in memory with a thousand guests, and after an hour of churn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.effort import amount
from tests.benchmarks.on_pty import OnPty, on_pty

Record = Callable[[str, object], None]

GUESTS = 1_000
# By then every guest was asked, and whatever has a bound (logs, caches) is as full as it gets.
SETTLED_S = 480.0
CHURN_S = 60 * 60.0
LOOK_S = 120.0
FREEZE = ("/fast\r", "\x1b", "*", "f", "\r", "j" * 20, "s", "G", "g", "\x1b")
# Each page and dialog is opened and left: the VM's with its tabs, events, help, palette, columns.
PAGES = (
    "d",
    "\t",
    "2",
    "3",
    "\x1b",
    "E",
    "j" * 5,
    "\x1b",
    "i",
    "\x1b",
    "?",
    "/freeze",
    "\x1b",
    "\x1b",
    ":",
    "thaw",
    "\x1b",
    "C",
    "\x1b",
    "w",
    "\x1b",
    "R",
    "\x1b",
    "Y",
    "\x1b",
)
# By then each guest was asked for the first time.
SOON_S = amount(20.0, 12.0)
MOST_MIB = 150.0


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process, without what it shares with files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def churn(console: OnPty, seconds: float) -> float:
    """Freeze all that is shown, again and again, while cursor, order, filter and page change.

    Returns:
        The median of the memory meanwhile, in MiB: it moves by some with each freeze of a fleet.
    """
    until = time.monotonic() + seconds
    seen: list[float] = []
    while time.monotonic() < until:
        for keys in (*FREEZE, *PAGES):
            console.press(keys)
            time.sleep(0.3)
        for _ in range(20):
            time.sleep(1.0)
            seen.append(rss_mib(console.process.pid))
        console.assert_alive()
    return statistics.median(seen)


def measured(churn_s: float) -> tuple[float, float]:
    """Return the memory once it has settled, and after so many seconds of churn; in MiB."""
    with on_pty(("-m", "tui.main", "--drill", str(GUESTS), "--drill-speed", "10")) as console:
        console.wait_for("VMs")
        churn(console, SETTLED_S - LOOK_S)
        before = churn(console, LOOK_S)
        churn(console, churn_s - LOOK_S)
        return before, churn(console, LOOK_S)


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.timeout(7200)
def test_an_hour_of_churn(record_property: Record) -> None:
    """A thousand guests frozen over and over, 64 at a time; the target is 5 % at the most."""
    before, after = measured(CHURN_S)
    growth = (after - before) / before * 100
    record_property("before_mib", round(before, 1))
    record_property("growth_percent", round(growth, 1))
    print(f"{GUESTS} guests: {before:.0f} MiB, after an hour {after:.0f} ({growth:+.1f} %)")
    assert after < MOST_MIB
    assert growth < 5.0


def test_a_thousand_guests_fit(record_property: Record) -> None:
    """Resident memory of the console alone, when all of them were asked."""
    with on_pty(("-m", "tui.main", "--drill", str(GUESTS))) as console:
        console.wait_for("VMs")
        time.sleep(SOON_S)
        memory = rss_mib(console.process.pid)
    record_property("rss_mib", round(memory, 1))
    print(f"{GUESTS} guests: {memory:.0f} MiB")
    assert memory < MOST_MIB
