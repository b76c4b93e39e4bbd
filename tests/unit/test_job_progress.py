"""How far copies are, on a terminal and elsewhere; and lines that a footer does not disturb."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click
import pyte
import pytest

from agentclient.jobs.follow import Follower
from agentclient.model.job import DiskProgress, JobKind, JobProgress, JobStage
from agentclient.model.snapshot import VmState
from agentclient.model.vm import Vm, VmId
from tui.cli.job_bar import Bar, JobBars
from tui.cli.job_progress import JobBarsDisplay, JobDisplay, JobLines, display_for
from tui.cli.job_text import progress_line
from tui.cli.output import Output
from tui.cli.report import Report

if TYPE_CHECKING:
    from agentclient.jobs.block import BlockLayer
    from agentclient.jobs.context import JobContext

MIB = 1 << 20
AT = 1000.0
WEB = Vm(VmId("qemu", "web1"))


def progress(stage: JobStage = JobStage.MIRRORING, done: int = 30, **more: Any) -> JobProgress:
    disks = (DiskProgress("a", done * MIB, 100 * MIB),)
    given = {"speed": 12.0 * MIB, "eta_s": 65.0, **more}
    return JobProgress(JobKind.MIRROR, stage, "copying", AT - 10, disks, **given)


def test_a_copy_of_which_nothing_moves_is_stalled() -> None:
    still = progress(speed=0.0, eta_s=None, still_s=35.0)
    assert "stalled for 35 s" in progress_line(still, AT)
    assert not still._replace(still_s=9.0).stalled
    assert not still._replace(stage=JobStage.FINISHING).stalled
    assert not still._replace(limit=1024).stalled, "one piece takes longer"


def test_what_moves_is_not_stalled() -> None:
    follower = Follower(cast("JobContext", None), cast("BlockLayer", None), JobKind.BACKUP, {}, 0.0)
    seen = [follower._still_s(at, done) for at, done in ((5.0, 0), (17.0, 0), (18.0, 1), (20.0, 1))]
    assert seen == [0.0, 12.0, 0.0, 2.0]


class Terminal:
    """A terminal, and what was written to it."""

    def __init__(self, columns: int = 80, lines: int = 12) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.Stream(self.screen)
        self.size = (columns, lines)

    def write(self, text: str, *, err: bool, nl: bool) -> None:
        assert not nl
        self.stream.feed(text.replace("\n", "\r\n"))

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setattr(click, "echo", made.write)
    return made


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def choose(*, none: bool = False, plain: bool = False) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("LANG", "C.UTF-8")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        monkeypatch.setenv("NO_COLOR", "1" if none else "")
        monkeypatch.setenv("FROSTWATCH_ASCII", "1" if plain else "")

    choose()
    return choose


def line(shown: JobProgress, width: int = 100, done: int = 30) -> str:
    return JobBars().lines([Bar(str(WEB.id), shown, done * MIB, 100 * MIB)], width, 3, AT)[0]


# -- one line -----------------------------------------------------------------------------


def test_a_line_says_who_where_how_far_how_fast_and_how_long(colours: Callable[..., None]) -> None:
    colours(none=True)
    text = line(progress())
    assert text.startswith("qemu:web1  mirroring  ━━━━")
    assert text.endswith("   30%  30 MiB of 100 MiB  12 MiB/s  1:05 left")


def test_without_letters_and_colours_it_is_plain_ascii(colours: Callable[..., None]) -> None:
    colours(none=True, plain=True)
    shown = line(progress(JobStage.FINISHING, frozen_at=AT - 2, thawed_at=AT - 1.75))
    assert shown.isascii()
    assert "\x1b" not in shown
    assert "* 0.25 s" in shown
    assert "-----" in shown


def test_with_colours_the_stage_is_coloured(colours: Callable[..., None]) -> None:
    assert "\x1b[1;36mFREEZING" in line(progress(JobStage.FREEZING))


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 79, 80, 200])
@pytest.mark.parametrize("name", ["web1", "a" * 300, "数据库" * 20, "\x1b[31mred\n"])
def test_it_is_never_wider_than_the_terminal(
    width: int, name: str, colours: Callable[..., None]
) -> None:
    bar = Bar(f"qemu:{name}", progress(frozen_at=AT - 1), 30 * MIB, 100 * MIB)
    terminal = Terminal(width, 4)
    for one in JobBars().lines([bar], width, 3, AT):
        terminal.stream.feed(one)
    assert len(terminal.shown) <= 1
    assert terminal.screen.cursor.y == 0


def test_what_matters_most_stays_where_there_is_little_room(colours: Callable[..., None]) -> None:
    colours(none=True)
    assert line(progress(), 40).split() == ["qemu:web1", "mirroring", "━━╸", "30%"]
    assert "30 MiB of 100 MiB" in line(progress(), 70)
    assert "left" not in line(progress(), 70)


@pytest.mark.parametrize(
    ("shown", "word"),
    [
        (progress(JobStage.FREEZING), "FREEZING"),
        (progress(JobStage.STARTING, frozen_at=AT - 0.5), "FROZEN"),
        (progress(JobStage.THAWING, frozen_at=AT - 0.5), "FROZEN"),
        (progress(JobStage.COPYING, frozen_at=AT - 5, thawed_at=AT - 4), "copying"),
        (progress(cancelled=True), "stopping"),
        (progress(JobStage.READY), "ready"),
    ],
)
def test_the_window_is_marked(shown: JobProgress, word: str, colours: Callable[..., None]) -> None:
    colours(none=True)
    assert line(shown).split()[1] == word
    assert ("❆" in line(shown)) is (shown.frozen_at is not None)


def test_before_anything_is_known_there_is_no_bar(colours: Callable[..., None]) -> None:
    colours(none=True)
    early = progress(JobStage.PREPARING)._replace(disks=(), speed=None, eta_s=None)
    assert JobBars().lines([Bar(str(WEB.id), early, 0, 0)], 80, 3, AT) == ["qemu:web1  preparing"]


def test_more_than_there_is_room_for_are_counted(colours: Callable[..., None]) -> None:
    colours(none=True)
    bars = [Bar(f"qemu:web{n}", progress(), 1, 2) for n in range(9)]
    drawn = JobBars().lines(bars, 80, 4, AT)
    assert len(drawn) == 4
    assert drawn[-1] == "and 6 more"


# -- below the lines ------------------------------------------------------------------------


def written(output: Output, terminal: Terminal, *expected: str) -> None:
    deadline = time.monotonic() + 60
    while terminal.shown != list(expected) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert terminal.shown == list(expected)


def test_a_footer_stays_below_all_lines_and_goes_at_the_end(terminal: Terminal) -> None:
    output = Output()
    output.out("one")
    output.footer(["bar a", "bar b"])
    written(output, terminal, "one", "bar a", "bar b")
    output.err("two")
    output.out("three")
    written(output, terminal, "one", "two", "three", "bar a", "bar b")
    output.footer(["bar c"])
    written(output, terminal, "one", "two", "three", "bar c")
    output.out("four")
    assert output.finish()
    assert terminal.shown == ["one", "two", "three", "four"]


def test_a_footer_that_scrolls_destroys_no_line(terminal: Terminal) -> None:
    output = Output()
    for number in range(30):
        output.footer([f"bar {number}", "more"])
        output.out(f"line {number}")
    output.footer(["last", "more"])
    lines = [f"line {number}" for number in range(20, 30)]
    written(output, terminal, *lines, "last", "more")
    assert output.finish()


def test_a_terminal_that_is_stopped_gets_one_footer_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, said = threading.Event(), []

    def write(text: str, *, err: bool, nl: bool) -> None:
        go_on.wait(60)
        said.append(text)

    monkeypatch.setattr(click, "echo", write)
    output = Output()
    output.out("line")
    for number in range(100):
        output.footer([f"bar {number}"])
    go_on.set()
    assert output.finish()
    assert len([one for one in said if "bar" in one]) <= 2


def test_a_terminal_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str, *, err: bool, nl: bool) -> None:
        if err:
            raise OSError("gone")
        said.append(text)

    said: list[str] = []
    monkeypatch.setattr(click, "echo", write)
    output = Output()
    output.footer(["bar"])
    output.out("line")
    assert output.finish()
    assert said == ["line\n"]


# -- what is shown when -----------------------------------------------------------------------


def test_a_stage_that_is_short_is_drawn_at_once(
    terminal: Terminal, colours: Callable[..., None]
) -> None:
    colours(none=True)
    now = [AT]
    output = Output()
    display = JobBarsDisplay(output, JobBars(), lambda: now[0], lambda: (80, 12))
    display.show([VmState(WEB, job=progress())])
    now[0] += 0.01
    frozen = progress(JobStage.STARTING, frozen_at=AT)._replace(disks=())
    display.show([VmState(WEB, job=frozen)])
    deadline = time.monotonic() + 60
    while not any("FROZEN" in one for one in terminal.shown) and time.monotonic() < deadline:
        time.sleep(0.005)
    (shown,) = terminal.shown
    assert "FROZEN" in shown
    assert "30 MiB of 100 MiB" in shown  # between two looks, what was seen last
    display.end()
    assert output.finish()
    assert terminal.shown == []


def test_elsewhere_a_line_comes_every_ten_seconds_and_later_every_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [AT]
    output = Output()
    report = Report([WEB], output, as_json=False, monotonic=lambda: now[0])
    told: list[int] = []
    monkeypatch.setattr(report, "say", lambda text, vm: told.append(round(now[0] - AT)))
    lines = JobLines(report, lambda: now[0])
    for _ in range(185):
        now[0] += 1.0
        lines.show([VmState(WEB, job=progress())])
    assert output.finish()
    assert told == [10, 20, 30, 40, 50, 60, 120, 180]


def test_a_line_says_it_all() -> None:
    text = progress_line(progress(limit=20 * MIB), AT)
    assert text == (
        "mirroring: copying, 30 MiB of 100 MiB (30%), 12 MiB/s, 1:05 left, limit 20 MiB/s"
    )
    queued = progress(JobStage.QUEUED)._replace(text="its turn: 2 at once")
    assert progress_line(queued, AT) == "queued: waits for its turn: 2 at once"


def test_a_program_and_a_pipe_and_a_dumb_terminal_get_no_bar(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal, colours: Callable[..., None]
) -> None:
    output = Output()
    report = Report([WEB], output, as_json=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(display_for(report, output, silent=False), JobBarsDisplay)
    assert type(display_for(report, output, silent=True)) is JobDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display_for(report, output, silent=False), JobLines)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert isinstance(display_for(report, output, silent=False), JobLines)
    assert output.finish()
