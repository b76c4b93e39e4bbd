"""The part of the app that has to do with its terminal: colours, what is written, stop and end."""

from __future__ import annotations

import os
from typing import Any

from rich.console import RenderableType
from textual.app import App
from textual.driver import Driver
from textual.filter import NoColor
from textual.message import Message
from textual.screen import Screen

from agentclient.model.states import Level
from tui.console.actions.context import Desk
from tui.console.bare_terminal import stopped_lines, tell_stderr
from tui.console.model.leaving import Leave
from tui.console.terminal_driver import Ended, StopWanted, TerminalDriver, WentOn
from tui.console.textual_internals import exact

NO_SHELL = "can't be stopped here: no shell could let it go on; q leaves"


class TerminalApp(App[Leave]):
    """An app that stops, goes on and ends as its terminal wants; who derives from it sets `desk`.

    Attributes:
        desk: what all that acts shares.
    """

    desk: Desk
    ALLOW_SELECT = False  # a drag with the mouse would mark titles and clocks, and take Ctrl-C

    class MustLeave(Message):
        """Somebody outside asks the console to end (a signal); may be posted from any thread."""

    def __init__(self) -> None:
        super().__init__()
        if os.environ.get("TERM", "") in ("dumb", "vt100", "vt220"):
            self._filters.append(NoColor())

    def get_driver_class(self) -> type[Driver]:
        """Return what stands between Textual and the terminal."""
        return TerminalDriver

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write no more to the terminal than what has changed; Textual has no public place."""
        super()._display(screen, exact(renderable))

    # -- the end -------------------------------------------------------------------------------

    def terminal_has_gone(self) -> None:
        """Read from the terminal no more; safe from any thread."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.give_up_input()

    def on_terminal_app_must_leave(self) -> None:
        """Leave the screen; what is in flight is thawed after it."""
        self.exit(Leave.CLEAN)

    def on_ended(self, _: Ended) -> None:
        """Leave, as SIGHUP has it."""
        self.exit(Leave.CLEAN)

    # -- stopped, and going on -----------------------------------------------------------------

    def action_stop_console(self) -> None:
        """Stop as other programs do (Ctrl-Z), and say who cares for the guests meanwhile."""
        driver = self._driver
        if not isinstance(driver, TerminalDriver):
            self.desk.answer(Level.WARNING, NO_SHELL)
            return
        driver.suspend_application_mode()
        for line in stopped_lines(self.desk.fleet, self.desk.operations):
            tell_stderr(line)
        went_on = driver.stop_process()
        driver.resume_application_mode()
        self.refresh(layout=True)
        if not went_on:
            self.desk.answer(Level.WARNING, NO_SHELL)

    def on_stop_wanted(self, _: StopWanted) -> None:
        """Stop, as if Ctrl-Z had been pressed."""
        self.action_stop_console()

    def on_went_on(self, _: WentOn) -> None:
        """Draw the screen again: a shell may have written over it."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.begin_again()
            self.refresh(layout=True)
