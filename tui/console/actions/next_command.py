"""The next command of an open window, or of the VM under the cursor: into the clipboard."""

from __future__ import annotations

import os

from agentclient.model.states import Level
from agentclient.model.text import uncut
from tui.console.actions.context import ActionContext
from tui.console.clipboard import clipboard_sequence
from tui.console.dialogs.copied import CopiedDialog
from tui.console.model.next_command import Next, next_of, next_of_window
from tui.console.model.open_window import open_windows
from tui.console.model.sending import READ_ONLY, Sending

NOTHING_NEXT = "nothing has to be done here next by a command"


def next_now(context: ActionContext) -> Next | None:
    """Return what comes next: the thaw of the window that ends first, or the cursor's step."""
    view = context.view
    windows = () if context.read_only else open_windows(context.fleet.states())
    if windows:
        return next_of_window(windows[0])
    state = view.state(view.cursor) if view.cursor is not None else None
    return next_of(state) if state is not None else None


class NextCommandPrompt:
    """Copies the next command, and shows it.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context

    def copy(self) -> None:
        """Copy what comes next: the thaw of the window that ends first, or the cursor's step."""
        found = next_now(self._context)
        if found is None:
            self._context.answer(Level.INFO, NOTHING_NEXT)
        elif found.command is None:  # a drill's guests are its own console's
            step = found.step
            if self._context.sending is Sending.READ_ONLY:
                step = READ_ONLY
            self._context.answer(Level.INFO, uncut(f"next: {step}"))
        else:
            self.show("The next command", found.command, found.step)

    def show(self, title: str, command: str, step: str = "") -> None:
        """Copy a command, and show it.

        Args:
            title: what it is, safe to show.
            command: the command.
            step: what to do before it, and what it may break.
        """
        sequence = clipboard_sequence(command, os.environ)
        self._context.write_to_terminal(sequence)
        dialog = CopiedDialog(title, command, sent=bool(sequence), step=step)
        self._context.app.push_screen(dialog)
