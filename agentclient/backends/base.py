"""The interface of every backend, and the merging of the lists of several backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from agentclient.model.states import Transport
from agentclient.model.vm import (
    EXPLICIT_SOURCE,
    LIBVIRT_SOURCE,
    AgentChannel,
    Identity,
    Vm,
    VmId,
)

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener

# The bound for listing the VMs of this host, in seconds: it takes milliseconds, or a second on a
# very busy host.
LOCAL_S: Final = 3.0
LIBVIRT = "libvirt owns this VM and its agent's channel, which nobody else may open"
# What names libvirt's daemon to all its clients, and where the system's own one has its sockets.
LIBVIRT_VARIABLE: Final = "LIBVIRT_DEFAULT_URI"
LIBVIRT_FOLDER: Final = Path("/run/libvirt")


class Abilities(NamedTuple):
    """What can be done with a backend's VMs, where each VM's own configuration allows it.

    Attributes:
        freeze: the agent's channel can be held, so a freeze can be sent.
        monitor: a QMP monitor can be asked.
        port_state: whether an agent runs can be seen without asking the agent.
        processes: the backend knows each VM's process.
        locks: the backend knows whether a VM's manager has locked it, such as for a backup.
    """

    freeze: bool
    monitor: bool
    port_state: bool
    processes: bool
    locks: bool


class Note(NamedTuple):
    """A message about something that a backend could not see or use; not an error.

    Attributes:
        subject: what it is about: a VM's id, ``process 4711``, ``source qemu``.
        text: one sentence. Names and paths in it are unchanged, so it is not safe to show.
        advice: what to do about it, a sentence; None if nothing.
        may_hide_vms: because of it, a VM may be missing from the list.
    """

    subject: str
    text: str
    advice: str | None = None
    may_hide_vms: bool = False


class Backend(Protocol):
    """Where VMs come from, and how each of them is reached."""

    @property
    def name(self) -> str:
        """The first word of its VMs' ids: ``qemu``, ``socket``."""

    @property
    def patience_s(self) -> float:
        """Seconds after which `list_vms` is reported as hanging."""

    def list_vms(self) -> list[Vm]:
        """Return the VMs that exist now.

        Raises:
            FrostwatchError: the VMs can't be listed; one clear sentence.
        """

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return the access to one of its VMs; nothing is connected yet.

        Args:
            vm: the VM.
            opener: opens VMs of all backends: a VM may migrate to another backend's.
        """

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        """Return the VM of this backend to which a guest has migrated; None if none is seen.

        Args:
            of: the access to the VM that the guest has left, of this or of another backend.
            uuid: that VM's UUID.
        """

    def has_ended(self, identity: Identity) -> bool | None:
        """Return whether a start of a VM has ended: True and False are proven, None is not known.

        It uses what the backend has seen last, and does no I/O.
        """

    def abilities(self) -> Abilities:
        """Return what can be done with its VMs."""

    def notes(self) -> tuple[Note, ...]:
        """Return what the last `list_vms` could not see."""


@runtime_checkable
class PushingBackend(Protocol):
    """A backend that sends a notification when one of its VMs changes."""

    def subscribe(self, changed: Callable[[VmId], None]) -> None:
        """Call `changed`, in any thread, whenever a VM starts, changes or ends."""


@runtime_checkable
class PartialBackend(Protocol):
    """A backend with several sources, of which one may fail while it lists the others' VMs."""

    def problems(self) -> tuple[str, ...]:
        """Return one sentence for each source that does not answer now."""


@runtime_checkable
class CheckedBackend(Protocol):
    """A backend with sources that a person has named."""

    def check(self) -> None:
        """Wait for the sources that a person has named.

        Raises:
            BadInput: one of them can't be reached; one sentence.
        """


@runtime_checkable
class ClosingBackend(Protocol):
    """A backend that holds connections or threads."""

    def close(self) -> None:
        """Close what is held open."""


class Backends:
    """All backends of a run: they open VMs, and find the VMs to which guests have migrated.

    Args:
        listed: the backends whose VMs are shown, in that order.
        others: backends whose VMs are not shown, but to which a guest may migrate.
    """

    def __init__(self, listed: Iterable[Backend], others: Iterable[Backend] = ()) -> None:
        self.listed = tuple(listed)
        self._all = (*self.listed, *others)

    def open(self, vm: Vm) -> GuestAccess:
        """Return the access to a VM; nothing is connected yet."""
        return self._of(vm).open(vm, self)

    def successor(self, of: GuestAccess, uuid: str) -> GuestAccess | None:
        """Return the access to the VM to which a guest has migrated; None if none is seen.

        Args:
            of: the access to the VM that the guest has left.
            uuid: that VM's UUID.
        """
        for backend in self._all:
            vm = backend.successor(of, uuid)
            if vm is not None:
                return backend.open(vm, self)
        return None

    def _of(self, vm: Vm) -> Backend:
        return next(one for one in self._all if one.name == vm.source)


def merge(lists: Sequence[Sequence[Vm]]) -> list[list[Vm]]:
    """Remove VMs that several backends list.

    Two entries are the same VM if they have the same process. They are also the same if they share
    a socket, unless their processes differ: anybody can start a process that names another VM's
    socket. A process that libvirt has started is the domain of its UUID on this host.

    The explicit entry is kept, since a person wrote it. It takes over what only the other backend
    knows: the process, the manager's lock, the reason not to freeze, the channel's label. Among
    other backends the earlier one's entry is kept. What a person left out (such as a monitor) stays
    left out.

    Args:
        lists: each backend's VMs.

    Returns:
        As many lists, in the same order, so that each still belongs to its backend.
    """
    if len(lists) == 1:  # without a second list there is no need to look at thousands of paths
        return [list(lists[0])]
    explicit_first = sorted(
        range(len(lists)), key=lambda n: not any(vm.source == EXPLICIT_SOURCE for vm in lists[n])
    )
    winners: list[tuple[int, Vm]] = []
    owners: dict[object, int] = {}
    for place in explicit_first:
        # Entries of one backend are never merged with each other, only with those of earlier ones.
        added: dict[object, int] = {}
        for vm in lists[place]:
            keys = _keys_of(vm)
            same = next((owners[key] for key in keys if key in owners), None)
            if same is None or _are_two(winners[same][1], vm):
                added.update(dict.fromkeys(keys, len(winners)))
                winners.append((place, vm))
            else:
                winners[same] = (winners[same][0], _enriched(winners[same][1], vm))
        owners.update(added)
    return [[vm for at, vm in winners if at == place] for place in range(len(lists))]


def _are_two(one: Vm, other: Vm) -> bool:
    """Return whether two entries that share a socket are known to be different VMs."""
    return None not in (one.process, other.process) and one.process != other.process


def _enriched(winner: Vm, other: Vm) -> Vm:
    if winner.source != EXPLICIT_SOURCE:
        return winner
    disabled = other.freeze_disabled
    if disabled == other.out_of_reach != LIBVIRT:
        disabled = None  # a person has named the channel that the backend could not use
    return winner._replace(
        agent=_enriched_channel(winner.agent, other.agent),
        process=winner.process or other.process,
        peer=winner.peer or other.peer,
        user=winner.user or other.user,
        locked_by=winner.locked_by or other.locked_by,
        freeze_disabled=winner.freeze_disabled or disabled,
        selectors=winner.selectors or other.selectors,
        generation=winner.generation or other.generation,
        uuid=winner.uuid or other.uuid,
        incoming=winner.incoming or other.incoming,
    )


def _enriched_channel(
    channel: AgentChannel | None, other: AgentChannel | None
) -> AgentChannel | None:
    if channel is None or other is None or not (_keys(channel.path) & _keys(other.path)):
        return channel
    unknown = channel.transport is Transport.UNKNOWN
    return channel._replace(
        label=channel.label or other.label,
        transport=other.transport if unknown else channel.transport,
    )


def _keys_of(vm: Vm) -> list[object]:
    """Return the keys by which a VM is recognised: its process first, then its sockets."""
    paths = [channel.path for channel in (vm.agent, vm.monitor) if channel is not None]
    keys: list[object] = list(frozenset().union(*map(_keys, paths)))
    if vm.process is not None:
        keys.insert(0, vm.process)
    here = vm.source == LIBVIRT_SOURCE and not vm.id.host
    domain = vm.uuid if here else vm.domain
    return keys if domain is None else [*keys, ("domain", domain.lower())]


def _keys(path: Path) -> frozenset[object]:
    """Return the keys by which a socket is recognised: its real path, and its inode if any."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return frozenset({os.path.realpath(path) if "\0" not in str(path) else str(path)})
    return frozenset({os.path.realpath(path), (found.st_dev, found.st_ino)})
