"""The base of the parts of the screen that are there only while they have something to say."""

from __future__ import annotations

from abc import abstractmethod

from tui.console.widgets.toned import Toned

_THERE = "-there"


class Passing(Toned):
    """A part of the screen that comes and goes; whoever shares the height asks for its lines."""

    DEFAULT_CSS = """
    Passing { display: none; height: 1; }
    Passing.-there { display: block; }
    """

    @property
    def is_there(self) -> bool:
        """Whether it is on the screen."""
        return self.has_class(_THERE)

    @property
    def count(self) -> int:
        """How many lines it takes."""
        return self.lines_when_there() if self.is_there else 0

    @abstractmethod
    def lines_when_there(self) -> int:
        """Return how many lines it takes while it is on the screen."""

    def be_there(self, there: bool) -> bool:
        """Come, or go; return whether it has."""
        if there == self.is_there:
            return False
        self.set_class(there, _THERE)
        return True
