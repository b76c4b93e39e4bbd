"""A mirror: disks copied to files until both are equal, and completed as copies under a freeze.

QEMU goes on running on its own disks, whatever happens to the copies. It knows no transaction for
the completion: the freeze, or a pause, is what makes all disks be of one moment; and if one copy
fails, all are given up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from agentclient.access.qmp_session import Ask
from agentclient.jobs.archive import Begun, safe_name
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.context import JobContext
from agentclient.jobs.copy_files import FileCopy, Ids
from agentclient.jobs.copy_place import room_for_mirror
from agentclient.jobs.disks import check_none_new
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.file_copy import FileCopyJob
from agentclient.jobs.follow import Follower, Jobs, raise_failed
from agentclient.jobs.manifest import MIRROR
from agentclient.jobs.mirror_watch import FreezeWatch, MirrorWatch, backlog
from agentclient.jobs.pause import paused, runs
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.targets import THIN, UNFLUSHED, Target, Targets
from agentclient.model.job import FreezePolicy, JobKind, JobRefusal, JobStage
from agentclient.model.next_command import copy_command
from agentclient.model.sizes import size_text
from agentclient.model.states import Refusal
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.operations.refusals import refuse_by_configuration, refuse_by_look
from agentclient.protocol.qmp_block import Disk, jobs

# In the window the guest waits for us: a look takes a millisecond.
_WINDOW_LOOK_S: Final = 0.005
_CATCH_UP_LOOK_S: Final = 0.05
_LEAST_VISIT_S: Final = 1.0
# What is copied within the window: as little as can be had at once, and never more than that.
_LITTLE: Final = 1 << 20
_ENOUGH: Final = 32 << 20
_CATCH_UP_S: Final = 2.0
_GIVE_UP_S: Final = 60.0
# QEMU's own number for each mirror (block/mirror.c); it can't be told another.
_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRequest(CopyRequest):
    """What an operator asks of a mirror.

    Attributes:
        folder: where mirrors are; each has a folder of its own in there, VM by VM. Absolute.
        format: ``qcow2`` or ``raw``.
        at: when it is to be completed; None for as soon as it is ready.
        wait: it is completed when it is told to (`MirrorJob.complete_now`), or at `at`.
        checksum: read the files again for their checksums, once the guest writes again.
    """

    folder: Path
    format: str = "qcow2"
    at: datetime | None = None
    wait: bool = False
    checksum: bool = True

    def again(self, vm: Vm, limit: int) -> str | None:
        """Return the command that asks for the same once more; its moment may be over."""
        words = ["--to", str(self.folder)]
        words += ["--format", self.format] if self.format != "qcow2" else []
        words += ["--wait"] if self.wait else []
        words += [] if self.checksum else ["--no-checksum"]
        return copy_command([vm], ["mirror"], [*words, *self.options(limit)])


class MirrorJob(FileCopyJob):
    """One mirror of one VM.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze, the moment.
    """

    kind = JobKind.MIRROR
    manifest_kind = MIRROR

    def __init__(self, context: JobContext, request: MirrorRequest) -> None:
        super().__init__(context, request, request.folder)
        self._asked_for = request
        self._block: BlockLayer | None = None
        self._targets: Targets | None = None
        self._disks: dict[str, str] = {}
        self._copied: dict[str, int] = {}
        self._told = threading.Event()
        self._freeze_watch = FreezeWatch(self._look_meanwhile, self._stop_freeze)

    # -- for the caller ----------------------------------------------------------------

    def complete_now(self) -> None:
        """Complete it as soon as it is ready, whatever it waits for else."""
        self._told.set()

    def work(self) -> list[str]:
        """Do all steps in turn; a copy that fails during the freeze is what is told.

        Returns:
            What is left behind that should not be, each as a clause.
        """
        try:
            return super().work()
        except JobRefused as error:
            if self._freeze_watch.failed is not None:
                raise self._freeze_watch.failed from error
            raise

    # -- the steps -----------------------------------------------------------------------

    def prepare(self) -> None:
        """Copy until all targets are equal to their disks, and wait for the moment."""
        self._refuse_what_can_not_freeze()
        block = self._block = self.context.block()
        chosen, place = self._look(block, self.request.disks)
        place.look()
        begun = Begun(self._id, self._id, MIRROR)
        self.folder = place.make(sum(map(room_for_mirror, chosen)), begun)
        self.keep_threads(block, _REQUESTS)
        self._files = self._targets = self.new_targets(block)
        taken: frozenset[str] = frozenset()
        for number, disk in enumerate(chosen):
            self.context.control.check()
            name = safe_name(disk.name, taken)
            taken |= {name}
            self._copies.append(FileCopy(disk, self._made(self._targets, disk, name), None))
            self._disks[self.name.job(number)] = disk.name
        limit = self.context.control.limit
        self._begin(block, limit)
        self._follower = follower = Follower(
            self.context, block, self.kind, self._disks, self.began_at, limit=limit
        )
        watch = MirrorWatch(self.context, self._disks)
        self._mirror(follower, watch)
        self._wait(follower, watch)
        self._catch_up(follower, watch)
        self._freeze_watch.begin()

    def start(self) -> None:
        """Complete all copies: the guest writes nothing now, so that all are of one moment."""
        assert self._block is not None, "it was prepared"
        self._freeze_watch.end()
        try:
            with self._one_moment():
                self._end_all(self._block)
        except JobFailed:
            self.context.control.check()  # a cancellation ends the window, and so the time
            raise

    def follow(self) -> None:
        """Wait for nothing: the copies were complete when the guest was thawed."""

    def finish(self) -> list[str]:
        """Close the files, wait until their storage has them, and write the manifest."""
        assert self._block is not None, "it was prepared"
        for job_id in self._disks:
            self._block.dismiss(job_id, self.context.control.cancelled)
        self._close()
        self._record(Ids(self._id, self._id, self._uuid), checksum=self._asked_for.checksum)
        return []

    def undo(self) -> list[str]:
        """Cancel the jobs, and delete the files: those of all disks."""
        self._freeze_watch.end()
        return super().undo()

    def _copied_bytes(self) -> dict[str, int]:
        """Return the bytes that were copied of each disk, those in the window as well."""
        return {**super()._copied_bytes(), **self._copied}

    def check_alone(self) -> None:
        """Make sure before the window that no disk has come that would be missing.

        Its jobs have kept others off its disks since they began.
        """
        assert self._block is not None, "it was prepared"
        if self.takes_all and not self.window.is_frozen:
            check_none_new(self._block.disks(), self.chosen)

    # -- before the window ---------------------------------------------------------------

    def _refuse_what_can_not_freeze(self) -> None:
        """Refuse at once, and not after hours, if the freeze would be refused now.

        Raises:
            JobRefused: it would, and the policy demands one.
        """
        policy = self.request.policy
        if policy not in (FreezePolicy.REQUIRE, FreezePolicy.SUSPEND):
            return
        access, vm = self.context.access, self.vm
        refusal = refuse_by_configuration(access, vm, vm)
        if refusal is None and access.monitor is not None:
            refusal = refuse_by_look(access.monitor.look())
        passing = [Refusal.BUSY] + [Refusal.NO_AGENT] * (policy is FreezePolicy.SUSPEND)
        if refusal is not None and refusal.refusal not in passing:
            raise JobRefused(
                JobRefusal.NOT_FROZEN,
                f"the guest could not be frozen ({refusal.refusal}: {refusal.reason})",
                refusal.next or "mend that, or take another --policy: prefer, suspend",
            )

    def _made(self, targets: Targets, disk: Disk, name: str) -> Target:
        assert self.folder is not None, "it was made"
        kind = self._asked_for.format
        return targets.make(
            self.folder / f"{name}.{kind}",
            kind,
            disk.size,
            file_options={**UNFLUSHED, **THIN},
            node_options={**UNFLUSHED, **THIN, "detect-zeroes": "unmap"},
        )

    def _begin(self, block: BlockLayer, limit: int) -> None:
        self._begun = True
        for number, one in enumerate(self._copies):
            block.run(
                "blockdev-mirror",
                job_id=self.name.job(number),
                device=one.disk.ref,
                target=one.target.node,
                sync="full",
                speed=limit,
                auto_dismiss=False,
            )

    def _mirror(self, follower: Follower, watch: MirrorWatch) -> None:
        text = "copying until the files are equal to the disks"
        follower.follow(JobStage.MIRRORING, text, watch.all_ready)

    def _wait(self, follower: Follower, watch: MirrorWatch) -> None:
        """Wait for the moment that the operator has chosen, while the files are kept equal."""
        at = self._asked_for.at
        text = "the files are equal to the disks"
        if not self._time_has_come():
            when = f"until {at.isoformat('T', 'seconds')}" if at else "until it is told to complete"
            text += f", and are kept so {when}"
        watch.is_waiting = True
        follower.follow(
            JobStage.READY, text, lambda found: watch.all_ready(found) and self._time_has_come()
        )

    def _time_has_come(self) -> bool:
        if self._told.is_set():
            return True
        if self._asked_for.at is not None:
            return self.context.wall() >= self._asked_for.at
        return not self._asked_for.wait

    def _catch_up(self, follower: Follower, watch: MirrorWatch) -> None:
        """Wait until so little is left to copy that the window will be short.

        Raises:
            JobFailed: the guest writes more than is copied, or a copy has failed.
        """
        text = "copying what the guest has just written"
        follower.lifted = True  # the guest waits for the rest
        began = time.monotonic()
        while True:
            found = follower.look(JobStage.READY, text)
            waited = time.monotonic() - began
            if found is not None:
                raise_failed(found, self._disks)
                behind = backlog(found)
                enough = _LITTLE if waited < _CATCH_UP_S else _ENOUGH
                if watch.all_ready(found) and behind <= enough:
                    return
                if waited > _GIVE_UP_S:
                    lags = f"the guest writes faster than is copied: {size_text(behind)} were left"
                    idle = "a copy was not ready any more, and was waited for"
                    raise JobFailed(
                        f"{lags if behind > enough else idle} after {_GIVE_UP_S:g} s",
                        "complete it when the guest writes less, or copy to a faster storage",
                    )
            self.context.control.wait(_CATCH_UP_LOOK_S)

    def _look_meanwhile(self) -> None:
        assert self._follower is not None, "it was prepared"
        found = self._follower.look(JobStage.FREEZING, "freezing the guest for the copy")
        if found is not None:
            raise_failed(found, self._disks)

    def _stop_freeze(self) -> None:
        if self.window.freeze is not None:
            self.window.freeze.cancel()

    # -- in the window -------------------------------------------------------------------

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Pause a VM that is not frozen while its disks are completed one after the other."""
        if len(self._copies) < 2:
            yield
            return
        if self.window.stands_still:
            self.needs_window = True
            yield
            return
        assert self._block is not None, "it was prepared"
        why = "several disks have to be of one moment"
        with paused(self.context, self.window.left_s, why):
            yield
            if runs(self._block):
                raise JobFailed(
                    "somebody has resumed the VM before all disks were complete, so that they are "
                    "not of one moment",
                    "begin again",
                )

    def _end_all(self, block: BlockLayer) -> None:
        """End all jobs as copies: QEMU ends each once nothing is left to copy, and not before."""
        frozen = self.window.is_frozen or self.window.paused or len(self._copies) > 1
        within_s = self.window.left_s if frozen else _GIVE_UP_S
        deadline = time.monotonic() + within_s
        ends = [Ask("block-job-cancel", {"device": job_id}) for job_id in self._disks]
        raise_failed(self._looked(block), self._disks)
        block.run_all(ends, within_s)
        while True:
            found = self._looked(block, ended=True)
            if all(job.has_ended for job in found.values()):
                return
            if time.monotonic() > deadline:
                raise JobFailed(f"what was left could not be copied within {within_s:.0f} s")
            self.context.control.wait(_WINDOW_LOOK_S)

    def _looked(self, block: BlockLayer, *, ended: bool = False) -> Jobs:
        """Return our jobs; `ended` says whether they may have ended.

        Raises:
            JobFailed: one has failed, or was ended by somebody else.
        """
        self.context.control.check()
        within = max(self.window.left_s, _LEAST_VISIT_S)
        listed = jobs(block.run("query-jobs", within), None)
        found = {one.id: one for one in listed if one.id in self._disks}
        raise_failed(found, self._disks)
        for job_id, job in found.items():
            if job.has_ended and not ended:
                raise JobFailed(
                    f"the copy of {printable(self._disks[job_id], 80)} was ended by somebody else"
                )
            self._copied[self._disks[job_id]] = job.done
        return found
