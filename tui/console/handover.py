"""Asks for the handover after the first screen, and notes when the console is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from agentclient.journal.handover import Handover
    from tui.console.ports import HandoverPort


class HandoverKnown(Message):
    """What has happened since the operator left is known."""

    def __init__(self, found: Handover) -> None:
        super().__init__()
        self.found = found


class Handovers:
    """The handover of one console.

    Args:
        make: returns what keeps when the console was left; called once, in any thread. None where
            nothing is kept.
    """

    def __init__(self, make: Callable[[], HandoverPort] | None) -> None:
        self._make = make
        self._made: HandoverPort | None = None

    def ask(self) -> HandoverKnown | None:
        """Return what has happened since the operator left; None if that isn't known.

        Not in Textual's thread: it takes as long as the journal.
        """
        if self._make is None:
            return None
        try:
            self._made = self._make()
            found = self._made.open()
        except Exception:  # noqa: BLE001 - it is a courtesy, and costs no start
            return None
        return HandoverKnown(found) if found is not None else None

    def leave(self) -> None:
        """Note that the console is left, if it was noted that it was opened."""
        if self._made is not None:
            self._made.leave()
