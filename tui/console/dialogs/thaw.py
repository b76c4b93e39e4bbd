"""Asks before a thaw; where somebody else froze the guest, no is the first answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from agentclient.model.vm import VmId
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, subject, to_thaw
from tui.console.model.targets import Targets
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone


class ThawDialog(Dialog[bool]):
    """Asks before a thaw; where a freeze is foreign, the answer that is chosen first is no.

    Args:
        targets: the VMs of the key press.
        hidden: those of them that the filter hides.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, targets: Targets, hidden: Collection[VmId], signs: Signs) -> None:
        self.foreign = any(target.foreign for target in targets)
        what = "Thaw somebody else's freeze of" if self.foreign else "Thaw"
        super().__init__(f"{what} {subject(targets)}?")
        self.targets = targets
        self._hidden = hidden
        self._signs = signs
        self.set_class(self.foreign, "-danger")

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, and what it breaks."""
        for target in self.targets:
            yield from to_thaw(target, self._signs, hidden=target.vm.id in self._hidden)
        if self.foreign:
            yield EMPTY
            yield (
                Piece(
                    "  Choose the other answer with the right arrow, then press Enter.", Tone.DIM
                ),
            )

    def answers(self) -> Sequence[tuple[str, str]]:
        """Thaw, or don't; for a foreign freeze the safe answer stands first."""
        if self.foreign:
            return (("no", "Leave it frozen (Esc)"), ("yes", "Break that window and thaw"))
        return (("yes", "Thaw (Enter)"), ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer True, or None."""
        self.dismiss(True if answer == "yes" else None)
