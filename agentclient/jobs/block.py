"""The block layer of one VM, through its monitor: disks, jobs, transactions; in short visits.

QEMU keeps a job and its nodes when a visit ends. A job's id and a node's name say that a frostwatch
has made them, and which one, so that the next one finds what a killed one has left.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.jobs.disk_port import NotDone, Seen
from agentclient.jobs.errors import JobFailed
from agentclient.journal.identity import this_process
from agentclient.model.text import printable
from agentclient.protocol.job_names import JobId
from agentclient.protocol.qmp import QmpFailure, QmpReply, value_of
from agentclient.protocol.qmp_block import (
    BlockJob,
    BlockJobStatus,
    Disk,
    arguments,
    disks,
    jobs,
    nodes,
)
from agentclient.protocol.qmp_graph import GRAPH, nodes_of_jobs

VISIT_S: Final = 5.0
# QEMU opens and formats files meanwhile, also on a slow network.
CHANGE_S: Final = 60.0
TICK_S: Final = 0.1
# A copy that is complete is not given up for a monitor that is held, or silent, for a moment.
_AGAIN_FOR_S: Final = 20.0
_UUID_LENGTH: Final = 36
# Devices of the guest's that hand its commands to the host's disk, past QEMU's block layer.
_PASSED_THROUGH: Final = frozenset({"scsi-block", "scsi-generic"})


class QmpRefused(NotDone):
    """QEMU has answered a command with an error.

    Args:
        command: the command.
        error_class: QMP's class.
        desc: QEMU's words.
    """

    def __init__(self, command: str, error_class: str, desc: str) -> None:
        self.command = command
        self.error_class = error_class
        self.desc = printable(desc, 300)
        super().__init__(f"QEMU refuses {command}: {self.desc}")


class JobName(JobId):
    """The names of the parts of a copy that this process makes."""

    @classmethod
    def new(cls, kind: str) -> JobName:
        """Return names that no other copy has."""
        return cls(kind, this_process(), secrets.token_hex(4))


class BlockLayer:
    """The block layer of one VM (see `DiskPort`), and all that only a monitor can be asked.

    Args:
        monitor: the VM's monitor, proven to be the VM's.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    @contextmanager
    def held(self) -> Iterator[int]:
        """Ask all in the block by one connection, which another process may share.

        Yields:
            Its descriptor.

        Raises:
            JobFailed: the monitor does not answer.
        """
        try:
            with self._monitor.held(VISIT_S) as descriptor:
                yield descriptor
        except MonitorError as trouble:
            raise JobFailed(f"monitor: {trouble}") from trouble

    def let_go(self) -> None:
        """End the connection that `held` keeps; the next visit has one of its own."""
        self._monitor.let_go()

    def disks(self) -> tuple[Disk, ...]:
        """Return all block devices.

        Raises:
            JobFailed: the monitor does not answer.
        """
        return disks(self.run("query-block"))

    def jobs(self) -> tuple[BlockJob, ...]:
        """Return all jobs.

        Raises:
            JobFailed: the monitor does not answer.
        """
        all_jobs, block_jobs = self._ask([Ask("query-jobs"), Ask("query-block-jobs")], VISIT_S)
        return jobs(value_of(all_jobs), value_of(block_jobs))

    def nodes(self) -> dict[str, str]:
        """Return each node's name, and its file's name.

        Raises:
            JobFailed: the monitor does not answer.
        """
        return nodes(self.run("query-named-block-nodes", flat=True))

    def status(self) -> str:
        """Return the VM's state in QEMU's word, such as ``running`` or ``io-error``.

        Raises:
            JobFailed: the monitor does not answer.
        """
        found = self.run("query-status")
        return str(found.get("status")) if isinstance(found, dict) else ""

    def version(self) -> str | None:
        """Return QEMU's version, as in ``7.2.22 (Debian 1:7.2+dfsg-7)``; None if it can't be told.

        Raises:
            JobFailed: the monitor does not answer.
        """
        found = self.run("query-version")
        if not isinstance(found, dict) or not isinstance(found.get("qemu"), dict):
            return None
        number = ".".join(str(found["qemu"].get(part)) for part in ("major", "minor", "micro"))
        package = printable(str(found.get("package") or ""), 80)
        return f"{number} ({package})" if package else number

    def uuid(self) -> str | None:
        """Return the machine's UUID; None if it has none.

        Raises:
            JobFailed: the monitor does not answer.
        """
        found = self.run("query-uuid")
        uuid = str(found.get("UUID", "")) if isinstance(found, dict) else ""
        return uuid[:_UUID_LENGTH] if uuid.strip("0-") else None

    def commands(self) -> frozenset[str]:
        """Return the names of the commands that this QEMU has.

        Raises:
            JobFailed: the monitor does not answer.
        """
        found = self.run("query-commands")
        items = found if isinstance(found, list) else []
        return frozenset(str(one["name"]) for one in items if isinstance(one, dict))

    def run(self, command: str, timeout_s: float = VISIT_S, **given: object) -> object:
        """Run one command, and return its value.

        Args:
            command: its name.
            timeout_s: how long it may take, in seconds.
            given: its arguments; underscores stand for hyphens, None is left out.

        Raises:
            QmpRefused: QEMU answered with an error.
            JobFailed: the monitor does not answer; QEMU may run the command yet.
        """
        (answer,) = self._ask([Ask(command, arguments(**given))], timeout_s)
        return _result(command, answer)

    def run_all(self, asks: Sequence[Ask], timeout_s: float = VISIT_S) -> list[object]:
        """Run several commands in one visit, and return their values.

        Raises:
            QmpRefused: QEMU answered one with an error; the others have run.
            JobFailed: the monitor does not answer; QEMU may run them yet.
        """
        answers = self._ask(asks, timeout_s)
        return [_result(ask.command, one) for ask, one in zip(asks, answers, strict=True)]

    def transaction(
        self, actions: Sequence[object], timeout_s: float, *, grouped: bool = False
    ) -> None:
        """Run actions of which all take effect at one moment, or none does.

        Args:
            actions: the actions (`agentclient.protocol.qmp_block.action`).
            timeout_s: how long it may take, in seconds.
            grouped: its jobs are completed together; if one fails, the others are cancelled.

        Raises:
            QmpRefused: QEMU answered with an error, and nothing has taken effect.
            JobFailed: the monitor does not answer; QEMU may run it yet.
        """
        mode = {"completion-mode": "grouped"} if grouped else None
        self.run("transaction", timeout_s, actions=list(actions), properties=mode)

    def look(self, within_s: float) -> Seen:
        """Return its jobs, nodes and disks in one visit.

        Raises:
            JobFailed: the monitor does not answer within so many seconds.
        """
        asks = [
            Ask("query-jobs"),
            Ask("query-named-block-nodes", {"flat": True}),
            Ask("query-block"),
        ]
        found = self.run_all(asks, within_s)
        return Seen(jobs(found[0], None), nodes(found[1]), disks(found[2]))

    def nodes_of_jobs(self) -> dict[str, frozenset[str]]:
        """Return the nodes of each job; none where this QEMU can't tell them.

        Raises:
            JobFailed: the monitor does not answer.
        """
        try:
            return nodes_of_jobs(self.run(GRAPH))
        except QmpRefused:
            return {}

    def passed_through(self, disk: Disk) -> str | None:
        """Return the guest's device that reaches a disk past QEMU; None if none does.

        Raises:
            JobFailed: the monitor does not answer.
        """
        with suppress(QmpRefused):  # a device that QEMU does not tell of can't be one of these
            kind = self.run("qom-get", path=disk.qdev, property="type") if disk.qdev else None
            return str(kind) if kind in _PASSED_THROUGH else None
        return None

    def mark(self, node: str) -> None:
        """Put in a node of no size, whose name says something.

        Raises:
            JobFailed: the monitor does not answer.
        """
        # A QEMU may be built without this driver: then what is begun is seen by its jobs alone.
        with suppress(QmpRefused):
            self.run("blockdev-add", driver="null-co", node_name=node, read_only=True)

    def unmark(self, node: str) -> None:
        """Take such a node out; one that is not there is no error.

        Raises:
            QmpRefused: QEMU keeps it.
            JobFailed: the monitor does not answer.
        """
        try:
            self.run("blockdev-del", node_name=node)
        except QmpRefused as error:
            if "find node" not in error.desc:
                raise

    def set_speed(self, job_id: str, limit: int) -> None:
        """Limit a job to so many bytes a second; 0 for no limit.

        Raises:
            QmpRefused: it has ended.
            JobFailed: the monitor does not answer.
        """
        self.run("block-job-set-speed", device=job_id, speed=limit)

    def end(self, job: BlockJob) -> None:
        """Cancel a job that runs; forget one that has ended.

        Raises:
            JobFailed: the monitor does not answer.
        """
        if job.has_ended:
            self.dismiss(job.id)
        elif job.status is not BlockJobStatus.ABORTING:
            # By force: a mirror that is ready would else be completed, and its file be kept.
            with suppress(QmpRefused):
                self.run("block-job-cancel", device=job.id, force=True)
            with suppress(QmpRefused):
                self.run("job-cancel", id=job.id)

    def go_on(self) -> None:
        """Let a VM that stands still go on.

        Raises:
            JobFailed: QEMU refuses, or does not answer.
        """
        self.run("cont")

    def remove_bitmaps(self, disks: Iterable[Disk], names: frozenset[str]) -> list[str]:
        """Remove bitmaps; return what is left, as clauses (see `DiskPort`)."""
        left = []
        for disk in disks:
            for bitmap in disk.bitmaps:
                if bitmap.name not in names:
                    continue
                try:
                    self.run("block-dirty-bitmap-remove", node=disk.node, name=bitmap.name)
                except JobFailed as error:
                    where = printable(disk.name, 60)
                    left.append(f"the bitmap {bitmap.name} of the disk {where} ({error})")
        return left

    def create(
        self, job_id: str, options: dict[str, object], cancelled: threading.Event | None = None
    ) -> None:
        """Run ``blockdev-create`` to its end.

        Args:
            job_id: the id of its job.
            options: what to make.
            cancelled: ends the wait.

        Raises:
            JobFailed: it failed, or took longer than 60 s.
        """
        self.run("blockdev-create", CHANGE_S, job_id=job_id, options=options)
        deadline = time.monotonic() + CHANGE_S
        while True:
            job = next((one for one in self.jobs() if one.id == job_id), None)
            if job is None or job.has_ended:
                break
            if time.monotonic() > deadline or (cancelled is not None and cancelled.wait(TICK_S)):
                raise JobFailed("QEMU did not finish to make the target")
            time.sleep(TICK_S / 10)
        self.dismiss(job_id)
        if job is not None and job.error is not None:
            raise JobFailed(f"the target can't be made: {printable(job.error, 300)}")

    def dismiss(self, job_id: str, cancelled: threading.Event | None = None) -> None:
        """Make QEMU forget a job that has ended; no error if it has already.

        Args:
            job_id: the job's id.
            cancelled: a monitor that does not answer is asked again for 20 s, or until this is set;
                None to ask once.

        Raises:
            JobFailed: the monitor does not answer.
        """
        deadline = time.monotonic() + _AGAIN_FOR_S
        while True:
            try:
                self.run("job-dismiss", id=job_id)
            except QmpRefused:
                return
            except JobFailed:
                late = time.monotonic() > deadline
                if cancelled is None or late or cancelled.wait(TICK_S):
                    raise
            else:
                return

    def _ask(self, asks: Sequence[Ask], timeout_s: float) -> list[QmpReply | QmpFailure]:
        try:
            return self._monitor.ask(asks, timeout_s)
        except MonitorError as trouble:
            raise JobFailed(f"monitor: {trouble}") from trouble


def _result(command: str, answer: QmpReply | QmpFailure) -> object:
    if isinstance(answer, QmpFailure):
        raise QmpRefused(command, answer.error_class, answer.desc)
    return answer.value
