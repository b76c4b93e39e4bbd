"""Files that take a copy: made before the freeze, closed after the copy, removed if it fails.

The file is made by us, so that no file of somebody else is ever overwritten, and given to the
QEMU's user. QEMU opens and formats it: so a path that QEMU can't write is known before the freeze.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from agentclient.access.qmp_session import Ask
from agentclient.jobs import storage_process
from agentclient.jobs.block import CHANGE_S, BlockLayer, JobName, QmpRefused
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete, delete_unless_open
from agentclient.jobs.durable import sync_file, sync_folder
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.new_file import new_file
from agentclient.jobs.opened import is_elsewhere, names_of_opened, now_called, opened_by
from agentclient.jobs.patience import patiently
from agentclient.model.job import JobRefusal
from agentclient.model.text import printable
from agentclient.model.vm import Process

_FORMATS: Final = ("qcow2", "raw")

# In QMP's own words; None is its null.
Options = Mapping[str, object]
NO_OPTIONS: Final[Options] = MappingProxyType({})
# QEMU does not wait for the target's storage, nor the guest with it: `Targets.sync` does.
UNFLUSHED: Final[Options] = MappingProxyType({"cache": {"no-flush": True}})
# What the disk does not use takes no room on the target's storage.
THIN: Final[Options] = MappingProxyType({"discard": "unmap"})
# All that a host keeps in its memory of a copy, on a slow network.
SYNCED_WITHIN_S: Final = 3600.0


class Target(NamedTuple):
    """One file that takes a copy.

    Attributes:
        path: the file.
        format: ``qcow2`` or ``raw``.
        node: the name of its node in QEMU, to which a job writes.
        inode: the file's device and inode, by which it is told from a later one of its name.
    """

    path: Path
    format: str
    node: str
    inode: tuple[int, int]

    @property
    def file_node(self) -> str:
        """The name of the node of the file below the format."""
        return f"{self.node}-f"


class Targets:
    """All targets of one job.

    Args:
        block: the VM's block layer.
        name: the names of the job's parts.
        process: the VM's process; None if it is not known.
        letter: tells their nodes from those of other targets of the job.
        gone: returns whether the VM has ended, and has closed its files so.
        control: a cancellation ends a wait for their storage; None for nobody's.
        apart: they are outside of the copy's own folder (see `made_apart`).
    """

    def __init__(
        self,
        block: BlockLayer,
        name: JobName,
        process: Process | None,
        letter: str = "t",
        *,
        gone: Callable[[], bool | None] = lambda: None,
        control: JobControl | None = None,
        apart: bool = False,
    ) -> None:
        self._apart = apart
        self._control = control or JobControl()
        self._gone = gone
        self._letter = letter
        self._block = block
        self._name = name
        self._process = process
        self._made: list[Target] = []
        self._open: list[str] = []
        self._kept: set[str] = set()
        self._moved: dict[Target, str | None] = {}

    @property
    def made(self) -> tuple[Target, ...]:
        """The targets whose files exist, in the order in which they were made."""
        return tuple(self._made)

    def make(
        self,
        path: Path,
        format_: str,
        size: int,
        *,
        file_options: Options = NO_OPTIONS,
        node_options: Options = NO_OPTIONS,
        **options: object,
    ) -> Target:
        """Make a file, and let QEMU open and format it; nothing that exists is overwritten.

        Args:
            path: the file; absolute.
            format_: ``qcow2`` or ``raw``.
            size: the disk's size, in bytes.
            file_options: further options of ``blockdev-add`` for the file, such as ``cache``.
            node_options: the same for the format above it, such as ``backing``.
            options: further options of ``blockdev-create``, such as ``backing_file``.

        Raises:
            JobRefused: the file exists, or QEMU can't write it.
            JobFailed: QEMU does not answer, or can't format it.
        """
        if format_ not in _FORMATS:
            raise JobRefused(
                JobRefusal.TARGET, f"a copy can be {' or '.join(_FORMATS)}, not {format_}"
            )
        number = len(self._made)
        part = f"{self._letter}{number}"
        with_size = size if format_ == "raw" else 0
        making = partial(new_file, path, with_size, self._process)
        what = f"making {printable(path, 300)}"
        if self._apart:
            number_of_file = made_apart(self._control, what, making, partial(delete, path))
        else:
            number_of_file = patiently(self._control, what, making)
        target = Target(path, format_, self._name.node(part), number_of_file)
        self._made.append(target)
        file = {"driver": "file", "filename": str(path), "auto-read-only": False, **file_options}
        self._add(target, target.file_node, file)
        self._same_file(target)
        if format_ == "qcow2":
            details = {name.replace("_", "-"): one for name, one in options.items()}
            made = {"driver": "qcow2", "file": target.file_node, "size": size, **details}
            self._block.create(self._name.job(part), made)
        node = {"driver": format_, "file": target.file_node, **node_options}
        self._add(target, target.node, node)
        return target

    def close(self) -> list[str]:
        """Let QEMU close all targets; the files stay.

        Returns:
            What QEMU did not close, each as a clause; empty if it has closed all.
        """
        self._look_for_moved()
        left = []
        while self._open:
            node = self._open[-1]
            try:
                self._block.run("blockdev-del", CHANGE_S, node_name=node)
            except QmpRefused as error:
                if "find node" not in error.desc and "Failed to find" not in error.desc:
                    self._kept.add(node)
                    left.append(f"QEMU keeps the node {node} open ({error.desc})")
            except JobFailed as error:
                if not self._gone():
                    left.append(f"QEMU may keep the node {node} open ({error})")
            self._open.pop()
        return left

    def sync(self, control: JobControl) -> None:
        """Wait until the storage has all that was written to the files; 1 h at the most.

        Args:
            control: a cancellation ends the wait at once.

        Raises:
            JobCancelled: it was cancelled.
            JobFailed: the storage did not take it.
        """
        control.check()
        syncing = partial(sync_all, self._made)
        try:
            patiently(control, "writing the copy out", syncing, SYNCED_WITHIN_S)
        except OSError as error:
            why = printable(error.strerror, 200)
            raise JobFailed(f"the storage did not take the copy: {why}") from error

    def remove(self, keep: Collection[Target] = ()) -> list[str]:
        """Let QEMU close all targets, and delete the files that were made here.

        A file that QEMU goes on using stays: a guest may run on it.

        Args:
            keep: these stay as they are.

        Returns:
            What is left behind, each as a clause; empty if nothing is.
        """
        kept = {name for one in keep for name in (one.node, one.file_node)}
        held = [name for name in self._open if name in kept]
        self._open = [name for name in self._open if name not in kept]
        left = self.close()
        self._open = held
        targets = [one for one in self._made if one not in keep]
        self._made = [one for one in self._made if one in keep]
        asked = [one for one in targets if not self._kept & {one.node, one.file_node}]
        found = storage_process.call_in_order(
            [
                partial(
                    delete_unless_open,
                    None if one in self._moved else one.path,
                    one.inode,
                    self._process,
                )
                for one in asked
            ]
        )
        came = dict(zip(asked, found, strict=True))
        return left + [
            clause
            for one in targets
            if (clause := self._what_is_left(one, came.get(one, False))) is not None
        ]

    def _what_is_left(self, target: Target, came: bool | OSError) -> str | None:
        """Return what is left of a file, as a clause; None if nothing is.

        Args:
            target: the file.
            came: what came of deleting it: False if QEMU has it open.
        """
        shown = f"the incomplete file {printable(target.path, 300)}"
        if target in self._moved:
            shown += now_called(self._moved[target])
        if isinstance(came, OSError):
            return f"{shown} ({came.strerror})"
        if not came:
            return f"{shown} (QEMU uses it)"
        moved = self._moved.get(target, "")
        return shown if moved != "" else None

    def _look_for_moved(self) -> None:
        """Find the files that somebody has moved, as long as QEMU has them open."""
        looking = partial(
            _moved, [one for one in self._made if one not in self._moved], self._process
        )
        with suppress(JobFailed):  # its storage hangs: what is left is told by whoever deletes it
            self._moved |= patiently(JobControl(), "looking for the files", looking)

    def _add(self, target: Target, node: str, options: Options) -> None:
        ask = Ask("blockdev-add", {"node-name": node, **options})
        try:
            self._block.run_all([ask], CHANGE_S)
        except QmpRefused as error:
            raise JobRefused(
                JobRefusal.TARGET,
                f"the VM's QEMU can't write {printable(target.path, 300)}: {error.desc}",
                "name a folder that its user, its AppArmor profile and its mounts let it write to",
            ) from None
        self._open.append(node)

    def _same_file(self, target: Target) -> None:
        """Make sure that QEMU has opened our file, and none of that name of another root.

        Raises:
            JobRefused: it has opened another one.
        """
        looking = partial(opened_by, self._process)
        opened = patiently(self._control, "looking at what QEMU has opened", looking)
        if opened is not None and target.inode not in opened:
            raise JobRefused(
                JobRefusal.TARGET,
                f"{printable(target.path, 300)} is another file for the VM's QEMU, which has "
                "mounts of its own",
                "name a folder that both see",
            )


def _moved(targets: Sequence[Target], process: Process | None) -> dict[Target, str | None]:
    """Return which files have another name by now, and which, as far as that is known."""
    lost = [one for one in targets if is_elsewhere(one.path, one.inode)]
    names = names_of_opened(process) if lost else {}
    return {one: None if names is None else names.get(one.inode) for one in lost}


def check_space(folder: Path, needed: int) -> None:
    """Make sure that a folder's file system has room for the copies.

    Args:
        folder: the folder.
        needed: bytes that the disks' images take now.

    Raises:
        JobRefused: it has not, or it is no folder.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        why = f"{printable(folder, 300)} is no folder to write to: {error.strerror}"
        raise JobRefused(JobRefusal.TARGET, why, "make it, or name another one") from None
    if free < needed:
        raise JobRefused(
            JobRefusal.NO_SPACE,
            f"{printable(folder, 300)} has {free:,} bytes free, and the copy needs {needed:,}",
            "make room, or name another folder",
        )


def sync_all(targets: Sequence[Target]) -> None:
    """Have the storage take files and their names.

    Raises:
        OSError: it did not, or one is not there any more.
    """
    for target in targets:
        sync_file(target.path, target.inode)
        sync_folder(target.path.parent)
