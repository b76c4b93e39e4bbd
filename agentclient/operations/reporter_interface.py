"""The protocol by which an operation reports what happens."""

from __future__ import annotations

from typing import Protocol, TypeVar

from agentclient.freeze.effects import ReportEvent
from agentclient.model.outcome import FileSystem, Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome
from agentclient.model.snapshot import AgentHealth, Progress
from agentclient.model.states import FreezeState, RunState

EndingT = TypeVar("EndingT", bound=Outcome | ThawOutcome | RescueOutcome)


class Reporter(Protocol):
    """Receives what an operation does and observes on its VM."""

    def event(self, report: ReportEvent) -> None:
        """Report an event."""

    def progress(self, progress: Progress | None) -> None:
        """Report the operation's progress; None if it was queued and will not begin."""

    def file_systems(self, found: tuple[FileSystem, ...]) -> None:
        """Report the file systems that the guest listed."""

    def agent(self, health: AgentHealth) -> None:
        """Report the agent's health."""

    def frozen(self, state: FreezeState | None, *, foreign: bool) -> None:
        """Report the state of the guest's file systems."""

    def run_state(self, state: RunState) -> None:
        """Report the VM's run state."""

    def port(self, *, is_open: bool) -> None:
        """Report whether the agent's port is open."""

    def with_meaning(self, outcome: EndingT, *, final: bool = True) -> EndingT:
        """Return an outcome with what it means, and the next step.

        Args:
            outcome: of a freeze, a thaw or a rung.
            final: False for a verdict, whose thaw is still to come.
        """

    def revise(self, before: Outcome, after: Outcome) -> Outcome:
        """Report another outcome of a freeze that has ended; return it with its meaning."""

    def ended(self, outcome: EndingT) -> EndingT:
        """Report that the operation has ended; return its outcome with its meaning."""
