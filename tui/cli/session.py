"""What a command works with: backends, fleet, watcher and operations, made from the options.

Tests replace `build_engine`, and nothing else.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from agentclient.backends.socket_check import check_socket
from agentclient.fleet.store import Fleet
from agentclient.model.errors import BadInput
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli.options import Options

if TYPE_CHECKING:
    from agentclient.access.guest_link import Links
    from agentclient.backends.base import Backend, Backends
    from agentclient.backends.drill.processes import Drill
    from agentclient.backends.explicit import ExplicitBackend
    from agentclient.fleet.watcher import Watcher
    from agentclient.journal.writer import Journal
    from agentclient.operations.manager import Operations

DEFAULT_AGENT_INTERVAL_S = 15.0
DEFAULT_PORT_INTERVAL_S = 2.0
CLOSING_S = 2.0
VISIT_S = 8.0
VISIT_EACH_S = 0.5


@dataclass(frozen=True, slots=True)
class Engine:
    """The core, put together for one run of the command line or of the console.

    Attributes:
        explicit: the VMs that were named with ``--vm``; None if there were none.
        drill: who serves the simulated guests; None outside of a drill.
        journal: where freezes and thaws are written down; None in a drill.
    """

    fleet: Fleet
    links: Links
    sources: tuple[Backend, ...]
    watcher: Watcher
    operations: Operations
    explicit: ExplicitBackend | None = None
    interval_s: float = DEFAULT_AGENT_INTERVAL_S
    drill: Drill | None = None
    journal: Journal | None = None

    def look(self, *, together: bool = False) -> tuple[str, ...]:
        """Find the VMs, and return a sentence for each source that could not look.

        Args:
            together: don't wait for a source that is much slower than another one.

        Raises:
            BadInput: a VM that was named with ``--vm`` can't be reached from here.
        """
        if self.explicit is not None:
            self.explicit.check_sockets()
        return self.watcher.find_vms(together=together)

    @property
    def hanging(self) -> tuple[str, ...]:
        """A sentence for each source that hangs."""
        return tuple(f"{note.subject}: {note.text}" for note in self.watcher.hanging)

    def visit(self) -> None:
        """Visit every VM once, with its agent; those that don't answer cost a little each."""
        self.watcher.visit_all(VISIT_S + VISIT_EACH_S * len(self.fleet.states()))

    def find(self, names: Iterable[str]) -> tuple[Vm, ...]:
        """Look at all sources, and return the VMs that `names` mean, each once.

        Raises:
            BadInput: one of them is unknown, ambiguous, or can't be reached from here; why a
                source could not look is part of the sentence.
        """
        problems = (*self.look(), *self.hanging)
        try:
            found = {state.id: state.vm for state in map(self.fleet.find, names)}
        except BadInput as problem:
            raise BadInput("; ".join((str(problem), *problems))) from None
        for vm in found.values():
            _check_agent(vm)
        return tuple(found.values())

    def close(self) -> None:
        """Cancel what still runs, wait a moment, and end every visit."""
        self.operations.close(CLOSING_S)
        self.watcher.stop()
        self.links.close()
        if self.journal is not None:
            self.journal.close()
        if self.drill is not None:
            self.drill.stop()


def build_engine(options: Options) -> Engine:
    """Put the core together.

    Raises:
        BadInput: an option can't be used.
        FrostwatchError: a drill can't be started.
    """
    from agentclient.access.guest_link import Links  # noqa: PLC0415
    from agentclient.fleet.watcher import Watcher  # noqa: PLC0415
    from agentclient.journal.writer import Journal  # noqa: PLC0415 - `--help` needs none of this
    from agentclient.operations.manager import Operations  # noqa: PLC0415

    explicit = _explicit(options)
    drill = _drill(options)
    # A drill's guests are others each time: what was done to them is not to be remembered.
    journal = None if drill is not None else Journal()
    backends = _backends(explicit, drill, named_only=options.named_only)
    sources = backends.listed
    fleet, links = Fleet(), Links(backends)
    interval_s = options.interval_s or DEFAULT_AGENT_INTERVAL_S
    watcher = Watcher(
        fleet,
        links,
        sources,
        port_interval_s=min(DEFAULT_PORT_INTERVAL_S, interval_s),
        agent_interval_s=interval_s,
        journal=journal,
    )
    operations = Operations(
        fleet,
        links,
        read_only=options.read_only,
        freezes_at_once=options.freezes_at_once,
        journal=journal,
    )
    return Engine(fleet, links, sources, watcher, operations, explicit, interval_s, drill, journal)


def has_vms(options: Options) -> bool:
    """Return whether there is any VM here, or a source that can't tell."""
    with engine_for(options) as engine:
        return bool(engine.look() or engine.hanging or engine.fleet.states())


@contextmanager
def engine_for(options: Options) -> Iterator[Engine]:
    """Put the core together for one command, and take it apart afterwards."""
    _open_many_files()
    engine = build_engine(options)
    try:
        yield engine
    finally:
        engine.close()
        if engine.journal is not None:
            _tell_rest(engine.journal)


def _tell_rest(journal: Journal) -> None:
    """Tell what is wrong with the journal, and was not told as part of anything."""
    with suppress(OSError, ValueError):  # the terminal has gone
        for notice in iter(journal.take_notice, None):
            click.echo(f"frostwatch: {printable(notice, 1000)}", err=True)


def _open_many_files() -> None:
    """Take what the system allows: each freeze that is in flight, or waits, has descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _explicit(options: Options) -> ExplicitBackend | None:
    if not options.specs:
        return None
    from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec  # noqa: PLC0415

    return ExplicitBackend(parse_vm_spec(spec) for spec in options.specs)


def _drill(options: Options) -> Drill | None:
    """Start the drill that is asked for."""
    if options.drill is None:
        return None
    from agentclient.backends.drill.plan import plan  # noqa: PLC0415
    from agentclient.backends.drill.processes import Drill  # noqa: PLC0415

    drill = Drill(plan(options.drill), speed=options.drill_speed or 1.0)
    drill.start()
    return drill


def _backends(
    explicit: ExplicitBackend | None, drill: Drill | None, *, named_only: bool
) -> Backends:
    """Return where VMs come from; in a drill no real one is listed or touched."""
    from agentclient.backends.base import Backends  # noqa: PLC0415

    if drill is not None:
        from agentclient.backends.drill.backend import DrillBackend  # noqa: PLC0415

        return Backends([DrillBackend(drill)])
    from agentclient.backends.qemu.backend import QemuBackend  # noqa: PLC0415

    if named_only and explicit is not None:
        return Backends([explicit], others=[QemuBackend()])
    return Backends([QemuBackend()] if explicit is None else [explicit, QemuBackend()])


def _check_agent(vm: Vm) -> None:
    """Make sure that a VM's agent can be reached, as far as its socket tells from outside.

    Its monitor isn't needed: a VM without one works, with less evidence.
    """
    problem = check_socket(vm.agent.path) if vm.agent is not None else None
    if problem is not None:
        advice = f". {problem.advice}" if problem.advice else ""
        raise BadInput(f"{printable(str(vm.id), 80)}: the agent's socket: {problem.text}{advice}")
