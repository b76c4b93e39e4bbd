"""A backup that a VM's manager makes: its QEMU copies all disks as of one moment to files.

It is known to all of the manager's clients, and cancelled by any of them. The record of what is
written since (libvirt's checkpoint) is the manager's as well.
"""

from __future__ import annotations

from typing import Final

from agentclient.access.disk_calls import BACKUP, DiskWork
from agentclient.jobs.archive import Begun, safe_name
from agentclient.jobs.called.files import CalledFiles
from agentclient.jobs.called_port import CalledPort
from agentclient.jobs.chain import bitmap_name
from agentclient.jobs.chained_backup import ChainedBackup
from agentclient.jobs.context import JobContext
from agentclient.jobs.copy_files import FileCopy
from agentclient.jobs.disk_port import NotDone
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.follow import Follower, all_ended_or_stopped
from agentclient.jobs.managed import check_offered
from agentclient.jobs.request import BackupRequest
from agentclient.model.job import JobRefusal, JobStage
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk

_FORMAT: Final = "qcow2"
_WHERE: Final = (
    "see what it says; a folder has to be one that its QEMU may write to: its user, AppArmor or "
    "SELinux, and what is mounted"
)
_NO_FLEECE: Final = (
    "libvirt keeps nowhere what the guest overwrites: where the backup's storage stalls, the "
    "guest's writes wait for it"
)


class CalledBackup(ChainedBackup):
    """One backup of one VM, by its manager's calls.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze.
    """

    def __init__(self, context: JobContext, request: BackupRequest) -> None:
        super().__init__(context, request)
        self._called: CalledPort | None = None
        self._made: CalledFiles | None = None
        self._works: tuple[DiskWork, ...] = ()
        self._since: str | None = None
        self._recorder: str | None = None

    def prepare(self) -> None:
        """Choose the disks, find what to build on, and make the folder and its files."""
        self._refuse_what_is_not_offered()
        port = self._called = self.context.called()
        chosen, place, needed = self._choose(port)
        self._since = self._checkpoint(chosen)
        files = self._files = self._made = CalledFiles(self.context.control, port.calls.process)
        self.folder = place.make(needed, Begun(self._id, self._chain))
        files.check_folder(self.folder)
        self._recorder = self._record_name(chosen)
        taken: frozenset[str] = frozenset()
        for disk in chosen:
            name = safe_name(disk.name, taken)
            taken |= {name}
            below = None if self._link is None else (self._link.backing(disk), _FORMAT)
            target = files.make(self.folder / f"{name}.qcow2", disk.size, disk.node, below)
            self._copies.append(FileCopy(disk, target, self._recorder))
        self._works = tuple(
            DiskWork(self.name.job(number), BACKUP, one.disk.node, str(one.target.path))
            for number, one in enumerate(self._copies)
        )
        port.plan(self._works)
        if self._asked_for.fleece == "auto":
            self.context.reporter.note(Level.INFO, _NO_FLEECE)

    def start(self) -> None:
        """Have the manager begin to copy all disks: they are of one moment."""
        port, works = self._known, self._works
        self._begun = True

        def begin() -> None:
            port.calls.begin_backup(works, since=self._since, record=self._recorder)

        try:
            # Nobody would follow one that begins after all.
            port.within(self.window.left_s, begin, lambda _: port.calls.abort_backup(works))
        except NotDone as error:
            raise JobFailed(error.reason, _WHERE) from error

    def follow(self) -> None:
        """Wait until all disks are copied.

        libvirt takes a limit of a job that runs alone: that is not waited for in the window. Some
        of its versions take none at all (see `CalledPort.set_speed`).
        """
        port = self._known
        # From now on what libvirt says of its last backup is said of this one.
        self._works = tuple(one._replace(began=True) for one in self._works)
        port.plan(self._works)
        jobs = {self.name.job(number): one.disk.name for number, one in enumerate(self._copies)}
        self._follower = Follower(
            self.context,
            port,
            self.kind,
            jobs,
            self.began_at,
            self.window.frozen_at,
            self.window.thawed_at,
        )
        text = "copying what the disks held when it was taken"
        self._follower.follow(JobStage.COPYING, text, all_ended_or_stopped(port))

    def finish(self) -> list[str]:
        """Take the checksums of the files, and write the manifest."""
        for work in self._works:
            self._known.dismiss(work.job, self.context.control.cancelled)
        self._close()
        self._record(self._ids())
        return self._clean()

    def _undo_own(self) -> list[str]:
        """Take away what is said of it, and what records since."""
        left: list[str] = []
        if self._called is not None and not self.context.access.is_gone():
            left += self._called.forget(self._works)
            if self._begun:
                left += self._forget(self._called)
        return left

    @property
    def _known(self) -> CalledPort:
        assert self._called is not None, "it was prepared"
        return self._called

    def _refuse_what_is_not_offered(self) -> None:
        check_offered(self.request)
        if self._asked_for.compress:
            raise JobRefused(
                JobRefusal.MANAGED,
                "libvirt's backups are not compressed",
                "leave --compress out; backup restore can be followed by qemu-img convert -c",
            )
        if self._asked_for.fleece not in ("auto", "off"):
            raise JobRefused(JobRefusal.MANAGED, _NO_FLEECE, "leave --fleece out")

    def _checkpoint(self, chosen: tuple[Disk, ...]) -> str | None:
        """Return the record by which only what was written since is copied.

        Raises:
            JobRefused: the disks have not one in common.
        """
        if self._link is None:
            return None
        names = {self._link.bitmap(disk) for disk in chosen}
        if len(names) > 1:
            raise JobRefused(
                JobRefusal.BITMAP,
                f"{self._link.backup.folder.name} was not made by libvirt",
                "make a full one: --mode full",
            )
        return names.pop()

    def _record_name(self, chosen: tuple[Disk, ...]) -> str | None:
        """Return the name of what the disks are to record in; None if they can't."""
        if not self._asked_for.record:
            return None
        others = [one for one in chosen if one.format != _FORMAT]
        if not others:
            return bitmap_name(self._chain, self._id, 0)
        names = ", ".join(f"{printable(one.name, 40)} is {one.format}" for one in others)
        text = f"no incremental backup can be built on this one: {names}, and only a qcow2 records"
        self.context.reporter.note(Level.WARNING, text)
        return None
