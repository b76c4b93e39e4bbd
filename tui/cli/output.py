"""Writes lines to stdout and stderr, in a thread of its own.

A reader that does not read (a full pipe, a stopped terminal) must delay neither a thaw nor a
signal, so that callers put a line into a queue and go on.

On a terminal a line is broken at words, as `tui.cli.tell` does it. A terminal may have a footer,
which stays below all lines: it is taken away before a line is written, and drawn again after the
last one that waits.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from tui.cli.stdout import reader_has_gone
from tui.shared.folding import FURTHER, columns_of, folded

_NO_READER = "nobody reads it any more"
_UP = "\x1b[1A"
_CLEARED = "\r\x1b[K"


class _Line(NamedTuple):
    """A line that waits to be written.

    Attributes:
        text: what it says.
        err: it goes to stderr.
        below: how many cells further to the right stands what is broken off; None for a program's.
    """

    text: str
    err: bool
    below: int | None

    def shown(self) -> str:
        """Return what is written of it."""
        if self.below is None:
            return self.text
        return folded(self.text, columns_of(sys.stderr if self.err else sys.stdout), self.below)


class Output:
    """A queue of lines, and the thread that writes them.

    Attributes:
        problem: why stdout can't be written any more, as a clause; None if it can.

    Raises:
        FrostwatchError: the system has no thread for it.
    """

    def __init__(self) -> None:
        # None is the end of all, and a lone False a footer that has changed.
        self._lines: queue.SimpleQueue[_Line | bool | None] = queue.SimpleQueue()
        self._broken = {False: False, True: False}
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._footer: tuple[str, ...] = ()
        self._footer_waits = False
        self._drawn: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._write_all, name="output", daemon=True)
        try:
            self._thread.start()
        except NO_THREAD as error:
            raise FrostwatchError(
                "there is no thread to tell what happens"
                f" ({why_no_thread(error)}); nothing was sent"
            ) from error

    @property
    def broken(self) -> bool:
        """Whether nobody reads stdout any more: also where nothing was to be written since."""
        if not self._broken[False] and reader_has_gone():
            self.problem = self.problem or _NO_READER
            self._broken[False] = True
        return self._broken[False]

    def out(self, line: str, below: int = FURTHER) -> None:
        """Tell a person something on stdout, soon; see `tell.out`."""
        self._lines.put(_Line(line, False, below))

    def err(self, line: str, below: int = FURTHER) -> None:
        """Tell a person something on stderr, soon; see `tell.out`."""
        self._lines.put(_Line(line, True, below))

    def data(self, line: str) -> None:
        """Write a line that a program reads to stdout, soon."""
        self._lines.put(_Line(line, False, None))

    def footer(self, lines: Sequence[str]) -> None:
        """Keep these lines below all others; for a stderr that is a terminal.

        Args:
            lines: each narrower than the terminal; empty for no footer.
        """
        with self._lock:
            self._footer = tuple(lines)
            waits, self._footer_waits = self._footer_waits, True
        if not waits:  # a terminal that is stopped is not given one for each second of that
            self._lines.put(False)

    def finish(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Wait until everything is written, or `go_on` says no; return whether it is."""
        self._lines.put(None)
        while self._thread.is_alive() and go_on():
            self._thread.join(0.1)
        return not self._thread.is_alive()

    def _write_all(self) -> None:
        while (item := self._lines.get()) is not None:
            if isinstance(item, _Line):
                self._erase()
                if not self._broken[item.err]:
                    self._write(f"{item.shown()}\n", item.err)
            if self._lines.empty():
                self._draw()
        self._erase()

    def _draw(self) -> None:
        with self._lock:
            footer, self._footer_waits = self._footer, False
        if footer == self._drawn or self._broken[True]:
            return
        self._write(_erased(self._drawn) + "\n".join(footer), err=True)
        self._drawn = footer

    def _erase(self) -> None:
        if self._drawn and not self._broken[True]:
            self._write(_erased(self._drawn), err=True)
        self._drawn = ()

    def _write(self, text: str, err: bool) -> None:
        try:
            click.echo(text, err=err, nl=False)
        except (OSError, ValueError) as error:  # closed by its reader or terminal, or a full disk
            self._broken[err] = True
            if not err:
                self.problem = _why(error)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, BrokenPipeError):
        return _NO_READER
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _erased(footer: Sequence[str]) -> str:
    """Return what clears a footer; never more lines than it has, since those above are no part."""
    return _CLEARED + f"{_UP}{_CLEARED}" * (len(footer) - 1) if footer else ""
