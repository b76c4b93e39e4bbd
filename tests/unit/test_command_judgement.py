"""What a command's run is worth: only what lay within a certified window is called consistent."""

from __future__ import annotations

import pytest

from agentclient.jobs.command.judgement import RunFacts, WindowFacts, judge
from agentclient.model.command import ThawWhen
from agentclient.model.job import Consistency, JobResult
from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind, Refusal

CERTIFIED = Outcome(OutcomeKind.VERIFIED, "frozen", certified=True, settled=True)
RUN = RunFacts(10.0, 12.0, 0, None, None, None, False, 7, ThawWhen.COMMAND_ENDED)
WINDOW = WindowFacts(9.9, 12.1, CERTIFIED)
BY_JOB = RUN._replace(thaw_when=ThawWhen.JOB_STARTED, ended_at=500.0)


def test_a_run_within_a_certified_window_is_consistent() -> None:
    found = judge(RUN, WINDOW)
    assert (found.result, found.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert found.inside
    assert "exit code 0 after 2 s" in found.reason


@pytest.mark.parametrize(
    ("run", "window", "words"),
    [
        (RUN, WINDOW._replace(closed_at=11.9), "went on for 100 ms after the freeze window"),
        (RUN, WINDOW._replace(outcome=None), "not acknowledged"),
        (RUN, WINDOW._replace(outcome=CERTIFIED._replace(certified=False)), "not certified"),
        (RUN, WINDOW._replace(verified_at=10.1), "did not end within"),
        (
            RUN,
            WindowFacts(None, None, Outcome(OutcomeKind.REFUSED, "x", refusal=Refusal.NO_AGENT)),
            "refused: no-agent: x",
        ),
        (BY_JOB, WINDOW._replace(why_no_jobs="no backup job of b was seen"), "of b was seen"),
        (BY_JOB, WINDOW._replace(jobs_at=12.2), "after the freeze window"),
    ],
)
def test_anything_else_is_crash_consistent_at_best(
    run: RunFacts, window: WindowFacts, words: str
) -> None:
    found = judge(run, window)
    assert found.result is JobResult.COMPLETE
    assert found.consistency is Consistency.CRASH_CONSISTENT
    assert not found.inside
    assert words in found.reason
    assert "certified consistent" not in found.reason


def test_with_job_started_the_start_of_the_jobs_counts_and_not_the_end() -> None:
    found = judge(BY_JOB, WINDOW._replace(jobs_at=11.0))
    assert found.consistency is Consistency.CONSISTENT
    assert "the start of its block jobs" in found.reason


@pytest.mark.parametrize(
    ("changes", "result", "words"),
    [
        ({"exit_code": 3}, JobResult.FAILED, "the command failed: exit code 3 after 2 s"),
        ({"exit_code": None, "signal": "SIGKILL"}, JobResult.FAILED, "ended by SIGKILL"),
        ({"exit_code": None, "error": "nobody knows"}, JobResult.FAILED, "nobody knows"),
        ({"stopped": "SIGTERM", "exit_code": 0}, JobResult.FAILED, "ended by us"),
        ({"cancelled": True}, JobResult.CANCELLED, "stopped by the operator"),
        ({"ended_at": None}, JobResult.LEFT, "does not end"),
        ({"pid": None, "error": "too long"}, JobResult.FAILED, "could not be started: too long"),
        ({"pid": None, "cancelled": True}, JobResult.CANCELLED, "before the command was started"),
    ],
)
def test_a_command_that_did_not_do_well_has_no_complete_copy(
    changes: dict[str, object], result: JobResult, words: str
) -> None:
    found = judge(RUN._replace(**changes), WINDOW)  # type: ignore[arg-type]
    assert found.result is result
    assert found.consistency is Consistency.NONE
    assert words in found.reason
