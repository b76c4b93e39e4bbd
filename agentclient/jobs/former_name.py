"""What a VM's disks record for backups in another folder: those of its former name.

A bitmap's name tells its chain, and a chain is in the folder of the VM's name as it was then. So
the chain of a VM that has another name since is found by the bitmaps of its own disks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agentclient.jobs.archive import Backup, backups_in, folders_in
from agentclient.jobs.chain import PREFIX
from agentclient.jobs.manifest import is_token
from agentclient.protocol.qmp_block import Disk


class FormerHome(NamedTuple):
    """The folder of a VM that has another name since.

    Attributes:
        folder: the folder.
        name: what the VM was called, as far as that is known.
        chains: which of the chains that were looked for are in it.
    """

    folder: Path
    name: str
    chains: frozenset[str]


def recorded_chains(disks: Iterable[Disk]) -> frozenset[str]:
    """Return the chains that disks record for, by their bitmaps' names."""
    names = [one.name for disk in disks for one in disk.bitmaps if one.name.startswith(PREFIX)]
    chains = [name.removeprefix(PREFIX).partition("-")[0] for name in names]
    return frozenset(chain for chain in chains if is_token(chain))


def former_homes(
    folder: Path, home: Path, chains: frozenset[str], uuid: str | None
) -> tuple[FormerHome, ...]:
    """Return the folders beside a VM's own that have chains which its disks record for.

    Args:
        folder: where all copies are.
        home: the VM's own folder there.
        chains: the chains.
        uuid: the VM's UUID; None if it isn't known. The disks of a copied VM record for the chains
            of the one that it was copied from: these are another VM's.
    """
    return tuple(_former(folder, home, chains, uuid))


def _former(
    folder: Path, home: Path, chains: frozenset[str], uuid: str | None
) -> Iterator[FormerHome]:
    try:
        names = folders_in(folder)
    except OSError:
        return
    for name in names:
        if folder / name == home:
            continue
        try:
            copies = backups_in(folder / name)
        except OSError:
            continue
        found = [one for one in copies if _chain(one) in chains]
        known = [one.manifest for one in found if one.manifest is not None]
        uuids = {one.vm.get("uuid") for one in known} - {None}
        if found and (uuid is None or not uuids - {uuid}):
            called = next((one.vm.get("name") for one in reversed(known)), None)
            ours = frozenset(chain for one in found if (chain := _chain(one)) is not None)
            yield FormerHome(folder / name, called or name, ours)


def _chain(backup: Backup) -> str | None:
    known = backup.manifest or backup.begun
    return known.chain if known is not None else None
