"""What copies ask where a VM's manager reaches its disks, by calls (see `DiskPort`)."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Final, Generic, TypeVar

from agentclient.access.disk_calls import (
    DiskCalls,
    DisksEnded,
    DisksRefused,
    DisksSilent,
    DiskWork,
)
from agentclient.jobs.disk_port import NotDone, Seen, VmEnded
from agentclient.jobs.errors import JobFailed, NotLimited
from agentclient.model.errors import NO_THREAD
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob, Disk

T = TypeVar("T")

# libvirt itself waits for half a minute where another call has the domain, and then says whose.
CALL_S: Final = 40.0
_AGAIN_S: Final = 0.2
# A daemon that takes a limit at all does so at once.
_SPEED_S: Final = 0.5
# A daemon that is started anew is there again after a moment.
_PLANNED_IN: Final = 20
# With so many calls about a VM that hang no further one is made: a copy may be tried to be ended
# for days, and who opens its form again and again has its disks looked at each time.
MOST_HANGING: Final = 4


class HangingCalls:
    """The calls about one VM's disks that hang, whoever has made them; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: list[Callable[[], bool]] = []  # whether each has ended

    def add(self, ended: Callable[[], bool]) -> None:
        """Count a call that nobody waits for any more.

        Args:
            ended: returns whether it has ended since.
        """
        with self._lock:
            self._ended.append(ended)

    @property
    def too_many(self) -> bool:
        """Whether so many hang that no further one may begin."""
        with self._lock:
            self._ended = [ended for ended in self._ended if not ended()]
            return len(self._ended) >= MOST_HANGING


_hanging: weakref.WeakKeyDictionary[object, HangingCalls] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def hanging_calls(access: object) -> HangingCalls:
    """Return what hangs of the calls about the disks of one VM, which has one access."""
    with _lock:
        return _hanging.setdefault(access, HangingCalls())


class CalledPort:
    """The disks of one VM, reached by its manager's calls.

    A call may hang for longer than anybody waits: it has a thread of its own, and is left in it.

    Args:
        calls: the calls.
        hanging: those about the same VM that hang; None for those of this object alone.
    """

    def __init__(self, calls: DiskCalls, hanging: HangingCalls | None = None) -> None:
        self.calls = calls
        self._speed: tuple[tuple[str, int], _Answer[None]] | None = None
        self._hanging = HangingCalls() if hanging is None else hanging

    def disks(self) -> tuple[Disk, ...]:
        """Return all block devices.

        Raises:
            JobFailed: there is no answer, or it lacks the size of one.
        """
        found = self.within(CALL_S, self.calls.disks)
        for disk in found:
            if not (disk.empty or disk.size or disk.removable):
                name = printable(disk.name, 60)
                raise JobFailed(f"{self.calls.manager} does not tell the size of {name} now")
        return found

    def jobs(self) -> tuple[BlockJob, ...]:
        """Return all jobs."""
        return self.within(CALL_S, self.calls.look).jobs

    def nodes(self) -> dict[str, str]:
        """Return the marks of copies, and the files of their works."""
        return dict(self.within(CALL_S, self.calls.look).nodes)

    def look(self, within_s: float) -> Seen:
        """Return all of that, seen at once."""
        found = self.within(within_s, self.calls.look)
        return Seen(found.jobs, found.nodes, found.disks)

    def nodes_of_jobs(self) -> dict[str, frozenset[str]]:
        """Return the disk that each job of others works on, which its id ends with."""
        return {job.id: frozenset({job.id.rpartition(".")[2]}) for job in self.jobs()}

    def status(self) -> str:
        """Return the VM's state in QEMU's word."""
        return self.within(CALL_S, self.calls.status)

    def version(self) -> str | None:
        """Return QEMU's version, and the manager's."""
        return self.within(CALL_S, self.calls.version)

    def uuid(self) -> str | None:
        """Return None: the VM itself is known by its UUID."""
        return None

    def passed_through(self, disk: Disk) -> str | None:
        """Return by what a disk is passed through; None if it is not."""
        return self.within(CALL_S, lambda: self.calls.passed_through(disk.node))

    def mark(self, node: str) -> None:
        """Have all who look at the VM see this mark."""
        self.within(CALL_S, lambda: self.calls.mark(node))

    def unmark(self, node: str) -> None:
        """Take a mark away; one that is not there is no error."""
        self.within(CALL_S, lambda: self.calls.unmark(node))

    def set_speed(self, job_id: str, limit: int) -> None:
        """Limit a job to so many bytes a second; 0 for no limit.

        It is waited for a moment alone: libvirt 11.3 lets whoever limits a backup wait for half a
        minute, and then refuses it. One call is out at a time, so that the last one counts.

        Raises:
            NotLimited: it is not, or not yet.
        """
        asked = (job_id, limit)
        if self._speed is None:
            call = partial(self.calls.set_speed, job_id, limit)
            try:
                self._speed = asked, self._begun(call)
            except JobFailed as error:
                raise NotLimited(str(error)) from error
        before, answer = self._speed
        if not answer.wait(_SPEED_S):
            raise NotLimited(None)
        self._speed = None
        if before != asked:
            raise NotLimited(None)
        try:
            self._told(answer)
        except NotDone:
            raise
        except JobFailed as error:
            raise NotLimited(str(error)) from error

    def end(self, job: BlockJob) -> None:
        """Cancel a job that runs; forget one that has ended."""
        if job.has_ended:
            self.dismiss(job.id)
            return
        try:
            self.within(CALL_S, lambda: self.calls.end(job.id))
        except NotDone:  # it has ended meanwhile, or is about to
            return

    def dismiss(self, job_id: str, cancelled: threading.Event | None = None) -> None:
        """Forget a job that has ended (see `DiskPort`)."""
        tries = 1 if cancelled is None else 100
        for left in reversed(range(tries)):
            try:
                self.within(CALL_S, lambda: self.calls.forget(job_id))
            except NotDone:
                return
            except JobFailed:
                if not left or cancelled is None or cancelled.wait(_AGAIN_S):
                    raise
            else:
                return

    def plan(self, works: Sequence[DiskWork]) -> None:
        """Have all who look at the VM see what a copy does; tried again for some seconds.

        Raises:
            JobFailed: there is no answer, or an error.
        """
        for left in reversed(range(_PLANNED_IN)):
            try:
                self.within(CALL_S, lambda: self.calls.plan(works))
            except NotDone:
                raise
            except JobFailed:
                if not left:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    def forget(self, works: Iterable[DiskWork]) -> list[str]:
        """Take away what a copy says of its works; return what is left, each as a clause."""
        try:
            for work in works:
                self.dismiss(work.job)
        except JobFailed as error:
            return [f"what the VM's metadata in {self.calls.manager} say of the copy ({error})"]
        return []

    def go_on(self) -> None:
        """Let a VM that stands still go on."""
        self.within(CALL_S, self.calls.resume)

    def remove_bitmaps(self, disks: Iterable[Disk], names: frozenset[str]) -> list[str]:
        """Remove the records of these names; return what is left, each as a clause."""
        left = []
        for name in sorted({one.name for disk in disks for one in disk.bitmaps} & names):
            try:
                self.within(CALL_S, partial(self.calls.remove_record, name))
            except JobFailed as error:
                left.append(f"{self.calls.manager}'s record {name} of what is written ({error})")
        return left

    def within(
        self, seconds: float, call: Callable[[], T], late: Callable[[T], object] | None = None
    ) -> T:
        """Make a call, and wait for its answer.

        Args:
            seconds: for how long.
            call: the call.
            late: is called, in the call's thread, with an answer that nobody waits for any more.

        Raises:
            NotDone: it was answered with an error.
            JobFailed: it was not answered within this time.
        """
        answer = self._begun(call, late)
        if not answer.wait(seconds):
            self._hanging.add(answer.result.done)
            raise JobFailed(f"{self.calls.manager} has not answered within {seconds:.0f} s")
        return self._told(answer)

    def _begun(
        self, call: Callable[[], T], late: Callable[[T], object] | None = None
    ) -> _Answer[T]:
        """Make a call in a thread of its own.

        Raises:
            JobFailed: there is no thread for it, or too many calls hang.
        """
        if self._hanging.too_many:
            raise JobFailed(f"{MOST_HANGING} calls to {self.calls.manager} hang already")
        answer = _Answer(call, late)
        try:
            threading.Thread(target=answer.run, name="disk call", daemon=True).start()
        except NO_THREAD as error:
            raise JobFailed(f"this host has no thread left: {error}") from error
        return answer

    def _told(self, answer: _Answer[T]) -> T:
        """Return what a call has come to (see `within`)."""
        manager = self.calls.manager
        try:
            return answer.result.result(0)
        except DisksEnded as error:
            raise VmEnded(f"{manager}: {error}") from error
        except DisksRefused as error:
            raise NotDone(f"{manager} refuses: {error}") from error
        except DisksSilent as error:
            raise JobFailed(f"{manager}: {error}") from error


class _Answer(Generic[T]):
    """The answer to one call, and whether somebody waits for it still."""

    def __init__(self, call: Callable[[], T], late: Callable[[T], object] | None) -> None:
        self.result: Future[T] = Future()
        self._call = call
        self._late = late
        self._lock = threading.Lock()
        self._is_left = False

    def run(self) -> None:
        try:
            value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.result.set_exception(error)
            return
        with self._lock:
            self.result.set_result(value)
            is_left = self._is_left
        if is_left and self._late is not None:
            with suppress(DisksRefused, DisksSilent):
                self._late(value)

    def wait(self, seconds: float) -> bool:
        """Return whether it has come within so many seconds; later it will be in nobody's hands."""
        done, _ = wait([self.result], max(0.0, seconds))
        with self._lock:
            self._is_left = not (done or self.result.done())
            return not self._is_left
