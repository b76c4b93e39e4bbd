"""Which copies are below a folder, and what each is worth; no image is read for it.

What is read may come from anybody: see `agentclient.jobs.archive`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from agentclient.jobs.archive import Backup, backups_in, folders_in, read_backup
from agentclient.jobs.chain import chain_of
from agentclient.jobs.manifest import SCHEMA, Manifest
from agentclient.model.errors import BadInput
from agentclient.model.text import printable


class Listed(NamedTuple):
    """One copy: a backup, or a mirror.

    Attributes:
        backup: what its folder says.
        problem: why nothing whole can be made of it, as a clause; None if nothing speaks against
            it. Files are there and have their lengths; what they hold was not read.
        needs: the folders that a restore needs: its own first, then what it builds on.
    """

    backup: Backup
    problem: str | None
    needs: tuple[Path, ...]

    @property
    def complete(self) -> bool:
        """Whether it is complete, and all that it builds on as well, as far as is seen."""
        return self.problem is None

    @property
    def vm(self) -> str:
        """The name of its VM; that of the folder above it where no manifest tells it."""
        manifest = self.backup.manifest
        name = manifest.vm.get("name") if manifest is not None else None
        return name or self.backup.folder.parent.name

    @property
    def bytes(self) -> int:
        """What its files take, by their lengths."""
        manifest = self.backup.manifest
        return sum(disk.bytes for disk in manifest.disks) if manifest is not None else 0


class Home(NamedTuple):
    """A folder of which each copy of a VM has a folder.

    Attributes:
        folder: the folder.
        copies: the copies in it, oldest first.
        problem: why it can't be read, as a clause; None if it can.
    """

    folder: Path
    copies: tuple[Listed, ...] = ()
    problem: str | None = None


def look(folder: Path) -> list[Home]:
    """Return what is in a folder of copies, in a VM's folder there, or in the one of a copy.

    Args:
        folder: the folder.

    Returns:
        The folders that have copies, and those that can't be read.

    Raises:
        BadInput: it is no folder, or can't be read.
    """
    shown = printable(folder, 300)
    try:
        if not folder.is_dir():
            raise BadInput(f"{shown} is no folder")
        folder = folder.resolve()
        own = read_backup(folder)
        names = folders_in(folder) if own is None or own.manifest is None else []
        if own is not None and not names:
            beside = _listed(backups_in(folder.parent))
            found = tuple(one for one in beside if one.backup.folder == folder)
            return [Home(folder.parent, found or tuple(_listed([own])))]
        here = backups_in(folder)
    except OSError as error:
        raise BadInput(f"{shown} can't be read: {error.strerror}") from None
    homes = [Home(folder, tuple(_listed(here)))] if here else []
    known = {one.folder.name for one in here}
    homes += [_home(folder / name) for name in names if name not in known]
    return [home for home in homes if home.copies or home.problem]


def find_homes(folder: Path) -> list[Home]:
    """Return the same as `look`; there has to be one.

    Raises:
        BadInput: it is no folder, can't be read, or there is no copy in it.
    """
    homes = look(folder)
    if not homes:
        raise BadInput(no_copy(folder))
    return homes


def no_copy(folder: Path) -> str:
    """Return the sentence for a folder without copies."""
    return f"there is no backup in {printable(folder, 300)}, and no mirror"


def listed_object(one: Listed) -> dict[str, Any]:
    """Return a line of ``frostwatch backup list --json``."""
    backup, manifest = one.backup, one.backup.manifest
    begun = backup.begun
    known = manifest or begun
    return {
        "schema": SCHEMA,
        "backup": str(backup.folder),
        "complete": one.complete,
        "problem": one.problem,
        "id": known.id if known is not None else None,
        "chain": known.chain if known is not None else None,
        "kind": known.word if known is not None else None,
        "mode": manifest.mode if manifest is not None else None,
        "vm": dict(manifest.vm) if manifest is not None else None,
        "taken": manifest.times.get("taken") if manifest is not None else None,
        "consistency": manifest.consistency.value if one.complete and manifest else "none",
        "certified": manifest.certified if manifest is not None else False,
        "disks": [disk.name for disk in manifest.disks] if manifest is not None else [],
        "bytes": one.bytes,
        "needs": [str(folder) for folder in one.needs],
    }


def taken_at(manifest: Manifest) -> datetime | None:
    """Return when a copy was taken, in the local time zone; None if that can't be read."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(manifest.times.get("taken") or "").astimezone()
    return None


def _home(folder: Path) -> Home:
    try:
        return Home(folder, tuple(_listed(backups_in(folder))))
    except OSError as error:
        return Home(folder, problem=error.strerror or str(error))


def _listed(backups: Sequence[Backup]) -> Iterator[Listed]:
    complete = {one.folder.name: one for one in backups if one.manifest is not None}
    seen: dict[Path, str | None] = {}
    for backup in backups:
        if backup.manifest is None:
            yield Listed(backup, backup.problem or "it has no manifest", ())
            continue
        chain, problem = chain_of(backup, complete, seen)
        yield Listed(backup, problem, tuple(one.folder for one in chain))
