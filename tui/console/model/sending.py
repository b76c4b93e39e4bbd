"""Whether the keys of a console act on guests, and what is told in their place where they don't."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from agentclient.model.text import uncut
from agentclient.model.vm import DRILL_SOURCE, Vm

ALLOWED_BY: Final = "--no-read-only (web: --allow-changes) allows it"
READ_ONLY: Final = f"this console is read-only: {ALLOWED_BY}"
# Each command of a drill's guest is a key of its console.
_KEY_OF_A_DRILL: Final = re.compile(r"\b\w in the drill's console( \(its guests end with it\))?")
_NO_DRILLS_KEY: Final = "by a key of a drill that is not read-only"


class Sending(Enum):
    """Whether a console's keys act on guests."""

    BY_KEYS = auto()
    READ_ONLY = auto()
    """They are refused: what is to be done is done by hand, or by another console."""
    REPLAY = auto()
    """What it shows was then: nothing of it is to be done now."""

    def to(self, vm: Vm) -> Sending:
        """Return whether they act on this VM, for which nothing else may be set."""
        refused = vm.policy is not None and vm.policy.read_only is not None
        return Sending.READ_ONLY if self is Sending.BY_KEYS and refused else self


def sending_of(*, read_only: bool, replay: bool) -> Sending:
    """Return whether the keys of a console act.

    Args:
        read_only: nothing is sent.
        replay: it shows what was.
    """
    if replay:
        return Sending.REPLAY
    return Sending.READ_ONLY if read_only else Sending.BY_KEYS


def by_hand(vm: Vm, command: str) -> str:
    """Return what is to be done where the console is read-only: a step, safe to show.

    Args:
        vm: the VM.
        command: the command, or the step that ends with it.
    """
    if vm.source == DRILL_SOURCE:
        return READ_ONLY
    return f"read-only here; by hand: {uncut(command)}"


def step(sending: Sending, vm: Vm, by_key: str, command: str) -> str:
    """Return what is to be done; empty in a replay.

    Args:
        sending: whether the console's keys act.
        vm: the VM.
        by_key: the step that names a key.
        command: the command that does it, or the step that ends with it.
    """
    match sending.to(vm):
        case Sending.BY_KEYS:
            return by_key
        case Sending.READ_ONLY:
            return by_hand(vm, command)
        case Sending.REPLAY:
            return ""


def clause(sending: Sending, vm: Vm, by_key: str, command: str, before: str = "; ") -> str:
    """Return what is to be done, as a clause behind another; empty in a replay.

    Args:
        sending: whether the console's keys act.
        vm: the VM.
        by_key: the clause that names a key.
        command: the command that does it.
        before: what parts it from the other.
    """
    found = step(sending, vm, by_key, command)
    return f"{before}{found}" if found else ""


def without_keys(step: str, vm: Vm, sending: Sending) -> str:
    """Return a step that names no key of a console which refuses that.

    Args:
        step: the step.
        vm: the VM.
        sending: whether the console's keys act on it.
    """
    if sending.to(vm) is Sending.BY_KEYS or vm.source != DRILL_SOURCE:
        return step
    return _KEY_OF_A_DRILL.sub(_NO_DRILLS_KEY, step)
