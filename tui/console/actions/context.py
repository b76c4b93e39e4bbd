"""What everything shares that acts on guests for the operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.app import App

from agentclient.fleet.store import Fleet
from agentclient.model.request import Schedule
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.model.notices import Notice
from tui.console.model.view import FleetView
from tui.console.ports import OperationsPort
from tui.shared.clocks import Clock
from tui.shared.glyphs import Signs


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action needs of the console.

    Attributes:
        app: whose screens the dialogs are.
        view: which VMs a key means.
        fleet: what is known now, and the VMs' logs.
        operations: what freezes, thaws and rescues.
        tell: shows a notice.
        clock: for the notices.
        signs: the set of signs that the terminal can show.
        read_only: nothing may be sent to any guest.
        schedule: how long freezes are waited for.
    """

    app: App[Any]
    view: FleetView
    fleet: Fleet
    operations: OperationsPort
    tell: Callable[[Notice], None]
    clock: Clock
    signs: Signs
    read_only: bool
    schedule: Schedule

    def answer(self, level: Level, text: str, about: VmId | None = None) -> None:
        """Show the answer to a key that was just pressed."""
        self.tell(Notice(level, text, self.clock.wall(), about, answer=True))
