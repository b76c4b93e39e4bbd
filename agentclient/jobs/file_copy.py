"""What backups and mirrors have in common: disks are copied to files in a folder of the copy's."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from agentclient.jobs.cancel import left_to_qemu
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.copy_files import FileCopy, Ids, manifest_of, record_copy, save_manifest
from agentclient.jobs.copy_place import CopyPlace
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.disks import is_encrypted
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.follow import Follower
from agentclient.jobs.job import CopyJob
from agentclient.jobs.request import CopyRequest
from agentclient.model.job import DiskCopy
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk


class CopyFiles(Protocol):
    """The files that take a copy."""

    def close(self) -> list[str]:
        """Have QEMU close them; return what it keeps open, each as a clause."""

    def sync(self, control: JobControl) -> None:
        """Wait until the storage has all that was written to them (see `Targets.sync`)."""

    def remove(self) -> list[str]:
        """Delete them; return what is left, each as a clause."""


class FileCopyJob(CopyJob):
    """One copy of one VM's disks to files.

    Args:
        context: its collaborators.
        request: the disks, and the freeze.
        to: the folder of all copies.

    Attributes:
        manifest_kind: the kind of its manifest.
        folder: the folder of its files; None before it is made.
    """

    manifest_kind: ClassVar[str]

    def __init__(self, context: JobContext, request: CopyRequest, to: Path) -> None:
        super().__init__(context, request)
        self._to = to
        self._id = secrets.token_hex(4)
        self._uuid: str | None = None
        self.folder: Path | None = None
        self._home: CopyPlace | None = None
        self._port: DiskPort | None = None
        self._files: CopyFiles | None = None
        self._copies: list[FileCopy] = []
        self._checksums: dict[str, str] = {}
        self._follower: Follower | None = None
        self._begun = False
        self._complete = False

    def undo(self) -> list[str]:
        """Cancel the jobs, and delete the files: those of all disks."""
        if self._complete:
            return []
        left = []
        if self._port is not None and self._files is not None:
            left += self.end_jobs(self._port)
        if left:
            return left_to_qemu(self.vm, left, self._names_of_all())
        left += self._undo_own()
        if self._files is not None:
            left += self._files.remove()
        if self._home is not None:
            left += self._home.remove()
        return left

    def results(self) -> tuple[DiskCopy, ...]:
        """Return what came of each disk."""
        copied = self._copied_bytes()
        return tuple(
            DiskCopy(
                one.disk.name,
                str(one.target.path),
                one.target.format,
                one.disk.size,
                copied.get(one.disk.name, 0),
                checksum=self._checksums.get(one.disk.name),
                in_the_clear=is_encrypted(one.disk),
            )
            for one in self._copies
        )

    # -- for each kind ---------------------------------------------------------------------

    def _look(self, port: DiskPort, names: Sequence[str]) -> tuple[tuple[Disk, ...], CopyPlace]:
        """Return the disks of these names, and where their copy goes.

        Raises:
            JobRefused: they can't be copied.
            JobFailed: who reaches them does not answer.
        """
        self._port = port
        for disk in self.choose(port, names):
            if is_encrypted(disk):
                text = f"the image of {printable(disk.name, 60)} is encrypted, and its copy is not"
                self.context.reporter.note(Level.WARNING, text)
        self._uuid = self.vm.uuid or port.uuid()
        self._home = CopyPlace(self.context, self._to, self._uuid)
        return self.chosen, self._home

    def _copied_bytes(self) -> dict[str, int]:
        """Return the bytes that were copied of each disk, as far as was seen."""
        return self._follower.copied if self._follower is not None else {}

    def _undo_own(self) -> list[str]:
        """Undo what else was begun, once the jobs have ended; return what is left, as clauses."""
        return []

    def _names_of_all(self) -> list[str]:
        """Return all that was made, each as a clause."""
        return [f"the folder {printable(self.folder, 300)}"] if self.folder is not None else []

    def _close(self) -> None:
        """Have QEMU close the files.

        Raises:
            JobFailed: it did not: what it holds of them in memory may be missing in the files.
        """
        assert self._files is not None, "it was prepared"
        unclosed = self._files.close()
        if unclosed:
            raise JobFailed(f"QEMU did not close the copy: {unclosed[0]}")
        if self.context.access.is_gone():
            raise JobFailed("the VM has ended, perhaps before its QEMU had written all of it")

    def _record(self, ids: Ids, *, checksum: bool = True) -> None:
        """Wait until the storage has the files, and write the manifest: the copy is complete.

        Raises:
            JobFailed: the storage did not take them, or hangs.
            JobCancelled: the operator has stopped it.
        """
        assert self._port is not None, "it was prepared"
        assert self._files is not None, "it was prepared"
        assert self.folder is not None, "it was prepared"
        self._files.sync(self.context.control)
        copied = self._copied_bytes()
        records = tuple(
            record_copy(self, one, copied.get(one.disk.name, 0), checksum=checksum)
            for one in self._copies
        )
        self._checksums = {one.name: one.sha256 for one in records if one.sha256}
        manifest = manifest_of(self, self._port, self.manifest_kind, ids, records)
        save_manifest(self.context, self.folder, manifest)
        self._complete = True
