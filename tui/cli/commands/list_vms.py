"""``frostwatch list``: what is known about each VM, for a person or for a monitoring system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from agentclient.fleet.ages import remember
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.json_contract import dumps, vm_object
from agentclient.model.next_command import thaw_command
from agentclient.model.others_freeze import GRADE_WORDS, OthersFreeze, doer, graded, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, RunState
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli import session, table, tell
from tui.cli.options import Options, duration, json_option, with_options
from tui.cli.table import Cell
from tui.shared.glyphs import AGENT, FREEZE, OTHERS_LOST, OTHERS_PENDING, Look

FOREIGN = "foreign"
LEFT = "left"
HELD_BY = "held-by"
STATE_WORDS = (*AgentState, *FreezeState, FOREIGN, LEFT, HELD_BY, *OthersFreeze)

_FREEZE_WORDS = frozenset({*FreezeState, FOREIGN, LEFT, HELD_BY, *OthersFreeze})
BAD_INPUT, UNKNOWN = 2, 3

HEADER = ("VM", "ALSO", "USER", "RUNS", "AGENT", "KNOWN BY", "FILE SYSTEMS", "NOTE")

_AGENT_COLOURS = {
    AgentState.ALIVE: "green",
    AgentState.OPEN: "green",
    AgentState.CLOSED: "red",
    AgentState.SILENT: "yellow",
    AgentState.BUSY: "yellow",
}
_OTHERS_LOOKS = {OthersFreeze.PENDING: OTHERS_PENDING, OthersFreeze.LOST: OTHERS_LOST}
_OTHERS_COLOURS = {OthersFreeze.PENDING: "cyan", OthersFreeze.LOST: "red"}
_FREEZE_COLOURS = dict.fromkeys(
    (FreezeState.FREEZING, FreezeState.FROZEN, FreezeState.THAWING), "cyan"
)

if TYPE_CHECKING:
    from agentclient.journal.writer import Journal


@dataclass(frozen=True, slots=True)
class Filter:
    """Which VMs are asked for; an empty filter matches all.

    Attributes:
        words: agent or freeze states, ``foreign``, ``left``, ``held-by``, or what others do: one of
            them has to hold.
        older_than_s: seconds for which the freeze state has to be known already.
    """

    words: frozenset[str] = frozenset()
    older_than_s: float | None = None

    def matches(self, state: VmState, at: datetime) -> bool:
        """Return whether `state` is asked for, `at` being now."""
        return self._in_state(state) and self._old(state, at)

    def may_match(self, state: VmState) -> str | None:
        """Return why a VM that does not match may do so all the same; None if it surely doesn't."""
        freeze_unknown = state.freeze.state is None and may_be_frozen(state)
        if self.words & _FREEZE_WORDS and freeze_unknown:
            return f"whether it is frozen isn't known: {_why(state)}"
        if self.words & set(AgentState) and state.agent.state is AgentState.UNKNOWN:
            return f"the state of its agent isn't known: {_why(state)}"
        if self.older_than_s is not None and not self.words and freeze_unknown:
            return f"the state of its file systems isn't known: {_why(state)}"
        return None

    def _in_state(self, state: VmState) -> bool:
        here = {state.agent.state.value}
        if state.freeze.state:
            here.add(state.freeze.state.value)
        if state.freeze.foreign:
            here.add(FOREIGN)
        if state.left_by is not None:
            here.add(LEFT)
        if state.held_by is not None:
            here.add(HELD_BY)
        if (others := others_freeze(state)) is not None:
            here.add(others)
        return not self.words or bool(self.words & here)

    def _old(self, state: VmState, at: datetime) -> bool:
        if self.older_than_s is None:
            return True
        since = _since(state)
        return since is not None and (at - since).total_seconds() > self.older_than_s


def _since(state: VmState) -> datetime | None:
    """Return since when the state of a guest's file systems is so, or what others have pending."""
    if state.others is not None and others_freeze(state) in _OTHERS_LOOKS:
        return state.others.since
    return state.freeze.since


EVERYTHING = Filter()


@click.command("list")
@json_option
@click.option(
    "--state",
    "words",
    multiple=True,
    metavar="STATE",
    help=f"Only VMs in this state (repeatable): {', '.join(STATE_WORDS)}.",
)
@click.option(
    "--older-than",
    "older_than_s",
    callback=duration,
    metavar="D",
    help="Only VMs whose freeze state was first seen longer ago, by this or an earlier run.",
)
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit 1 if any VM matches, 2 if a source can't be seen, 3 if it isn't known of one.",
)
@with_options
def list_command(
    options: Options,
    as_json: bool,
    words: tuple[str, ...],
    older_than_s: float | None,
    exit_code: bool,
) -> int:
    """List the VMs of this machine: their agents, and whether they are frozen."""
    wanted = Filter(_checked(words), older_than_s)
    return list_vms(options, wanted, as_json=as_json, exit_code=exit_code)


def list_vms(
    options: Options, wanted: Filter = EVERYTHING, *, as_json: bool = False, exit_code: bool = False
) -> int:
    """Visit all VMs once, print those that are asked for, and return the exit code."""
    with session.engine_for(options) as engine:
        problems = engine.look(together=True)
        engine.visit()
        at = now()
        # A drill has new guests each time, so that nothing of them is remembered.
        journal = engine.journal
        forgotten = None if journal is None else remember(engine.fleet, journal, at)
        states = engine.fleet.states()
        unseen = [note for source in engine.sources for note in source.notes() if note.may_hide_vms]
        hanging = engine.hanging
        untold = () if journal is None else _of_journal(journal)
    for told in (*untold, *map(_left, states)):
        if told is not None:
            tell.note(printable(told, 1000))
    if forgotten and wanted.older_than_s is not None:
        tell.note(printable(forgotten))
    found = [state for state in states if wanted.matches(state, at)]
    for problem in (*problems, *hanging):
        tell.note(problem)
    if as_json:
        tell.rows([dumps(vm_object(state)) for state in found])
    else:
        _print_table(found, anything=bool(states))
    if not exit_code:
        return 0
    for state in states:
        # Who reads the exit code reads no table, and must learn that not all could be seen.
        if state.trouble and not (state.trouble_is_the_agents and wanted.may_match(state)):
            tell.note(printable(f"{state.id}: {state.trouble}"))
    unknown = [f"{one.id}: {why}" for one in states if (why := wanted.may_match(one))]
    unknown += [f"{note.subject}: {note.text}" for note in unseen]
    for sentence in unknown:
        tell.note(printable(sentence))
    if found:
        return 1
    return BAD_INPUT if problems else UNKNOWN if unknown or hanging else 0


def may_be_frozen(state: VmState) -> bool:
    """Return whether a VM may be frozen for all we know: one without an agent can't be, by one."""
    never = state.agent.state is AgentState.NONE or state.run_state in _NOTHING_RUNS
    return state.freeze.state is not FreezeState.THAWED and not never


_NOTHING_RUNS = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED})


def _why(state: VmState) -> str:
    """Return why something isn't known of a VM, as a clause."""
    held = str(state.held_by) if state.held_by is not None else None
    known = held or state.vm.out_of_reach or state.agent.detail or state.trouble
    return known or f"its agent is {state.agent.state.value}"


def _of_journal(journal: Journal) -> tuple[str, ...]:
    """Return what is wrong with the journal, and what that means for a list."""
    notices = [notice for notice in iter(journal.take_notice, None) if notice is not None]
    problem = journal.problem
    if problem is None:
        return tuple(notices)
    others = [notice for notice in notices if notice != problem]
    return *others, f"{problem}; what a dead frostwatch has left frozen is shown as foreign"


def _checked(words: Sequence[str]) -> frozenset[str]:
    for word in words:
        if word not in STATE_WORDS:
            # Of two names for one thing the shorter one is meant, unless it was typed so.
            meant = [one for one in STATE_WORDS if one != OthersFreeze.FROZEN or "-" in word]
            said = f"{printable(word, 60)!r} is no state{did_you_mean(word, meant)}"
            raise BadInput(f"{said}: use {', '.join(STATE_WORDS)}")
    return frozenset(words)


def _print_table(states: Sequence[VmState], *, anything: bool) -> None:
    if not states:
        nothing = "no VM matches" if anything else "no VM was found here (try: frostwatch doctor)"
        tell.note(nothing)
        return
    signs = table.has_glyphs()
    rows = [_row(state, signs=signs) for state in states]
    tell.rows(
        table.fitted(HEADER, rows, below="NOTE", drop=("KNOWN BY", "USER", "ALSO"), cut=("VM",))
    )


def _row(state: VmState, *, signs: bool) -> tuple[Cell, ...]:
    agent = _cell(AGENT[state.agent.state], _AGENT_COLOURS.get(state.agent.state), signs=signs)
    colour = _FREEZE_COLOURS.get(state.freeze.state) if state.freeze.state else None
    freeze = _cell(FREEZE[state.freeze.state], colour, signs=signs)
    if state.freeze.foreign:
        freeze = Cell(f"{freeze.text} (foreign)", "red")
    if state.left_by is not None:
        freeze = Cell(f"{freeze.text} (left)", "red")
    others = others_freeze(state)
    if others in _OTHERS_LOOKS:
        freeze = _cell(_OTHERS_LOOKS[others], _OTHERS_COLOURS[others], signs=signs)
    return (
        Cell(printable(str(state.id), 60)),
        Cell(_also(state.vm)),
        Cell(state.vm.user or ""),
        Cell(state.run_state.value),
        agent,
        Cell(_known_by(state)),
        freeze,
        Cell(_note(state)),
    )


def _cell(look: Look, colour: str | None, *, signs: bool) -> Cell:
    """Return a state as the console calls it, with its sign where the terminal can show that."""
    return Cell(f"{look.sign} {look.word}" if signs else look.word, colour)


def _also(vm: Vm) -> str:
    """Return what else the VM is called: its VMID, or the shortest that has its UUID in it."""
    shortest = min((one for one in vm.selectors if one != vm.name), key=len, default="")
    return printable(shortest, 40)


def _known_by(state: VmState) -> str:
    agent = state.agent
    if agent.how is KnownBy.REPLY and agent.rtt_s is not None:
        return f"reply in {agent.rtt_s * 1000:.0f} ms"
    return agent.how.value


def _left(state: VmState) -> str | None:
    """Return what to do about a guest that a dead frostwatch has left frozen."""
    if state.left_by is None:
        return None
    command = thaw_command(state.vm, foreign=False)
    return f"{state.id}: {state.left_by}, which has ended; thaw it with: {command}"


def _read_only(vm: Vm) -> str | None:
    """Return why nothing is sent to a VM; None if something may be, or nothing is sent to any."""
    why = vm.policy.read_only if vm.policy is not None else None
    return f"nothing is sent to it: {why}" if why else None


def _by_agent(state: VmState) -> str | None:
    """Return what is to be told of the agent: first of all, what others have pending in it."""
    others = doer(state)
    if others is None:
        return state.agent.detail
    return f"{others} ({GRADE_WORDS[graded(state).grade]})"


def _note(state: VmState) -> str:
    said_twice = state.held_by is None and state.trouble_is_the_agents
    reach = state.vm.out_of_reach
    detail = printable(reach, 200) if reach else None  # what a visit makes of it
    parts = (
        str(state.left_by) if state.left_by else None,
        str(state.held_by) if state.held_by else None,
        f"locked by {state.vm.locked_by}" if state.vm.locked_by else None,
        _read_only(state.vm),
        reach or state.vm.freeze_disabled,
        state.vm.no_monitor,
        None if state.held_by or (reach and state.agent.detail == detail) else _by_agent(state),
        None if state.trouble == state.vm.no_monitor or said_twice else state.trouble,
    )
    return printable("; ".join(part for part in parts if part), 200)
