"""Plays a window of the journal again: in this console's terminal, which waits meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from agentclient.model.shell_words import joined
from agentclient.model.states import Level
from tui.console.actions.context import ActionContext
from tui.console.actions.next_command import NextCommandPrompt
from tui.console.terminal import TerminalApp, TerminalDriver
from tui.shared.own_program import OWN_PROGRAM

IN_FLIGHT: Final = "something is in flight here, and has to be seen: play it in another terminal"
_LOOK_S: Final = 0.05
_END_S: Final = 1.0  # for a program that is asked to end
BEGINS: Final = "frostwatch: the replay begins; q in it leads back to the console\r\n"
_TITLE: Final = "To see it again, in another terminal"


class ReplayPrompt:
    """Plays a window again, or shows the command where that can't be done here.

    Args:
        context: what is shared.
        commands: copies a command, and shows it.
    """

    def __init__(self, context: ActionContext, commands: NextCommandPrompt) -> None:
        self._context = context
        self._commands = commands

    def play(self, window: int) -> None:
        """Play a window, by its number in the journal, and what was frozen with it."""
        context = self._context
        terminal = context.app.terminal if isinstance(context.app, TerminalApp) else None
        arguments = (*(context.journal_options or ()), "replay", "--window", str(window))
        command = joined(("frostwatch", *arguments))
        if context.operations.active() or context.copies.active():
            self._commands.show(_TITLE, command, IN_FLIGHT)
        elif terminal is None or context.journal_options is None:
            self._commands.show(_TITLE, command)
        else:
            context.app.run_worker(
                self._played(terminal, arguments, command),
                name="replay",
                group="replay",
                description=command,
                exit_on_error=False,
                exclusive=True,
            )

    async def _played(
        self, terminal: TerminalDriver, arguments: Sequence[str], command: str
    ) -> None:
        code = await run_in_terminal(terminal, arguments)
        if code != 0:
            text = f"the replay did not begin, or was ended: {command} says why, in a shell"
            self._context.answer(Level.WARNING, text)


async def run_in_terminal(terminal: TerminalDriver, arguments: Sequence[str]) -> int | None:
    """Run another frostwatch in a console's terminal; return its exit code when it has ended.

    The console goes on meanwhile, and draws nothing. If it is left, the other one ends as well.

    Args:
        terminal: the console's.
        arguments: the other one's.

    Returns:
        None if it can't be begun.
    """
    with terminal.lent():
        terminal.call_out(BEGINS)  # until the other one draws, the screen is a shell's
        try:
            process = subprocess.Popen([*OWN_PROGRAM, *arguments])
        except OSError:
            return None
        try:
            while process.poll() is None:
                await asyncio.sleep(_LOOK_S)
        finally:
            _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and wait for that: the terminal is whose turn it is alone."""
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            return
        end()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
