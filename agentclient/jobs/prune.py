"""Deletes old copies: what nothing builds on that is kept, and nothing that can't be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.jobs.archive import BEGUN as BEGUN_FILE
from agentclient.jobs.archive import begun_at, open_folder, read_backup
from agentclient.jobs.catalogue import Home, Listed, find_homes, taken_at
from agentclient.jobs.manifest import BACKUP, NAME, Manifest
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.text import printable

NEWEST: Final = "one of the newest"
BUILT_ON: Final = "what is kept builds on it"
RECORDS: Final = "its disks record since then: the next incremental backup builds on it"
BEGUN: Final = "a copy that runs, or was never completed, may build on it"
UNREAD: Final = "a copy beside it can't be read, and may build on it"
GAP: Final = "a broken copy of its chain may build on it: what is between them is not there"
TO_COME: Final = "by its time it was taken later than now: a clock is wrong, or was"
LATER: Final = "which copies are the newest is not known: one has a time that is to come"
_EARLY: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Hosts that share a folder.
_CLOCKS_DIFFER: Final = timedelta(minutes=10)


class PruneAction(StrEnum):
    """What was done with a copy."""

    KEPT = "kept"
    DELETED = "deleted"
    WOULD_DELETE = "would-delete"
    LEFT = "left"  # it would have been deleted, or counted, if nothing were wrong


class NotDeleted(FrostwatchError):
    """A copy can't be deleted; the text is one clause for a person."""


class Decision(NamedTuple):
    """What is to become of one copy.

    Attributes:
        copy: the copy.
        delete: it is to be deleted.
        why: why not, as a clause; empty if it is.
        well: it is kept as one is that nothing is wrong with.
    """

    copy: Listed
    delete: bool
    why: str = ""
    well: bool = True


def homes_to_prune(folder: Path) -> list[Home]:
    """Return the folders whose copies are to be looked at, each with all copies of its VM.

    Raises:
        BadInput: it is no folder, can't be read, has no copy, or is the folder of one alone.
    """
    homes = find_homes(folder)
    if [home.folder for home in homes] == [folder.resolve().parent]:
        raise BadInput(
            f"{printable(folder, 300)} is the folder of one copy: name its VM's folder, or that of "
            "all VMs"
        )
    return homes


def decide(home: Home, keep: int) -> list[Decision]:
    """Return what is to become of each copy of one VM, in the order in which they are deleted.

    Args:
        home: its folder.
        keep: how many complete copies stay, the newest.
    """
    wrong = {one.backup.folder: one.problem or "" for one in home.copies if not one.complete}
    copies = {one.backup.folder: one for one in home.copies}
    ages = _ages(copies)
    whole = [one for one in home.copies if one.complete]
    whole.sort(key=lambda one: ages[one.backup.folder], reverse=True)
    to_come = [one for one in whole if ages[one.backup.folder][0] > _now() + _CLOCKS_DIFFER]
    kept = {one.backup.folder: NEWEST for one in whole[:keep]}
    kept |= {one.backup.folder: TO_COME for one in to_come}
    for one, why in _further(copies, whole, any_to_come=bool(to_come)):
        kept.setdefault(one.backup.folder, why)
    for folder in _below([*kept, *wrong], copies):
        kept.setdefault(folder, BUILT_ON)
    ordered = [*whole, *(one for one in home.copies if not one.complete)]
    return [_decision(one, kept, wrong) for one in ordered]


def _further(
    copies: Mapping[Path, Listed], whole: Sequence[Listed], *, any_to_come: bool
) -> Iterator[tuple[Listed, str]]:
    """Return which complete copies stay though they are not the newest, and why.

    Args:
        copies: all copies of one VM, by their folders.
        whole: the complete ones, the newest first.
        any_to_come: one of them has a time that is to come.
    """
    recorded = next((one for one in whole if _records(one.backup.manifest)), None)
    if recorded is not None:
        yield recorded, RECORDS
    begun = {one.backup.begun.chain for one in copies.values() if one.backup.begun is not None}
    gaps = _chains_with_gaps(copies)
    unread = any(one.backup.unreadable for one in copies.values())
    for one in whole:
        chain = one.backup.manifest.chain if one.backup.manifest is not None else ""
        if chain in begun:
            yield one, BEGUN
        if unread:
            yield one, UNREAD
        if any_to_come:
            yield one, LATER
        if chain in gaps:
            yield one, GAP


def delete(copy: Listed) -> None:
    """Delete a complete copy; from the first moment on it is not complete any more.

    Raises:
        NotDeleted: it is not what it was, its folder has something else, or it can't be deleted.
    """
    folder = copy.backup.folder
    now = read_backup(folder)
    if now is None or now.manifest is None or now.sha256 != copy.backup.sha256:
        raise NotDeleted("it is not what it was a moment ago")
    names = [NAME, *(disk.file for disk in now.manifest.disks)]
    try:
        handle = open_folder(folder)
        try:
            with os.scandir(handle) as entries:
                found = {one.name for one in entries}
            # It is left where frostwatch was killed just after it had written the manifest.
            names += [BEGUN_FILE] if BEGUN_FILE in found else []
            others = sorted(found - set(names))
            if others:
                raise NotDeleted(f"its folder has something else: {printable(others[0], 200)}")
            for name in names:
                os.unlink(name, dir_fd=handle)
        finally:
            os.close(handle)
        folder.rmdir()
    except OSError as error:
        raise NotDeleted(f"it can't be deleted: {error.strerror}") from error


def _decision(one: Listed, kept: dict[Path, str], wrong: dict[Path, str]) -> Decision:
    folder = one.backup.folder
    if folder in wrong:
        return Decision(one, delete=False, why=wrong[folder], well=False)
    if folder in kept:
        well = kept[folder] not in (UNREAD, LATER, TO_COME)
        return Decision(one, delete=False, why=kept[folder], well=well)
    return Decision(one, delete=True)


def _below(folders: Iterable[Path], copies: dict[Path, Listed]) -> set[Path]:
    """Return all that some copies build on, as far as it is there."""
    found: set[Path] = set()
    rest = list(folders)
    while rest:
        copy = copies.get(rest.pop())
        manifest = copy.backup.manifest if copy is not None else None
        if copy is None or manifest is None or manifest.parent is None:
            continue
        below = copy.backup.folder.parent / manifest.parent.folder
        if below not in found:
            found.add(below)
            rest.append(below)
    return found


def _chains_with_gaps(copies: Mapping[Path, Listed]) -> set[str]:
    """Return the chains of which a copy builds on one that is not there, or can't be read.

    What that one builds on is not known then; it may come back.
    """
    found = set()
    for one in copies.values():
        manifest = one.backup.manifest
        if manifest is None or manifest.parent is None:
            continue
        below = copies.get(one.backup.folder.parent / manifest.parent.folder)
        if below is None or below.backup.manifest is None:
            found.add(manifest.chain)
    return found


def _records(manifest: Manifest | None) -> bool:
    if manifest is None or manifest.kind != BACKUP:
        return False
    return any(disk.bitmap is not None for disk in manifest.disks)


def _now() -> datetime:
    return datetime.now(UTC)


def _ages(copies: Mapping[Path, Listed]) -> dict[Path, tuple[datetime, int, str]]:
    """Return what sorts copies by their age: when they were taken, and how they are called.

    None is older than what it builds on, whatever a clock that was set back has said.
    """
    found = {}
    for folder, one in copies.items():
        below = [one, *(copies[each] for each in one.needs[1:] if each in copies)]
        found[folder] = max(map(_taken, below)), len(below), folder.name
    return found


def _taken(one: Listed) -> datetime:
    manifest = one.backup.manifest
    at = taken_at(manifest) if manifest is not None else None
    return at or begun_at(one.backup.folder) or _EARLY
