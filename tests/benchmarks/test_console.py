"""What the console costs beside Textual's own table and beside an empty app, in the same run."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tests.benchmarks.big_fleets import FewSeconds, Second, WordChanges, big_fleet
from tests.benchmarks.children import Grid
from tests.benchmarks.effort import amount
from tests.benchmarks.on_pty import OnPty, on_pty
from tests.console.console_session import LARGE, make_app
from tests.console.fakes import StillClock
from tui.console import memory
from tui.console.model.order import Order

Record = Callable[[str, object], None]

REFRESHES = amount(25, 9)
KEYS = amount(150, 50)
STARTS = amount(7, 3)
SETTLES_S, AT_REST_S = amount(15.0, 8.0), amount(20.0, 10.0)
BY_NAME = "s"  # the key that leads from the first order to the second
CHILD = ("-m", "tests.benchmarks.children")
EMPTY = ("-m", "tests.benchmarks.empty")

pytestmark = pytest.mark.timeout(600)


# -- the CPU of a refresh -----------------------------------------------------------------------


async def cpu_of(
    app: App[Any], pass_second: Callable[[], None], refresh: Callable[[], None]
) -> float:
    """Return the median of CPU seconds from what is known to the screen's bytes.

    Without what it costs to ask every widget whether it is at rest, which is done for us alone.
    """
    taken: list[float] = []
    waited: list[float] = []
    async with app.run_test(size=LARGE) as pilot:
        await at_rest(pilot)
        for _ in range(REFRESHES):
            pass_second()
            began = time.process_time()
            refresh()
            await at_rest(pilot)
            painted = time.process_time()
            await at_rest(pilot)
            taken.append(painted - began)
            waited.append(time.process_time() - painted)
    return statistics.median(taken) - statistics.median(waited)


async def at_rest(pilot: Pilot[Any]) -> None:
    """Wait until a refresh has been painted, without the nap that `Pilot.pause` takes."""
    await pilot._wait_for_screen()
    pilot.app.screen._on_timer_update()


async def ours(
    count: int, kind: type[Second | WordChanges] = Second, order: Order = Order.NAME
) -> float:
    still = StillClock()
    fleet = big_fleet(count, still)
    app = make_app(fleet, still, memory=memory)  # as the console's process has it
    app.view.sort_by(order)

    def refresh() -> None:
        app.drain()
        app.parts.second()

    return await cpu_of(app, kind(fleet, count, still), refresh)


async def textuals(count: int) -> float:
    still = StillClock()
    fleet = big_fleet(count, still)
    app = Grid(fleet, still)
    return await cpu_of(app, Second(fleet, count, still), app.drain)


async def test_cpu_of_a_refresh(record_property: Record) -> None:
    """One refresh with a tenth of the VMs changed: ours at 1,000 and at 10,000, and DataTable's.

    A refresh costs what has changed and is seen: ten times as many rows are as dear, with the same
    hundred changes or with ten times as many. By name every tenth row in sight has changed; with
    trouble first all have.
    """
    small, large = await ours(1000), await ours(10_000)
    same_changes = await ours(10_000, FewSeconds)
    every_row = await ours(1000, order=Order.TROUBLE)
    worst = await ours(10_000, WordChanges, Order.TROUBLE)
    table_small, table_large = await textuals(1000), await textuals(10_000)
    for name, seconds in (
        ("ours_1000", small), ("ours_10000", large),
        ("ours_10000_with_100_changes", same_changes), ("ours_1000_every_row", every_row),
        ("ours_10000_rows_move", worst),
        ("datatable_1000", table_small), ("datatable_10000", table_large),
    ):  # fmt: skip
        record_property(f"{name}_ms", round(seconds * 1000, 2))
        print(f"{name}: {seconds * 1000:.2f} ms of CPU")
    assert same_changes / small < 2
    assert large / small < 2
    assert small < table_small
    assert large < table_large


# -- the bytes of a refresh ---------------------------------------------------------------------


def bytes_of(program: str, keys: str = "") -> float:
    """Return the median of bytes that one refresh of 1,000 VMs writes to a terminal of 160x50."""
    ear, mouth = os.pipe()
    taken: list[int] = []
    with on_pty([*CHILD, program, "1000", str(ear)], pass_fds=[ear]) as running:
        os.close(ear)
        running.wait_for("vm-00000")
        running.press(keys)
        running.wait_until_quiet()
        for _ in range(REFRESHES):
            before = running.written
            os.write(mouth, b"!")
            running.wait_for("", before + 1)  # on a busy machine it is quiet before, too
            running.wait_until_quiet(0.15)
            taken.append(running.written - before)
    os.close(mouth)
    return statistics.median(taken)


@pytest.mark.figures
def test_bytes_of_a_refresh(record_property: Record) -> None:
    """One refresh on a real terminal, with a tenth of the rows changed: three clocks in each.

    By name every tenth row in sight has changed; with trouble first all of them have.
    """
    figures = {
        "ours": bytes_of("still", BY_NAME),
        "datatable": bytes_of("grid"),
        "ours_every_row": bytes_of("still"),
        "datatable_every_row": bytes_of("grid-by-trouble"),
    }
    for name, size in figures.items():
        record_property(f"{name}_bytes", size)
        print(f"{name}: {size:.0f} bytes to the terminal")
    assert figures["ours"] < figures["datatable"]
    assert figures["ours_every_row"] < figures["datatable_every_row"]


# -- from a key to the screen -------------------------------------------------------------------


def delays(running: OnPty, words: Callable[[int], str]) -> list[float]:
    """Press a key many times at odd moments; return how long each took to be seen."""
    taken = []
    for number in range(KEYS):
        time.sleep(random.uniform(0.03, 0.12))
        before, pressed = running.written, time.monotonic()
        running.press("j")
        taken.append(running.wait_for(words(number), before) - pressed)
    return taken


def test_from_a_key_to_the_screen(record_property: Record) -> None:
    """``j`` among 1,000 VMs that all change each second, 100 of them in a freeze.

    Beside it an empty Textual app, which has nothing else to do and one line to paint: that is
    what Textual itself takes. The aim is a p99 of 50 ms; only a ratio is safe on a loaded machine.
    """
    with on_pty([*CHILD, "lively", "1000"]) as running:
        running.wait_for("vm-00000")
        time.sleep(2.0)
        own = delays(running, lambda _number: "▌")
    with on_pty(EMPTY) as running:
        running.wait_for("ready")
        time.sleep(1.0)
        empty = delays(running, lambda number: f"{number} t")
    for name, taken in (("ours", own), ("empty_app", empty)):
        median, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        record_property(f"{name}_median_ms", round(median * 1000, 1))
        record_property(f"{name}_p99_ms", round(p99 * 1000, 1))
        print(f"{name}: median {median * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    assert statistics.median(own) < 10 * statistics.median(empty)


# -- from the start to the table ----------------------------------------------------------------


def start_of(arguments: tuple[str, ...], words: str) -> float:
    with on_pty(arguments) as running:
        return running.wait_for(words) - running.began


def test_from_the_start_to_the_table(record_property: Record) -> None:
    """``frostwatch`` from its start to the first row, beside an empty app; both by turns.

    A row is known by the cursor's sign, since the pane's title has a VM's name as well. The aim is
    1.4; what it takes to be there is told in docs/performance.md.
    """
    console = ("-m", "tui.start", "--vm", "name=vm-00000,agent=/nonexistent/agent")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(STARTS):
        times[0].append(start_of(console, "▌"))
        times[1].append(start_of(EMPTY, "ready"))
    own, least = (statistics.median(taken) for taken in times)
    record_property("ours_s", round(own, 3))
    record_property("empty_app_s", round(least, 3))
    print(f"first table after {own:.3f} s, an empty app's text after {least:.3f} s")
    assert own / least < 2.5


# -- at rest ------------------------------------------------------------------------------------


def cpu_seconds(stat: Path) -> float:
    """Return how much CPU a process or a thread has taken, by its file in `/proc`."""
    fields = stat.read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("guests", [24, 100, 1000])
def test_at_rest(record_property: Record, guests: int) -> None:
    """A console on guests of a drill at which nobody presses a key, beside its own start.

    The main thread paints; the others visit the guests. The aim is 5 % of a core.
    """
    with on_pty(("-m", "tui.start", "--drill", str(guests))) as running:
        running.wait_for("▌")
        whole = Path(f"/proc/{running.process.pid}")
        thread = whole / "task" / whole.name
        start = cpu_seconds(thread / "stat")
        time.sleep(SETTLES_S)
        before = [cpu_seconds(one / "stat") for one in (thread, whole)]
        time.sleep(AT_REST_S)
        after = [cpu_seconds(one / "stat") for one in (thread, whole)]
    painting, all_of_it = (
        (late - early) / AT_REST_S for early, late in zip(before, after, strict=True)
    )
    record_property("painting", round(painting, 3))
    record_property("with_visits", round(all_of_it, 3))
    print(f"{guests} guests: painting {painting:.1%} of a core, with visits {all_of_it:.1%}")
    assert painting * 10 < start, "ten seconds of rest are less than the start"
