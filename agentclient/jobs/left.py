"""What a frostwatch that has ended has left in a VM's QEMU: jobs, nodes, and files.

Only what carries the name of a frostwatch that is proven to have ended is touched (P9).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.access.presence import is_gone
from agentclient.jobs.archive import Begun
from agentclient.jobs.block import CHANGE_S, BlockLayer, QmpRefused
from agentclient.jobs.cancel import cancel_jobs
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete_incomplete, kept_overlay
from agentclient.jobs.disk_port import IO_ERROR, DiskPort
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.fleece import is_place, take_out_left
from agentclient.jobs.left_files import (
    begun_in,
    forget_backup,
    forget_records,
    is_empty,
    is_overlay,
    records_beside,
)
from agentclient.jobs.opened import Inode, inode, names_of_opened, written_by
from agentclient.jobs.patience import patiently
from agentclient.jobs.snapshots.record import Record
from agentclient.jobs.thread_reserve import give_back_left
from agentclient.model.job import JobKind
from agentclient.model.text import printable
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CopyKey, JobId, is_claim, is_filter, is_unended
from agentclient.protocol.qmp_block import BlockJob

_CREATES: Final = "create"
# Copies what the guest is about to overwrite, and has its write wait, or fail, for that.
_COPIES_FIRST: Final = "backup"


class LeftCopy(NamedTuple):
    """What is left of one copy.

    Attributes:
        key: what its jobs and nodes have in common.
        kind: what the copy was; empty where only its nodes are left.
        jobs: its jobs.
        nodes: its nodes' names, and the names of their files.
        running: whether the frostwatch that makes it runs: True, False, or None: not known.
    """

    key: CopyKey
    kind: str
    jobs: tuple[BlockJob, ...]
    nodes: dict[str, str]
    running: bool | None

    @property
    def files(self) -> list[str]:
        """The names of its files; a node without one of its own shows that of a disk."""
        return sorted({file for node, file in self.nodes.items() if node.endswith("-f")})

    @property
    def unended(self) -> bool:
        """Whether it was stopped by its frostwatch, and QEMU could not end it."""
        return any(map(is_unended, self.nodes))

    @property
    def complete(self) -> bool:
        """Whether all of its data were copied before it was left, or since."""
        copying = [job for job in self.jobs if job.type != _CREATES]
        return bool(copying) and all(job.has_ended and job.error is None for job in copying)

    def __str__(self) -> str:
        """Return what it is, how far it is, and who makes it, as a clause."""
        done, total = sum(job.done for job in self.jobs), sum(job.total for job in self.jobs)
        copying = any(job.type != _CREATES for job in self.jobs)
        share = f"{done * 100 // total} % copied" if total and copying else "nothing copied yet"
        failed = next((job.error for job in self.jobs if job.error), None)
        state = "complete" if self.complete else f"failed: {failed}" if failed else share
        ended = {True: "which runs", False: "which has ended", None: "which may run"}[self.running]
        if self.unended:
            state += "; it was stopped, and QEMU can't end it: its storage may hang"
        pid = self.key.process.pid
        what = f"a {self.kind or 'copy'} of frostwatch (pid {pid}, {ended})"
        return printable(f"{what}: {state}", 400)


class Cleared(NamedTuple):
    """What came of ending a copy that was left.

    Attributes:
        removed: the incomplete files that were deleted.
        kept: the complete files, which nobody has certified.
        left: what is left behind all the same, each as a clause.
        resumed: the VM, which the copy had stopped at an error of its storage, goes on.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]
    resumed: bool = False


def find_copies(
    port: DiskPort, gone: Callable[[Process], bool | None] = is_gone
) -> tuple[LeftCopy, ...]:
    """Return the copies that frostwatches have begun in a VM's QEMU, also those that run.

    Args:
        port: reaches the VM's disks.
        gone: returns whether a process has ended.

    Raises:
        JobFailed: the monitor does not answer.
    """
    jobs: dict[CopyKey, list[BlockJob]] = {}
    kinds: dict[CopyKey, str] = {}
    nodes: dict[CopyKey, dict[str, str]] = {}
    for job in port.jobs():
        name = JobId.parse(job.id)
        if name is not None:
            jobs.setdefault(name.key, []).append(job)
            kinds[name.key] = name.kind
    every = port.nodes()
    written = {image.file for disk in port.disks() for image in disk.chain}
    for node, file in every.items():
        key = CopyKey.of_node(node)
        if key is not None and not _is_overlay(node, file, every, written):
            nodes.setdefault(key, {})[node] = file
    found = [
        LeftCopy(
            key,
            kinds.get(key, ""),
            tuple(jobs.get(key, ())),
            nodes.get(key, {}),
            _runs(gone(key.process)),
        )
        for key in dict.fromkeys((*jobs, *nodes))
    ]
    return tuple(one for one in found if not _is_nothing(one))


def check_left(copy: LeftCopy) -> None:
    """Make sure that nobody makes a copy any more.

    Raises:
        ValueError: its frostwatch is not proven to have ended.
    """
    if copy.running is not False:
        raise ValueError(f"{copy} is not left")


def clear(block: BlockLayer, copy: LeftCopy, process: Process | None) -> Cleared:
    """End a copy's jobs, close its nodes, and delete its files if they are incomplete.

    A file that a disk of the VM needs, such as the overlay of a snapshot, is never deleted: QEMU
    does not close its node.

    Args:
        block: the VM's block layer.
        copy: the copy, whose frostwatch has ended.
        process: the VM's QEMU.

    Raises:
        ValueError: its frostwatch is not proven to have ended.
        JobFailed: the monitor does not answer, or the copy's storage hangs.
    """
    check_left(copy)
    looking = partial(_look, copy, process)
    seen = patiently(JobControl(), "looking at its files", looking)
    lost = _lost(block, copy, seen.files, seen.names)
    stopped = _may_stop_guest(copy) and block.status() == IO_ERROR
    left = _end(block, copy)
    closed = set() if left else _close(block, copy.nodes)
    left += [
        f"QEMU keeps {printable(node, 40)} open ({printable(file, 300)})"
        for node, file in copy.nodes.items()
        if node not in closed
    ]
    left += lost
    removed, kept, rest = _delete(copy, seen, closed)
    left += rest
    if not left:
        give_back_left(block)
    if closed:
        removed += _forget(block, seen, _folders(kept), left)
    resumed = stopped and _resume(block, left)
    return Cleared(tuple(removed), tuple(kept), tuple(left), resumed)


class _Looked(NamedTuple):
    """What a copy has on its storages.

    Attributes:
        files: its files that QEMU has open to write to, by their nodes.
        begun: the folders in which a copy was begun that is not complete.
        records: what is kept of snapshots beside its files.
        names: the names of all that QEMU has open; None if that can't be seen.
    """

    files: dict[str, tuple[Path, Inode]]
    begun: dict[Path, Begun]
    records: list[Record]
    names: dict[Inode, str] | None


def _look(copy: LeftCopy, process: Process | None) -> _Looked:
    """Look at a copy's files; their storage may hang."""
    names = names_of_opened(process)
    files = _files(copy, written_by(process) or ())
    paths = [path for path, _ in files.values()]
    return _Looked(files, begun_in(paths), records_beside(paths), names)


def _end(block: BlockLayer, copy: LeftCopy) -> list[str]:
    """End a copy's jobs, and take its filters out; return what goes on, each as a clause."""
    left = []
    for name in filter(None, {JobId.parse(job.id) for job in copy.jobs}):
        left += cancel_jobs(block, name)
    return left or take_out_left(block, copy.key)


def _delete(
    copy: LeftCopy, seen: _Looked, closed: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Delete a copy's incomplete files, whose nodes are closed.

    Returns:
        The files that were deleted, the complete ones, and what is left, each as a clause.
    """
    mine = {node: one for node, one in seen.files.items() if node in closed}
    looking = partial(_overlays, copy, [path for path, _ in mine.values()], seen)
    overlays = patiently(JobControl(), "looking at its overlays", looking)
    kept, left, incomplete = list[str](), list[str](), []
    for node, (path, number) in mine.items():
        if path in overlays:
            left.append(kept_overlay(path))
        elif copy.complete and not is_place(node):
            kept.append(str(path))
        else:
            incomplete.append((path, number))
    removed, undeleted = delete_incomplete(incomplete)
    return removed, kept, [*left, *undeleted]


def _forget(block: BlockLayer, seen: _Looked, kept: Collection[Path], left: list[str]) -> list[str]:
    """Remove what was written of a copy beside its files.

    Args:
        block: the VM's block layer.
        seen: what the copy has on its storages.
        kept: the folders that have complete files.
        left: what can't be removed is added to it, each as a clause.

    Returns:
        What was removed.
    """
    removed = []
    done = [forget_backup(block, *one) for one in seen.begun.items() if one[0] not in kept]
    for more, rest in (*done, forget_records(seen.records)):
        removed += more
        left += rest
    return removed


def _overlays(copy: LeftCopy, paths: Iterable[Path], seen: _Looked) -> set[Path]:
    """Return which files are overlays that may hold what a guest has written."""
    found = set()
    for path in paths:
        overlay = copy.kind == JobKind.SNAPSHOT or (not copy.kind and path.parent not in seen.begun)
        if overlay and (copy.kind or is_overlay(path, seen.records)) and not is_empty(path):
            found.add(path)
    return found


def _folders(paths: Iterable[str]) -> set[Path]:
    return {Path(path).parent for path in paths}


def _may_stop_guest(copy: LeftCopy) -> bool:
    """Return whether a write of the guest's fails where the copy's files can't be written."""
    copying = any(job.type == _COPIES_FIRST for job in copy.jobs)
    return copying and not any(map(is_filter, copy.nodes))


def _resume(block: BlockLayer, left: list[str]) -> bool:
    """Let a VM go on that stands still at an error, unless the copy is there still."""
    stands = "the VM stands still at an error of a storage (io-error)"
    if left:
        left.append(f"{stands}, perhaps the copy's: end the copy, or send cont to its monitor")
        return False
    try:
        block.go_on()
    except JobFailed as error:
        left.append(f"{stands}: send cont to its monitor ({error})")
        return False
    return True


def _is_overlay(node: str, file: str, every: Collection[str], written: Collection[str]) -> bool:
    """Return whether a node is a snapshot's overlay that a disk writes to: nothing is left then.

    A filter of a copy has its disk's file as well, but no node for that.
    """
    return file in written and f"{node.removesuffix('-f')}-f" in every


def _is_nothing(copy: LeftCopy) -> bool:
    """Return whether the claim of one that has ended is all: it counts for nothing any more."""
    signs = (is_claim(node) or is_unended(node) for node in copy.nodes)
    return copy.running is False and not copy.jobs and all(signs)


def _runs(gone: bool | None) -> bool | None:
    return None if gone is None else not gone


def _files(copy: LeftCopy, opened: Collection[Inode]) -> dict[str, tuple[Path, Inode]]:
    """Return the files behind the copy's nodes that QEMU writes to, and that we see as well."""
    found = {}
    for node, file in copy.nodes.items():
        if node.endswith("-f") and file.startswith("/"):
            with suppress(OSError):
                number = inode(Path(file))
                if number in opened:
                    found[node] = (Path(file), number)
    return found


def _lost(
    block: BlockLayer, copy: LeftCopy, found: Collection[str], names: dict[Inode, str] | None
) -> list[str]:
    """Return the copy's files that have not their names any more, each as a clause."""
    missing = [
        file
        for node, file in copy.nodes.items()
        if node.endswith("-f") and file.startswith("/") and node not in found
    ]
    if not missing:
        return []
    known = set(block.nodes().values())
    # Whose inode is not known: what QEMU has open, and does not know by that name.
    others = [one for one in (names or {}).values() if one.startswith("/") and one not in known]
    others = [one for one in others if not one.startswith(("/dev/", "/proc/", "/memfd:"))]
    where = f"; QEMU has open {printable(', '.join(others), 300)}" if others else ""
    if names is None:
        where = "; which files QEMU has open can't be seen"
    return [
        f"the incomplete file {printable(one, 300)}, if it was moved away and not deleted{where}"
        for one in missing
    ]


def _close(block: BlockLayer, nodes: Iterable[str]) -> set[str]:
    """Close nodes, each after those that use it; return those that are closed."""
    closed: set[str] = set()
    rest = sorted(nodes, key=lambda node: node.endswith("-f"))
    progress = True
    while rest and progress:
        progress = False
        for node in list(rest):
            try:
                block.run("blockdev-del", CHANGE_S, node_name=node)
            except QmpRefused as error:
                if "find node" not in error.desc:  # it is in use still
                    continue
            closed.add(node)
            rest.remove(node)
            progress = True
    return closed
