"""What every backend offers, and how the lists of several become one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from agentclient.model.states import Transport
from agentclient.model.vm import EXPLICIT_SOURCE, AgentChannel, Identity, Vm, VmId

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener

# A list of what is on this host takes milliseconds; on one that is very busy, a second.
LOCAL_S: Final = 3.0
LIBVIRT = "libvirt owns this VM and its agent's channel, which nobody else may open"


class Abilities(NamedTuple):
    """What a source's VMs can be used for, where each VM's own configuration allows it.

    Attributes:
        freeze: the agent's channel can be held, so a freeze can be sent.
        monitor: a QMP monitor can be asked.
        port_state: it can be seen whether an agent runs without asking it.
        processes: the source knows the VM's process.
        locks: the source knows what a VM's manager is doing with it.
    """

    freeze: bool
    monitor: bool
    port_state: bool
    processes: bool
    locks: bool


class Note(NamedTuple):
    """Something that a source could not see or use; never a reason to stop.

    Attributes:
        subject: whom it is about: a VM's id, ``process 4711``, ``source qemu``.
        text: one sentence. Names and paths in it are as they were found: not safe to show.
        advice: what to do about it, a sentence; None if nothing.
        hides: a VM may be behind it that is not listed.
    """

    subject: str
    text: str
    advice: str | None = None
    hides: bool = False


class Backend(Protocol):
    """Where VMs come from, and how each of them is reached."""

    @property
    def name(self) -> str:
        """The first word of its VMs' ids: ``qemu``, ``socket``."""

    @property
    def patience_s(self) -> float:
        """Seconds after which a list of its VMs is said to hang."""

    def list_vms(self) -> list[Vm]:
        """Return the VMs that are there now.

        Raises:
            FrostwatchError: the source can't be looked at; one clear sentence.
        """

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return how one of its VMs is reached; nothing is connected yet.

        Args:
            vm: the VM.
            opener: who knows the VMs of all backends: one that migrates may go to another's.
        """

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        """Return the VM of this backend to which one has migrated; None if none is seen.

        Args:
            of: the VM that has migrated, of this backend or of another one.
            uuid: its UUID.
        """

    def has_ended(self, identity: Identity) -> bool | None:
        """Return whether a start of a VM has ended: True and False are proven, None: not known.

        It answers at once, by what it has seen last: nothing is asked, and nobody waits.
        """

    def abilities(self) -> Abilities:
        """Return what can be done with its VMs."""

    def notes(self) -> tuple[Note, ...]:
        """Return what the last `list_vms` could not see."""


@runtime_checkable
class PushingBackend(Protocol):
    """A backend that can say by itself when something has happened to one of its VMs."""

    def subscribe(self, changed: Callable[[VmId], None]) -> None:
        """Have `changed` called, in any thread, when a VM begins, changes or ends."""


class Backends:
    """All backends of a run: who opens a VM, and who may have taken one that has migrated.

    Args:
        listed: those whose VMs are shown, the first one first.
        others: those whose VMs are not shown, and may have taken one of a VM's guests all the same.
    """

    def __init__(self, listed: Iterable[Backend], others: Iterable[Backend] = ()) -> None:
        self.listed = tuple(listed)
        self._all = (*self.listed, *others)

    def open(self, vm: Vm) -> GuestAccess:
        """Return how a VM is reached; nothing is connected yet."""
        return self._of(vm).open(vm, self)

    def successor(self, of: GuestAccess, uuid: str) -> GuestAccess | None:
        """Return how the VM is reached to which another has migrated; None if none is seen."""
        for backend in self._all:
            vm = backend.successor(of, uuid)
            if vm is not None:
                return backend.open(vm, self)
        return None

    def _of(self, vm: Vm) -> Backend:
        return next(one for one in self._all if one.name == vm.source)


def merge(lists: Sequence[Sequence[Vm]]) -> list[list[Vm]]:
    """Drop what several sources list twice.

    Two VMs are one if they are one process, or if they share a socket and it is not known that
    they are two: anybody can start a process that names another VM's socket.

    The explicit one wins, since a person wrote it, and takes over what only the other source
    knows: the process, the manager's lock, the reason not to freeze, the channel's label. Between
    other sources the earlier one wins. What a person left out (such as a monitor) stays left out.

    Args:
        lists: each source's VMs.

    Returns:
        As many lists, in the same order, so that each still belongs to its source.
    """
    if len(lists) == 1:  # thousands of paths need not be looked at for this
        return [list(lists[0])]
    explicit_first = sorted(
        range(len(lists)), key=lambda n: not any(vm.source == EXPLICIT_SOURCE for vm in lists[n])
    )
    winners: list[tuple[int, Vm]] = []
    owners: dict[object, int] = {}
    for place in explicit_first:
        # Twins inside of one source are not ours to judge: only what came before counts.
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
    """Return whether two that share a socket are known to be two VMs: only one can own it."""
    return None not in (one.process, other.process) and one.process != other.process


def _enriched(winner: Vm, other: Vm) -> Vm:
    if winner.source != EXPLICIT_SOURCE:
        return winner
    disabled = other.freeze_disabled
    if disabled == other.out_of_reach != LIBVIRT:
        disabled = None  # a person has named the channel that the source could not use
    return winner._replace(
        agent=_enriched_channel(winner.agent, other.agent),
        process=winner.process or other.process,
        peer=winner.peer or other.peer,
        user=winner.user or other.user,
        locked_by=winner.locked_by or other.locked_by,
        freeze_disabled=winner.freeze_disabled or disabled,
        selectors=winner.selectors or other.selectors,
        instance=winner.instance or other.instance,
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
    """Return what a VM is recognised by: its process before its sockets."""
    paths = [channel.path for channel in (vm.agent, vm.monitor) if channel is not None]
    sockets = frozenset().union(*map(_keys, paths))
    return [vm.process, *sockets] if vm.process is not None else list(sockets)


def _keys(path: Path) -> frozenset[object]:
    """Return what a socket is recognised by: its real path, and its inode if it has one."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return frozenset({os.path.realpath(path) if "\0" not in str(path) else str(path)})
    return frozenset({os.path.realpath(path), (found.st_dev, found.st_ino)})
