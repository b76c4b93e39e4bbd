"""A replay in the console: by keys alone, on a clock that a test moves."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot

from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.errors import FrostwatchError
from agentclient.model.request import FreezeRequest
from agentclient.replay.incident import incident_of
from agentclient.replay.player import Replay
from tests.console.console_session import SMALL
from tests.unit.incidents import at, lost, of_others, window
from tests.unit.journals import flush, vm, whole
from tests.unit.no_thread import each_lack
from tui.console import keymap
from tui.console.replay.app import ReplayApp
from tui.console.replay.keys import HARMLESS, PLAY
from tui.console.replay.operations import NOTHING_DONE, NoOperations
from tui.console.replay.run import run_replay
from tui.shared.glyphs import Signs

GROUP = (window(1), lost(2, after_s=0.5), of_others(3, after_s=60.0))


@dataclass
class Viewer:
    """A person in front of a replay whose real clock a test moves."""

    app: ReplayApp
    pilot: Pilot[Any]
    replay: Replay
    now: list[float]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def until_there(self, file: Path) -> None:
        until = time.monotonic() + 60.0
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < until, self.text
            await self.pilot.pause(0.05)

    async def settle(self, seconds: float = 0.0) -> None:
        self.now[0] += seconds
        self.app._follow()
        self.app.drain()
        self.app.parts.second()
        await self.pilot.pause()

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, name: str) -> str:
        found = [line for line in self.lines if line[3:].startswith(f"{name} ")]
        assert found, self.text
        return found[0]

    @property
    def dialog(self) -> str:
        name = type(self.app.screen).__name__
        return name if name.endswith("Dialog") else ""


@asynccontextmanager
async def watching(
    *rows: WindowRow,
    size: tuple[int, int] = SMALL,
    signs: Signs | None = None,
    speed: float = 1.0,
    keys: Mapping[str, str] | None = None,
) -> AsyncIterator[Viewer]:
    incident, now = incident_of(rows or GROUP), [0.0]
    assert incident is not None
    replay = Replay(incident, speed=speed, clock=lambda: now[0])
    app = ReplayApp(replay, signs=signs or Signs(), keys=keys)
    try:
        async with app.run_test(size=size) as pilot:
            viewer = Viewer(app, pilot, replay, now)
            await viewer.settle()
            yield viewer
    finally:
        replay.stop()


# -- what one sees --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)], ids=["80x24", "120x40", "200x60"])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
async def test_a_line_across_the_top_says_that_it_is_a_replay_and_what_time_it_shows(
    size: tuple[int, int], ascii_only: bool
) -> None:
    async with watching(size=size, signs=Signs(ascii=ascii_only)) as viewer:
        await viewer.settle(4.0)
        top, header, *_ = viewer.lines
        shown = f"{at(2.0).astimezone():%Y-%m-%d %H:%M:%S}"
        assert top.startswith(f" REPLAY x1: {shown}, ")
        assert "nothing here is real" in top
        assert top.isascii()
        assert f"{at(2.0).astimezone():%H:%M:%S}" in header
        strip = viewer.app.screen._compositor.render_strips()[0]
        assert all(segment.style and segment.style.reverse for segment in strip)


async def test_it_is_played_from_what_was_pending_to_what_came_of_it() -> None:
    async with watching() as viewer:
        assert "? unknown" in viewer.row("db1")
        await viewer.settle(2.9)
        assert "freezing" in viewer.row("db1")
        assert "freezing" in viewer.row("mail1")
        await viewer.settle(9.0)
        assert "frozen" in viewer.row("db1")
        assert "0:08/0:30" in viewer.row("db1")
        assert "lost" in viewer.row("mail1")
        assert "MAY STILL" not in viewer.text
        await viewer.settle(30.0)
        assert "certified" in viewer.row("db1")
        assert "lost" in viewer.row("mail1")
        await viewer.settle(25.0)
        assert "pending" in viewer.row("web1")
        await viewer.settle(100.0)
        assert " REPLAY over: " in viewer.lines[0]


async def test_nothing_is_called_certified_before_its_end() -> None:
    async with watching(window(1)) as viewer:
        for _ in range(15):
            await viewer.settle(2.0)
            assert "certified" not in viewer.row("db1")
        await viewer.settle(6.0)
        assert "certified" in viewer.row("db1")


async def test_however_much_happens_it_says_that_nothing_is_real() -> None:
    many = [window(number, f"qemu:vm{number}", after_s=7000.0 * number) for number in range(1, 130)]
    async with watching(*many, speed=1000.0) as viewer:
        for _ in range(3):
            await viewer.settle(3.0)
            assert "nothing here is real" in viewer.lines[0]
            assert viewer.lines[0].startswith(" REPLAY x1000: 2026-03-01 ")


# -- the keys -------------------------------------------------------------------------------------


async def test_what_plays_it_is_played_whatever_keys_are_set() -> None:
    """The line on top names *b*; no settings can give these keys another place."""
    keys = {"freeze": "b", "look": "n,f5", "longest": "p", "sort": "f6,plus"}
    async with watching(keys=keys) as viewer:
        await viewer.press("n")
        assert viewer.replay.place[0] == 1
        await viewer.press("b", "plus")
        assert viewer.replay.place[0] == 0
        assert viewer.replay.speed == 2.0
        await viewer.press("p")
        assert viewer.replay.paused
        await viewer.press("f5")
        assert "nothing can be done in a replay" in viewer.text
        await viewer.press("f6")
        assert "sorted by name" in viewer.text


async def test_it_is_paused_and_goes_on() -> None:
    async with watching() as viewer:
        await viewer.press("space")
        assert viewer.lines[0].startswith(" REPLAY paused: ")
        before = viewer.lines[0]
        await viewer.settle(30.0)
        assert viewer.lines[0] == before
        await viewer.press("p")
        await viewer.settle(12.0)
        assert "frozen" in viewer.row("db1")


async def test_it_is_played_faster_and_slower() -> None:
    async with watching() as viewer:
        await viewer.press("greater_than_sign", "greater_than_sign", "plus")
        assert "REPLAY x10: " in viewer.lines[0]
        await viewer.settle(1.0)
        assert f"{at(8.0).astimezone():%H:%M:%S}" in viewer.lines[0]
        await viewer.press("less_than_sign", "minus", "minus", "minus")
        assert "REPLAY x0.5: " in viewer.lines[0]


async def test_n_goes_from_event_to_event_and_b_to_the_beginning() -> None:
    async with watching() as viewer:
        await viewer.press("space", *["n"] * 5)
        assert "freezing" in viewer.row("db1")
        await viewer.press(*["n"] * 30)
        assert viewer.replay.place[0] == viewer.replay.place[1]
        assert "nothing more happened" in viewer.lines[-2]
        assert "certified" in viewer.row("db1")
        await viewer.press("b")
        assert "certified" not in viewer.row("db1")
        assert "from the beginning again" in viewer.text


ACTING = [
    one
    for one in keymap.ACTIONS
    if isinstance(one, Binding)
    and one.action not in HARMLESS
    and one.key
    not in {key for own in PLAY if isinstance(own, Binding) for key in own.key.split(",")}
]


async def test_every_key_that_acts_says_that_nothing_can_be_done() -> None:
    assert len(ACTING) >= 8
    async with watching() as viewer:
        await viewer.settle(10.0)
        for binding in ACTING:
            await viewer.press(binding.key)
            assert viewer.dialog == "", binding.key
            assert f"{binding.description}: {NOTHING_DONE}" in viewer.lines[-2]


async def test_whoever_asks_the_operations_is_refused_as_well() -> None:
    async with watching() as viewer:
        operations, (first, *_) = NoOperations(viewer.replay), viewer.replay.incident.vms
        for ask in (operations.freeze, operations.thaw, operations.attach, operations.rescue):
            with pytest.raises(FrostwatchError, match="nothing can be done in a replay"):
                ask(first, FreezeRequest())
        assert operations.ladder(first).exception() is not None
        assert operations.extend_elsewhere(first, 10.0).exception() is not None
        assert (operations.active(), operations.on(first.id)) == ((), None)
        assert operations.stop(1.0)


async def test_what_is_taken_away_says_that_it_is_a_replay_and_nothing_that_is_not_known(
    tmp_path: Path,
) -> None:
    file = tmp_path / "report.md"
    async with watching(window(1)) as viewer:
        await viewer.settle(10.0)
        await viewer.press("w", "5", "ctrl+u", *str(file), "enter")
        await viewer.until_there(file)
        while viewer.dialog:
            await viewer.pilot.pause(0.05)
        await viewer.press("d", "4")
        page = viewer.text
    report = file.read_text()
    assert "A REPLAY, made by frostwatch" in report
    assert "nothing of it is to be done now" in report
    assert "## What was known at 2026-03-01 " in report
    for text in (report, page):
        assert "A replay does not tell where its channels were" in " ".join(text.split())
        for guessed in ("by calls of its hypervisor", "visits", "To do:", "Next:"):
            assert guessed not in text


async def test_the_past_is_what_is_over_by_then() -> None:
    async with watching() as viewer:
        await viewer.settle(10.0)
        await viewer.press("H")
        assert "Nothing was frozen" in viewer.text
        await viewer.press("escape")
        await viewer.settle(30.0)
        await viewer.press("H")
        assert viewer.dialog == "HistoryDialog"
        assert "lost" in viewer.text
        assert "root (pid 4711)" in viewer.text
        await viewer.press("escape", "question_mark")
        assert "Go to the next thing that happened" in viewer.text
        assert "Freeze the marked VMs" not in viewer.text


async def test_q_leaves_at_once() -> None:
    async with watching() as viewer:
        await viewer.settle(10.0)
        await viewer.press("q")
        await viewer.pilot.pause()
        assert not viewer.app.is_running


@each_lack
async def test_without_a_thread_it_is_played_all_the_same(
    start: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del why

    begin = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread,
        "start",
        lambda self: start(self) if self.name == "replay" else begin(self),
    )
    async with watching() as viewer:
        await viewer.settle(12.0)
        assert "frozen" in viewer.row("db1")


# -- as a whole -----------------------------------------------------------------------------------


def test_the_command_opens_it_on_a_terminal_and_leaves_the_journal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal()
    whole(journal, vm(tmp_path, "db1"))
    flush(journal)
    journal.close()
    before = journal.path.read_bytes()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tui.main", "replay", "--speed", "100"]
    console = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=Path(__file__).parents[2],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(slave)
    output, until = "", time.monotonic() + 60.0
    try:
        while "nothing in it was real" not in output:
            assert time.monotonic() < until, output[-2000:]
            output += os.read(master, 65536).decode(errors="replace")
            if "REPLAY over" in output:
                os.write(master, b"q")
        assert console.wait(60) == 0
    finally:
        console.kill()
        os.close(master)
    assert journal.path.read_bytes() == before


def test_a_replay_that_has_to_end_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(app: ReplayApp) -> None:
        app.ended_by = "the console has to end: no thread is left (ulimit -u)"
        raise RuntimeError("cannot join thread before it is started")

    said: list[str] = []
    for module in ("tui.console.run", "tui.console.replay.run"):
        monkeypatch.setattr(f"{module}.tell_stderr", said.append, raising=False)
    monkeypatch.setattr(ReplayApp, "run", ends)
    incident = incident_of(GROUP)
    assert incident is not None
    assert run_replay(Replay(incident)) == 0
    assert said[0] == "frostwatch: the console has to end: no thread is left (ulimit -u)"
    assert "the replay was left at" in said[1]
