"""Follows QEMU's jobs until they have ended, in short visits, and tells how far they are."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import IO_ERROR, DiskPort, NotDone
from agentclient.jobs.errors import JobFailed, NotLimited
from agentclient.model.job import DiskProgress, JobKind, JobProgress, JobStage
from agentclient.model.sizes import rate_text
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob

LOOK_EVERY_S: Final = 0.5
REPORT_EVERY_S: Final = 1.0
# The speed is that of the last seconds, so that it follows a target that becomes slow.
SPEED_OVER_S: Final = 10.0
SILENT_FOR_S: Final = 60.0
# strerror(ECANCELED), which QEMU gives for a job that was cancelled.
_CANCELED: Final = os.strerror(errno.ECANCELED)

Jobs = Mapping[str, BlockJob]


class JobLost(JobFailed):
    """QEMU can't be asked any more: its jobs may go on, and nobody follows them."""


@dataclass
class Follower:
    """Follows the jobs of one copy.

    Attributes:
        context: the copy's collaborators.
        port: reaches the VM's disks.
        kind: what kind of copy it is.
        disks: the name of the disk that each job copies, by the job's id.
        began_at: when the copy began (monotonic seconds).
        frozen_at: when the guest was frozen; None before.
        thawed_at: when it was thawed; None before.
        limit: the limit with which the jobs were started, in bytes a second; 0 without one.
        lifted: no limit counts any more, since a guest will wait for the rest.
    """

    context: JobContext
    port: DiskPort
    kind: JobKind
    disks: dict[str, str]
    began_at: float
    frozen_at: float | None = None
    thawed_at: float | None = None
    limit: int = 0
    lifted: bool = False
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _seen: dict[str, BlockJob] = field(default_factory=dict)
    _reported_at: float = 0.0
    _done: int = -1
    _moved_at: float = 0.0
    _silent_since: float | None = None
    _refused: int | None = None
    _asked: int | None = None
    _limited: set[str] = field(default_factory=set)

    def follow(self, stage: JobStage, text: str, enough: Callable[[Jobs], bool]) -> Jobs:
        """Look at the jobs until `enough` of what is seen of them.

        Args:
            stage: the copy's stage meanwhile.
            text: what it is doing, as a clause.
            enough: is given the jobs by their ids; those that QEMU has forgotten are missing.

        Returns:
            The jobs as they were seen last.

        Raises:
            JobCancelled: the operator has stopped the copy.
            JobFailed: a job has failed.
            JobLost: QEMU has not answered for 60 s, or the operator has left the copy to it.
        """
        self.context.reporter.stage(stage, text)
        control = self.context.control
        control.can_be_left = True
        try:
            while True:
                found = self.look(stage, text)
                if found is not None:
                    raise_failed(found, self.disks)
                    if enough(found):
                        return found
                control.wait(LOOK_EVERY_S)
                if control.left.is_set():
                    raise JobLost("frostwatch was left before its end, as was asked")
        finally:
            control.can_be_left = False

    def look(self, stage: JobStage, text: str) -> Jobs | None:
        """Look at the jobs once, and tell how far they are.

        Returns:
            The jobs by their ids; None if QEMU did not answer.

        Raises:
            JobFailed: the VM has ended.
            JobLost: QEMU has not answered for 60 s.
        """
        try:
            self._set_limit()
            found = {one.id: one for one in self.port.jobs() if one.id in self.disks}
        except NotDone:
            raise
        except JobFailed as error:
            self._not_answered(error)
            return None
        self._silent_since = None
        self._seen.update(found)
        self._report(stage, text)
        return found

    @property
    def copied(self) -> dict[str, int]:
        """Bytes that were copied of each disk, as far as was seen."""
        return {self.disks[name]: job.done for name, job in self._seen.items()}

    def _not_answered(self, error: JobFailed) -> None:
        now = time.monotonic()
        if self.context.access.is_gone():
            raise JobFailed("the VM has ended, and its copy with it") from error
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > SILENT_FOR_S:
            raise JobLost(f"QEMU has not answered for {SILENT_FOR_S:g} s: {error}") from error

    def _set_limit(self) -> None:
        limit = 0 if self.lifted else self.context.control.limit
        if limit == self.limit and not self._limited:
            self._refused = None
            return
        if limit == self._refused:
            return
        if limit != self._asked:
            self._asked, self._limited = limit, set()
        for name in [one for one in self.disks if one not in self._limited]:
            try:
                self.port.set_speed(name, limit)
            except NotDone:  # it has ended meanwhile
                pass
            except NotLimited as error:
                if error.reason is not None:
                    self._refused = limit
                    self._tell_unlimited(limit, error.reason)
                return
            self._limited.add(name)
        self.limit, self._refused, self._limited = limit, None, set()

    def _tell_unlimited(self, limit: int, reason: str) -> None:
        """Tell that the jobs go on as before, whatever was asked for."""
        wanted = f"a limit of {rate_text(limit)}" if limit else "that its limit is taken away"
        text = f"the copy goes on without {wanted}; stop it if the guest suffers: {reason}"
        self.context.reporter.note(Level.WARNING, text)

    def _report(self, stage: JobStage, text: str) -> None:
        now = time.monotonic()
        disks = tuple(
            DiskProgress(name, job.done, job.total, job.ready)
            for job_id, name in self.disks.items()
            if (job := self._seen.get(job_id)) is not None
        )
        speed = self._speed(now, sum(one.done for one in disks))
        left = sum(one.total - one.done for one in disks)
        progress = JobProgress(
            kind=self.kind,
            stage=stage,
            text=text,
            began_at=self.began_at,
            disks=disks,
            speed=speed,
            eta_s=left / speed if speed else None,
            limit=self.limit,
            frozen_at=self.frozen_at,
            thawed_at=self.thawed_at,
            cancelled=self.context.control.cancelled.is_set(),
            still_s=self._still_s(now, sum(one.done for one in disks)),
        )
        due = now - self._reported_at >= REPORT_EVERY_S
        if due:
            self._reported_at = now
        self.context.reporter.progress(progress, listeners=due)

    def _still_s(self, now: float, done: int) -> float:
        """Return for how many seconds nothing has been copied."""
        if done != self._done:
            self._done, self._moved_at = done, now
        return now - self._moved_at

    def _speed(self, now: float, done: int) -> float | None:
        """Return bytes a second over the last 10 s; None while there is one look alone."""
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= SPEED_OVER_S:
            self._samples.popleft()
        (since, before), (_, latest) = self._samples[0], self._samples[-1]
        return max(0.0, (latest - before) / (now - since)) if now > since else None


def all_ended(jobs: Jobs) -> bool:
    """Return whether all jobs have ended, well or not."""
    return all(job.has_ended for job in jobs.values())


def all_ended_or_stopped(port: DiskPort) -> Callable[[Jobs], bool]:
    """Return what tells whether all jobs of a backup have ended.

    It raises JobFailed if the VM has stopped at an error: without a fleece the guest's writes fail
    where the backup's file can't take what they overwrite, and the job itself goes on.
    """

    def enough(found: Jobs) -> bool:
        if all_ended(found):
            return True
        if port.status() == IO_ERROR:
            raise JobFailed(
                "the VM has stopped at an error of a storage (io-error): perhaps the backup's "
                "files can't take what the guest overwrites",
                "make room there, or keep what is overwritten elsewhere: --fleece DIR",
            )
        return False

    return enough


def raise_failed(jobs: Jobs, disks: Mapping[str, str]) -> None:
    """Raise the error of the first job that has failed, or that QEMU has forgotten.

    Raises:
        JobFailed: there is one.
    """
    failed = [
        (disk, job.error)
        for name, disk in disks.items()
        if (job := jobs.get(name)) is not None and job.error is not None
    ]
    # Where jobs are completed together, the failure of one cancels the others.
    failed.sort(key=lambda one: one[1] == _CANCELED)
    for disk, error in failed:
        raise JobFailed(f"the copy of {printable(disk, 80)} failed: {printable(error, 300)}")
    for name, disk in disks.items():
        if name not in jobs:
            raise JobFailed(
                f"the copy of {printable(disk, 80)} is not there any more: somebody ended it"
            )
