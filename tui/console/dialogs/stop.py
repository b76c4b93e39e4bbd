"""Asks before waiting for an answer is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import subject, to_stop
from tui.console.model.targets import Targets
from tui.shared.glyphs import Signs
from tui.shared.tone import Line


class StopDialog(Dialog[bool]):
    """Asks before the waiting is stopped.

    Args:
        targets: the VMs of the key press, with something in flight.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, targets: Targets, signs: Signs) -> None:
        super().__init__(f"Stop waiting for {subject(targets)}, and thaw when it answers?")
        self.targets = targets
        self._signs = signs

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, and what it means."""
        for target in self.targets:
            yield from to_stop(target, self._signs)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Stop, or don't."""
        return (("yes", "Stop waiting (Enter)"), ("no", "Go on waiting (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer True, or None."""
        self.dismiss(True if answer == "yes" else None)
