"""Writes lines to stdout and stderr, in a thread of its own.

A reader that does not read (a full pipe, a stopped terminal) must delay neither a thaw nor a
signal, so that callers put a line into a queue and go on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import click

from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread


class Output:
    """A queue of lines, and the thread that writes them.

    Raises:
        FrostwatchError: the system has no thread for it.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[tuple[str, bool] | None] = queue.SimpleQueue()
        self._broken = {False: False, True: False}
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
        """Whether nobody reads stdout any more."""
        return self._broken[False]

    def out(self, line: str) -> None:
        """Write a line to stdout, soon."""
        self._lines.put((line, False))

    def err(self, line: str) -> None:
        """Write a line to stderr, soon."""
        self._lines.put((line, True))

    def finish(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Wait until everything is written, or `go_on` says no; return whether it is."""
        self._lines.put(None)
        while self._thread.is_alive() and go_on():
            self._thread.join(0.1)
        return not self._thread.is_alive()

    def _write_all(self) -> None:
        while (item := self._lines.get()) is not None:
            line, err = item
            if not self._broken[err]:
                self._write(line, err)

    def _write(self, line: str, err: bool) -> None:
        try:
            click.echo(line, err=err)
        except (OSError, ValueError):  # closed by its reader, its terminal, or a full disk
            self._broken[err] = True
