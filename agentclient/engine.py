"""The composition root and the public API: one object that finds VMs, and freezes and thaws them.

    with Engine() as engine:
        vm = engine.find_one("db")
        with engine.freeze(vm, FreezeRequest(schedule=Schedule(hold_s=30))).frozen() as window:
            make_the_copy()
        print(window.wait().certified)

An engine changes no signal handler, no resource limit and no interpreter setting of its process.
Modules that are slow to import are imported at their first use, by `load`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backend, Backends, CheckedBackend, ClosingBackend
from agentclient.backends.choice import choose, explicit
from agentclient.backends.socket_check import check_agent_socket
from agentclient.config.defaults import DEFAULTS
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.journal.writer import Journal
from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    from agentclient.backends.drill.plan import GuestPlan
    from agentclient.backends.drill.processes import Drill
    from agentclient.backends.explicit import ExplicitBackend
    from agentclient.config.settings import Settings
    from agentclient.jobs.manager import JobManager
    from agentclient.journal.history import VmHistory
    from agentclient.model.events import OnEvent
    from agentclient.model.guest_report import GuestReport
    from agentclient.model.outcome import ExtendOutcome, GroupOutcome
    from agentclient.model.request import FreezeRequest
    from agentclient.model.rescue import RescueTimes, Rung, Step
    from agentclient.model.snapshot import VmState
    from agentclient.operations.freeze import FreezeOperation
    from agentclient.operations.group import GroupFreeze
    from agentclient.operations.manager import OperationManager
    from agentclient.operations.operation import AnyOperation
    from agentclient.operations.rescue.ladder import Offer
    from agentclient.operations.rescue.operation import RescueOperation

CLOSING_S: Final = 2.0
VISIT_S: Final = 8.0
VISIT_EACH_S: Final = 0.5


class Engine:
    """All VMs that this host can reach, and the freezes, thaws and rescues of this process.

    A context manager; thread-safe. No VM is listed or visited before `look`, `find`, `visit` or
    `watch` is called.

    Args:
        vms: VMs given by their sockets, each in the syntax of ``--vm``:
            ``name=N,agent=PATH,monitor=PATH[,monitor-ours=on][,transport=isa-serial]``.
        named_only: list these VMs alone.
        backends: where all other VMs come from; None for the QEMU processes of this host.
        drill: use this number of simulated guests, or these, instead of real ones.
        drill_speed: how many times faster than real time the simulated guests run.
        settings: the settings, as `agentclient.load_settings` returns them; None for none.
            The arguments below override them, unless they are None.
        read_only: send no freeze, thaw or rescue to any guest.
        agent_interval_s: seconds between two questions to each agent while VMs are watched.
        port_interval_s: seconds between two looks at each monitor; never longer than that.
        freezes_at_once: how many freezes run at once; further ones wait before anything is sent.
        connect: the addresses of libvirt's daemons, such as ``qemu:///system``; None for what is
            set, else for ``LIBVIRT_DEFAULT_URI``, else for this system's, if it is there; empty
            for none of them.
        journal: the journal's file. A drill has none.

    Raises:
        BadInput: a VM's or the drill's argument is invalid, or a drill is given backends.
        FrostwatchError: the drill can't be started.

    Attributes:
        fleet: what is known of all VMs now.
        accesses: gives access to each VM.
        sources: the backends that list VMs.
        watcher: keeps the fleet up to date.
        journal: records freezes and thaws; None in a drill.
        explicit: the backend of the VMs in `vms`; None if there are none.
        drill: the servers of the simulated guests; None outside of a drill.
        settings: the settings; None if nothing is set.
        general: the settings that are not of single VMs.
        read_only: no freeze, thaw or rescue is sent to any guest.
    """

    journal: Journal | None
    explicit: ExplicitBackend | None
    drill: Drill | None

    def __init__(
        self,
        vms: Iterable[str] = (),
        *,
        named_only: bool = False,
        backends: Iterable[Backend] | None = None,
        drill: int | Sequence[GuestPlan] | None = None,
        drill_speed: float = 1.0,
        settings: Settings | None = None,
        read_only: bool | None = None,
        agent_interval_s: float | None = None,
        port_interval_s: float | None = None,
        freezes_at_once: int | None = None,
        connect: Iterable[str] | None = None,
        journal: Path | None = None,
    ) -> None:
        self.settings = _configured(
            settings,
            read_only=read_only,
            agent_interval=agent_interval_s,
            monitor_interval=port_interval_s,
            freezes_at_once=freezes_at_once,
            connect=tuple(connect) if connect is not None else None,
            journal=journal,
        )
        policy, configure = DEFAULT_POLICY, (lambda vm: vm)
        self.general, self.read_only = DEFAULTS, False
        if self.settings is not None:
            self.general, policy = self.settings.general, self.settings.policy
            self.read_only = self.settings.read_only
            configure = load("agentclient.config.settings", "Policies")(self.settings).apply
        if backends is not None and drill is not None:
            raise BadInput("a drill has its own guests: it takes no backends")
        self.explicit = explicit(tuple(vms))
        self.drill = None
        if drill is not None:
            start = load("agentclient.backends.drill.processes", "start_drill")
            self.drill = start(drill, drill_speed)
        # Each drill has new guests, so there is nothing to record for later.
        self.journal = None if self.drill is not None else Journal(self.general.journal)
        opener = choose(self.explicit, backends, self.general.connect, named_only=named_only)
        if self.drill is not None:  # no real VM is touched
            opener = Backends(
                [load("agentclient.backends.drill.backend", "DrillBackend")(self.drill)]
            )
        self.sources = opener.listed
        self.fleet = Fleet(configure=configure)
        self.accesses = AccessPool(opener)
        self.watcher = Watcher(
            self.fleet,
            self.accesses,
            self.sources,
            port_interval_s=policy.monitor_interval_s,
            agent_interval_s=policy.agent_interval_s,
            journal=self.journal,
        )
        self._making = threading.Lock()
        self._operations: OperationManager | None = None
        self._jobs: JobManager | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def freezes_at_once(self) -> int:
        """How many freezes run at once; further ones wait for their turn."""
        return self.general.freezes_at_once

    def look(self, *, together: bool = False) -> tuple[str, ...]:
        """List the VMs of all sources, and return a sentence for each source that failed.

        Args:
            together: don't wait for a source that is much slower than another one.

        Raises:
            BadInput: a VM of the argument `vms`, or a daemon of libvirt that a person has named,
                can't be reached from here.
        """
        if self.explicit is not None:
            self.explicit.check_sockets()
        for source in self.sources:
            if isinstance(source, CheckedBackend):
                source.check()
        return self.watcher.find_vms(together=together)

    @property
    def hanging(self) -> tuple[str, ...]:
        """One sentence for each source that hangs."""
        return tuple(f"{note.subject}: {note.text}" for note in self.watcher.hanging)

    def visit(self, only: Collection[VmId] | None = None) -> None:
        """Visit every VM once, with its agent; a round is limited to 8 s plus 0.5 s for each VM.

        Args:
            only: visit these VMs alone; None for all.
        """
        count = len(self.fleet.states() if only is None else only)
        self.watcher.visit_all(VISIT_S + VISIT_EACH_S * count, only)

    def watch(self) -> None:
        """Begin to list and visit all VMs on schedule, in threads, until `close`."""
        self.watcher.start()

    def states(self) -> tuple[VmState, ...]:
        """Return what is known of all VMs now."""
        return tuple(self.fleet.states())

    def find(self, names: Iterable[str]) -> tuple[Vm, ...]:
        """List the VMs of all sources, and return those that `names` mean, each once.

        Raises:
            BadInput: a name is unknown or ambiguous, or its VM can't be reached from here; the
                text includes the errors of sources.
        """
        problems = (*self.look(), *self.hanging)
        try:
            found = {state.id: state.vm for state in map(self.fleet.find, names)}
        except BadInput as problem:
            raise BadInput("; ".join((str(problem), *problems))) from None
        for vm in found.values():
            check_agent_socket(vm)
        return tuple(found.values())

    def find_one(self, name: str) -> Vm:
        """List the VMs of all sources, and return the one that `name` means.

        Raises:
            BadInput: the name is unknown or ambiguous, or its VM can't be reached from here.
        """
        (vm,) = self.find((name,))
        return vm

    def prepare(self) -> OperationManager:
        """Import what operations need, so that the first one starts at once; thread-safe."""
        with self._making:
            if self._operations is None:
                self._operations = load("agentclient.operations.manager", "OperationManager")(
                    self.fleet,
                    self.accesses,
                    read_only=self.read_only,
                    freezes_at_once=self.freezes_at_once,
                    journal=self.journal,
                )
            return self._operations

    def freeze(
        self, vm: Vm, request: FreezeRequest | None = None, on_event: OnEvent | None = None
    ) -> FreezeOperation:
        """Begin a bounded freeze, and return at once (`OperationManager.freeze`).

        Args:
            vm: the VM, as it was when the user decided to freeze it.
            request: what to freeze, and when; None for all file systems, with the VM's schedule.
            on_event: is called from the operation's thread with each event.
        """
        if request is None:
            schedule = load("agentclient.model.request", "Schedule").of(vm.policy)
            request = load("agentclient.model.request", "FreezeRequest")(schedule=schedule)
        return self.prepare().freeze(vm, request, on_event)

    def freeze_together(
        self,
        vms: Sequence[Vm],
        request: FreezeRequest,
        within_s: float,
        on_event: OnEvent = lambda _: None,
        on_group: Callable[[GroupOutcome], None] = lambda _: None,
    ) -> GroupFreeze[FreezeOperation]:
        """Begin to freeze several VMs, all of them within a time or none; return at once.

        Args:
            vms: the VMs.
            request: what to freeze, and when; the hold counts from the last acknowledgement.
            within_s: how long it may take until all are frozen, in seconds.
            on_event: is called with each VM's events.
            on_group: is called when all are frozen, and when all are thawed again.

        Raises:
            BadInput: `within_s` plus the hold is longer than a window may be held.
            FrostwatchError: no thread can be started; nothing was begun.
        """
        group: GroupFreeze[FreezeOperation] = load("agentclient.operations.group", "GroupFreeze")(
            self.prepare(),
            vms,
            request,
            within_s=within_s,
            on_event=on_event,
            on_group=on_group,
        )
        group.start()
        return group

    def thaw(
        self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None
    ) -> AnyOperation:
        """Begin a thaw, and return at once (`OperationManager.thaw`)."""
        return self.prepare().thaw(vm, foreign=foreign, on_event=on_event)

    def attach(self, vm: Vm, on_event: OnEvent | None = None) -> AnyOperation:
        """Take over what a frostwatch has left to its holder (`OperationManager.attach`)."""
        return self.prepare().attach(vm, on_event)

    def extend_elsewhere(self, vm: Vm, longer: float | datetime) -> Future[ExtendOutcome]:
        """Have another frostwatch hold it longer (`OperationManager.extend_elsewhere`)."""
        return self.prepare().extend_elsewhere(vm, longer)

    def rescue(
        self,
        vm: Vm,
        step: Step,
        *,
        person: bool = True,
        times: RescueTimes | None = None,
        on_event: OnEvent | None = None,
    ) -> RescueOperation:
        """Begin one rung of the rescue ladder, and return at once (`OperationManager.rescue`)."""
        return self.prepare().rescue(vm, step, person=person, times=times, on_event=on_event)

    @property
    def jobs(self) -> JobManager:
        """What begins and lists copies of disks; imported when it is first used."""
        operations = self.prepare()
        with self._making:
            if self._jobs is None:
                manager = load("agentclient.jobs.manager", "JobManager")
                parts = (self.fleet, self.accesses, operations, self.read_only)
                at_once = self.general.jobs_at_once
                self._jobs = manager(*parts, at_once=at_once, journal=self.journal)
            return self._jobs

    def ladder(
        self, vm: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        """Begin to check which rungs of the rescue ladder apply now; returns at once."""
        return self.prepare().ladder(vm, serial=serial, tried=tried)

    def history(self, vm: Vm, limit: int = 50) -> Future[VmHistory | None]:
        """Begin to read a VM's newest `limit` windows from the journal; returns at once."""
        return self.prepare().history(vm, limit)

    def inspect(self, vm: Vm) -> Future[GuestReport]:
        """Begin to ask a VM's agent about its guest, if nothing speaks against it."""
        return self.prepare().inspect(vm)

    def active(self) -> Sequence[AnyOperation]:
        """Return the operations in flight, oldest first."""
        return self._operations.active() if self._operations is not None else ()

    def on(self, vm_id: VmId) -> AnyOperation | None:
        """Return the operation in flight on a VM; None if there is none."""
        return self._operations.on(vm_id) if self._operations is not None else None

    def cancel_all(self) -> None:
        """Cancel all operations: each thaws its guest as soon as the agent answers."""
        if self._jobs is not None:
            self._jobs.cancel_all()
        if self._operations is not None:
            self._operations.cancel_all()

    def stop(self, timeout_s: float) -> bool:
        """Cancel all operations, wait `timeout_s` seconds, and leave the rest to the holder.

        Returns:
            True if every operation has ended.
        """
        ended = self._jobs is None or self._jobs.stop(timeout_s)
        return (self._operations is None or self._operations.stop(timeout_s)) and ended

    def close(self) -> None:
        """Cancel all operations, wait 2 s at most, and end all visits; may be called twice."""
        self.stop(CLOSING_S)
        self.watcher.stop()
        self.accesses.close()
        for source in self.sources:
            if isinstance(source, ClosingBackend):
                source.close()
        if self.journal is not None:
            self.journal.close()
        if self.drill is not None:
            self.drill.stop()


def _configured(settings: Settings | None, **given: object) -> Settings | None:
    """Return the settings with `given` as overrides; None if nothing is set at all."""
    if settings is None:
        if all(value is None for value in given.values()):
            return None
        settings = load("agentclient.config.settings", "Settings")()
    found: Settings = settings.with_options(**given)
    return found
