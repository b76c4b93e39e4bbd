"""``frostwatch list --watch``: the table again and again, until it is stopped.

On a terminal it is drawn in its place. Elsewhere it is printed anew when the state of a VM has
changed, since what only an age or a figure has changed in would fill a log.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import click
from rich.cells import cell_len

from agentclient.engine import Engine
from agentclient.model.clock import now
from agentclient.model.json_contract import dumps, vm_object
from agentclient.model.others_freeze import others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState
from agentclient.model.vm import VmId
from tui.cli import session, tell
from tui.cli.job_progress import PLAIN_TERMINALS, terminal_size
from tui.cli.options import Options
from tui.cli.output import Output
from tui.cli.vm_filter import Filter
from tui.cli.vm_table import table_of
from tui.shared.fit import fit
from tui.shared.signals import Signals

TICK_S: Final = 0.1
DRAWN_EVERY_S: Final = 1.0
PATIENCE_S: Final = 2.0
# So long the first picture is waited for until each VM was visited.
FIRST_S: Final = 10.0
# What the table has beside its rows: the line above it, its header, and what does not fit.
_BESIDE: Final = 4


def follow(options: Options, wanted: Filter, *, as_json: bool) -> int:
    """Tell the VMs that are asked for until a signal comes; return the exit code."""
    with session.engine_for(options) as engine:
        engine.look()
        return _Follow(engine, wanted, as_json=as_json).run()


class _Follow:
    """Tells the VMs again and again.

    Args:
        engine: watches them.
        wanted: which of them are asked for.
        as_json: those that have changed as JSON, instead of a table for a person.
    """

    def __init__(self, engine: Engine, wanted: Filter, *, as_json: bool) -> None:
        self._engine = engine
        self._wanted = wanted
        self._as_json = as_json
        self._output = Output()
        plain = os.environ.get("TERM", "") in PLAIN_TERMINALS
        self._in_place = sys.stdout.isatty() and sys.stderr.isatty() and not plain and not as_json
        self._known: dict[VmId, tuple[object, ...]] = {}
        self._began = False
        self._problems: frozenset[str] = frozenset()
        self._next = 0.0
        self._waits_until = time.monotonic() + FIRST_S

    def run(self) -> int:
        """Follow, and return the exit code: 1 if nobody reads it any more."""
        with Signals() as signals:
            while not signals.requests and not self._output.broken:
                self._tell_problems()
                self._tell()
                time.sleep(TICK_S)
            self._output.footer(())
            if self._in_place:
                self._output.data("\n".join(self._picture(self._found())))
            until = time.monotonic() + PATIENCE_S
            self._output.finish(lambda: time.monotonic() < until)
        if self._output.broken:
            tell.note(f"the list ends: its output can't be written ({self._output.problem})")
        return 1 if self._output.broken else 0

    def _tell(self) -> None:
        if self._in_place:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + DRAWN_EVERY_S
                self._output.footer(self._picture(self._found()))
            return
        found = self._found()
        known = {state.id: _key(state) for state in found}
        if known == self._known and self._began:
            return
        changed = [one for one in found if self._known.get(one.id) != known[one.id]]
        if not self._began and self._is_early(found):
            return  # it has just begun, and asks them
        self._known, self._began = known, True
        if self._as_json:
            for state in changed:
                self._output.data(dumps(vm_object(state)))
        else:
            lines = table_of(found) if found else ["no VM matches"]
            self._output.data("\n".join([f"{now():%Y-%m-%d %H:%M:%S}", *lines, ""]))

    def _is_early(self, found: Sequence[VmState]) -> bool:
        """Return whether some VMs were not visited yet; of others it stays unknown what they do."""
        unseen = any(
            one.agent.state is AgentState.UNKNOWN and one.agent.seen_at is None for one in found
        )
        return unseen and time.monotonic() < self._waits_until

    def _found(self) -> list[VmState]:
        at = now()
        return [one for one in self._engine.fleet.states() if self._wanted.matches(one, at)]

    def _picture(self, found: Sequence[VmState]) -> list[str]:
        """Return what a terminal shows: no line is wider than it, and all of them fit."""
        columns, lines = terminal_size()
        table = table_of(found) if found else ["no VM matches"]
        room = max(lines - _BESIDE, 1)
        above = f"{now():%H:%M:%S}  {_counts(self._engine.fleet.states())}; Ctrl-C ends it"
        rest = len(table) - 1 - room
        below = [f"{rest} more lines: a larger terminal, --state, or the console shows them"]
        shown = [above, *table[: room + 1], *(below if rest > 0 else [])]
        return [_cut(line, columns - 1) for line in shown]

    def _tell_problems(self) -> None:
        """Tell on stderr what keeps us from seeing VMs, once for as long as it lasts."""
        self._engine.watch()  # what could not be begun is tried again
        before, self._problems = self._problems, frozenset(self._engine.watcher.problems)
        for problem in sorted(self._problems - before):
            self._output.err(f"frostwatch: {problem}")


def _key(state: VmState) -> tuple[object, ...]:
    """Return what of a VM is news where it changes."""
    freeze = state.freeze
    return (
        state.run_state,
        state.present,
        state.agent.state,
        freeze.state,
        freeze.foreign,
        state.left_by is not None,
        state.held_by and (state.held_by.pid, state.held_by.state, state.held_by.kept),
        others_freeze(state),
        state.vm.locked_by,
    )


def _counts(states: Sequence[VmState]) -> str:
    agents = Counter(str(one.agent.state) for one in states)
    frozen = sum(one.freeze.state is FreezeState.FROZEN for one in states)
    words = [f"{agents[word]} {word}" for word in AgentState if agents[word]]
    count = "1 VM" if len(states) == 1 else f"{len(states)} VMs"
    return ", ".join([count, *words, *([f"{frozen} frozen"] if frozen else [])])


def _cut(line: str, room: int) -> str:
    plain = click.unstyle(line)
    return line if cell_len(plain) <= room else fit(plain, room)
