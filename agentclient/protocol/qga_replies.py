"""What an agent's answers mean, whatever types the guest chose. Pure: JSON values in, facts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentclient.model.outcome import FileSystem
from agentclient.model.states import FreezeState
from agentclient.model.text import printable

_MOST_FILE_SYSTEMS: Final = 4096
_MOST_DISKS: Final = 4096
_MOST_COUNTED: Final = 2**31 - 1  # an agent counts in an int of C
# A path on Linux has up to 4,096 bytes, but lists of such paths would fill the memory.
_LONGEST_PATH: Final = 1024
_LONGEST_NAME: Final = 240


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """What ``guest-info`` says.

    Attributes:
        version: the agent's version, safe to show.
        enabled: the commands that may be called now.
        known: all commands that the agent has.
    """

    version: str
    enabled: frozenset[str]
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class FileSystemList:
    """What ``guest-get-fsinfo`` says.

    Attributes:
        file_systems: the entries that can be read, safe to show, in the agent's order.
        devices: the devices and disks that they are on, as ``guest-get-disks`` names them.
        addresses: one for each disk that they are on.
        problem: why the list may not be whole; None if it is.
    """

    file_systems: tuple[FileSystem, ...]
    devices: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """An entry of ``guest-get-disks``.

    Attributes:
        name: its device in the guest, as the guest names it.
        partition: whether it is a part of another disk.
        dependencies: the names of what it is made of: a partition's disk, a volume's members.
    """

    name: str
    partition: bool
    dependencies: tuple[str, ...]


def agent_info(value: object) -> AgentInfo | None:
    """Read the answer of ``guest-info``; None if it is none."""
    if not isinstance(value, dict):
        return None
    listed = value.get("supported_commands")
    items = listed if isinstance(listed, list) else []
    commands = [item for item in items if isinstance(item, dict)]
    names = [(item.get("name"), item.get("enabled")) for item in commands]
    return AgentInfo(
        printable(value.get("version", "unknown"), 40),
        frozenset(name for name, enabled in names if isinstance(name, str) and enabled is True),
        frozenset(name for name, _ in names if isinstance(name, str)),
    )


def file_systems(value: object) -> FileSystemList | None:
    """Read the answer of ``guest-get-fsinfo``; None if it is none."""
    if not isinstance(value, list):
        return None
    items = value[:_MOST_FILE_SYSTEMS]
    read = [one for item in items if (one := _file_system(item)) is not None]
    problem = None
    if len(value) > _MOST_FILE_SYSTEMS:
        problem = f"its list has {len(value)} entries, more than {_MOST_FILE_SYSTEMS}"
    elif len(read) < len(items):
        problem = f"{len(items) - len(read)} of the {len(items)} entries of its list can't be read"
    members = [member for item in items for member in _members(item)]
    devices = {f"/dev/{one.device}" for one in read}
    devices |= {str(member["dev"]) for member in members if "dev" in member}
    addresses = frozenset(_address(member) for member in members)
    return FileSystemList(tuple(read), frozenset(devices), addresses, problem)


def disks(value: object) -> tuple[Disk, ...] | None:
    """Read the answer of ``guest-get-disks``; None if it is none, or can't be read in full."""
    if not isinstance(value, list) or len(value) > _MOST_DISKS:
        return None
    read = [_disk(item) for item in value]
    return None if None in read else tuple(one for one in read if one is not None)


def file_systems_counted(value: object) -> int | None:
    """Return how many file systems were frozen or thawed; None if no agent counts like that."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_COUNTED else None


def freeze_state(value: object) -> FreezeState | None:
    """Read the answer of ``guest-fsfreeze-status``; None for anything else that a guest may say."""
    known = (FreezeState.FROZEN, FreezeState.THAWED)
    return FreezeState(value) if isinstance(value, str) and value in known else None


def _file_system(item: object) -> FileSystem | None:
    """Read an entry; None if it does not name a device, a mount point and a kind."""
    entry = item if isinstance(item, dict) else {}
    device, mountpoint, kind = (entry.get(key) for key in ("name", "mountpoint", "type"))
    if not (isinstance(device, str) and isinstance(mountpoint, str) and isinstance(kind, str)):
        return None
    if not device or len(device) > _LONGEST_NAME or len(mountpoint) > _LONGEST_PATH:
        return None  # cut, two of them could look like one
    return FileSystem(
        device=printable(device), mountpoint=printable(mountpoint, 4096), kind=printable(kind, 40)
    )


def _members(item: object) -> list[dict[str, object]]:
    """Return the disks that an entry's file system is on."""
    entry = item if isinstance(item, dict) else {}
    listed = entry.get("disk")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _address(member: Mapping[str, object]) -> str:
    """Return where a disk is plugged in; a partition is where its disk is."""
    return printable([member.get(key) for key in ("pci-controller", "bus", "target", "unit")])


def _disk(item: object) -> Disk | None:
    entry = item if isinstance(item, dict) else {}
    name, depends = entry.get("name"), entry.get("dependencies", [])
    if not isinstance(name, str) or not isinstance(depends, list):
        return None
    members = tuple(one for one in depends if isinstance(one, str))
    return Disk(name, entry.get("partition") is True, members)
