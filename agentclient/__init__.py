"""The library that freezes and thaws guests through their agents: blocking, typed, thread-safe.

It is used from the console, a script or a REPL (docs/library.md), and never imports `tui`.
`__all__` lists the public names. Each is imported when it is first used (PEP 562), so that
`import agentclient` is cheap, also for the holder, which uses only a few modules of this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentclient.backends.base import Backend
    from agentclient.config.load import load_settings
    from agentclient.config.settings import Settings
    from agentclient.engine import Engine
    from agentclient.model.errors import BadInput, FrostwatchError
    from agentclient.model.events import Event, EventKind
    from agentclient.model.outcome import (
        Evidence,
        GroupOutcome,
        Meaning,
        NotFrozen,
        Outcome,
        ThawOutcome,
    )
    from agentclient.model.request import FreezeRequest, Schedule
    from agentclient.model.rescue import RescueOutcome, Rung, Step
    from agentclient.model.snapshot import VmState
    from agentclient.model.states import (
        AgentState,
        Cause,
        FreezeState,
        OutcomeKind,
        Refusal,
        RunState,
    )
    from agentclient.model.vm import Vm, VmId

__all__ = [
    "AgentState",
    "Backend",
    "BadInput",
    "Cause",
    "Engine",
    "Event",
    "EventKind",
    "Evidence",
    "FreezeRequest",
    "FreezeState",
    "FrostwatchError",
    "GroupOutcome",
    "Meaning",
    "NotFrozen",
    "Outcome",
    "OutcomeKind",
    "Refusal",
    "RescueOutcome",
    "RunState",
    "Rung",
    "Schedule",
    "Settings",
    "Step",
    "ThawOutcome",
    "Vm",
    "VmId",
    "VmState",
    "load_settings",
]

_HOMES = {
    "backends.base": ("Backend",),
    "config.load": ("load_settings",),
    "config.settings": ("Settings",),
    "engine": ("Engine",),
    "model.errors": ("BadInput", "FrostwatchError"),
    "model.events": ("Event", "EventKind"),
    "model.outcome": ("Evidence", "GroupOutcome", "Meaning", "NotFrozen", "Outcome", "ThawOutcome"),
    "model.request": ("FreezeRequest", "Schedule"),
    "model.rescue": ("RescueOutcome", "Rung", "Step"),
    "model.snapshot": ("VmState",),
    "model.states": ("AgentState", "Cause", "FreezeState", "OutcomeKind", "Refusal", "RunState"),
    "model.vm": ("Vm", "VmId"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
