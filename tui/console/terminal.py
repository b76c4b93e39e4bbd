"""The terminal beneath the screen: what becomes of the console when it goes, stops or comes back.

Textual's driver spins on a terminal that has ended, and begins a second time behind the first when
the process was stopped and goes on.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter, NoColor
from textual.message import Message

from agentclient.late import load
from agentclient.model.errors import NO_THREAD
from tui.console.bare_terminal import tell_stderr
from tui.console.model.exit_kind import ExitKind
from tui.console.shortage import EnduringApp
from tui.console.textual_internals import survive_lost_terminal, write_changed_cells_only
from tui.console.widgets.pointed import LEFT
from tui.shared.key_hints import key
from tui.shared.terminal_features import NO_COLOURS, is_in_browser

NO_SHELL = f"can't be stopped here: no shell could let it go on; {key('quit', 'q')} leaves"

# What a read says when the terminal has ended, or is not ours any more and never will be.
_ENDED = frozenset({errno.EIO, errno.EBADF, errno.ENXIO, errno.ENOTTY})


def has_ended(number: int) -> bool:
    """Return whether a terminal is there no more.

    Args:
        number: its file descriptor.
    """
    poll = select.poll()
    poll.register(number, 0)
    return bool(poll.poll(0))


def open_terminals() -> list[int]:
    """Return the numbers of those of the standard streams that are terminals."""
    return [number for number in (0, 1, 2) if os.isatty(number)]


class Ended(Message):
    """The terminal is there no more."""


class StopWanted(Message):
    """Somebody outside wants the console to be stopped (SIGTSTP)."""


class WentOn(Message):
    """The console was stopped without a word (SIGSTOP), and goes on."""


class TerminalDriver(LinuxDriver):
    """Textual's own, with a terminal that may end, and a process that may be stopped.

    Args:
        app: the app that is drawn.
        options: Textual's own.
    """

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self._told = app
        self._stopping = False
        self._is_lent = False
        survive_lost_terminal(self)
        # In the place of Textual's, which it has just set.
        signal.signal(signal.SIGTSTP, lambda *_: app.post_message(StopWanted()))
        signal.signal(signal.SIGCONT, lambda *_: self._went_on())
        if isinstance(app, TerminalApp):
            app.terminal = self

    def give_up_input(self) -> None:
        """Read no more: there is nobody to read from. Safe from any thread."""
        self.exit_event.set()

    def run_input_thread(self) -> None:
        """Read keys until the console or its terminal ends."""
        try:
            super().run_input_thread()
        except OSError as problem:
            if problem.errno not in _ENDED:
                raise
            self._told.post_message(Ended())

    # -- stopped, and going on ---------------------------------------------------------------

    def _went_on(self) -> None:
        if not self._stopping:
            self._told.post_message(WentOn())

    def stop_process(self) -> bool:
        """Stop this process and those of its job, as a terminal's Ctrl-Z does; return after it.

        Returns:
            False if nothing was stopped: there is no shell that could let it go on.
        """
        went_on: list[int] = []
        self._stopping = True
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        cont = signal.signal(signal.SIGCONT, lambda number, _: went_on.append(number))
        try:
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, before)
            signal.signal(signal.SIGCONT, cont)
            self._stopping = False
        return bool(went_on)

    # -- lent to another program ---------------------------------------------------------------

    def write(self, data: str) -> None:
        """Write to the terminal, unless another program has it."""
        if not self._is_lent:
            super().write(data)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to another program of this job, and draw nothing meanwhile.

        A Ctrl-Z there stops this process as well, for the shell to come back.
        """
        self.suspend_application_mode()
        before = None
        with suppress(termios.error):
            before = termios.tcgetattr(self.fileno)
        signals = {each: signal.getsignal(each) for each in (signal.SIGTSTP, signal.SIGCONT)}
        self._is_lent = True
        try:
            for each in signals:
                signal.signal(each, signal.SIG_DFL)
            yield
        finally:
            for each, handler in signals.items():
                signal.signal(each, handler)
            with suppress(termios.error):  # who was killed has left the terminal as it had it
                if before is not None:
                    termios.tcsetattr(self.fileno, termios.TCSANOW, before)
            if self._told.is_running:
                self._is_lent = False
                self.resume_application_mode()
                self._told.refresh(layout=True)

    def call_out(self, text: str) -> None:
        """Write what calls an operator, also while another program has the terminal."""
        if not self._is_lent:
            self.write(text)
            self.flush()
            return

        def write() -> None:  # a terminal may be stopped
            with suppress(OSError):
                os.write(self.fileno, text.encode())

        with suppress(*NO_THREAD):
            threading.Thread(target=write, name="call", daemon=True).start()

    def begin_again(self) -> None:
        """Take the terminal anew: whoever had it meanwhile may have left it in any state."""
        self.suspend_application_mode()
        self.resume_application_mode()


class TerminalApp(EnduringApp):
    """An app that stops, goes on and ends as its terminal wants.

    Attributes:
        terminal: what stands between the app and its terminal; None without a terminal.
        filters: what each line of the screen passes through, behind Textual's own filters.
    """

    ALLOW_SELECT = False  # a drag with the mouse would mark titles and clocks, and take Ctrl-C

    class MustLeave(Message):
        """Somebody outside asks the console to end (a signal); may be posted from any thread."""

    def __init__(self) -> None:
        self.terminal: TerminalDriver | None = None
        self.filters: list[LineFilter] = []
        super().__init__()
        if os.environ.get("TERM", "") in NO_COLOURS:
            self.filters.append(NoColor())
        write_changed_cells_only(self)

    def get_driver_class(self) -> type[Driver]:
        """Return what stands between Textual and the terminal, or the browser."""
        if is_in_browser():
            driver: type[Driver] = load("tui.console.browser", "BrowserDriver")
            return driver
        return TerminalDriver

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what each line of the screen passes through."""
        return [*super().get_line_filters(), *self.filters]

    def write_to_terminal(self, text: str) -> None:
        """Write what is no part of the screen; without a terminal nothing is written."""
        if self.terminal is not None:
            self.terminal.call_out(text)

    # -- the mouse -----------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Leave presses of other buttons than the left one alone: here they mean nothing.

        Textual makes clicks of all of them, and a button, a key or a row would take each.
        """
        if not isinstance(event, (events.MouseDown, events.MouseUp)) or event.button <= LEFT:
            await super().on_event(event)

    # -- the end -------------------------------------------------------------------------------

    def ask_to_leave(self, terminals: Iterable[int]) -> None:
        """Ask the app to end, also where its terminal has gone; safe from any thread.

        Args:
            terminals: their numbers.
        """
        if self.terminal is not None and any(map(has_ended, terminals)):
            self.terminal.give_up_input()
        self.post_message(self.MustLeave())

    def on_terminal_app_must_leave(self) -> None:
        """Leave the screen; what is in flight is thawed after it."""
        self.exit(ExitKind.CLEAN)

    def on_ended(self, _: Ended) -> None:
        """Leave, as SIGHUP has it."""
        self.exit(ExitKind.CLEAN)

    # -- stopped, and going on -----------------------------------------------------------------

    @abstractmethod
    def lines_when_stopped(self) -> Iterable[str]:
        """Return what the bare terminal says while the console is stopped."""

    def action_stop_console(self) -> None:
        """Stop as other programs do (Ctrl-Z), and say who cares for the guests meanwhile."""
        driver = self.terminal
        if driver is None:
            self.warn(NO_SHELL)
            return
        driver.suspend_application_mode()
        for line in self.lines_when_stopped():
            tell_stderr(line)
        went_on = driver.stop_process()
        driver.resume_application_mode()
        self.refresh(layout=True)
        if not went_on:
            self.warn(NO_SHELL)

    def on_stop_wanted(self, _: StopWanted) -> None:
        """Stop, as if Ctrl-Z had been pressed."""
        self.action_stop_console()

    def on_went_on(self, _: WentOn) -> None:
        """Draw the screen again: a shell may have written over it."""
        if self.terminal is not None:
            self.terminal.begin_again()
            self.refresh(layout=True)
