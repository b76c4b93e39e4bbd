"""A backup: all disks as of one moment, copied to files while the guest goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from agentclient.access.qmp_session import Ask
from agentclient.jobs.archive import Begun, safe_name
from agentclient.jobs.block import CHANGE_S, BlockLayer
from agentclient.jobs.chain import bitmap_name, can_record
from agentclient.jobs.chained_backup import ChainedBackup, named_bitmaps
from agentclient.jobs.context import JobContext
from agentclient.jobs.copy_files import FileCopy
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.fleece import BITMAP, PLACE, Fleece
from agentclient.jobs.follow import Follower, all_ended, all_ended_or_stopped
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.targets import UNFLUSHED, Target, Targets
from agentclient.jobs.thread_reserve import workers_of_each
from agentclient.model.job import JobStage
from agentclient.model.states import Level
from agentclient.protocol.qmp_block import Disk, action

# strerror(EACCES): so QEMU fails to read a snapshot whose filter has given up.
_BROKEN: Final = os.strerror(errno.EACCES)
_ROOM_FOR_FLEECE: Final = "name a fast folder with room for what the guest overwrites: --fleece DIR"


class BackupJob(ChainedBackup):
    """One backup of one VM, by its monitor.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze.
    """

    def __init__(self, context: JobContext, request: BackupRequest) -> None:
        super().__init__(context, request)
        self._block: BlockLayer | None = None
        self._targets: Targets | None = None
        self._places: Targets | None = None
        self._fleece: Fleece | None = None
        self._from_fleece = False
        self._left_of_places: list[str] = []

    def prepare(self) -> None:
        """Choose the disks, find what to build on, and make the folder and its files."""
        block = self._block = self.context.block()
        chosen, place, needed = self._choose(block)
        if self._asked_for.fleece != "off":  # else the guest waits for the target itself
            # Where the fleece hangs as well, what the guest overwrites takes threads, too.
            self.keep_threads(block, 2 * workers_of_each(len(chosen)))
        self.folder = place.make(needed, Begun(self._id, self._chain))
        self._files = self._targets = self.new_targets(block)
        taken: frozenset[str] = frozenset()
        for disk in chosen:
            name = safe_name(disk.name, taken)
            taken |= {name}
            bitmap = self._recorder(block, disk)
            self._copies.append(FileCopy(disk, self._make(disk, f"{name}.qcow2"), bitmap))
        if self._asked_for.fleece != "off":
            self._prepare_fleece(block)

    def start(self) -> None:
        """Start the copies of all disks in one transaction: they are of one moment.

        With a fleece, put its filters in: what the disks hold now can be copied later.
        """
        assert self._block is not None, "it was prepared"
        self._begun = True
        actions = [
            action("block-dirty-bitmap-add", node=one.disk.node, name=one.bitmap, persistent=True)
            for one in self._copies
            if one.bitmap is not None
        ]
        # Filters are put in one after the other: of one moment are only disks that stand still.
        still = len(self._copies) == 1 or self.window.stands_still
        if self._fleece is not None and self._fleece.usable and still:
            first = [Ask("transaction", {"actions": actions})] if actions else []
            self._from_fleece = True
            # Without it they are copied at one moment later, where that is allowed.
            self.needs_window = len(self._copies) > 1 and self.window.is_demanded
            self._fleece.put_in(first, self.window.left_s)
            return
        if self._fleece is not None:
            self._fleece.take_out()
        # A transaction with a bitmap can't have its jobs completed together: then `follow` ends
        # the others if one fails.
        grouped = not actions
        actions += self._copy_actions({}, {})
        self._block.transaction(actions, self.window.left_s, grouped=grouped)

    def follow(self) -> None:
        """Wait until all disks are copied."""
        assert self._block is not None, "it was prepared"
        if self._from_fleece and len(self._copies) > 1 and not self.window.has_held:
            self._start_without_fleece(self._block)
        if self._fleece is not None and self._from_fleece:
            self._copy_from_fleece(self._block, self._fleece)
        jobs = {self.name.job(number): one.disk.name for number, one in enumerate(self._copies)}
        self._follower = Follower(
            self.context,
            self._block,
            self.kind,
            jobs,
            self.began_at,
            self.window.frozen_at,
            self.window.thawed_at,
            self.context.control.limit,
        )
        try:
            enough = all_ended if self._from_fleece else all_ended_or_stopped(self._block)
            text = "copying what the disks held when it was taken"
            self._follower.follow(JobStage.COPYING, text, enough)
        except JobFailed as error:
            if not self._from_fleece or _BROKEN not in error.reason:
                raise
            why = f"what the guest has overwritten could not be kept: {error.reason}"
            raise JobFailed(why, _ROOM_FOR_FLEECE) from error

    def finish(self) -> list[str]:
        """Close the files, take their checksums, and write the manifest."""
        assert self._block is not None, "it was prepared"
        for number in range(len(self._copies)):
            self._block.dismiss(self.name.job(number), self.context.control.cancelled)
        left = self._end_fleece()
        self._close()
        self._record(self._ids())
        return left + self._clean()

    def _undo_own(self) -> list[str]:
        """Take the filters out, and remove the bitmaps."""
        left = self._end_fleece()
        if self._block is not None and self._begun:
            left += self._forget(self._block)
        return left

    def _names_of_all(self) -> list[str]:
        """Return all that was made, each as a clause."""
        names = super()._names_of_all()
        if self._fleece is not None and self._fleece.is_in:
            names.append("the filters above the VM's disks")
        if self._begun:
            names.append(named_bitmaps(self._copies))
        return names

    # -- before the freeze ---------------------------------------------------------------

    def _recorder(self, block: BlockLayer, disk: Disk) -> str | None:
        """Return the name of the bitmap that a disk is to record in; None if it can't."""
        if not self._asked_for.record:
            return None
        name = bitmap_name(self._chain, self._id, len(self._copies))
        why_not = can_record(block, disk, name)
        if why_not is None:
            return name
        text = f"no incremental backup can be built on this one: the disk {disk.name} can't record"
        self.context.reporter.note(Level.WARNING, f"{text} what is written to it ({why_not})")
        return None

    def _make(self, disk: Disk, name: str) -> Target:
        assert self._targets is not None, "it was made"
        assert self.folder is not None, "it was made"
        options: dict[str, object] = {}
        if self._link is not None:
            options = {"backing_file": self._link.backing(disk), "backing_fmt": "qcow2"}
        return self._targets.make(
            self.folder / name,
            "qcow2",
            disk.size,
            file_options=UNFLUSHED,
            node_options=UNFLUSHED,
            **options,
        )

    def _copy_actions(
        self, sources: dict[str, str], bitmaps: dict[str, str]
    ) -> list[dict[str, object]]:
        """Return what starts the copies.

        Args:
            sources: the node that is read, for each disk that is not read itself.
            bitmaps: the bitmap that marks what to copy, where it is not the last backup's own.
        """
        actions = []
        workers = workers_of_each(len(self._copies))
        for number, one in enumerate(self._copies):
            what: dict[str, object] = {"sync": "full"}
            if self._link is not None:
                # It is left as it is until this backup is complete.
                bitmap = bitmaps.get(one.disk.name) or self._link.bitmap(one.disk)
                what = {"sync": "bitmap", "bitmap": bitmap, "bitmap_mode": "never"}
            each = action(
                "blockdev-backup",
                job_id=self.name.job(number),
                device=sources.get(one.disk.name, one.disk.ref),
                target=one.target.node,
                speed=self.context.control.limit,
                auto_dismiss=False,
                compress=True if self._asked_for.compress else None,
                x_perf={"max-workers": workers} if sources else None,
                **what,
            )
            actions.append(each)
        return actions

    # -- the fleece ----------------------------------------------------------------------

    def _prepare_fleece(self, block: BlockLayer) -> None:
        """Make what takes the blocks that the guest overwrites, and try the filters."""
        assert self.folder is not None, "it was made"
        folder = self._asked_for.fleece
        apart = isinstance(folder, Path)
        places = self._places = self.new_targets(block, PLACE, apart=apart)
        fleece = self._fleece = Fleece(block, self.name)
        for one in self._copies:
            name = f"{one.target.path.stem}.fleece"
            path = self.folder / name
            if isinstance(folder, Path):
                path = folder / f"frostwatch-{safe_name(self.vm.name)}-{self._id}-{name}"
            place = places.make(
                path, "qcow2", one.disk.size, file_options=UNFLUSHED, node_options=UNFLUSHED
            )
            why_not = fleece.add(one.disk, place)
            if why_not is not None:
                text = f"no fleecing: a target that stalls can stall the guest's writes ({why_not})"
                self.context.reporter.note(Level.WARNING, text)
                return
        fleece.make_ready()

    def _copy_from_fleece(self, block: BlockLayer, fleece: Fleece) -> None:
        marks = {}
        if self._link is not None:
            marks = {one.disk.name: self._link.bitmap(one.disk) for one in self._copies}
        nodes = fleece.open(marks)
        actions = self._copy_actions(nodes, dict.fromkeys(marks, BITMAP))
        block.transaction(actions, CHANGE_S, grouped=True)

    def _start_without_fleece(self, block: BlockLayer) -> None:
        """Start the copies in one transaction after all: the guest went on among the filters.

        The bitmaps record since the filters: that is more than has to be copied later, not less.

        Raises:
            JobFailed: the filters can't be taken out, or the copies not be started.
        """
        text = (
            "the guest may have written while the fleece was begun, disk by disk: all disks are "
            "copied as of one moment now, without it"
        )
        self.context.reporter.note(Level.WARNING, text)
        left = self._fleece.take_out() if self._fleece is not None else []
        if left:
            raise JobFailed(f"what the disks held at one moment can't be copied: {left[0]}")
        self._from_fleece = False
        self.started = self.context.note_time()
        block.transaction(self._copy_actions({}, {}), CHANGE_S, grouped=True)
        self.taken = self.context.note_time()

    def _end_fleece(self) -> list[str]:
        """Take the filters out, and delete what they have kept.

        Returns:
            What is left, each as a clause; also of what was deleted before, as far as it could be.
        """
        left = []
        if self._fleece is not None and not self.context.access.is_gone():
            left += self._fleece.take_out()
        if self._places is not None:
            self._left_of_places += self._places.remove()
        return left + self._left_of_places
