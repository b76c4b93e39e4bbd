"""The commands of the palette: every action by its name, and those that what is typed may mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentclient.late import load


class Command(NamedTuple):
    """One action that a person can choose by its name.

    Attributes:
        name: what it is called; safe to show.
        keys: the keys that it has, as a person writes them; empty if it has none.
        told: what it does, in a clause.
        action: what Textual calls it, with its arguments.
        place: whose action it is: the app's, the table's or the pane's.
        why_not: why it can't be done now; None if it can.
    """

    name: str
    keys: str
    told: str
    action: str
    place: str = "app"
    why_not: str | None = None


def matching(commands: Sequence[Command], typed: str) -> tuple[Command, ...]:
    """Return the commands that have all typed words; those whose names begin with them come first.

    Args:
        commands: all there are, in the order in which they are shown where nothing is typed.
        typed: words, or beginnings of words.
    """
    words = typed.casefold().split()
    found = [(rank, one) for one in commands if (rank := _rank(one, words)) is not None]
    return tuple(one for _, one in sorted(found, key=lambda each: each[0]))


def suggestion(commands: Sequence[Command], typed: str) -> str:
    """Return what may have been meant where nothing matches; empty if nothing is alike."""
    words = {word for one in commands for word in one.name.casefold().split()}
    ask = load("agentclient.model.suggestions", "did_you_mean")
    said = (ask(word[:100], sorted(words)) for word in typed.casefold().split())
    return str(next(filter(None, said), "")).strip(" ()")


def _rank(command: Command, words: Sequence[str]) -> int | None:
    """Return how far a command is from what was typed; None if that is something else."""
    name = command.name.casefold()
    text = f"{name} {command.keys.casefold()} {command.told.casefold()}"
    if not all(word in text for word in words):
        return None
    if not words or name.startswith(words[0]):
        return 0
    if any(part.startswith(words[0]) for part in name.split()):
        return 1
    return 2 if words[0] in name else 3
