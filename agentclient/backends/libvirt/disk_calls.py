"""The calls about the disks of one start of a domain (see `DiskCalls`); each of them blocks.

Never ``QUIESCE``: the freeze is ours, and libvirt's own has no bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from agentclient.access.call_session import AgentGone
from agentclient.access.disk_calls import (
    BACKUP,
    DisksEnded,
    DisksRefused,
    DisksSeen,
    DisksSilent,
    DiskWork,
    KeptSnapshot,
)
from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.connections import Connections
from agentclient.backends.libvirt.copy_marks import PREFIX, CopyMarks, marks_in, stem_of
from agentclient.backends.libvirt.copy_xml import (
    backup_xml,
    checkpoint_xml,
    snapshot_of,
    snapshot_xml,
    with_description,
)
from agentclient.backends.libvirt.disk_questions import checkpoints_of, figures_of, told_of
from agentclient.backends.libvirt.domain_disks import (
    PASSED_THROUGH,
    disks_in,
    parsed,
    passed_through,
    target_of,
)
from agentclient.backends.libvirt.domain_jobs import backed_up, jobs_of
from agentclient.backends.libvirt.error_codes import Trouble, trouble_of
from agentclient.backends.libvirt.generation import number_of, process_of_start
from agentclient.model.text import printable
from agentclient.model.vm import Process
from agentclient.protocol.job_names import JobId
from agentclient.protocol.qmp_block import Disk

T = TypeVar("T")

_NO_LIMIT: Final = (
    "it has let that wait for half a minute, and refused it, as libvirt 11.3 does with every limit "
    "of a backup that runs"
)
_METADATA, _LIVE = 2, 1
_BYTES: Final = 1
_REUSE: Final = 1  # virDomainBackupBeginFlags
_DISK_ONLY, _ATOMIC, _REUSE_EXTERNAL, _REDEFINE, _CURRENT = 16, 128, 32, 1, 2
_METADATA_ONLY: Final = 2
_SHALLOW, _ACTIVE, _IN_BYTES = 1, 4, 16  # virDomainBlockCommitFlags
_NO_WAIT_FOR_IT, _PIVOT = 1, 2  # virDomainBlockJobAbortFlags
_PAUSED, _IO_ERROR, _RUNNING = 3, 5, 1


class LibvirtDisks:
    """The calls about the disks of one start of a domain.

    Args:
        connections: leads to its daemon.
        uuid: the domain's.
        generation: which start of it.
    """

    manager = "libvirt"

    def __init__(self, connections: Connections, uuid: str, generation: str) -> None:
        self._connections = connections
        self._uuid = uuid
        self._generation = generation

    @property
    def process(self) -> Process | None:
        """The domain's QEMU, as far as its daemon's folder shows it."""
        with suppress(ValueError):
            pid, ticks = map(int, process_of_start(self._generation).split("."))
            return Process(pid, ticks)
        return None

    # -- what is seen ----------------------------------------------------------------------------

    def disks(self) -> tuple[Disk, ...]:
        """Return the disks, with their checkpoints as bitmaps."""

        def ask(domain: Any, connection: Any, binding: Binding) -> tuple[Disk, ...]:
            root = parsed(domain.XMLDesc())
            return disks_in(root, figures_of(connection, domain), checkpoints_of(domain, binding))

        return self._call(ask)

    def look(self) -> DisksSeen:
        """Return the disks, the jobs, and what copies say of themselves."""

        def ask(domain: Any, connection: Any, binding: Binding) -> DisksSeen:
            root = parsed(domain.XMLDesc())
            marks = marks_in(root).values()
            works = [work for one in marks for work in one.works]
            # Sizes tell how far a copy is. They take long, and the look in the window needs none.
            figures = figures_of(connection, domain) if any(one.began for one in works) else {}
            disks = disks_in(root, figures)
            told = told_of(domain, binding, root, disks, works)
            nodes = {name: file for one in marks for name, file in one.nodes().items()}
            return DisksSeen(disks, jobs_of(told, disks, works), nodes)

        return self._call(ask)

    def passed_through(self, node: str) -> str | None:
        """Return by what a disk is passed through; None if it is not."""
        found = self._call(lambda domain, _, __: passed_through(parsed(domain.XMLDesc())))
        return PASSED_THROUGH if node in found else None

    def status(self) -> str:
        """Return the domain's state in QEMU's word."""
        state, reason = self._call(lambda domain, _, __: domain.state(0))[:2]
        if state == _PAUSED:
            return "io-error" if reason == _IO_ERROR else "paused"
        return "running" if state == _RUNNING else "shutdown"

    def version(self) -> str | None:
        """Return the versions of QEMU and of libvirt."""

        def ask(_domain: Any, connection: Any, _binding: Binding) -> str:
            libvirts = _number(connection.getLibVersion())
            return f"{_number(connection.getVersion())} (libvirt {libvirts})"

        return self._call(ask)

    # -- what copies say of themselves -----------------------------------------------------------

    def mark(self, node: str) -> None:
        """Say that a copy is there."""
        part = node.removeprefix(f"{stem_of(node)}-")
        self._change(stem_of(node), lambda one: one._replace(parts=_with(one.parts, part)))

    def unmark(self, node: str) -> None:
        """Say so no more."""
        part = node.removeprefix(f"{stem_of(node)}-")
        self._change(stem_of(node), lambda one: one._replace(parts=_without(one.parts, part)))

    def plan(self, works: Sequence[DiskWork]) -> None:
        """Say what a copy does."""
        if works:
            stem = _stem(works[0].job)
            self._change(stem, lambda one: one._replace(works=tuple(works)))

    def forget(self, job_id: str) -> None:
        """Say no more that a copy does this."""

        def change(one: CopyMarks) -> CopyMarks:
            return one._replace(works=tuple(work for work in one.works if work.job != job_id))

        self._change(_stem(job_id), change)

    def forget_copy(self, node: str) -> None:
        """Say nothing more of a copy."""
        self._change(stem_of(node), lambda one: CopyMarks(one.copy))

    # -- jobs ------------------------------------------------------------------------------------

    def set_speed(self, job_id: str, limit: int) -> None:
        """Limit a job."""

        def ask(domain: Any, _connection: Any, binding: Binding) -> None:
            work = _planned(domain, job_id)
            try:
                domain.blockJobSetSpeed(work.disk, limit, _BYTES)
            except binding.libvirt.libvirtError as error:
                busy = trouble_of(error.get_error_code(), connected=True) is Trouble.BUSY
                if busy and work.type == BACKUP:
                    raise DisksSilent(_NO_LIMIT) from error
                raise

        self._call(ask)

    def end(self, job_id: str) -> None:
        """Cancel a job; of a backup, those of all its disks."""

        def ask(domain: Any, _connection: Any, binding: Binding) -> None:
            work = _planned(domain, job_id)
            if work.type == BACKUP:
                _abort(domain, binding, [work])
            else:
                domain.blockJobAbort(work.disk, _NO_WAIT_FOR_IT)

        self._call(ask)

    def resume(self) -> None:
        """Let the domain go on."""
        self._call(lambda domain, _, __: domain.resume())

    def begin_backup(
        self, works: Sequence[DiskWork], *, since: str | None, record: str | None
    ) -> None:
        """Begin a backup in push mode."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            targets = [one.disk for one in works]
            others = _others(domain, targets)
            checkpoint = None if record is None else checkpoint_xml(record, targets, others)
            domain.backupBegin(backup_xml(works, others, since), checkpoint, _REUSE)

        self._call(ask)

    def abort_backup(self, works: Sequence[DiskWork]) -> None:
        """Cancel a backup that writes to these files."""
        self._call(lambda domain, _, binding: _abort(domain, binding, works))

    def remove_record(self, name: str) -> None:
        """Delete a checkpoint."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            for one in domain.listAllCheckpoints(0):
                if one.getName() == name:
                    one.delete(0)

        self._call(ask)

    # -- snapshots -------------------------------------------------------------------------------

    def snapshots(self) -> tuple[KeptSnapshot, ...]:
        """Return the snapshots that libvirt knows of."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> tuple[KeptSnapshot, ...]:
            return tuple(
                snapshot_of(parsed(one.getXMLDesc(0)), children=bool(one.numChildren(0)))
                for one in domain.listAllSnapshots(0)
            )

        return self._call(ask)

    def take_snapshot(self, name: str, overlays: Mapping[str, str], text: str) -> None:
        """Take an external snapshot of disks alone, at one moment or not at all."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            xml = snapshot_xml(name, overlays, _others(domain, overlays), text)
            domain.snapshotCreateXML(xml, _DISK_ONLY | _ATOMIC | _REUSE_EXTERNAL)

        self._call(ask)

    def describe_snapshot(self, name: str, text: str) -> None:
        """Change a snapshot's description."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            found = domain.snapshotLookupByName(name, 0)
            xml = with_description(parsed(found.getXMLDesc(0)), text)
            domain.snapshotCreateXML(xml, _REDEFINE | (_CURRENT if found.isCurrent(0) else 0))

        self._call(ask)

    def forget_snapshot(self, name: str) -> None:
        """Have libvirt forget a snapshot."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            for one in domain.listAllSnapshots(0):
                if one.getName() == name:
                    one.delete(_METADATA_ONLY)

        self._call(ask)

    def fold(self, work: DiskWork, limit: int) -> None:
        """Begin to write an overlay's content into the image behind it."""
        flags = _ACTIVE | _SHALLOW | _IN_BYTES
        self._call(lambda domain, _, __: domain.blockCommit(work.disk, None, None, limit, flags))

    def change_over(self, work: DiskWork) -> None:
        """Have the disk write to the image behind."""
        self._call(lambda domain, _, __: domain.blockJobAbort(work.disk, _PIVOT))

    # -- helpers ---------------------------------------------------------------------------------

    def _change(self, copy: str, change: Callable[[CopyMarks], CopyMarks]) -> None:
        """Change what a copy says of itself; nobody else does."""

        def ask(domain: Any, _connection: Any, _binding: Binding) -> None:
            before = marks_in(parsed(domain.XMLDesc())).get(copy, CopyMarks(copy))
            after = change(before)
            if after != before:
                domain.setMetadata(_METADATA, after.xml(), PREFIX, after.space, _LIVE)

        self._call(ask)

    def _call(self, ask: Callable[[Any, Any, Binding], T]) -> T:
        """Ask libvirt about the domain.

        Raises:
            DisksSilent: there is no answer.
            DisksRefused: the answer is an error.
        """
        try:
            with self._connections.one() as (connection, binding):
                try:
                    domain = connection.lookupByUUIDString(self._uuid)
                    if domain.ID() != number_of(self._generation):
                        raise DisksEnded("the domain has ended, or was started anew")
                    return ask(domain, connection, binding)
                except binding.libvirt.libvirtError as error:
                    raise _meaning(error, connection, binding) from error
                except ValueError as error:
                    raise DisksRefused(str(error)) from error
        except AgentGone as error:
            raise DisksSilent(str(error)) from error


def _meaning(error: Any, connection: Any, binding: Binding) -> Exception:
    said = printable(error, 300)
    try:
        connected = bool(connection.isAlive())
    except binding.libvirt.libvirtError:
        connected = False
    if not connected:
        return DisksSilent(f"libvirt's daemon has gone: {said}")
    trouble = trouble_of(error.get_error_code(), connected=True)
    if trouble is Trouble.DOMAIN:
        return DisksEnded("the domain has ended")
    if trouble is Trouble.BUSY:
        return DisksSilent(f"libvirt runs another caller's command: {said}")
    return DisksRefused(said)


def _abort(domain: Any, binding: Binding, works: Sequence[DiskWork]) -> None:
    """Cancel the backup that runs, if it writes to these files: another's is left alone."""
    try:
        written = backed_up(parsed(domain.backupGetXMLDesc(0)))
    except binding.libvirt.libvirtError:  # there is none
        return
    if any(written.get(one.disk) == one.file for one in works):
        domain.abortJob()


def _others(domain: Any, targets: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Return the targets of all other disks: libvirt would take them as well."""
    found = parsed(domain.XMLDesc()).iterfind("devices/disk")
    return [name for one in found if (name := target_of(one)) and name not in targets]


def _planned(domain: Any, job_id: str) -> DiskWork:
    """Return a work that was planned.

    Raises:
        DisksRefused: it is not known.
    """
    for one in marks_in(parsed(domain.XMLDesc())).values():
        for work in one.works:
            if work.job == job_id:
                return work
    raise DisksRefused(f"no copy has planned {printable(job_id, 80)}")


def _stem(job_id: str) -> str:
    name = JobId.parse(job_id)
    if name is None:
        raise DisksRefused(f"{printable(job_id, 80)} is no copy's")
    return stem_of(name.node(""))


def _with(parts: tuple[str, ...], part: str) -> tuple[str, ...]:
    return parts if part in parts else (*parts, part)


def _without(parts: tuple[str, ...], part: str) -> tuple[str, ...]:
    return tuple(one for one in parts if one != part)


def _number(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
