"""Tells a person something: each line of a command that a person reads is written through here.

On a terminal it is broken at words, and what follows stands below it. Elsewhere a line stays one
line, since a program may read it. A command that is to be copied is never broken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

from agentclient.model.text import in_full
from tui.cli import stdout
from tui.shared.folding import FURTHER, columns_of, folded


def out(text: str, below: int = FURTHER) -> None:
    """Tell something on stdout.

    Args:
        text: one line or several; the spaces before each are kept.
        below: how many cells further to the right stands what is broken off a line.
    """
    stdout.write(folded(_safe(text), columns_of(sys.stdout), below))


def err(text: str, below: int = FURTHER) -> None:
    """Tell something on stderr; see `out`."""
    click.echo(folded(_safe(text), columns_of(sys.stderr), below), err=True)


def note(text: str) -> None:
    """Tell something about frostwatch itself, or what it has met, on stderr."""
    err(f"frostwatch: {text}")


def whole(text: str) -> None:
    """Print what a person copies, or a program reads: as it stands."""
    stdout.write(text)


def rows(lines: Sequence[str], after: Iterable[str] = ()) -> None:
    """Print a table at once.

    Args:
        lines: whoever made them has decided about their width and their colours.
        after: what is told below them; see `out`.
    """
    columns = columns_of(sys.stdout)
    found = [*lines, *(folded(one, columns) for one in after)]
    if found:
        stdout.write("\n".join(found), color=True)


def confirmed(question: str) -> bool:
    """Ask a person on stderr; return whether it is to be done."""
    asked = folded(_safe(question), columns_of(sys.stderr))
    return click.confirm(asked, default=False, err=True)


def typed(question: str) -> str:
    """Ask a person on stderr to type something, and return it; empty if nothing was."""
    asked = folded(_safe(question), columns_of(sys.stderr))
    answer: str = click.prompt(asked, default="", show_default=False, err=True)
    return answer


def _safe(text: str) -> str:
    """Return a text in which nothing from outside moves the cursor, whoever forgot that (P7)."""
    return "\n".join(in_full(line) for line in text.split("\n"))
