"""The vocabulary of a command that runs while VMs are frozen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

# What the command finds in its environment; no settings are called so.
VMS_VARIABLE: Final = "FROSTWATCH_VMS"
UNTIL_VARIABLE: Final = "FROSTWATCH_UNTIL"
MONOTONIC_VARIABLE: Final = "FROSTWATCH_UNTIL_MONOTONIC"
SECONDS_VARIABLE: Final = "FROSTWATCH_SECONDS"
COMMAND_VARIABLES: Final = frozenset(
    {VMS_VARIABLE, UNTIL_VARIABLE, MONOTONIC_VARIABLE, SECONDS_VARIABLE}
)


class ThawWhen(StrEnum):
    """When the guests are thawed, before their windows end on their own."""

    COMMAND_ENDED = "command-ended"
    JOB_STARTED = "job-started"  # a block job copies every disk that the guest can write to


class OnOverrun(StrEnum):
    """What becomes of a command that runs on when a guest's window is over."""

    WARN = "warn"  # it runs on
    KILL = "kill"  # it is ended


class CommandStep(StrEnum):
    """What has happened to the command."""

    BEGAN = "began"
    JOBS_STARTED = "jobs-started"  # of one VM
    OVERRAN = "overran"  # a window has ended, and the command runs on
    BROKEN = "broken"  # a window was broken, and the command runs on
    STOPPED = "stopped"  # it was sent a signal, so that it ends
    ENDED = "ended"


class Moment(NamedTuple):
    """A moment of a job.

    Attributes:
        at: the wall clock's time, counted from the job's beginning by the monotonic clock.
        s: seconds since the job was asked for, by the monotonic clock.
    """

    at: datetime
    s: float


class CommandTimes(NamedTuple):
    """When what happened to the command and to one VM's window; None if it did not.

    Attributes:
        frozen: the freeze was verified.
        began: the command was started.
        until: the first window's end at the latest, as the command was told.
        jobs: block jobs of every disk were seen.
        ended: the command had ended.
        thawing: the window was over: its thaw was sent, or its time had come.
        thawed: the guest's freeze had ended.
    """

    frozen: Moment | None = None
    began: Moment | None = None
    until: Moment | None = None
    jobs: Moment | None = None
    ended: Moment | None = None
    thawing: Moment | None = None
    thawed: Moment | None = None


class CommandRun(NamedTuple):
    """One run of a command, as one VM's job tells it.

    Attributes:
        argv: the command and its arguments.
        thaw_when: when the guests were to be thawed.
        pid: its process, the leader of a session of its own; None if it was not started.
        exit_code: its exit code; None if it was ended by a signal, goes on, or was not started.
        signal: the name of the signal that ended it; None if none did.
        error: why it was not started, or why its end is not known; None otherwise.
        overran: it ran on when the VM's window was over.
        stopped: the signal that we have sent to end it; None if none.
        inside: all of it (or the start of its block jobs) lay within the VM's certified window.
        times: when what happened.
    """

    argv: tuple[str, ...]
    thaw_when: ThawWhen
    pid: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None
    overran: bool = False
    stopped: str | None = None
    inside: bool = False
    times: CommandTimes = CommandTimes()
