"""An external snapshot that a VM's manager takes: it knows of it, and starts the VM with it.

The overlays are made before the freeze: within the window the VM only changes over to them, all
disks at one moment.
"""

from __future__ import annotations

import threading
from typing import Final

from agentclient.access.disk_calls import FOLD, DiskWork
from agentclient.jobs.called.files import CalledFiles
from agentclient.jobs.called.fold import fold_back
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.cancel import left_to_qemu
from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import NotDone
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.managed import check_offered
from agentclient.jobs.snapshots.create import (
    BEGUN,
    FOUND_OUT_WITHIN_S,
    SnapshotRequest,
    disks_again,
)
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.model.job import JobRefusal
from agentclient.model.shell_words import quoted
from agentclient.model.states import Level
from agentclient.protocol.qmp_block import Disk

_TEXT: Final = "frostwatch (pid {pid}): {said}"


class CalledSnapshot(ExternalSnapshot):
    """One external snapshot of one VM, by its manager's calls.

    Args:
        context: its collaborators.
        request: the name, the disks, the freeze.
    """

    def __init__(self, context: JobContext, request: SnapshotRequest) -> None:
        super().__init__(context, request)
        self._called: CalledPort | None = None
        self._made: CalledFiles | None = None
        self._works: tuple[DiskWork, ...] = ()
        self._answered = threading.Event()

    def prepare(self) -> None:
        """Check the disks and the name, and make the overlays."""
        check_offered(self.request)
        if not self.wanted.external:
            raise JobRefused(
                JobRefusal.MANAGED,
                "libvirt takes snapshots inside of images only with the guest's memory, for which "
                "the guest stands still",
                "take an external one: --external",
            )
        port = self._called = self.context.called()
        self.choose(port, self.request.disks)
        self._check_name(port)
        files = self._made = CalledFiles(self.context.control, port.calls.process)
        images, paths = self.prepare_files()
        for folder in dict.fromkeys(path.parent for path in paths):
            files.check_folder(folder)
        self._works = tuple(
            DiskWork(self.name.job(f"c{number}"), FOLD, disk.node, str(path))
            for number, (disk, path) in enumerate(zip(self.chosen, paths, strict=True))
        )
        # Before the files: so that whoever comes next finds them, whenever we are killed.
        port.plan(self._works)
        for disk, image, path in zip(self.chosen, images, paths, strict=True):
            target = files.make(path, disk.size, disk.node, (str(image), disk.format))
            self.overlays.append((disk, target))

    def start(self) -> None:
        """Have the disks write to the overlays."""
        port = self._known
        overlays = {disk.node: str(target.path) for disk, target in self.overlays}

        def take() -> None:
            try:
                port.calls.take_snapshot(self.wanted.name, overlays, self._said(BEGUN))
            finally:
                self._answered.set()

        self.sent = True
        try:
            port.within(self.window.left_s, take)
        except NotDone:
            self.sent = False
            raise

    def finish(self) -> list[str]:
        """Keep what is known of the snapshot; the manager shows it as well."""
        left = super().finish()
        port, worth = self._known, self.window.consistency
        text = self._said(f"{worth}: {self.window.why}")
        left += port.forget(self._works)
        try:
            port.within(CALL_S, lambda: port.calls.describe_snapshot(self.wanted.name, text))
        except JobFailed as error:
            note = f"{port.calls.manager} does not show what the snapshot is worth: {error}"
            self.context.reporter.note(Level.WARNING, note)
        return left

    def next_step(self) -> str | None:
        """Return None: the manager starts the VM with the overlays."""
        return None

    def undo(self) -> list[str]:
        """Fold back the overlays that are in use, and delete them."""
        if self._called is None or self._made is None:
            return self.forget_records()
        used: list[Disk] = []
        if self.sent:
            # What is pending still may change over yet.
            self._answered.wait(FOUND_OUT_WITHIN_S)
            disks = disks_again(self._called, self.context)
            if disks is None:
                return self.perhaps_used()
            ours = {str(target.path) for _, target in self.overlays}
            used = [one for one in disks if one.file in ours]
        if used:
            left = self._fold_back(self._called, used)
            if left:
                return left
        self.goes_on = None
        return self._called.forget(self._works) + self._made.remove() + self.forget_records()

    def _fold_back(self, port: CalledPort, used: list[Disk]) -> list[str]:
        """Fold back the overlays that are in use; return what is left, each as a clause."""
        unended = self.end_jobs(port)  # those of an earlier try
        if unended:
            return left_to_qemu(self.vm, unended, self.named_overlays())
        nodes = {one.node for one in used}
        works = [one for one in self._works if one.disk in nodes]
        try:
            port.plan(self._works)
            fold_back(port, works)
            port.within(CALL_S, lambda: port.calls.forget_snapshot(self.wanted.name))
        except JobFailed as error:
            unended = self.end_jobs(port)
            return left_to_qemu(self.vm, unended, []) + [
                f"{one}, which the VM writes to, also after its next start ({error})"
                for one in self.named_overlays()
            ]
        text = "the snapshot, which was taken, is folded back: the VM writes to its images again"
        self.context.reporter.note(Level.INFO, text)
        return []

    @property
    def _known(self) -> CalledPort:
        assert self._called is not None, "it was prepared"
        return self._called

    def _check_name(self, port: CalledPort) -> None:
        name = self.wanted.name
        if any(one.name == name for one in port.within(CALL_S, port.calls.snapshots)):
            raise JobRefused(
                JobRefusal.NAME,
                f"the VM has a snapshot {name} already",
                "choose another name, or delete that one: frostwatch snapshot delete "
                f"{quoted(str(self.vm.id))} {name} --external",
            )

    def _said(self, said: str) -> str:
        return _TEXT.format(pid=self.name.process.pid, said=said)
