"""How an operator is called who does not look: what is set, and the command that is run for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from agentclient.config.defaults import BELL, TERMINAL, TMUX
from agentclient.late import load

if TYPE_CHECKING:
    from agentclient.config.defaults import General
    from agentclient.model.transition import Happened
    from tui.shared.bounded_commands import BoundedCommands

SETTING = "notify_command"


class Notify(NamedTuple):
    """How an operator is called.

    Attributes:
        ways: some of `BELL`, `TERMINAL` and `TMUX`; empty if nobody is called so.
        command: the command that is run for each transition; empty for none.
        on: the transitions that are told, and no others; None for all by the command, and for the
            notices that call somebody.
    """

    ways: frozenset[str] = frozenset()
    command: tuple[str, ...] = ()
    on: frozenset[str] | None = None

    @classmethod
    def of(cls, general: General) -> Self:
        """Return what is set."""
        ways = frozenset(general.notify) if general.bell else frozenset()
        on = None if general.notify_on is None else frozenset(general.notify_on)
        return cls(ways, general.notify_command or (), on)

    @classmethod
    def in_all_ways(cls) -> Self:
        """Return that a person is called in every way, without a command."""
        return cls(frozenset({BELL, TERMINAL, TMUX}))

    @property
    def wanted(self) -> bool:
        """Whether anything is to be done at all."""
        return bool(self.ways or self.command)

    def tells(self, happened: Happened) -> bool:
        """Return whether a transition is one of those that are told."""
        return self.on is None or happened.kind.value in self.on

    def run(self, commands: BoundedCommands, happened: Happened) -> None:
        """Have the command run for a transition, if there is one; returns at once."""
        if self.command and self.tells(happened):
            variables = load("agentclient.model.transition", "hook_variables")(happened)
            commands.begin(SETTING, self.command, variables)
