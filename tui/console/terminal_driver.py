"""The terminal beneath the screen: what becomes of the console when it goes, stops or comes back.

Textual's driver spins on a terminal that has ended, dies with one that takes no more words, and
begins a second time behind the first when the process was stopped and goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

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


class Ended(Message):
    """The terminal is there no more."""


class StopWanted(Message):
    """Somebody outside wants the console to be stopped (SIGTSTP)."""


class WentOn(Message):
    """The console was stopped without a word (SIGSTOP), and goes on."""


class Words:
    """Where the screen is written to; who reads there may have left.

    Args:
        file: the terminal.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        """Return the terminal's number."""
        return self._file.fileno()

    def write(self, text: str) -> None:
        """Write, if anybody takes it."""
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        """Write what was kept back, if anybody takes it."""
        with contextlib.suppress(OSError):
            self._file.flush()


class TerminalDriver(LinuxDriver):
    """Textual's own, with a terminal that may end, and a process that may be stopped."""

    _stopping = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = Words(self._file)

    def give_up_input(self) -> None:
        """Read no more: there is nobody to read from. Safe from any thread."""
        self.exit_event.set()

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError as problem:
            if problem.errno not in _ENDED:
                raise
            self._app.post_message(Ended())

    # -- stopped, and going on ---------------------------------------------------------------

    def _sigtstp_application(self, *_: object) -> None:
        self._app.post_message(StopWanted())

    def _sigcont_application(self, *_: object) -> None:
        if not self._stopping:
            self._app.post_message(WentOn())

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

    def begin_again(self) -> None:
        """Take the terminal anew: whoever had it meanwhile may have left it in any state."""
        self.suspend_application_mode()
        self.resume_application_mode()
