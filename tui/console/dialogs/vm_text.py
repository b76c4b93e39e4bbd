"""What dialogs say about VMs: identity first, then what the action means for this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.risks import risks, why_not
from agentclient.model.durations import in_words
from agentclient.model.next_step import step_while_held
from agentclient.model.others_freeze import doer
from agentclient.model.outcome import FileSystem
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState
from agentclient.model.text import uncut
from tui.console.model.targets import Target, Targets
from tui.console.widgets.pane.facts import identity
from tui.shared.fit import safe
from tui.shared.freeze_look import freeze_look
from tui.shared.frozen_for import of_others
from tui.shared.glyphs import AGENT, RUN, Signs
from tui.shared.tone import Line, Piece, Tone

LABEL = 9
MOST_DEVICES = 4
EMPTY: Line = (Piece(""),)


def arrows(signs: Signs) -> dict[str, int]:
    """Return the signs around what can be changed, each with the direction it stands for."""
    return {"<": -1, ">": 1} if signs.ascii else {"◂": -1, "▸": 1}


def labelled(label: str, text: str, tone: Tone = Tone.NORMAL) -> Line:
    """Return a line with a label in front."""
    return (Piece(f"  {label:<{LABEL}}", Tone.DIM), Piece(text, tone))


def subject(targets: Targets) -> str:
    """Return what a dialog is about, for its title."""
    if len(targets) == 1:
        return safe(targets[0].vm.name, 40)
    return f"{len(targets)} VMs"


def who(state: VmState, signs: Signs) -> Line:
    """Return a VM's identity and its states."""
    run, agent, freeze = RUN[state.run_state], AGENT[state.agent.state], freeze_look(state)
    return (
        Piece(identity(state, signs), Tone.HEAD),
        Piece("  "),
        Piece(signs.labelled(run), run.tone),
        Piece("  agent "),
        Piece(signs.labelled(agent), agent.tone),
        Piece("  "),
        Piece(signs.labelled(freeze), freeze.tone),
    )


def devices(file_systems: Iterable[FileSystem], most: int = MOST_DEVICES) -> str:
    """Return devices with one mount point each, and how many more there are.

    Args:
        file_systems: as the guest lists them: one entry for each path.
        most: so many devices by name.
    """
    paths: dict[str, list[FileSystem]] = {}
    for one in file_systems:
        paths.setdefault(one.device, []).append(one)
    named = [_device(device, found) for device, found in list(paths.items())[:most]]
    if len(paths) > most:
        named.append(f"and {len(paths) - most} devices more")
    return ", ".join(named)


def _device(device: str, found: list[FileSystem]) -> str:
    first = min(found, key=lambda one: len(one.mountpoint))
    more = f" and {len(found) - 1} paths more" if len(found) > 1 else ""
    path = safe(first.mountpoint, 60)
    return f"{path}{more} ({safe(first.kind, 20)} on {safe(device, 30)})"


def to_freeze(target: Target, signs: Signs, *, hidden: bool) -> Iterator[Line]:
    """Yield what a freeze means for one VM."""
    state = target.state
    yield who(state, signs)
    if hidden:
        yield labelled("", "marked, and hidden by the filter", Tone.WARN)
    if state.file_systems:
        coverage = Coverage(state.file_systems)
        if coverage.covered:
            yield labelled("freezes", devices(coverage.covered))
        if coverage.not_covered:
            text = f"{devices(coverage.not_covered)}: can't freeze, takes writes"
            yield labelled("not", text, Tone.WARN)
        if coverage.windows:
            text = "a hold above 10 s is worth nothing: Windows lets writes go by then"
            yield labelled("beware", text, Tone.WARN)
    else:
        yield labelled("freezes", "all its file systems; they are asked for just before", Tone.DIM)
    for risk in risks(state):
        yield labelled("risk", safe(risk, 400), Tone.WARN)
    refusal = why_not(state)
    if refusal is not None:
        text = f"it looks as if this will be refused: {safe(refusal, 300)}"
        yield labelled("but", text, Tone.WARN)


def to_thaw(target: Target, signs: Signs, *, hidden: bool) -> Iterator[Line]:
    """Yield what a thaw means for one VM."""
    state = target.state
    yield who(state, signs)
    if hidden:
        yield labelled("", "marked, and hidden by the filter", Tone.WARN)
    policy = state.vm.policy or DEFAULT_POLICY
    refusal = policy.read_only or state.vm.out_of_reach
    if refusal is not None:
        yield labelled("but", f"it will be refused: {safe(refusal, 300)}", Tone.WARN)
    if state.held_by is not None and state.progress is None:
        yield labelled("held", f"it is {safe(str(state.held_by), 120)}", Tone.WARN)
        yield from _held(target, in_words(policy.thaw_timeout_s))
    elif target.foreign:
        yield from _foreign(state)
    elif state.progress is not None:
        yield from to_stop(target, signs, named=True)
    else:
        if state.left_by is not None:
            yield labelled("left", safe(str(state.left_by), 120), Tone.WARN)
        most = in_words(policy.thaw_timeout_s)
        pending = of_others(state)
        if state.agent.state is AgentState.BUSY or (pending is not None and pending.waits):
            others = state.others.by if state.others is not None else None
            by = safe(others.in_full, 120) if others is not None else "another client"
            yield labelled("but", f"{by} holds its channel: it waits for that", Tone.WARN)
        yield labelled("thaw", f"is sent, and its count is shown; at most {most}")


def _held(target: Target, most: str) -> Iterator[Line]:
    """Yield what a thaw means where another frostwatch is at work; `most`: for how long at most."""
    held = target.state.held_by
    assert held is not None
    if target.left_to_holder:
        yield labelled("thaw", f"its holder is asked, and thaws it; at most {most}")
    elif target.held_elsewhere:
        yield labelled("thaw", f"its holder is asked, and its own console thaws; at most {most}")
        text = "that window: a copy that is being taken now comes out inconsistent"
        yield labelled("breaks", text, Tone.BAD)
    else:
        yield labelled("thaw", uncut(step_while_held(held, target.vm)))


def _foreign(state: VmState) -> Iterator[Line]:
    since = state.freeze.since
    seen = f"at {since.strftime('%H:%M:%S')}" if since is not None else "some time ago"
    others = doer(state)
    by = f"by {safe(others.by.in_full, 120)}, as it seems" if others and others.by else None
    late = f"; {others.overdue}" if others and others.overdue else ""
    whose = f"{by or 'not by this console'}{late}"
    yield labelled("foreign", f"first seen frozen {seen}; {whose}", Tone.WARN)
    locked = state.vm.locked_by
    if locked:
        yield labelled("locked", f"its manager holds it for: {safe(locked)}", Tone.WARN)
    text = "a backup or a snapshot that is being taken now comes out inconsistent"
    yield labelled("breaks", f"the window of whoever froze it: {text}, and is not told", Tone.BAD)


def to_stop(target: Target, signs: Signs, *, named: bool = False) -> Iterator[Line]:
    """Yield what "stop waiting" means for one VM.

    Args:
        target: the VM.
        signs: the set of signs that the terminal can show.
        named: the VM has been named already.
    """
    state = target.state
    if not named:
        yield who(state, signs)
    progress = state.progress
    if progress is None:
        yield labelled("nothing", "is in flight on it any more", Tone.DIM)
    elif progress.held_since is not None:
        yield labelled("window", "is closed now: it is thawed at once")
    elif progress.cancelled:
        yield labelled("waiting", "has been stopped: its thaw goes on while the row counts down")
    elif progress.what == "freeze":
        text = "ends; a freeze can't be called back, so the guest is thawed as soon as its agent "
        yield labelled("waiting", f"{text}answers, and it is watched until then")
    elif progress.what == "rescue":
        yield labelled("rung", "is left within a second; what it has done stays done")
    else:
        yield labelled("thaw", "goes on: a thaw is never called back")
