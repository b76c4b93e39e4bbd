"""The table of VMs, as ``frostwatch list`` prints it."""

from __future__ import annotations

from collections.abc import Sequence

from agentclient.model.others_freeze import GRADE_WORDS, OthersFreeze, doer, graded, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli import table
from tui.cli.table import Cell
from tui.shared.fit import fit_middle
from tui.shared.glyphs import AGENT, FREEZE, OTHERS_LOST, OTHERS_PENDING, Look

_LONGEST = 200  # cells of an id; longer ones are cut in their middle
_WHOLE = 4_000
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


def table_of(states: Sequence[VmState]) -> list[str]:
    """Return the table's lines; on a terminal as wide as that.

    Args:
        states: what is known of each VM; at least one.
    """
    signs = table.has_glyphs()
    rows = [_row(state, signs=signs) for state in states]
    drop = ("KNOWN BY", "USER", "ALSO")
    return table.fitted(HEADER, rows, below="NOTE", drop=drop, cut=("VM",), apart="VM")


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
        Cell(fit_middle(printable(str(state.id), _WHOLE), _LONGEST)),
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
    why_not = reach or state.vm.freeze_disabled
    detail = printable(reach, 200) if reach else None  # what a visit makes of it
    parts = (
        str(state.left_by) if state.left_by else None,
        str(state.held_by) if state.held_by else None,
        f"locked by {state.vm.locked_by}" if state.vm.locked_by else None,
        _read_only(state.vm),
        why_not,
        None if state.vm.no_monitor == why_not else state.vm.no_monitor,
        None if state.held_by or (reach and state.agent.detail == detail) else _by_agent(state),
        None if state.trouble == state.vm.no_monitor or said_twice else state.trouble,
    )
    return printable("; ".join(part for part in parts if part), 200)
