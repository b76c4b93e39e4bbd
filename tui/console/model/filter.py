"""What the operator wants to see, in the language of `tui.shared.filter_language`.

Most consoles begin without a filter: the language is imported with the first one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agentclient.late import load
from agentclient.model.snapshot import VmState
from tui.shared.clocks import Moment

if TYPE_CHECKING:
    from tui.shared.filter_language import Query


@lru_cache(maxsize=4)
def _read(text: str) -> Query:
    found: Query = load("tui.shared.filter_language", "parse")(text)
    return found


class Filter(NamedTuple):
    """A filter as it was typed.

    Attributes:
        text: what was typed.
    """

    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.text.strip())

    @property
    def query(self) -> Query:
        """What it asks for."""
        return _read(self.text)

    @property
    def ages(self) -> bool:
        """Whether it depends on the time."""
        return bool(self) and self.query.ages

    def hint(self, *, found: bool) -> str:
        """Return what may be wrong with it, in a few words; empty if nothing is.

        Args:
            found: whether it finds any VM.
        """
        if not self:
            return ""
        suggestion = "" if found else self.query.suggestion.strip(" ()")
        return next(iter(self.query.problems), suggestion)

    def matches(self, state: VmState, moment: Moment) -> bool:
        """Return whether a VM is shown."""
        return not self.text or self.query.matches(state, moment)
