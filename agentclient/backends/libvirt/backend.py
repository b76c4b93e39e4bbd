"""The backend ``libvirt``: the domains that run under libvirt's daemons, here and elsewhere.

Each daemon is watched by a thread of its own, so that one which hangs or has gone keeps no other
waiting, and its domains stay as they were seen last.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from agentclient.access.called_access import CalledAccess
from agentclient.access.guest_access import GuestAccess, Opener
from agentclient.backends.base import Abilities, Note
from agentclient.backends.libvirt.binding import load_binding
from agentclient.backends.libvirt.calls import LibvirtCalls
from agentclient.backends.libvirt.connections import connections_to
from agentclient.backends.libvirt.daemon import PATIENCE_S, Daemon
from agentclient.backends.libvirt.daemon_watch import DaemonWatch
from agentclient.backends.libvirt.ends import Birth
from agentclient.backends.libvirt.generation import daemon_of, process_of_start, uuid_of
from agentclient.backends.libvirt.uris import Uri
from agentclient.backends.libvirt.watched_domain import WatchedDomain
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable
from agentclient.model.vm import LIBVIRT_SOURCE, FarHost, Identity, Vm, VmId

_NO_AGENT: Final = "it has no channel for a guest agent"
_MONITOR: Final = "libvirt has it"


class LibvirtBackend:
    """The domains of some daemons.

    Args:
        uris: the daemons' addresses.
    """

    name = LIBVIRT_SOURCE
    # Each daemon is waited for less long than that.
    patience_s = PATIENCE_S + 1.0

    def __init__(self, uris: Sequence[Uri]) -> None:
        self._push: Callable[[VmId], None] = lambda _: None
        self.daemons = tuple(Daemon(uri, self._changed) for uri in uris)
        self._lock = threading.Lock()
        self._ids: dict[str, VmId] = {}  # by the generation: an id stays while its domain runs
        self._began = time.monotonic()
        self._started = False

    def list_vms(self) -> list[Vm]:
        """Return the domains that run now, or did when their daemon was last seen."""
        self._start()
        for daemon in self.daemons:
            daemon.wait_tried(self._began + PATIENCE_S)
        # One daemon under two addresses has the same processes; on another host, the same word.
        found = {
            process_of_start(one.generation) or one.generation: (daemon, one)
            for daemon in reversed(self.daemons)
            for one in daemon.domains
        }.values()
        with self._lock:
            self._give_ids([(daemon.uri, one) for daemon, one in found])
            return [self._vm(daemon, one) for daemon, one in found]

    def check(self) -> None:
        """Wait for the daemons that a person has named.

        Raises:
            BadInput: one of them can't be reached; one sentence.
        """
        named = [daemon for daemon in self.daemons if daemon.uri.named]
        if not named:
            return
        try:
            load_binding()
        except FrostwatchError as error:
            raise BadInput(f"--connect {named[0].uri.text}: {error}") from None
        self._start()
        for daemon in named:
            tried = daemon.wait_tried(self._began + daemon.patience_s)
            problem = daemon.problem
            if not daemon.seen and (problem is not None or not tried):
                why = problem or f"it has not answered within {daemon.patience_s:g} s"
                uri = printable(daemon.uri.text, 200)
                raise BadInput(f"--connect {uri}: {why}{_step(daemon.uri, problem)}")

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return the access to one of the domains; nothing is called yet."""
        generation, uuid = vm.generation or "", vm.uuid or ""
        daemon = self._daemon(daemon_of(generation))
        calls = LibvirtCalls(daemon, uuid, generation)
        return CalledAccess(vm, calls, opener, lane=daemon.uri.text)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        """Return the domain in which a guest goes on; None if none is seen.

        A domain that was only started anew is none, nor is one of the same UUID under another
        daemon of this host: whoever runs that may have chosen it (P10).
        """
        before = of.vm.generation or ""
        where = daemon_of(before)
        moved = any(one.uri.word == where and one.has_moved(uuid, before) for one in self.daemons)
        if not moved:
            return None
        found = [vm for vm in self.list_vms() if vm.uuid == uuid and vm.generation != before]
        found = [
            vm
            for vm in found
            if vm.id.host != of.vm.id.host or daemon_of(vm.generation or "") == where
        ]
        return found[0] if len(found) == 1 else None

    def has_ended(self, identity: Identity) -> bool | None:
        """Return whether a start of a domain has ended; None if its daemon is not seen now."""
        where = daemon_of(identity.generation)
        for daemon in self.daemons:
            if daemon.uri.word == where:
                return daemon.is_gone(uuid_of(identity.generation), identity.generation)
        return None

    def abilities(self) -> Abilities:
        """Return what can be done with libvirt's domains."""
        return Abilities(freeze=True, monitor=False, port_state=True, processes=False, locks=False)

    def notes(self) -> tuple[Note, ...]:
        """Return what could not be seen, or not be used."""
        notes = [self._note(daemon, why) for daemon in self.daemons if (why := daemon.problem)]
        notes += [
            Note(_subject(daemon.uri), daemon.read_only, "Run frostwatch as one who may write.")
            for daemon in self.daemons
            if daemon.read_only is not None
        ]
        return tuple(notes)

    def problems(self) -> tuple[str, ...]:
        """Return one sentence for each daemon that was seen, or named, and does not answer now."""
        return tuple(
            f"{_subject(daemon.uri)}: {why}; its VMs are shown as they were seen last"
            for daemon in self.daemons
            if (daemon.seen or daemon.uri.named) and (why := daemon.problem) is not None
        )

    def subscribe(self, changed: Callable[[VmId], None]) -> None:
        """Call `changed`, in any thread, whenever a domain starts, changes or ends."""
        self._push = changed
        for daemon in self.daemons:
            daemon.followed = True

    def close(self) -> None:
        """End the watching of all daemons."""
        for daemon in self.daemons:
            daemon.close()
            connections_to(daemon.uri.text).close_idle()

    # -- helpers --------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started, self._began = True, time.monotonic()
        for daemon in self.daemons:
            DaemonWatch(daemon).start()

    def _daemon(self, word: str) -> Daemon:
        return next(one for one in self.daemons if one.uri.word == word)

    def _changed(self, uuid: str) -> None:
        with self._lock:
            ids = [
                self._ids[one.generation]
                for daemon in self.daemons
                for one in daemon.domains
                if one.uuid == uuid and one.generation in self._ids
            ]
        for vm_id in ids or [VmId(LIBVIRT_SOURCE, uuid)]:
            self._push(vm_id)

    def _give_ids(self, found: Sequence[tuple[Uri, WatchedDomain]]) -> None:
        """Give each start of a domain its id: its name, and more where others have that."""
        kept = {one.generation for _, one in found}
        ids = {start: vm_id for start, vm_id in self._ids.items() if start in kept}
        taken = set(ids.values())
        names = Counter((uri.host, one.name) for uri, one in found)
        for uri, one in found:
            if one.generation in ids:
                continue
            vm_id = VmId(LIBVIRT_SOURCE, one.name, uri.host)
            if names[uri.host, one.name] > 1 or vm_id in taken:
                vm_id = vm_id._replace(name=f"{one.name}#{one.uuid[:8]}")
            while vm_id in taken:  # a copy of a domain, UUID and all, under another daemon
                vm_id = vm_id._replace(name=f"{vm_id.name}#{one.number}")
            ids[one.generation] = vm_id
            taken.add(vm_id)
        self._ids = ids

    def _vm(self, daemon: Daemon, one: WatchedDomain) -> Vm:
        vm_id = self._ids[one.generation]
        return Vm(
            vm_id,
            freeze_disabled=daemon.read_only or (_NO_AGENT if one.channel is None else None),
            no_monitor=daemon.read_only or _MONITOR,
            title=one.name,
            selectors=(one.uuid, f"{one.name}#{one.uuid[:8]}"),
            generation=one.generation,
            uuid=one.uuid,
            incoming=one.birth is Birth.INCOMING,
            by_call=one.channel is not None and daemon.read_only is None,
            out_of_reach=daemon.read_only if one.channel else None,
            far=_far(daemon.uri, one),
        )

    def _note(self, daemon: Daemon, why: str) -> Note:
        # Why another host's can't be reached says what to do as well.
        known = daemon.seen or daemon.uri.host
        advice = None if known else "See if its daemon runs, and who may connect to it."
        # One that is there anyway may be none of ours: its VMs are seen as processes.
        return Note(_subject(daemon.uri), why, advice, may_hide_vms=daemon.uri.named or daemon.seen)


def _step(uri: Uri, problem: str | None) -> str:
    """Return what to do about a daemon that can't be reached, where its problem does not say it."""
    if not uri.host:
        address = quoted(uri.text)
        return f"; see whether that daemon runs: virsh -c {address} list"
    return f"; see whether this works: {uri.virsh_there('list')}" if problem is None else ""


def _far(uri: Uri, one: WatchedDomain) -> FarHost | None:
    """Return what a person needs to know of the host of a domain; None if it is this one."""
    if not uri.host:
        return None
    return FarHost(uri.host, uri.text, uri.virsh_there("domfsthaw", one.name))


def _subject(uri: Uri) -> str:
    return f"libvirt {printable(uri.text, 80)}"
