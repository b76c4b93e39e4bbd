"""The fields of a form: something that is chosen from a few, or a line that is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LONGEST = 400


class Choice(NamedTuple):
    """One of a few things that can be chosen.

    Attributes:
        value: what it is called; safe to show.
        meaning: what it means, for a person.
    """

    value: str
    meaning: str = ""


class ChoiceField:
    """Something that is chosen from a few.

    Args:
        label: what it is.
        choices: what there is to choose from; at least one.
    """

    def __init__(self, label: str, choices: Sequence[Choice]) -> None:
        self.label = label
        self.choices = tuple(choices)
        self._at = 0

    @property
    def chosen(self) -> Choice:
        """What is chosen."""
        return self.choices[self._at]

    def step(self, direction: int) -> None:
        """Choose the next one (1), or the one before (-1), round and round."""
        self._at = (self._at + direction) % len(self.choices)


class TextField:
    """A line that is typed, from its end.

    Args:
        label: what it is.
        text: what stands there at first.
    """

    def __init__(self, label: str, text: str = "") -> None:
        self.label = label
        self.text = text
        self.touched = False

    def type(self, text: str) -> None:
        """Append what was typed or pasted, without its line ends."""
        self.text = (self.text + "".join(one for one in text if one.isprintable()))[:_LONGEST]
        self.touched = True

    def erase(self) -> None:
        """Take the last letter away."""
        self.text = self.text[:-1]
        self.touched = True

    def clear(self) -> None:
        """Take all letters away."""
        self.text = ""
        self.touched = True


class MarkField:
    """Something that is wanted or not.

    Args:
        label: what it is.
        name: what is marked.
        marked: whether it is at first.
    """

    def __init__(self, label: str, name: str, *, marked: bool) -> None:
        self.label = label
        self.name = name
        self.marked = marked

    def toggle(self) -> None:
        """Want it, or want it no more."""
        self.marked = not self.marked


Field = ChoiceField | TextField | MarkField
