"""Where a copy goes: the VM's folder among the copies, and a new one in it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from agentclient.access.presence import is_gone
from agentclient.jobs.archive import (
    Backup,
    Begun,
    backups_in,
    make_folder,
    remove_folder,
    safe_name,
    write_begun,
)
from agentclient.jobs.chain import Link
from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.former_name import FormerHome, former_homes
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.opened import open_below
from agentclient.jobs.patience import patiently
from agentclient.jobs.targets import check_space
from agentclient.journal.identity import this_process
from agentclient.model.job import JobRefusal
from agentclient.model.next_command import clear_command
from agentclient.model.shell_words import quoted
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.protocol.qmp_block import Disk

# What a qcow2 has beside its data, for each disk.
_OVERHEAD: Final = 1 << 20
_MOST_TOLD: Final = 5


def room_for(disk: Disk, link: Link | None) -> int:
    """Return how many bytes the copy of a disk takes at the most, as far as is known now.

    Args:
        disk: the disk.
        link: what an incremental backup builds on; None for a full one.
    """
    if link is not None:
        return link.dirty(disk) + _OVERHEAD
    images = [one.allocated for one in disk.chain] or [disk.allocated]
    known = [one for one in images if one is not None]
    return min(disk.size, sum(known) if len(known) == len(images) else disk.size) + _OVERHEAD


def room_for_mirror(disk: Disk) -> int:
    """Return the bytes that a disk's mirror may take: an image knows only what it holds itself."""
    return disk.size if disk.depth or disk.allocated is None else min(disk.allocated, disk.size)


def _open_below(folder: Path) -> dict[Path, int]:
    """Return the files below a folder, by its own name, that any process has open, and who."""
    real = folder.resolve()
    return {folder / one.relative_to(real): pid for one, pid in open_below(real).items()}


def _what_to_do(backup: Backup, vm: Vm, opened: Mapping[Path, int], process: int | None) -> str:
    """Return what a person can do with a folder that holds no complete copy.

    Args:
        backup: the folder.
        vm: the VM.
        opened: the files that a process has open, and its id.
        process: the id of the VM's QEMU; None if it is not known.
    """
    begun = backup.begun
    step = f"it can be deleted: rm -r {quoted(str(backup.folder))}"
    mine = [(path, pid) for path, pid in opened.items() if path.is_relative_to(backup.folder)]
    if mine:
        path, pid = mine[0]
        name = printable(path.name, 80)
        first = f"end that process first (ps {pid})"
        if pid == process:
            first = f"end the copy first, which deletes them: {clear_command(vm)}"
        who = "the VM's QEMU" if pid == process else "a process"
        more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
        step = f"{who} (pid {pid}) has {name}{more} open: {first}; after that {step}"
    if begun is None or begun.process is None:
        return step
    if begun.host != socket.gethostname():
        host = printable(begun.host, 60)
        return f"begun on the host {host}; once its frostwatch has ended there, {step}"
    if is_gone(begun.process) is False:
        return f"frostwatch (pid {begun.process.pid}) may be at work on it"
    return step


class CopyPlace:
    """The VM's folder among the copies.

    Args:
        context: the job's collaborators.
        folder: where all copies are.
        uuid: the VM's UUID; None if it isn't known.

    Attributes:
        chains: the ids of the chains that are there, those of backups that were never completed
            as well.
    """

    def __init__(self, context: JobContext, folder: Path, uuid: str | None) -> None:
        self._context = context
        self._uuid = uuid
        self._folder = folder
        self._home = folder / safe_name(context.vm.name)
        self._new_home = False
        self._made: Path | None = None
        self.chains: frozenset[str] = frozenset()

    def look(self) -> list[Backup]:
        """Return the VM's backups and mirrors, oldest first.

        Raises:
            JobRefused: they are another VM's, or can't be read.
            JobFailed: the storage hangs.
        """
        found = patiently(self._context.control, "looking at the copies", self._look)
        others = {one.manifest.vm.get("uuid") for one in found if one.manifest is not None}
        if self._uuid is not None and others - {None, self._uuid}:
            raise JobRefused(
                JobRefusal.TARGET,
                f"{printable(self._home, 300)} has the copies of another VM of this name",
                "name another folder",
            )
        begun = [one for one in found if one.begun is not None]
        looking = partial(_open_below, self._home)
        opened = patiently(self._context.control, "looking at the copies", looking) if begun else {}
        process = self._context.access.process
        pid = process.pid if process is not None else None
        for one in begun[-_MOST_TOLD:]:
            word = one.begun.word if one.begun is not None else ""
            text = f"{printable(one.folder, 300)} is a {word} that was never completed"
            step = _what_to_do(one, self._context.vm, opened, pid)
            self._context.reporter.note(Level.WARNING, f"{text}: {step}")
        chains = {one.begun.chain for one in begun if one.begun is not None}
        self.chains = frozenset(
            chains | {one.manifest.chain for one in found if one.manifest is not None}
        )
        return found

    @property
    def home(self) -> Path:
        """The VM's folder."""
        return self._home

    def former(self, chains: frozenset[str]) -> tuple[FormerHome, ...]:
        """Return the folders of the VM's former names that have some chains.

        Raises:
            JobFailed: the storage hangs.
        """
        looking = partial(former_homes, self._folder, self._home, chains, self._uuid)
        return patiently(self._context.control, "looking at the copies", looking)

    def make(self, needed: int, begun: Begun) -> Path:
        """Make the folder of a new copy, and write in it that it begins.

        Args:
            needed: bytes that it will take.
            begun: what is written.

        Raises:
            JobRefused: there is no room, or it can't be written.
            JobFailed: the storage hangs.
        """
        control = self._context.control
        patiently(control, "looking for room", partial(check_space, self._folder, needed))
        own = begun._replace(process=this_process())
        making = partial(_make, self._home, self._context.wall(), own)
        undoing = partial(_unmake, self._new_home)
        try:
            self._made = made_apart(control, "making the folder", making, undoing)
        except OSError as error:
            raise JobRefused(
                JobRefusal.TARGET,
                f"{printable(self._home, 300)} can't be written to: {error.strerror}",
                "name a folder that can be written",
            ) from None
        return self._made

    def remove(self) -> list[str]:
        """Remove the folder that was made, once its files are gone.

        Returns:
            What is left, each as a clause.
        """
        if self._made is None:
            return []
        return remove_folder(self._made, parent=self._new_home)

    def _look(self) -> list[Backup]:
        try:
            return backups_in(self._home)
        except FileNotFoundError:
            self._new_home = True
            return []
        except OSError as error:
            why = f"{printable(self._home, 300)} can't be read: {error.strerror}"
            raise JobRefused(JobRefusal.TARGET, why, "name another folder") from None


def _make(home: Path, at: datetime, begun: Begun) -> Path:
    """Make the folder of a copy, and write in it that this begins.

    Raises:
        OSError: it can't be made.
    """
    folder = make_folder(home, at)
    write_begun(folder, begun)
    return folder


def _unmake(parent: bool, folder: Path) -> None:
    remove_folder(folder, parent=parent)
