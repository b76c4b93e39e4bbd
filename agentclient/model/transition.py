"""The transitions of which a person wants to be told wherever they are, and how a hook is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from agentclient.model.states import Level
from agentclient.model.vm import VmId


class Transition(StrEnum):
    """The closed list of what a hook is told (documented in docs/monitoring.md)."""

    ANSWERED = "answered"  # a freeze's, or others' command's, answer has come
    LOST = "lost"  # it will not come
    BROKEN = "broken"  # a verified window was thawed, or written to, while it was held
    NEARLY_OVER = "nearly-over"  # a held window is about to be thawed on its own
    LEFT_FROZEN = "left-frozen"  # a guest may stay frozen until a person does something


class Happened(NamedTuple):
    """One transition of one VM.

    Attributes:
        vm: the VM.
        kind: what has happened.
        at: when it was seen (wall clock).
        level: how much it matters.
        text: one sentence for a person.
        state: the freeze's outcome, or the state of the guest's file systems; empty if not known.
        by: whose command or window it is; empty if it is this frostwatch's, or not known.
    """

    vm: VmId
    kind: Transition
    at: datetime
    level: Level
    text: str
    state: str = ""
    by: str = ""


# What a hook finds in its environment; no settings are called so.
_PREFIX: Final = "FROSTWATCH_"
_NAMES: Final = ("EVENT", "VM", "STATE", "TEXT", "LEVEL", "TIME", "BY")
HOOK_VARIABLES: Final = frozenset(f"{_PREFIX}{name}" for name in _NAMES)


def hook_variables(happened: Happened) -> Mapping[str, str]:
    """Return what a hook finds in its environment."""
    values = (
        happened.kind.value,
        str(happened.vm),
        happened.state,
        happened.text,
        happened.level.value,
        happened.at.isoformat(timespec="milliseconds"),
        happened.by,
    )
    return {f"{_PREFIX}{name}": value for name, value in zip(_NAMES, values, strict=True)}
