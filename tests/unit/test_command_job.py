"""A command's job on freezes that a test plays, with real processes: whatever fails, all thaw."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.jobs.command import job as job_module
from agentclient.jobs.command.job import CommandJob
from agentclient.jobs.command.process import CommandProcess
from agentclient.jobs.command.request import CommandRequest
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.manager import JobManager
from agentclient.jobs.reporter import JobReporter
from agentclient.model.command import OnOverrun, ThawWhen
from agentclient.model.errors import BadInput
from agentclient.model.events import CommandTold, Event, EventKind, OnEvent
from agentclient.model.job import Consistency, FreezePolicy, JobOutcome, JobRefusal, JobResult
from agentclient.model.outcome import Outcome
from agentclient.model.policy import VmPolicy
from agentclient.model.request import FreezeRequest
from agentclient.model.states import Level, OutcomeKind, Refusal
from agentclient.model.vm import Vm, VmId
from tests.waiting import until

WELL = Outcome(OutcomeKind.VERIFIED, "frozen", certified=True, settled=True)
BROKEN = Outcome(OutcomeKind.BROKEN, "the guest was reset", settled=True)
REFUSED = Outcome(OutcomeKind.REFUSED, "no agent runs", refusal=Refusal.NO_AGENT, settled=True)


@dataclass
class PlayedFreeze:
    """A freeze whose moments a test decides; told to end, it thaws as its end says."""

    vm: Vm
    request: FreezeRequest
    on_event: OnEvent
    end: Outcome = WELL
    asked: list[str] = field(default_factory=list)
    verdict: Outcome | None = None
    hold_ends_at: float | None = None
    outcome: Outcome | None = None
    may_end: Callable[[], object] = lambda: True

    def __post_init__(self) -> None:
        self._opened = threading.Event()
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return self.outcome is not None

    def tell(self, kind: EventKind) -> None:
        self.on_event(Event(self.vm.id, datetime.now(UTC), kind, Level.INFO, str(kind)))

    def open(self, verdict: Outcome = WELL) -> None:
        self.tell(EventKind.VERDICT)
        self.verdict = verdict
        self.hold_ends_at = time.monotonic() + self.request.schedule.hold_s
        timer = threading.Timer(self.request.schedule.hold_s, self._end_hold)
        timer.daemon = True
        timer.start()
        self._opened.set()

    def _end_hold(self) -> None:
        until(self.may_end)
        self.finish(self.end)

    def finish(self, outcome: Outcome) -> None:
        with self._lock:
            if self.outcome is not None:
                return
            if self.verdict is not None:
                self.tell(EventKind.THAW_SENT)
            self.tell(EventKind.OUTCOME)
            self.outcome = outcome
        self._opened.set()
        self.on_event(Event(self.vm.id, datetime.now(UTC), EventKind.NOTE, Level.INFO, "ended"))

    def wait_opened(self, timeout_s: float | None = None) -> bool:
        return self._opened.wait(timeout_s)

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        end = time.monotonic() + (timeout_s or 0)
        while self.outcome is None and time.monotonic() < end:
            time.sleep(0.005)
        return self.outcome

    def end_hold(self) -> None:
        self.asked.append("end")
        self.finish(self.end)

    def cancel(self) -> None:
        self.asked.append("cancel")
        self.finish(self.end if self.verdict is not None else REFUSED)

    def give_up(self) -> None:
        self.asked.append("give up")


def once(holds: Callable[[], object], do: Callable[[], object]) -> None:
    """Do something in a thread as soon as something else holds."""

    def run() -> None:
        until(holds)
        do()

    threading.Thread(target=run, daemon=True).start()


@dataclass
class Stage:
    """Some VMs, and what a test arranges for their freezes.

    Attributes:
        may_end: no hold ends before it returns true, however busy the machine is.
    """

    names: tuple[str, ...] = ("a",)
    opens: Callable[[PlayedFreeze], None] = lambda freeze: freeze.open()
    freezes: list[PlayedFreeze] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    policy: VmPolicy = field(default_factory=VmPolicy)
    may_end: Callable[[], object] = lambda: True

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: OnEvent) -> PlayedFreeze:
        freeze = PlayedFreeze(vm, request, on_event)
        freeze.may_end = self.may_end
        self.freezes.append(freeze)
        threading.Timer(0.02, self.opens, [freeze]).start()
        return freeze

    def job(self, *argv: str, **more: Any) -> CommandJob:
        fleet = Fleet()
        vms = [Vm(VmId("qemu", name), policy=self.policy) for name in self.names]
        fleet.set_vms("qemu", vms)
        contexts = [
            JobContext(
                vm=vm,
                access=cast(Any, _NoMonitor()),
                operations=cast(Any, self),
                reporter=JobReporter(fleet, vm, self.events.append),
                control=JobControl(),
                wall=fleet.wall,
                on_event=self.events.append,
                read_only=more.pop("read_only", None),
            )
            for vm in vms
        ]
        return CommandJob(contexts, CommandRequest(argv=argv, **more))

    def run(self, *argv: str, **more: Any) -> list[JobOutcome]:
        return self.job(*argv, **more).run()

    @property
    def began(self) -> bool:
        return "began" in self.told

    @property
    def told(self) -> list[str]:
        """What was told of the command on the first VM."""
        return [
            str(event.details.what)
            for event in self.events
            if isinstance(event.details, CommandTold) and event.vm.name == self.names[0]
        ]


class _NoMonitor:
    monitor = None


@pytest.fixture(autouse=True)
def _all_thawed_and_no_process_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "command":
            thread.join(60)
            assert not thread.is_alive()


def test_the_guest_is_thawed_by_the_thread_that_waits_for_the_command() -> None:
    stage = Stage()
    (outcome,) = stage.run("true")
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert outcome.ok
    assert stage.told == ["began", "ended"]
    assert stage.freezes[0].request.schedule.hold_s == 120, "as long as it may be"
    assert outcome.command is not None
    times = outcome.command.times
    assert None not in times._replace(jobs=times.ended)


def test_a_hold_that_is_set_is_the_window() -> None:
    stage = Stage(policy=VmPolicy(hold_s=7))
    stage.run("true")
    stage.run("true", hold_s=9)
    assert [one.request.schedule.hold_s for one in stage.freezes] == [7, 9]


def test_a_window_that_is_not_certified_is_no_consistent_copy() -> None:
    stage = Stage()

    def opens(freeze: PlayedFreeze) -> None:
        freeze.end = replace_certified(WELL)
        freeze.open()

    stage.opens = opens
    (outcome,) = stage.run("true")
    assert (outcome.result, outcome.consistency) == (
        JobResult.COMPLETE,
        Consistency.CRASH_CONSISTENT,
    )
    assert not outcome.ok


def replace_certified(outcome: Outcome) -> Outcome:
    return outcome._replace(certified=False)


def test_a_bug_beside_the_command_frees_its_vms_and_whoever_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(_: CommandJob) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(CommandJob, "run", bug)
    vm, manager = Vm(VmId("qemu", "web")), JobManager(Fleet(), AccessPool(), cast(Any, None))
    outcomes = manager.command([vm], CommandRequest(argv=("true",))).wait(60.0)
    assert outcomes is not None
    assert [one.result for one in outcomes] == [JobResult.FAILED]
    assert "ZeroDivisionError('a bug')" in outcomes[0].reason
    assert manager.on(vm.id) is None


@pytest.mark.parametrize("verdict", [REFUSED, BROKEN])
def test_what_is_not_verified_is_thawed_and_nothing_is_run(
    verdict: Outcome, tmp_path: Path
) -> None:
    stage = Stage(("a", "b"))

    def opens(freeze: PlayedFreeze) -> None:
        if freeze.vm.name == "a":
            freeze.open()
        elif verdict is REFUSED:
            freeze.finish(verdict)
        else:
            freeze.open(verdict)

    stage.opens = opens
    ran = tmp_path / "ran"
    outcomes = stage.run("touch", str(ran))
    assert [one.refusal for one in outcomes] == [JobRefusal.NOT_FROZEN] * 2
    assert all("qemu:b was not frozen" in one.reason for one in outcomes)
    assert all(freeze.done for freeze in stage.freezes)
    assert not ran.exists()

    first, second = stage.run("touch", str(ran), policy=FreezePolicy.PREFER)
    assert ran.exists()
    assert first.consistency is Consistency.CONSISTENT
    assert second.consistency is Consistency.CRASH_CONSISTENT
    assert second.ok, "its policy allows that"


def test_one_that_is_thawed_before_the_others_are_frozen_is_not_frozen(tmp_path: Path) -> None:
    stage = Stage(("a", "b"))
    stage.opens = lambda freeze: freeze.open() if freeze.vm.name == "a" else None
    outcomes = stage.run("touch", str(tmp_path / "ran"), hold_s=0.2)
    assert [one.refusal for one in outcomes] == [JobRefusal.NOT_FROZEN] * 2
    assert "--together" in outcomes[0].reason
    assert stage.freezes[1].asked == ["cancel"], "it is not waited for any longer"
    assert not (tmp_path / "ran").exists()


def test_a_command_that_cannot_be_started_after_all_thaws(tmp_path: Path) -> None:
    program = tmp_path / "here"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    stage = Stage()

    def opens(freeze: PlayedFreeze) -> None:
        program.unlink()
        freeze.open()

    stage.opens = opens
    (outcome,) = stage.run(str(program))
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert "could not be started" in outcome.reason
    assert stage.freezes[0].asked[0] == "end"
    assert stage.told == []


def test_one_that_is_cancelled_while_it_is_frozen_is_not_started(tmp_path: Path) -> None:
    stage = Stage()
    stage.opens = lambda _: None
    job = stage.job("touch", str(tmp_path / "ran"))
    threading.Timer(0.1, job.cancel).start()
    (outcome,) = job.run()
    assert outcome.result is JobResult.CANCELLED
    assert stage.freezes[0].asked[0] == "cancel"
    assert not (tmp_path / "ran").exists()


def test_a_program_whose_storage_hangs_is_left_when_it_is_cancelled_and_ended_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, children = threading.Event(), list[subprocess.Popen[bytes]]()
    popen = subprocess.Popen

    def hang(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        job.cancel()
        assert answers.wait(60.0)
        children.append(popen(*args, **more))
        return children[0]

    monkeypatch.setattr("agentclient.jobs.command.process.subprocess.Popen", hang)
    monkeypatch.setattr(job_module, "TERM_S", 100.0)
    stage = Stage()
    job = stage.job("sleep", "600")
    (outcome,) = job.run()
    assert not job._process.ended, "it was waited for"
    assert outcome.result is JobResult.CANCELLED
    assert stage.freezes[0].done, "the guest is thawed"
    answers.set()
    assert job._process.wait(60.0)
    assert (children[0].returncode, job._process.signal) == (-signal.SIGKILL, "SIGKILL")


def test_a_command_that_is_cancelled_gets_term_after_the_guest_was_told_to_thaw() -> None:
    stage = Stage()
    job = stage.job("sleep", "600")
    once(lambda: stage.began, job.cancel)
    (outcome,) = job.run()
    assert outcome.result is JobResult.CANCELLED
    assert outcome.command is not None
    assert outcome.command.signal == "SIGTERM"
    assert outcome.window == WELL
    assert stage.told == ["began", "stopped", "ended"]


def deaf(ready: Path) -> tuple[str, ...]:
    """Return a command that ignores TERM as soon as a file is there."""
    script = "trap '' TERM; : >\"$0\"; while :; do sleep 0.05; done"
    return ("sh", "-c", script, str(ready))


def test_one_that_ignores_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "TERM_S", 0.2)
    ready = tmp_path / "ready"
    stage = Stage(may_end=lambda: stage.began and ready.exists())
    (outcome,) = stage.run(*deaf(ready), hold_s=0.1, on_overrun=OnOverrun.KILL)
    assert outcome.command is not None
    assert (outcome.command.signal, outcome.command.overran) == ("SIGKILL", True)
    assert stage.told == ["began", "overran", "stopped", "stopped", "ended"]


def test_one_that_not_even_kill_ends_is_left_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "TERM_S", 0.1)
    monkeypatch.setattr(job_module, "KILL_S", 0.1)
    sent: list[signal.Signals] = []
    monkeypatch.setattr(CommandProcess, "_signal", lambda _, number: sent.append(number))
    stage = Stage(may_end=lambda: stage.began)
    job = stage.job("sleep", "600", hold_s=0.1, on_overrun=OnOverrun.KILL)
    (outcome,) = job.run()
    assert job._process.pid is not None
    os.killpg(job._process.pid, signal.SIGKILL)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert (outcome.result, outcome.consistency) == (JobResult.LEFT, Consistency.NONE)
    assert outcome.command is not None
    assert outcome.left == (f"process group {outcome.command.pid} goes on",)


def test_a_broken_window_is_told_while_it_runs_and_kill_ends_it() -> None:
    stage = Stage()

    def opens(freeze: PlayedFreeze) -> None:
        freeze.open()
        until(lambda: stage.began)
        freeze.finish(BROKEN)

    stage.opens = opens
    (outcome,) = stage.run("sleep", "600", on_overrun=OnOverrun.KILL)
    assert stage.told == ["began", "broken", "stopped", "ended"]
    assert outcome.result is JobResult.FAILED
    (text,) = [one.text for one in stage.events if "THE WINDOW IS BROKEN" in one.text]
    assert "the guest was reset" in text


def test_a_second_request_kills_it_and_gives_the_guest_to_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "GIVEN_UP_S", 60.0)
    ready = tmp_path / "ready"
    stage = Stage()
    job = stage.job(*deaf(ready))
    once(lambda: stage.began and ready.exists(), job.give_up)
    (outcome,) = job.run()
    assert outcome.command is not None
    assert outcome.command.signal == "SIGKILL"
    assert "give up" in stage.freezes[0].asked


def test_an_end_that_nobody_can_tell_is_not_taken_for_a_good_one() -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        (outcome,) = Stage().run("true")
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert outcome.result is JobResult.FAILED
    assert "can't be told" in outcome.reason


def test_a_bug_in_the_middle_ends_the_command_and_thaws(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    job = stage.job("sleep", "60")

    def fails(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(job, "_check_window", fails)
    (outcome,) = job.run()
    assert outcome.result is JobResult.FAILED
    assert "a bug" in outcome.reason
    assert stage.freezes[0].done
    assert outcome.command is not None
    assert not Path(f"/proc/{outcome.command.pid}").exists()


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"read_only": "nothing may be sent"}, JobRefusal.READ_ONLY),
        ({"thaw_when": ThawWhen.JOB_STARTED}, JobRefusal.NO_MONITOR),
    ],
)
def test_it_is_refused_before_anything_is_frozen(
    more: dict[str, Any], refusal: JobRefusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_monitor(_: JobContext) -> None:
        raise JobRefused(JobRefusal.NO_MONITOR, "none is known")

    monkeypatch.setattr(JobContext, "port", no_monitor)
    stage = Stage()
    (outcome,) = stage.run("true", **more)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, refusal)
    assert stage.freezes == []


def test_without_a_thread_nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stage = Stage()
    job = stage.job("true")
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    (outcome,) = job.run()
    assert outcome.result is JobResult.FAILED
    assert stage.freezes == []


@pytest.mark.parametrize(
    "more",
    [
        {"hold_s": 0.0},
        {"hold_s": 121.0},
        {"policy": FreezePolicy.NEVER},
        {"policy": FreezePolicy.SUSPEND},
        {"disks": ("a",)},
        {"together": True, "within_s": 120.0},
        {"together": True, "hold_s": 100.0},
    ],
)
def test_what_contradicts_itself_is_bad_input(more: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Stage().job("true", **more)


def test_too_long_a_word_is_bad_input() -> None:
    with pytest.raises(BadInput, match="too long"):
        Stage().job("echo", "x" * 200_000)


def test_the_environment_says_which_vms_and_until_when(tmp_path: Path) -> None:
    out = tmp_path / "env"
    Stage(("a", "b")).run("sh", "-c", f"env >{out}; pwd >>{out}", hold_s=60.0)
    seen = out.read_text()
    assert "FROSTWATCH_VMS=qemu:a\nqemu:b\n" in seen
    (seconds,) = re.findall(r"FROSTWATCH_SECONDS=([0-9.]+)", seen)
    assert 0.0 < float(seconds) < 60.0
    assert str(Path.cwd()) in seen
    assert "FROSTWATCH_VMS" not in os.environ
