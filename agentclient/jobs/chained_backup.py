"""What all backups have in common: what one builds on, and the bitmaps that record for the next."""

from __future__ import annotations

from collections.abc import Sequence

from agentclient.jobs.archive import Backup
from agentclient.jobs.chain import Link, bitmaps_of, find_link, ours
from agentclient.jobs.context import JobContext
from agentclient.jobs.copy_files import FileCopy, Ids
from agentclient.jobs.copy_place import CopyPlace, room_for
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.file_copy import FileCopyJob
from agentclient.jobs.manifest import BACKUP, Parent
from agentclient.jobs.request import BackupRequest
from agentclient.model.job import JobKind
from agentclient.model.states import Level
from agentclient.protocol.qmp_block import Disk


class ChainedBackup(FileCopyJob):
    """One backup of one VM, however it is made.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze.
    """

    kind = JobKind.BACKUP
    manifest_kind = BACKUP

    def __init__(self, context: JobContext, request: BackupRequest) -> None:
        super().__init__(context, request, request.folder)
        self._asked_for = request
        self._chain = self._id
        self._link: Link | None = None
        self._chains: frozenset[str] = frozenset()

    def _choose(self, port: DiskPort) -> tuple[tuple[Disk, ...], CopyPlace, int]:
        """Choose the disks, and find what to build on.

        Returns:
            The disks, where their copy goes, and how many bytes it takes at the most.

        Raises:
            JobRefused: they can't be copied so.
            JobFailed: who reaches them does not answer, or the storage hangs.
        """
        chosen, place = self._look(port, self.request.disks)
        backups = place.look()
        self._chains = place.chains
        if self._asked_for.incremental:
            self._link = self._find_link(backups, chosen)
        if self._link is not None:
            self._chain = self._link.manifest.chain
            chosen = tuple(map(self._link.named, chosen))
        return chosen, place, sum(room_for(disk, self._link) for disk in chosen)

    def _find_link(self, backups: Sequence[Backup], chosen: Sequence[Disk]) -> Link | None:
        """Return what to build on; None for a full one, which is told.

        Raises:
            JobRefused: there is nothing, and a full one will not do.
        """
        try:
            return find_link(backups, chosen, self._uuid)
        except JobRefused as error:
            if not self._asked_for.or_full:
                raise
            text = f"a full backup is made, no incremental one: {error.reason}"
            self.context.reporter.note(Level.WARNING, text)
            return None

    def _ids(self) -> Ids:
        """Return which copy it is."""
        link, parent = self._link, None
        if link is not None:
            parent = Parent(link.manifest.id, link.backup.folder.name, link.backup.sha256)
        return Ids(self._id, self._chain, self._uuid, parent, self._asked_for.compress)

    def _clean(self) -> list[str]:
        """Remove the bitmaps of the backups that this one replaces, as far as they are ours."""
        assert self._port is not None, "it was prepared"
        if not self._asked_for.record:  # then it replaces none
            return []
        try:
            disks = self._port.disks()
        except JobFailed as error:
            return [f"the bitmaps of earlier backups ({error})"]
        keep = bitmaps_of(disks, self._chain, self._id)
        return self._port.remove_bitmaps(disks, ours(disks, self._chains | {self._chain}, keep))

    def _forget(self, port: DiskPort) -> list[str]:
        """Remove the bitmaps of this backup."""
        if self.context.access.is_gone():
            return []
        try:
            disks = port.disks()
            return port.remove_bitmaps(disks, bitmaps_of(disks, self._chain, self._id))
        except JobFailed as error:
            return [f"{named_bitmaps(self._copies)} ({error})"]


def named_bitmaps(copies: Sequence[FileCopy]) -> str:
    """Return the bitmaps of some copies, as a clause."""
    names = [f"{one.bitmap} of {one.disk.name}" for one in copies if one.bitmap is not None]
    return f"the bitmaps {', '.join(names)}"
