"""What the machines of a freeze and of a thaw ask for, as tests compare it."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.freeze.effects import Effect, ReportEvent, Send


def commands(effects: Iterable[Effect]) -> list[str]:
    """Return what is written, in order."""
    return [
        one.command if isinstance(one, Send) else "sync"
        for one in effects
        if not isinstance(one, ReportEvent)
    ]
