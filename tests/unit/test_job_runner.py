"""What a command does about copies that were begun, where another one could not be."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agentclient.model.errors import FrostwatchError
from agentclient.model.job import JobKind, JobOutcome
from tests.console.copying import failed
from tests.console.fakes import FakeJob, StillClock
from tests.unit.cli_fakes import vm
from tui.cli.job_runner import JobRunner


class Engine:
    """Begins one copy, which ends when it is stopped."""

    def __init__(self, end: JobOutcome) -> None:
        self.job = FakeJob(vm("a"), JobKind.BACKUP, on_cancel=self._stop)
        self._end = end

    def _stop(self, job: FakeJob) -> None:
        job.outcome = self._end

    @property
    def jobs(self) -> Engine:
        return self

    def active(self) -> tuple[FakeJob, ...]:
        return (self.job,)

    def cancel_all(self) -> None:
        self.job.cancel()

    def states(self) -> tuple[object, ...]:
        return ()


def test_what_was_begun_is_stopped_and_told_before_why_not_all_could_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = Engine(failed(StillClock()))

    def start(_: object) -> Any:
        raise FrostwatchError("no room")

    runner = JobRunner(cast(Any, engine), [vm("a"), vm("b")], as_json=False)
    with pytest.raises(FrostwatchError, match="no room"):
        runner.run(start)
    assert engine.job.calls == ["cancel"]
    assert "not all could be begun (no room): stopping: " in capsys.readouterr().err
