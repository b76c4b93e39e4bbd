"""The guests of a drill: plausible names, and a fixed mix of troubles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agentclient.backends.drill.copy_troubles import CopyTrouble
from agentclient.backends.drill.size import DEFAULT_GUESTS
from agentclient.backends.drill.troubles import HOSTILE_WORDS, OF_OTHERS, PLAYED, Trouble
from agentclient.model.outcome import FileSystem

# In a large fleet, one of so many guests has a given trouble, and at least one guest has it.
ONE_OF_EACH_IN: Final = 100

_ROOT = FileSystem("vda1", "/", "ext4")
_EFI = FileSystem("vda15", "/boot/efi", "vfat")
_DB = "db"


@dataclass(frozen=True, slots=True)
class _Role:
    """The common properties of guests of one kind.

    Attributes:
        data: their file system beside ``/``.
        load: bytes that they write per second.
        version: the version of their agent.
    """

    data: FileSystem
    load: float
    version: str


_ROLES: Final[Mapping[str, _Role]] = {
    _DB: _Role(FileSystem("vdb1", "/var/lib/postgresql", "xfs"), 48e3, "8.2.2"),
    "web": _Role(FileSystem("vdb1", "/srv/www", "ext4"), 4e3, "7.2.19"),
    "mail": _Role(FileSystem("vdb1", "/var/mail", "ext4"), 16e3, "7.2.19"),
    "app": _Role(FileSystem("vdb1", "/opt", "ext4"), 2e3, "9.2.0"),
    "files": _Role(FileSystem("vdb1", "/srv/files", "xfs"), 24e3, "8.2.2"),
    "git": _Role(FileSystem("vdb1", "/srv/git", "ext4"), 8e3, "7.2.19"),
    "dns": _Role(FileSystem("vdb1", "/var/cache/bind", "ext4"), 0.0, "5.2.0"),
    "ci": _Role(FileSystem("vdb1", "/var/lib/runner", "btrfs"), 64e3, "9.2.0"),
}


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """One guest of a drill.

    Attributes:
        name: the VM's name.
        trouble: what happens to its freezes.
        file_systems: its mounted file systems, in the order of mounting.
        version: its agent's version.
        load: bytes that it writes per second while it is not frozen.
        copies: what happens to copies of its disks.
        strikes: at how many freezes the trouble strikes; None for each.
        begins_s: when others come for the first time, in seconds.
    """

    name: str
    trouble: Trouble = Trouble.FAST
    file_systems: tuple[FileSystem, ...] = (_ROOT, _ROLES[_DB].data)
    version: str = "8.2.2"
    load: float = 0.0
    copies: CopyTrouble = CopyTrouble.NONE
    strikes: int | None = None
    begins_s: float = 0.0

    @property
    def disks(self) -> tuple[str, ...]:
        """The guest's names for its disks."""
        return tuple(dict.fromkeys(one.device[:3] for one in self.file_systems))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object, for the process that simulates the guest."""
        mounts = [[one.device, one.mountpoint, one.kind] for one in self.file_systems]
        return {
            "name": self.name,
            "trouble": str(self.trouble),
            "mounts": mounts,
            "version": self.version,
            "load": self.load,
            "copies": str(self.copies),
            "strikes": self.strikes,
            "begins_s": self.begins_s,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> GuestPlan:
        """Return the plan of an object that `to_json` has made."""
        mounts = tuple(FileSystem(*mount) for mount in body["mounts"])
        trouble = Trouble(body["trouble"])
        copies = CopyTrouble(body["copies"])
        when = (body["strikes"], body["begins_s"])
        return cls(body["name"], trouble, mounts, body["version"], body["load"], copies, *when)


def plan(count: int = DEFAULT_GUESTS) -> tuple[GuestPlan, ...]:
    """Return the plans of a drill with `count` guests; always the same ones for the same count.

    Most guests freeze fast, and the first one always does. Every trouble occurs if there are enough
    guests.
    """
    placed = dict(_placed(count))
    numbers = dict.fromkeys(_ROLES, 0)
    roles = list(_ROLES)
    guests = []
    for index in range(count):
        trouble = placed.get(index, Trouble.FAST)
        role = _DB if trouble is Trouble.HOSTILE else roles[index % len(roles)]
        numbers[role] += 1
        guests.append(make_guest(role, numbers[role], trouble))
    return tuple(_with_others(_with_copies(guests)))


def _with_copies(guests: list[GuestPlan]) -> list[GuestPlan]:
    """Spread the copies' troubles over the guests that freeze fast; never the first one."""
    fast = [number for number, one in enumerate(guests) if one.trouble is Trouble.FAST][1:]
    troubles = [one for one in CopyTrouble if one is not CopyTrouble.NONE]
    troubles *= max(1, len(guests) // ONE_OF_EACH_IN)
    del troubles[len(fast) :]
    for number, trouble in enumerate(troubles):
        at = fast[number * len(fast) // len(troubles)]
        guests[at] = replace(guests[at], copies=trouble)
    return guests


def _with_others(guests: list[GuestPlan]) -> list[GuestPlan]:
    """Spread the troubles of others over guests without any trouble; never the first one."""
    fast = [number for number, one in enumerate(guests) if one.trouble is Trouble.FAST][1:]
    free = [number for number in fast if guests[number].copies is CopyTrouble.NONE]
    troubles = list(OF_OTHERS) * max(1, len(guests) // ONE_OF_EACH_IN)
    places = free if len(free) > len(troubles) else fast[-len(troubles) :]
    del troubles[len(places) :]
    for number, trouble in enumerate(troubles):
        at = places[number * len(places) // len(troubles)]
        guests[at] = replace(guests[at], trouble=trouble, copies=CopyTrouble.NONE)
    return guests


def make_guest(role: str, number: int, trouble: Trouble) -> GuestPlan:
    """Return a guest of one of the roles."""
    common = _ROLES[role]
    mounts = (_ROOT, common.data)
    if trouble is Trouble.HOSTILE:
        mounts = (_ROOT, FileSystem("vdb1", f"/srv/{HOSTILE_WORDS}", "ext4"))
        return GuestPlan(f"{role}[/]{number}", trouble, mounts, HOSTILE_WORDS, common.load)
    boot = (_EFI,) if trouble is Trouble.NOT_COVERED else ()
    return GuestPlan(f"{role}{number}", trouble, mounts + boot, common.version, common.load)


def _placed(count: int) -> Iterable[tuple[int, Trouble]]:
    """Yield the number of a guest and its trouble, spread evenly; never the first guest."""
    troubles = [one for one in PLAYED if one is not Trouble.FAST and one not in OF_OTHERS]
    troubles *= max(1, count // ONE_OF_EACH_IN)
    del troubles[max(0, count - 1) :]
    for number, trouble in enumerate(troubles):
        yield 1 + number * (count - 1) // len(troubles), trouble
