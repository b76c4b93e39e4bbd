"""``frostwatch watch``: tells what happens to the VMs, one line each, until it is stopped."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

import click

from agentclient.fleet.transitions import TransitionLog
from agentclient.fleet.watch_events import WatchLog, watch_event_object
from agentclient.model.clock import now
from agentclient.model.json_contract import dumps
from agentclient.model.text import printable
from tui.cli import session, tell
from tui.cli.options import Options, json_option, vm_argument, with_options
from tui.cli.output import Output
from tui.shared.bounded_commands import BoundedCommands
from tui.shared.notify import Notify
from tui.shared.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentclient.engine import Engine
    from agentclient.fleet.watch_events import WatchEvent
    from agentclient.model.snapshot import VmState
    from agentclient.model.vm import VmId

TICK_S: Final = 0.1
SECOND_S: Final = 1.0
PATIENCE_S: Final = 2.0


@click.command("watch")
@vm_argument("names", metavar="[VM...]", nargs=-1)
@json_option
@with_options
def watch_command(options: Options, names: tuple[str, ...], as_json: bool) -> int:
    """Tell what happens to the VMs, one line each: for a log, or an alert.

    Nothing is frozen and nothing is thawed. What is so when it begins is told first. Ctrl-C and
    SIGTERM end it; then it exits 0, and 1 if its output can't be written any more.
    """
    with session.engine_for(options) as engine:
        wanted = {vm.id for vm in engine.find(names)} if names else None
        if wanted is None:
            engine.look()
        notify = Notify.of(options.general)
        return _Watch(engine, wanted, notify, as_json=as_json).run()


class _Watch:
    """Tells events until a signal comes, or nobody reads them any more.

    Args:
        engine: watches the VMs.
        wanted: the VMs to tell of; None for all.
        notify: the command that is run for what matters.
        as_json: as JSON instead of lines for a person.
    """

    def __init__(
        self, engine: Engine, wanted: Collection[VmId] | None, notify: Notify, *, as_json: bool
    ) -> None:
        self._engine = engine
        self._wanted = wanted
        self._notify = notify
        self._as_json = as_json
        self._output = Output()
        self._commands = BoundedCommands(lambda why: self._output.err(f"frostwatch: {why}"))
        self._transitions = TransitionLog()
        self._next = 0.0
        self._log = WatchLog()
        self._problems: frozenset[str] = frozenset()

    def run(self) -> int:
        """Watch, and return the exit code: 1 if nobody reads the events any more."""
        signals = Signals()
        reader = self._engine.fleet.reader()
        with signals:
            while not signals.requests and not self._output.broken:
                change = reader.changes()
                for state in change.changed:
                    self._take(state)
                for vm_id in change.removed:
                    self._log.forget(vm_id)
                    self._transitions.forget(vm_id)
                self._tell_nearly_over()
                self._tell_problems()
                time.sleep(TICK_S)
            self._commands.close()
            until = time.monotonic() + PATIENCE_S
            self._output.finish(lambda: time.monotonic() < until)
        if self._output.broken:
            _complain(f"the watch ends: its output can't be written ({self._output.problem})")
        return 1 if self._output.broken else 0

    def _tell_problems(self) -> None:
        """Tell on stderr what keeps us from seeing VMs, once for as long as it lasts."""
        self._engine.watch()  # what could not be begun is tried again
        before, self._problems = self._problems, frozenset(self._engine.watcher.problems)
        for problem in sorted(self._problems - before):
            _complain(problem)

    def _tell_nearly_over(self) -> None:
        if not self._notify.command or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECOND_S
        states = [one for one in self._engine.fleet.states() if self._is_wanted(one.id)]
        clock_set = self._engine.fleet.clock_set
        for happened in self._transitions.tick(states, now(), time.monotonic(), clock_set):
            self._notify.run(self._commands, happened)

    def _is_wanted(self, vm_id: VmId) -> bool:
        return self._wanted is None or vm_id in self._wanted

    def _take(self, state: VmState) -> None:
        if not self._is_wanted(state.id):
            return
        if self._notify.command:
            for happened in self._transitions.take(state, now(), self._engine.fleet.clock_set):
                self._notify.run(self._commands, happened)
        for event in self._log.take(state, now()):
            if self._as_json:
                self._output.data(dumps(watch_event_object(event)))
            else:
                self._output.out(_line(event), below=4)


def _line(event: WatchEvent) -> str:
    at = f"{event.at:%Y-%m-%d %H:%M:%S}"
    name = printable(str(event.vm), 60)
    return f"{at}  {name}  {event.kind}: {printable(event.text, 500)}"


def _complain(problem: str) -> None:
    with contextlib.suppress(OSError):  # nobody may read stderr either
        tell.note(printable(problem, 1000))
