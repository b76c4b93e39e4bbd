"""The table of VMs, as ``frostwatch list`` prints it."""

from __future__ import annotations

from collections.abc import Sequence

from agentclient.model.others_freeze import GRADE_WORDS, doer, graded
from agentclient.model.snapshot import VmState
from agentclient.model.states import KnownBy
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli import table
from tui.cli.table import Cell
from tui.shared.fit import fit_middle
from tui.shared.freeze_look import freeze_look
from tui.shared.glyphs import AGENT, RUN, Look
from tui.shared.tone import Tone

_LONGEST = 200  # cells of an id; longer ones are cut in their middle
_WHOLE = 4_000
HEADER = ("VM", "ALSO", "USER", "RUNS", "AGENT", "KNOWN BY", "FILE SYSTEMS", "NOTE")

_COLOURS = {
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
    Tone.ACTIVE: "cyan",
    Tone.FROZEN: "cyan",
}


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
    return (
        Cell(fit_middle(printable(str(state.id), _WHOLE), _LONGEST)),
        Cell(_also(state.vm)),
        Cell(printable(state.vm.user or "", 40)),
        _cell(RUN[state.run_state], signs=signs),
        _cell(AGENT[state.agent.state], signs=signs),
        Cell(_known_by(state)),
        _cell(freeze_look(state), signs=signs),
        Cell(_note(state)),
    )


def _cell(look: Look, *, signs: bool) -> Cell:
    """Return a state as the console calls it, with its sign where the terminal can show that."""
    text = f"{look.sign} {look.word}" if signs else look.word
    return Cell(text, _COLOURS.get(look.tone))


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
