"""Keeps others off a VM's disks while they are copied, and is refused where they are at work.

A frostwatch claims the disks by a node in the VM's own QEMU: whoever reaches that sees it, as
whatever user. Its name says which frostwatch has made it; one whose process is proven to have
ended claims nothing, so that no claim outlives its owner.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from agentclient.access.presence import is_gone
from agentclient.jobs.disk_port import DiskPort, NotDone, Seen, VmEnded
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.model.errors import NO_THREAD
from agentclient.model.job import JobRefusal
from agentclient.model.next_command import clear_command
from agentclient.model.text import printable
from agentclient.model.vm import Process, Vm
from agentclient.protocol.job_names import (
    CLAIM,
    UNENDED,
    CopyKey,
    JobId,
    is_claim,
    is_filter,
    is_unended,
)
from agentclient.protocol.qmp_block import Disk

Gone = Callable[[Process], bool | None]

# Two that begin at one moment see each other, withdraw, and try again after a while of their own.
_TRIES: Final = 5
_APART_S: Final = 0.3
_RANDOM: Final = secrets.SystemRandom()
_RELEASED_WITHIN_S: Final = 5.0
_AGAIN_S: Final = 0.2
_LOOK_S: Final = 5.0
# A monitor that does not answer for so long is not asked any more whether the job has ended.
_SILENT_FOR_S: Final = 600.0
# Keeps what the guest overwrites for a copy.
_FILTER: Final = "copy-before-write"


class Claim:
    """The claim of one copy on the disks of its VM.

    Args:
        port: reaches the VM's disks.
        vm: the VM.
        name: the names of the copy's parts.
        gone: returns whether a frostwatch's process has ended.
    """

    def __init__(self, port: DiskPort, vm: Vm, name: JobId, gone: Gone = is_gone) -> None:
        self._port = port
        self._vm = vm
        self._name = name
        self._gone = gone
        self._node = name.node(CLAIM)
        self._marker = name.node(UNENDED)
        self._may_be_in = False
        self._is_marked = False

    def take(self, *, alone: bool = True) -> None:
        """Claim the disks.

        Args:
            alone: only if no job goes on; one that waits for its storage is left alone.

        Raises:
            JobRefused: another frostwatch's copy has claimed them, or this one's; a job goes on.
            JobFailed: the monitor does not answer.
        """
        if alone:
            check_no_job(self._port, self._vm, self._name.key, self._gone)
        tries = 0
        while True:
            self._check_claims(self._port.nodes())
            self._may_be_in = True
            self._port.mark(self._node)
            # Each adds its own before it looks again: of two, one at least sees the other.
            try:
                self._check_claims(self._port.nodes())
            except JobRefused:
                self._delete(lambda: None)
                tries += 1
                if tries == _TRIES:
                    raise
            else:
                return
            time.sleep(_RANDOM.uniform(0.0, _APART_S))

    def check(self, chosen: Iterable[Disk], within_s: float) -> Sequence[Disk]:
        """Make sure once more that nobody else is at work on the disks, and that they are the same.

        Args:
            chosen: the disks, as they were.
            within_s: how long the answer may take, in seconds.

        Returns:
            All disks that the VM has now.

        Raises:
            JobRefused: somebody else is at work on the VM.
            JobFailed: a disk has another image than before, or the monitor does not answer.
        """
        seen = self._port.look(within_s)
        _check(self._vm, self._name.key, seen, self._gone)
        for disk in chosen:
            if not any(_is_same(disk, one) for one in seen.disks):
                raise JobFailed(
                    f"the disk {printable(disk.name, 60)} has another image than a moment ago: "
                    "somebody has exchanged it, or has taken a snapshot of it",
                    "see who is at work on the VM, and begin again",
                )
        return seen.disks

    def mark_unended(self) -> None:
        """Have other frostwatches see that the copy was stopped, and that QEMU can't end it."""
        self._is_marked = True
        with suppress(JobFailed):  # then they see its jobs alone
            self._port.mark(self._marker)

    def release(self, vm_gone: Callable[[], bool | None]) -> list[str]:
        """Give the disks free; while a job may go on, once that has ended, in a thread.

        Args:
            vm_gone: returns whether the VM has ended.

        Returns:
            What is left, each as a clause.
        """
        if not self._may_be_in:
            return []
        goes_on = self._a_job_goes_on()
        if goes_on is False:
            return self._delete(vm_gone)
        if goes_on is None and vm_gone():
            return []

        def later() -> None:
            answered_at = time.monotonic()
            while (goes_on := self._a_job_goes_on()) is not False:
                if goes_on:
                    answered_at = time.monotonic()
                elif time.monotonic() - answered_at > _SILENT_FOR_S or vm_gone():
                    return
                time.sleep(_LOOK_S)
            self._delete(vm_gone)

        with suppress(*NO_THREAD):  # then it is given free when this process ends
            threading.Thread(target=later, name=self._node, daemon=True).start()
        return []

    def _a_job_goes_on(self) -> bool | None:
        """Return whether a job goes on, whose storage may hang; None: not known.

        QEMU 10 deletes a node only when all that is written then is written, and its guest waits
        as long (protocol §6.3).
        """
        try:
            return any(not job.has_ended for job in self._port.jobs())
        except VmEnded:
            return False
        except JobFailed:
            return None

    def _delete(self, vm_gone: Callable[[], bool | None]) -> list[str]:
        deadline = time.monotonic() + _RELEASED_WITHIN_S
        if self._is_marked:
            self._is_marked = False
            with suppress(JobFailed):  # whoever comes next deletes it
                self._port.unmark(self._marker)
        while True:
            try:
                self._port.unmark(self._node)
            except VmEnded:
                problem = ""
                break
            except NotDone as error:
                problem = str(error)
                break
            except JobFailed as error:
                problem = "" if vm_gone() else str(error)
                if not problem or time.monotonic() > deadline:
                    break
                time.sleep(_AGAIN_S)
            else:
                problem = ""
                break
        self._may_be_in = False
        if not problem:
            return []
        return [f"the node {self._node}, which keeps other copies off until we end ({problem})"]

    def _check_claims(self, found: Mapping[str, str]) -> None:
        _check_claims(self._vm, self._name.key, found, self._gone)
        dead = [node for node in found if is_claim(node) or is_unended(node)]
        dead = [node for node in dead if node not in (self._node, self._marker)]
        if dead and self._a_job_goes_on() is not False:
            return
        for node in dead:
            key = CopyKey.of_node(node)
            # It has ended, else it had been refused: its claim is of no more use.
            if key is not None and key != self._name.key and self._gone(key.process):
                with suppress(NotDone):
                    self._port.unmark(node)


def check_no_job(port: DiskPort, vm: Vm, own: CopyKey | None = None, gone: Gone = is_gone) -> None:
    """Refuse while anybody is at work on a VM's disks: a job of whomever, or a frostwatch's copy.

    The filter of a copy counts as well: it is there before the copy's jobs, and may be left.

    Args:
        port: reaches the VM's disks.
        vm: the VM.
        own: the copy that asks; None for none.
        gone: returns whether a frostwatch's process has ended.

    Raises:
        JobRefused: somebody is.
        JobFailed: the monitor does not answer.
    """
    _check(vm, own, Seen(port.jobs(), port.nodes(), port.disks()), gone)


def _check(vm: Vm, own: CopyKey | None, seen: Seen, gone: Gone) -> None:
    ours = f"; if its frostwatch has ended: {clear_command(vm)}"
    for job in seen.jobs:
        name = JobId.parse(job.id)
        if not job.has_ended and (name is None or name.key != own):
            stuck = name is not None and _is_marked(name.key, seen.nodes)
            why = ", which was stopped and can't be ended: its storage may hang" if stuck else ""
            shown = f"{printable(job.type, 40)} {printable(job.id, 80)}{why}"
            raise JobRefused(
                JobRefusal.JOB_RUNNING,
                f"a block job runs on the VM: {shown}",
                f"wait until it has ended, or end it{ours if name is not None else ''}",
            )
    _check_claims(vm, own, seen.nodes, gone)
    for node in seen.nodes:
        if is_filter(node) and CopyKey.of_node(node) != own:
            raise _filtered(node, ours)
    for disk in seen.disks:
        if disk.format == _FILTER and CopyKey.of_node(disk.node) != own:
            raise _filtered(disk.node)


def _check_claims(vm: Vm, own: CopyKey | None, found: Mapping[str, str], gone: Gone) -> None:
    for node in found:
        key = CopyKey.of_node(node)
        if key is None or key == own or not is_claim(node) or gone(key.process):
            continue
        raise JobRefused(
            JobRefusal.JOB_RUNNING,
            f"another copy is at work on the VM's disks: frostwatch, pid {key.process.pid}",
            "wait until it has ended, or stop it there; if its frostwatch has ended: "
            f"{clear_command(vm)}",
        )


def _is_marked(key: CopyKey, found: Iterable[str]) -> bool:
    return any(is_unended(node) and CopyKey.of_node(node) == key for node in found)


def _filtered(node: str, step: str = "") -> JobRefused:
    return JobRefused(
        JobRefusal.JOB_RUNNING,
        f"the filter of another copy is above a disk of the VM: {printable(node, 80)}",
        f"wait until that copy has ended, or end it{step}",
    )


def _is_same(before: Disk, now: Disk) -> bool:
    places = (before.device, before.qdev), (now.device, now.qdev)
    return places[0] == places[1] and (before.node, before.file) == (now.node, now.file)
