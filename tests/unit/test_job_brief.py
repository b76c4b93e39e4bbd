"""What is told of a copy without -v: its stages and its end, in lines that fit a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from agentclient.engine import Engine
from agentclient.model.events import Details, Ended, Event, EventKind, JobEnded
from agentclient.model.job import (
    Consistency,
    DiskCopy,
    FreezePolicy,
    JobKind,
    JobOutcome,
    JobResult,
    JobTimes,
)
from agentclient.model.outcome import Outcome
from agentclient.model.states import Level, OutcomeKind
from agentclient.model.vm import Vm, VmId
from tests.unit.test_job_progress import Terminal, terminal
from tui.cli import report as report_module
from tui.cli.job_brief import is_brief, may_be_frozen, outcome_lines
from tui.cli.job_runner import JobRunner
from tui.cli.output import Output
from tui.cli.report import Report
from tui.main import run
from tui.shared.fit import wrap

__all__ = ["terminal"]

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
WEB = VmId("qemu", "web1")
DISKS = (
    DiskCopy("a", "/to/web1/20260301T102030Z/a.qcow2", "qcow2", 96 << 20, 12 << 20),
    DiskCopy("b", "/to/web1/20260301T102030Z/b.qcow2", "qcow2", 64 << 20, 64 << 20),
)
WHY = (
    "backup: complete, and certified consistent: it was taken within a certified freeze window, "
    "except what can't freeze and is crash-consistent: /boot/efi (vfat on vda1)"
)


def ended(result: JobResult = JobResult.COMPLETE, **changes: Any) -> JobOutcome:
    times = JobTimes(AT, frozen=AT, thawed=AT + timedelta(seconds=0.25))
    made = JobOutcome(
        WEB, JobKind.BACKUP, result, Consistency.CONSISTENT, WHY, FreezePolicy.REQUIRE, times,
        disks=DISKS, seconds=4.3,
    )  # fmt: skip
    return made._replace(**changes)


def event(
    kind: EventKind,
    level: Level = Level.INFO,
    details: Details | None = None,
    text: str = "what happens",
) -> Event:
    return Event(WEB, AT, kind, level, text, details)


def freeze(settled: bool) -> Ended:
    return Ended(Outcome(OutcomeKind.PARTIAL, "half of it", settled=settled))


@pytest.mark.parametrize(
    ("told", "brief"),
    [
        (event(EventKind.STAGE), True),
        (event(EventKind.SENT), False),
        (event(EventKind.THAWED, Level.GOOD), False),
        (event(EventKind.NOTE), False),
        (event(EventKind.NOTE, Level.WARNING), True),
        (event(EventKind.AT_RISK, Level.WARNING), True),
        (event(EventKind.VERDICT, Level.ERROR, freeze(False)), False),
        (event(EventKind.OUTCOME, Level.ERROR, freeze(True)), False),
        (event(EventKind.OUTCOME, Level.ERROR, freeze(False)), True),
    ],
)
def test_stages_and_what_is_wrong_are_told(told: Event, brief: bool) -> None:
    assert is_brief(told) is brief
    assert may_be_frozen(told) is (brief and told.kind is EventKind.OUTCOME)


def test_the_end_says_what_where_and_for_how_long() -> None:
    assert [one.text for one in outcome_lines(ended())] == [
        WHY,
        "  in /to/web1/20260301T102030Z",
        "  disk a: a.qcow2, 12 MiB copied of 96 MiB",
        "  disk b: b.qcow2, 64 MiB copied of 64 MiB",
        "  the guest was frozen for 0.25 s; it took 4.3 s",
    ]
    paused = [one.text for one in outcome_lines(ended(paused=True))]
    assert paused[-1] == "  the guest was paused for 0.25 s; it took 4.3 s"


def test_one_that_failed_says_what_is_left_and_what_to_do() -> None:
    failed = ended(JobResult.FAILED, reason="backup: failed: no room", next="frostwatch jobs web1")
    lines = list(outcome_lines(failed))
    assert [one.text for one in lines] == [
        "backup: failed: no room",
        "  nothing of it is left: incomplete files are deleted",
        "  NEXT: frostwatch jobs web1",
    ]
    assert [one.whole for one in lines] == [False, False, True]
    left = [one.text for one in outcome_lines(failed._replace(left=("a file",)))]
    assert left[1] == "  LEFT BEHIND: a file"


@pytest.mark.parametrize("width", [1, 10, 40, 51, 80])
def test_lines_are_broken_at_words(width: int) -> None:
    lines = wrap(f"  {WHY}", width, whole=True)
    assert " ".join(line.strip() for line in lines) == WHY
    assert all(line.startswith("  ") for line in lines)
    longest = max(map(len, WHY.split()))
    assert max(map(len, lines)) <= max(width, longest + 2)
    assert wrap("", width, whole=True) == ("",)


def test_on_a_terminal_what_follows_stands_below(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "columns_of", lambda _: 80)
    output = Output()
    report = Report([Vm(WEB)], output, as_json=False, monotonic=lambda: 0.0)
    report.block(WEB, outcome_lines(ended()))
    assert output.finish()
    assert terminal.shown == [
        "qemu:web1     0:00.0  backup: complete, and certified consistent: it was taken",
        "                      within a certified freeze window, except what can't freeze",
        "                      and is crash-consistent: /boot/efi (vfat on vda1)",
        "                        in /to/web1/20260301T102030Z",
        "                        disk a: a.qcow2, 12 MiB copied of 96 MiB",
        "                        disk b: b.qcow2, 64 MiB copied of 64 MiB",
        "                        the guest was frozen for 0.25 s; it took 4.3 s",
    ]


@pytest.mark.parametrize("brief", [True, False])
def test_without_a_terminal_each_line_says_its_vm(
    capsys: pytest.CaptureFixture[str], brief: bool
) -> None:
    runner = JobRunner(cast(Engine, None), [Vm(WEB)], as_json=False, brief=brief)
    for told in (
        event(EventKind.STAGE, text="copying"),
        event(EventKind.SENT, text="the freeze was sent"),
        event(EventKind.OUTCOME, Level.GOOD, freeze(True), "certified"),
        event(EventKind.JOB, Level.GOOD, JobEnded(ended()), WHY),
    ):
        runner._event(told)
    assert runner._output.finish()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("qemu:web1 ") for line in lines)
    texts = [line.split(maxsplit=2)[2] for line in lines]
    assert ("the freeze was sent" in texts) is not brief
    assert ("certified" in texts) is not brief
    assert texts.count(WHY) == 1
    assert texts[-1] == "the guest was frozen for 0.25 s; it took 4.3 s"
    assert not brief or len(lines) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["snapshot", "revert", "web1", "a"], "one goes back while the VM is off"),
        (["snapshot", "rollback"], "frostwatch snapshot list VM"),
        (["snapshot", "remove", "web1", "a"], "(did you mean delete?): there are create, list"),
        (["snapshot", "lsit", "web1"], "(did you mean list?)"),
        (["snapshot", "frob"], "snapshot has no command 'frob': there are create, list, delete"),
        (
            ["snapshot", "create", "web1", "a", "--strict", "--policy", "never"],
            "--strict is about the freeze",
        ),
    ],
)
def test_what_to_use_instead_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_what_was_deleted_is_not_told_to_be_inside_of_an_image() -> None:
    disks = (DiskCopy("a", None, "qcow2", 96 << 20),)
    why = "deletion: complete: the snapshot s is deleted on a"
    lines = [
        [one.text for one in outcome_lines(ended(kind=kind, disks=disks, reason=why))]
        for kind in (JobKind.SNAPSHOT, JobKind.DELETION)
    ]
    assert "  disk a: inside of its qcow2 image" in lines[0]
    assert not any("inside of" in one for one in lines[1])
