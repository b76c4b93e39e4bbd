"""Whom an operation reports to."""

from __future__ import annotations

from typing import Protocol, TypeVar

from agentclient.freeze.effects import Tell
from agentclient.model.outcome import FileSystem, Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome
from agentclient.model.snapshot import AgentHealth, Progress
from agentclient.model.states import FreezeState, RunState

EndingT = TypeVar("EndingT", bound=Outcome | ThawOutcome | RescueOutcome)


class Reporter(Protocol):
    """Is told what happens to a guest while an operation is at work on it."""

    def tell(self, tell: Tell) -> None:
        """Something of meaning happened."""

    def progress(self, progress: Progress | None) -> None:
        """The operation has got this far; None if it waits no more, and was not begun."""

    def file_systems(self, found: tuple[FileSystem, ...]) -> None:
        """The guest listed its file systems."""

    def agent(self, health: AgentHealth) -> None:
        """The agent's health was seen."""

    def frozen(self, state: FreezeState | None, *, foreign: bool) -> None:
        """The state of the guest's file systems was seen."""

    def run_state(self, state: RunState) -> None:
        """The VM's run state was seen."""

    def port(self, *, is_open: bool) -> None:
        """The agent's port was seen."""

    def with_meaning(self, outcome: EndingT, *, final: bool = True) -> EndingT:
        """Return an outcome with what it means, and the next step.

        Args:
            outcome: of whatever has ended.
            final: it is the last word; else a verdict, whose thaw is still to come.
        """

    def ended(self, outcome: EndingT) -> EndingT:
        """The operation has ended; return its outcome with its meaning."""
