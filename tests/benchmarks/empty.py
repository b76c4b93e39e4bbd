"""The least that a Textual app can be: ``python -m tests.benchmarks.empty``."""

from __future__ import annotations

import itertools
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import Static


class Empty(App[None]):
    """One widget that says something else at a key."""

    BINDINGS: ClassVar[list[BindingType]] = [("j", "say", "Say")]

    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count()
        self._static = Static("ready")

    def compose(self) -> ComposeResult:
        """Yield the widget."""
        yield self._static

    def action_say(self) -> None:
        """Say something that was not there before."""
        self._static.update(f"said {next(self._count)} times")


if __name__ == "__main__":
    Empty().run()
