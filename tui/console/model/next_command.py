"""What comes next for a VM: the command, and the step that it is part of. One rule for all keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agentclient.late import load
from agentclient.model.next_command import command_in, thaw_commands
from agentclient.model.others_freeze import OthersFreeze
from agentclient.model.snapshot import VmState
from agentclient.model.vm import DRILL_SOURCE, Vm
from tui.console.model.open_window import OpenWindow

# Each command of a drill's guest is a key of its console.
_KEY: Final = re.compile(r"\b\w in the drill's console.*")


class Next(NamedTuple):
    """What comes next.

    Attributes:
        step: what to do before it, and what it may break; empty if the command says it all. In a
            drill it is the key, and what is said of that.
        command: the command; None in a drill.
    """

    step: str
    command: str | None


def next_of_window(window: OpenWindow) -> Next:
    """Return what ends a window that is open: all of it is thawed next."""
    command = thaw_commands(window.vms)
    if _KEY.match(command):
        return Next(command, None)
    return Next("make the copy first: this ends the window", command)


def next_of(state: VmState) -> Next | None:
    """Return what comes next for a VM; None if nothing does that is done by a command.

    Args:
        state: the VM.
    """
    return next((found for step in _steps(state) if (found := _in(step, state.vm))), None)


def _in(step: str, vm: Vm) -> Next | None:
    """Return what a step asks for by a command; None if it asks for none."""
    if vm.source == DRILL_SOURCE:
        found = _KEY.search(step)
        return Next(found[0], None) if found is not None else None
    command = command_in(step, vm)
    return Next(step.partition(command)[0].rstrip(": "), command) if command is not None else None


def _steps(state: VmState) -> Iterator[str]:
    """Yield what is to be done about a VM, the most urgent first.

    Whatever others have pending is theirs as long as it goes on: nothing is to be done about it.
    What is seen of the VM, of its agent and as evidence says what to look at, and nothing to do.
    An outcome knows more of a guest that may be frozen than the state of its file systems does.
    """
    words = load("agentclient.model.explanation.present", "present")(state)
    topic = load("agentclient.model.explanation.entry", "Topic")
    maybe_frozen = load("agentclient.model.explanation.states", "MAYBE_FROZEN")
    last = []
    for one in words:
        word = one.explanation.word
        is_looked_at = one.explanation.topic in (topic.EVIDENCE, topic.AGENT, topic.VM)
        if is_looked_at or word == OthersFreeze.PENDING:
            continue
        if one.explanation.topic is topic.FILE_SYSTEMS and word == maybe_frozen:
            last.append(one.do)
        else:
            yield one.do
    yield from last
