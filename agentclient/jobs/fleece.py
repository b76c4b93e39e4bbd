"""Keeps what the guest overwrites in a place of its own, while its disks are copied to a slow one.

A filter above each disk copies what the guest is about to overwrite into a file, the fleece. The
backup reads the disk as it was when the filter was put in. So the guest's writes wait for the
fleece alone, never for the backup's target; an error of either breaks the backup, not the guest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from agentclient.access.qmp_session import Ask
from agentclient.jobs.block import CHANGE_S, BlockLayer, JobName, QmpRefused
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.targets import Target
from agentclient.model.text import printable
from agentclient.protocol.job_names import FILTER, CopyKey, part_of
from agentclient.protocol.qmp_block import Disk, action
from agentclient.protocol.qmp_graph import GRAPH, files_below

# How long a write of the guest's waits for the fleece, in seconds, before the backup is given up.
PATIENCE_S: Final = 10
BITMAP: Final = "dirty"
# The letter of the fleece's own nodes.
PLACE: Final = "p"


class Filter(NamedTuple):
    """The filter above one disk.

    Attributes:
        disk: the disk.
        place: the file that takes what the guest overwrites.
        node: the filter's name.
        snapshot: the name of the node from which the disk is read as it was.
    """

    disk: Disk
    place: Target
    node: str
    snapshot: str


class Fleece:
    """The filters of one backup.

    Args:
        block: the VM's block layer.
        name: the names of the backup's parts.

    Attributes:
        is_in: a filter may be there, above its disk or ready to be.
        usable: every disk that was added can have one.
    """

    def __init__(self, block: BlockLayer, name: JobName) -> None:
        self._block = block
        self._name = name
        self._filters: list[Filter] = []
        self.is_in = False
        self.usable = True

    def add(self, disk: Disk, place: Target) -> str | None:
        """Add a disk, and try whether its filter can be put in and taken out again.

        Returns:
            Why not, in QEMU's words; None if it can.

        Raises:
            JobFailed: the monitor does not answer.
        """
        number = len(self._filters)
        names = self._name.node(f"{FILTER}{number}"), self._name.node(f"s{number}")
        one = Filter(disk, place, *names)
        self._filters.append(one)
        self.is_in = True
        problems = []
        try:
            self._block.run_all([_made(one), _above(one.disk, one.node)], CHANGE_S)
        except QmpRefused as error:
            problems.append(error.desc)
        left = self._take_out([one])
        self.is_in = bool(left)
        self.usable = not (problems or left)
        return "; ".join(problems + left) or None

    def make_ready(self) -> None:
        """Make the filters of all disks that were added, without putting them in.

        To make one takes as long as to put it in, and the guest would wait for it in the window.
        Nothing goes through it yet, so that it has kept nothing when it is put in.

        Raises:
            JobFailed: it can't be done, or QEMU does not answer.
        """
        self.is_in = True
        self._block.run_all([_made(one) for one in self._filters], CHANGE_S)

    def put_in(self, first: Sequence[Ask], timeout_s: float) -> None:
        """Put all filters in, once they are ready: then each disk can be read as it is now.

        Args:
            first: commands to run just before, in the same visit.
            timeout_s: how long it may take, in seconds.

        Raises:
            JobFailed: it can't be done, or QEMU does not answer and may do it yet.
        """
        above = (_above(one.disk, one.node) for one in self._filters)
        self._block.run_all([*first, *above], timeout_s)

    def open(self, bitmaps: Mapping[str, str]) -> dict[str, str]:
        """Open what the disks held, to be read.

        Args:
            bitmaps: for each disk by its name, the bitmap that marks what is to be copied; none for
                all.

        Returns:
            The node to read, by the disk's name.

        Raises:
            JobFailed: it can't be done.
        """
        for one in self._filters:
            self._block.run(
                "blockdev-add",
                CHANGE_S,
                driver="snapshot-access",
                node_name=one.snapshot,
                file=one.node,
            )
            bitmap = bitmaps.get(one.disk.name)
            if bitmap is not None:
                self._mark(one, bitmap)
        return {one.disk.name: one.snapshot for one in self._filters}

    def take_out(self) -> list[str]:
        """Take all filters out; no job may read the disks through them any more.

        Returns:
            What is left, each as a clause.
        """
        if not self.is_in:
            return []
        left = self._take_out(self._filters)
        self.is_in = bool(left)
        return left

    def _take_out(self, filters: Sequence[Filter]) -> list[str]:
        """Take filters out; return what is left, each as a clause."""
        try:
            tops = {one.qdev: one.node for one in self._block.disks()}
        except JobFailed as error:
            return [_left(one.disk, one.node, error.reason) for one in filters]
        left = []
        for one in filters:
            top = tops.get(one.disk.qdev, one.disk.node)
            if top in (one.node, one.disk.node):
                problem = _remove(self._block, one, is_above=top == one.node)
            else:  # their copy would miss what the guest writes from then on
                problem = f"a copy of others has its own above, {printable(top, 60)}"
            if problem:
                left.append(_left(one.disk, one.node, problem))
        return left

    def _mark(self, one: Filter, bitmap: str) -> None:
        """Have the snapshot know what a bitmap of the disk marks.

        What is written since the window is marked as well, and is copied as it was before.
        """
        found = next((each for each in one.disk.bitmaps if each.name == bitmap), None)
        self._block.run(
            "block-dirty-bitmap-add",
            node=one.snapshot,
            name=BITMAP,
            granularity=found.granularity if found is not None else None,
            disabled=True,
        )
        source = {"node": one.disk.node, "name": bitmap}
        merge = action(
            "block-dirty-bitmap-merge", node=one.snapshot, target=BITMAP, bitmaps=[source]
        )
        self._block.transaction([merge], CHANGE_S)


def take_out_left(block: BlockLayer, key: CopyKey) -> list[str]:
    """Take out the filters that a backup has left above the disks of a VM.

    Args:
        block: the VM's block layer.
        key: the backup, whose jobs have ended.

    Returns:
        What is left, each as a clause.

    Raises:
        JobFailed: the monitor does not answer.
    """
    ours = [one for one in block.disks() if CopyKey.of_node(one.node) == key]
    if not ours:
        return []
    try:
        below = files_below(block.run(GRAPH))
    except QmpRefused:
        below = {}
    left = []
    for disk in ours:
        node = below.get(disk.node)
        problem = "QEMU does not tell what is below it" if node is None else None
        snapshots = [name for name, under in below.items() if under == disk.node]
        try:
            for name in snapshots:
                if CopyKey.of_node(name) == key:
                    block.run("blockdev-del", CHANGE_S, node_name=name)
            if node is not None:
                block.run_all([_above(disk, node)], CHANGE_S)
        except QmpRefused as error:
            problem = error.desc
        if problem is not None:
            left.append(_left(disk, disk.node, problem))
    return left


def is_place(node: str) -> bool:
    """Whether the file of a node keeps what a guest overwrites, and is of no use later."""
    return part_of(node).startswith(PLACE)


def _made(one: Filter) -> Ask:
    """Return the command that makes a filter; its disk does not go through it yet."""
    made = {
        "driver": "copy-before-write",
        "node-name": one.node,
        "file": one.disk.node,
        "target": one.place.node,
        "on-cbw-error": "break-snapshot",
        "cbw-timeout": PATIENCE_S,
    }
    return Ask("blockdev-add", made)


def _above(disk: Disk, node: str) -> Ask:
    """Return the command that has the guest's device use a node."""
    return Ask("qom-set", {"path": disk.qdev, "property": "drive", "value": node})


def _remove(block: BlockLayer, one: Filter, *, is_above: bool) -> str:
    """Take a filter out; return why it is left, or nothing.

    A device is never told to use the node that it uses already: QEMU ends by that, and the guest
    with it (docs/protocol.md §6.5).
    """
    asks = [Ask("blockdev-del", {"node-name": one.snapshot})]
    if is_above:
        asks.append(_above(one.disk, one.disk.node))
    asks.append(Ask("blockdev-del", {"node-name": one.node}))
    problem = ""
    for ask in asks:
        try:
            block.run_all([ask], CHANGE_S)
        except JobFailed as error:
            if not (isinstance(error, QmpRefused) and "find node" in error.desc):
                problem = error.reason
        else:
            problem = ""
    return problem


def _left(disk: Disk, node: str, problem: str) -> str:
    return f"the filter {node} above the disk {printable(disk.name, 60)} ({problem})"
