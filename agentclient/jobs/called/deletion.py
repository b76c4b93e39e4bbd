"""Deletes an external snapshot that a VM's manager knows of: its overlays are folded back, live."""

from __future__ import annotations

from functools import partial

from agentclient.access.disk_calls import FOLD, DiskWork, KeptSnapshot
from agentclient.jobs.called.fold import begin, complete
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.cancel import left_to_qemu
from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.follow import Follower, all_ended
from agentclient.jobs.patience import patiently
from agentclient.jobs.snapshots.deletion import (
    DeletionRequest,
    SnapshotDeletion,
    all_ready,
    files_of,
)
from agentclient.model.disk_snapshot import SnapshotDisk
from agentclient.model.job import JobRefusal, JobStage
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk


class CalledDeletion(SnapshotDeletion):
    """The deletion of one snapshot of one VM, by its manager's calls.

    Args:
        context: its collaborators.
        request: the snapshot's name, and where it is.
    """

    def __init__(self, context: JobContext, request: DeletionRequest) -> None:
        super().__init__(context, request)
        self._called: CalledPort | None = None
        self._works: tuple[DiskWork, ...] = ()

    def prepare(self) -> None:
        """Find the snapshot, and check that it can be deleted."""
        port = self._called = self.context.called()
        kept = self._find_kept(port)
        by_node = {one.node: one for one in port.disks()}
        pairs = [(by_node.get(node), file) for node, file in kept.overlays.items()]
        chosen = [self._checked(disk, file) for disk, file in pairs]
        asked = set(self.request.disks)
        if asked and not all(one.names & asked for one in chosen):
            names = ", ".join(printable(one.name, 60) for one in chosen)
            why = f"libvirt has the snapshot on {names}, and forgets it as a whole"
            raise JobRefused(JobRefusal.NAME, why, "leave --disk out")
        self.chosen = tuple(chosen)
        self.parts = tuple(SnapshotDisk(one.name, one.chain[1].file, one.file) for one in chosen)
        looking = partial(files_of, self.parts, port.calls.process)
        self.files = patiently(self.context.control, "looking at the overlays", looking)
        self._works = tuple(
            DiskWork(self.name.job(f"c{number}"), FOLD, disk.node, disk.file)
            for number, disk in enumerate(chosen)
        )
        port.plan(self._works)

    def start(self) -> None:
        """Begin to fold its overlays back."""
        begin(self._known, self._works, self.context.control.limit)

    def follow(self) -> None:
        """Wait until they are folded back."""
        port, limit = self._known, self.context.control.limit
        jobs = {work.job: disk.name for work, disk in zip(self._works, self.chosen, strict=True)}
        follower = Follower(self.context, port, self.kind, jobs, self.began_at, limit=limit)
        text = "writing back what was written since the snapshot"
        follower.follow(JobStage.COPYING, text, all_ready)
        complete(port, self._works)
        follower.follow(JobStage.COPYING, "changing over to the images", all_ended)

    def finish(self) -> list[str]:
        """Have the manager forget the snapshot, and delete the overlays."""
        port = self._known
        left = port.forget(self._works)
        self.deleted += [part.disk for part in self.parts]
        name = self.wanted.name
        try:
            port.within(CALL_S, lambda: port.calls.forget_snapshot(name))
        except JobFailed as error:
            left.append(f"{port.calls.manager}'s record of the snapshot {name} ({error})")
        used = {image.file for disk in port.disks() for image in disk.chain}
        return left + self.delete_overlays(used)

    def undo(self) -> list[str]:
        """Cancel what folds back: the disks write to their overlays as before."""
        if self._called is None or not self._works:
            return []
        unended = self.end_jobs(self._called)
        if unended:
            return left_to_qemu(self.vm, unended, [])
        return self._called.forget(self._works)

    @property
    def _known(self) -> CalledPort:
        assert self._called is not None, "it was prepared"
        return self._called

    def _find_kept(self, port: CalledPort) -> KeptSnapshot:
        """Return the snapshot.

        Raises:
            JobRefused: there is none of that name, or it is none that is deleted here.
        """
        every = port.within(CALL_S, port.calls.snapshots)
        name = printable(self.wanted.name, 80)
        found = next((one for one in every if one.name == self.wanted.name), None)
        if found is None:
            known = ", ".join(printable(one.name, 60) for one in every[:12]) or "none"
            why = f"libvirt knows no snapshot {name} of the VM; there are: {known}"
            raise JobRefused(JobRefusal.NAME, why)
        if found.memory or found.inside or not found.overlays:
            domain = quoted(self.vm.title or self.vm.name)
            raise JobRefused(
                JobRefusal.MANAGED,
                f"the snapshot {name} is inside of the images, or holds the guest's memory",
                f"let libvirt's own tool do it: virsh snapshot-delete {domain} {quoted(name)}",
            )
        if not self.wanted.external:
            why = f"the snapshot {name} is external"
            raise JobRefused(JobRefusal.NAME, why, "name it with --external")
        if found.children:
            raise JobRefused(
                JobRefusal.NAME,
                f"another snapshot was taken on top of {name}",
                "delete the newer one first",
            )
        return found

    def _checked(self, disk: Disk | None, overlay: str) -> Disk:
        """Return a disk that writes to a snapshot's overlay.

        Raises:
            JobRefused: it does not.
        """
        if disk is not None and disk.file == overlay and disk.depth:
            return disk
        now = "is not there any more" if disk is None else f"writes to {disk.file} now"
        raise JobRefused(
            JobRefusal.NAME,
            f"the disk of the overlay {printable(overlay, 300)} {printable(now, 300)}",
            "see virsh snapshot-list and virsh domblklist: somebody has changed it since",
        )
