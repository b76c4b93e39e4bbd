"""What all backups have in common: what one builds on, and the bitmaps that record for the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentclient.jobs.archive import Backup
from agentclient.jobs.chain import PREFIX, Link, bitmaps_of, find_link, ours
from agentclient.jobs.context import JobContext
from agentclient.jobs.copy_files import FileCopy, Ids
from agentclient.jobs.copy_place import CopyPlace, room_for
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.file_copy import FileCopyJob
from agentclient.jobs.former_name import FormerHome, recorded_chains
from agentclient.jobs.manifest import BACKUP, Parent
from agentclient.jobs.request import BackupRequest
from agentclient.model.job import JobKind
from agentclient.model.shell_words import quoted
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk

_MOST_TOLD: Final = 5


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
        others = recorded_chains(chosen) - place.chains
        former = place.former(others) if others else ()
        if self._asked_for.incremental:
            self._link = self._find_link(backups, chosen, place, former)
        if self._link is None and self._asked_for.record:
            self._end_former(others, former)
        if self._link is not None:
            self._chain = self._link.manifest.chain
            chosen = tuple(map(self._link.named, chosen))
        return chosen, place, sum(room_for(disk, self._link) for disk in chosen)

    def _find_link(
        self,
        backups: Sequence[Backup],
        chosen: Sequence[Disk],
        place: CopyPlace,
        former: Sequence[FormerHome],
    ) -> Link | None:
        """Return what to build on; None for a full one, which is told.

        Raises:
            JobRefused: there is nothing, and a full one will not do.
        """
        try:
            return find_link(backups, chosen, self._uuid)
        except JobRefused as error:
            if not self._asked_for.or_full:
                raise _with_former(error, place, former) from None
            text = f"a full backup is made, no incremental one: {error.reason}"
            self.context.reporter.note(Level.WARNING, text)
            return None

    def _end_former(self, others: frozenset[str], former: Sequence[FormerHome]) -> None:
        """Have this full backup end the chains of the VM's former names; tell all others."""
        for home in former:
            self._chains |= home.chains
            shown, name = printable(home.folder, 300), printable(home.name, 60)
            text = f"the VM was called {name}: no more is recorded for its backups in {shown}"
            self.context.reporter.note(Level.WARNING, f"{text} once this full one is complete")
        unknown = sorted(others - self._chains)
        if unknown:
            text = (
                f"the disks record for backups that are not in this folder (chain "
                f"{', '.join(unknown[:_MOST_TOLD])}): where no other folder has them, remove the "
                f"bitmaps {PREFIX}CHAIN-… (block-dirty-bitmap-remove in the monitor, or virsh "
                "checkpoint-delete)"
            )
            self.context.reporter.note(Level.INFO, text)

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


def _with_former(error: JobRefused, place: CopyPlace, former: Sequence[FormerHome]) -> JobRefused:
    """Return a refusal, with how to go on with the chain of the VM's former name."""
    if not former or place.home.exists():
        return error
    old, name = former[-1].folder, printable(former[-1].name, 60)
    reason = f"{error.reason}; it was called {name} then, and has backups in {printable(old, 300)}"
    step = f"make a full one (--mode full), or go on there: mv {quoted(str(old))} "
    return JobRefused(error.refusal, reason, f"{step}{quoted(str(place.home))}")


def named_bitmaps(copies: Sequence[FileCopy]) -> str:
    """Return the bitmaps of some copies, as a clause."""
    names = [f"{one.bitmap} of {one.disk.name}" for one in copies if one.bitmap is not None]
    return f"the bitmaps {', '.join(names)}"
