"""Writes what a command tells at once to stdout, also where its reader leaves in the middle.

``| head -1`` takes what it wants and leaves. That is no failure: the command goes on to its end,
and has the exit code that it would have had. A reader that has never been there is one.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final

import click

_HAD_READER: Final = f"{__name__}.had_reader"


def write(text: str, *, color: bool | None = None) -> None:
    """Write one line or several.

    Args:
        text: without the last line's end.
        color: whether its styles are kept; None for what the terminal can show.

    Raises:
        BrokenPipeError: there was no reader when the command began to write.
        OSError: it can't be written, as on a full disk.
    """
    context = click.get_current_context(silent=True)
    meta = context.meta if context is not None else {}
    had_reader = meta.setdefault(_HAD_READER, not reader_has_gone())
    try:
        click.echo(text, color=color)
    except BrokenPipeError:
        if not had_reader:
            raise
        forget()


def reader_has_gone() -> bool:
    """Return whether stdout is a pipe whose reader has gone, or a terminal that has."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        return any(found & select.POLLERR for _, found in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # it is closed, or a program's own
        return False


def forget() -> None:
    """Point stdout at nothing, so that neither we nor the interpreter's last flush complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
