"""The next command of an open window, or of the VM under the cursor: into the clipboard."""

from __future__ import annotations

import os

from agentclient.model.next_command import command_in, thaw_commands
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from tui.console.actions.context import ActionContext
from tui.console.clipboard import clipboard_sequence
from tui.console.dialogs.copied import CopiedDialog
from tui.console.model.explained import explained, step_while_held
from tui.console.model.open_window import OpenWindow, open_windows
from tui.shared.verdict import verdict_of

NOTHING_NEXT = "nothing has to be done here next by a command"


def next_command(window: OpenWindow | None, state: VmState | None) -> str | None:
    """Return the command that comes next; None if there is none.

    Args:
        window: the window that is open, if one is: all of it is thawed next.
        state: the VM under the cursor, if no window is open.
    """
    if window is not None:
        return thaw_commands(window.vms)
    if state is None:
        return None
    verdict = verdict_of(state)
    steps = [step_while_held(state.held_by, state.vm)] if state.held_by is not None else []
    steps += [explained(verdict, state).next or ""] if verdict is not None else []
    return next((one for step in steps if (one := command_in(step, state.vm))), None)


def command_now(context: ActionContext) -> str | None:
    """Return what comes next: the thaw of the window that ends first, or the cursor's step."""
    view = context.view
    windows = () if context.read_only else open_windows(context.fleet.states())
    state = view.state(view.cursor) if view.cursor is not None else None
    return next_command(windows[0] if windows else None, state)


class NextCommandPrompt:
    """Copies the next command, and shows it.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context

    def copy(self) -> None:
        """Copy what comes next: the thaw of the window that ends first, or the cursor's step."""
        command = command_now(self._context)
        if command is None:
            self._context.answer(Level.INFO, NOTHING_NEXT)
            return
        if not command.startswith("frostwatch "):  # a drill's guests are its own console's
            self._context.answer(Level.INFO, command)
            return
        self.show("The next command", command)

    def show(self, title: str, command: str) -> None:
        """Copy a command, and show it.

        Args:
            title: what it is, safe to show.
            command: the command.
        """
        sequence = clipboard_sequence(command, os.environ)
        self._context.write_to_terminal(sequence)
        self._context.app.push_screen(CopiedDialog(title, command, sent=bool(sequence)))
