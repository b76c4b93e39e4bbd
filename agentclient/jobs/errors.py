"""Why a job ends before its copy is complete."""

from __future__ import annotations

from agentclient.model.errors import FrostwatchError
from agentclient.model.job import JobRefusal
from agentclient.model.text import printable


class JobRefused(FrostwatchError):
    """The job is not begun, and nothing was changed.

    Args:
        refusal: why, in one word.
        reason: why, as a clause for a person.
        next_step: what a person can do; None if nothing.
    """

    def __init__(self, refusal: JobRefusal, reason: str, next_step: str | None = None) -> None:
        self.refusal = refusal
        self.reason = reason
        self.next_step = next_step
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[JobRefused], tuple[object, ...]]:
        """Return what pickle makes it of again."""
        return JobRefused, (self.refusal, self.reason, self.next_step)


class JobFailed(FrostwatchError):
    """The copy can't be completed; what was begun has to be undone.

    Args:
        reason: what failed, as a clause for a person.
        next_step: what a person can do; None if nothing.
    """

    def __init__(self, reason: str, next_step: str | None = None) -> None:
        self.reason = reason
        self.next_step = next_step
        super().__init__(reason)


class JobCancelled(FrostwatchError):
    """The operator has stopped the job; what was begun has to be undone."""


class NotLimited(FrostwatchError):
    """A job goes on without the limit that was asked for.

    Args:
        reason: why, as a clause; None if that isn't known yet: ask again.
    """

    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        super().__init__(reason or "not answered yet")


def a_bug(error: Exception) -> str:
    """Return what a person is told of a bug of ours that has ended a job, as a clause."""
    return f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
