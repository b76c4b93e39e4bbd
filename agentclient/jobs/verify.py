"""Checks copies again: their files, checksums and chains; and says what a restore needs.

What is read may come from anybody. Nothing is opened but plain files in the folders of backups,
and no link is followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from agentclient.jobs.archive import Backup, open_file, open_folder, read_backup
from agentclient.jobs.catalogue import find_homes
from agentclient.jobs.checksum import Checksum
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.image_tool import TOOL, check_image, tool
from agentclient.jobs.manifest import SCHEMA, DiskRecord, Manifest
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable
from agentclient.protocol.qcow2 import MOST_BYTES, parse_head

NO_SUM: Final = "no checksum was taken, so that what they hold was not compared"
NO_TOOL: Final = f"{TOOL} is not here: the images' own structure was not checked"
Tick = Callable[[str], object]


class Verified(NamedTuple):
    """What came of checking one backup.

    Attributes:
        folder: its folder.
        ok: it is complete, and all that was written of it is as it was.
        manifest: what its manifest says; None without a good one.
        problems: what is wrong, each as a clause; empty if nothing is.
        notes: what could not be checked, each as a clause.
        needs: the folders that a restore needs, its own first, then what it builds on.
        restore: the commands that make a disk's image of it, one for each disk.
    """

    folder: Path
    ok: bool
    manifest: Manifest | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    needs: tuple[Path, ...]
    restore: tuple[str, ...]


class Verifier:
    """Checks backups; each file is read once, however many build on it.

    Args:
        tick: is called about ten times a second with what is being done, as a clause; what it
            raises ends the checking.
        program: the path of ``qemu-img``; None if there is none.
    """

    def __init__(self, tick: Tick = lambda _: None, program: str | None = None) -> None:
        self._tick = tick
        self._program = program
        self._own: dict[Path, tuple[str, ...]] = {}

    def verify(self, backup: Backup) -> Verified:
        """Check one backup, and those that it builds on."""
        manifest = backup.manifest
        if manifest is None:
            problem = backup.problem or "it has no manifest"
            return Verified(backup.folder, False, None, (problem,), (), (), ())
        chain, problems = self._chain(backup)
        # What a file builds on comes first: the image tool opens that as well.
        above: Manifest | None = None
        for one in reversed(chain):
            where = "" if one is backup else f"{one.folder.name}: "
            found = self._files(one, above, structure=not problems)
            problems += [f"{where}{problem}" for problem in found]
            above = one.manifest
        notes = [] if self._program is not None else [NO_TOOL]
        unread = [disk.file for disk in manifest.disks if disk.sha256 is None]
        if unread:
            notes.append(f"{NO_SUM}: {', '.join(unread)}")
        return Verified(
            folder=backup.folder,
            ok=not problems,
            manifest=manifest,
            problems=tuple(problems),
            notes=tuple(notes),
            needs=tuple(one.folder for one in chain),
            restore=tuple(_restore(backup.folder, manifest)),
        )

    def _chain(self, backup: Backup) -> tuple[list[Backup], list[str]]:
        """Return a backup with all that it builds on, and what is wrong with that."""
        chain = [backup]
        while True:
            manifest = chain[-1].manifest
            assert manifest is not None, "only such ones are in it"
            above = manifest.parent
            if above is None:
                return chain, []
            folder = chain[-1].folder.parent / above.folder
            broken = f"its chain is broken: {above.folder}"
            if any(one.folder.name == above.folder for one in chain):
                return chain, [f"{broken} builds on itself"]
            found = read_backup(folder) if folder.exists() else None
            if found is None:
                return chain, [f"{broken}, on which it builds, is not there"]
            if found.manifest is None:
                return chain, [f"{broken} can't be used: {found.problem}"]
            if found.sha256 != above.manifest_sha256 or found.manifest.id != above.id:
                return chain, [f"{broken} is not what it was: its manifest has changed"]
            problem = _no_base(manifest, found.manifest)
            if problem is not None:
                return chain, [f"{broken} {problem}"]
            chain.append(found)

    def _files(self, backup: Backup, above: Manifest | None, *, structure: bool) -> tuple[str, ...]:
        if backup.folder not in self._own:
            self._own[backup.folder] = tuple(self._check_files(backup, above, structure=structure))
        return self._own[backup.folder]

    def _check_files(
        self, backup: Backup, above: Manifest | None, *, structure: bool
    ) -> Iterator[str]:
        manifest = backup.manifest
        assert manifest is not None, "it was read"
        try:
            folder = open_folder(backup.folder)
        except OSError as error:
            yield f"it can't be opened: {error.strerror}"
            return
        try:
            for disk in manifest.disks:
                backing = _backing(disk, manifest, above)
                problem = self._check_file(backup.folder, folder, disk, backing)
                if problem is None and structure and self._program and disk.is_qcow2:
                    problem = self._check_structure(self._program, backup.folder, disk)
                if problem is not None:
                    yield f"{disk.file}: {problem}"
        finally:
            os.close(folder)

    def _check_file(
        self, path: Path, folder: int, disk: DiskRecord, backing: str | None
    ) -> str | None:
        self._tick(f"checking {path.name}/{disk.file}")
        try:
            handle = open_file(folder, disk.file)
        except OSError as error:
            return f"it can't be opened: {error.strerror}"
        try:
            length = os.fstat(handle).st_size
            head = parse_head(os.pread(handle, MOST_BYTES, 0)) if disk.is_qcow2 else None
        except OSError as error:
            os.close(handle)
            return f"it can't be read: {error.strerror}"
        problem = _unlike(disk, length)
        if problem is None and head is None and disk.is_qcow2:
            problem = "it is no qcow2 image"
        if problem is None and head is not None:
            problem = _leads(head.backing, backing, external=head.external_data)
            if problem is None and head.size != disk.size:
                problem = "the size of its disk is not that of the manifest"
        if problem is None and not disk.is_qcow2 and length != disk.size:
            problem = "its length is not the size of its disk"
        if problem is not None or disk.sha256 is None:
            os.close(handle)
            return problem
        try:
            doing = f"reading {path.name}/{disk.file}"
            digest = Checksum(handle).run(lambda done: self._tick(f"{doing}, {done:,} bytes"))
        except JobFailed as error:
            return error.reason
        if digest != disk.sha256:
            return "its checksum is not that of the manifest: it has changed"
        return None

    def _check_structure(self, program: str, folder: Path, disk: DiskRecord) -> str | None:
        doing = f"having {TOOL} check {folder.name}/{disk.file}"
        return check_image(program, folder, disk.file, lambda: self._tick(doing))


def verify_folder(folder: Path, tick: Tick = lambda _: None) -> Iterator[Verified]:
    """Check the copy that a folder is, or all in it; a folder that can't be read is not well.

    Args:
        folder: the folder.
        tick: see `Verifier`.

    Raises:
        BadInput: there is none.
    """
    verifier = Verifier(tick, tool())
    for home in find_homes(folder):
        if home.problem is not None:
            why = f"it can't be read: {home.problem}"
            yield Verified(home.folder, False, None, (why,), (), (), ())
        for one in home.copies:
            yield verifier.verify(one.backup)


def verified_object(one: Verified) -> dict[str, Any]:
    """Return a line of ``frostwatch backup verify --json``."""
    manifest = one.manifest
    return {
        "schema": SCHEMA,
        "backup": str(one.folder),
        "ok": one.ok,
        "id": manifest.id if manifest is not None else None,
        "kind": manifest.word if manifest is not None else None,
        "mode": manifest.mode if manifest is not None else None,
        "vm": dict(manifest.vm) if manifest is not None else None,
        "consistency": manifest.consistency.value if manifest is not None else "none",
        "certified": manifest.certified if manifest is not None else False,
        "taken": manifest.times.get("taken") if manifest is not None else None,
        "problems": list(one.problems),
        "notes": list(one.notes),
        "needs": [str(folder) for folder in one.needs],
        "restore": list(one.restore) if one.ok else [],
    }


def _restore(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Return the commands that make whole images of a backup; those behind it are read as well."""
    for disk in manifest.disks:
        source = quoted(str(folder / disk.file))
        formats = f"-f {disk.format} -O {disk.format}"
        yield f"qemu-img convert -p {formats} {source} RESTORED/{disk.file}"


def _no_base(manifest: Manifest, above: Manifest) -> str | None:
    if above.chain != manifest.chain:
        return "is of another chain"
    for disk in manifest.disks:
        base = above.disk(disk.name)
        if base is None or base.size != disk.size:
            return f"has no copy of the disk {printable(disk.name, 60)} of this size"
    return None


def _unlike(disk: DiskRecord, length: int) -> str | None:
    if length != disk.bytes:
        return f"it has {length:,} bytes, and the manifest says {disk.bytes:,}"
    return None


def _backing(disk: DiskRecord, manifest: Manifest, above: Manifest | None) -> str | None:
    """Return the name of the one file that a disk's may lead to; None for none.

    It ends in a slash where no file of the folder is known to be the disk's.
    """
    if manifest.parent is None:
        return None
    base = above.disk(disk.name) if above is not None else None
    return f"../{manifest.parent.folder}/{base.file if base is not None else ''}"


def _leads(backing: str | None, expected: str | None, *, external: bool) -> str | None:
    """Say where an image leads that it should not; None if it doesn't."""
    if external:
        return "its data are in another file"
    if expected is None:
        return None if backing is None else f"it builds on {printable(backing, 200)}"
    if backing is None:
        return "it builds on nothing, and should"
    name = backing.removeprefix(expected) if expected.endswith("/") else ""
    if backing != f"{expected}{name}" or "/" in name:
        what = "the file of this disk in the backup before it"
        return f"it builds on {printable(backing, 200)}, not on {what}"
    return None
