"""Shows a command that was sent to the terminal's clipboard, which may not have taken it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentclient.model.text import uncut
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY
from tui.shared.fit import wrap
from tui.shared.tone import Line, Piece, Tone

_LABEL = 6
SENT = "in the clipboard, if this terminal takes it (OSC 52); else it is to be marked here"
NOT_SENT = "this terminal has no clipboard for us: it is to be marked here"


class CopiedDialog(Dialog[None]):
    """Shows what was copied, in full, so that it can be marked with the mouse as well.

    Args:
        title: what it is, safe to show.
        text: what was copied.
        sent: it was sent to the terminal's clipboard.
        step: what to do before it, and what it may break; empty if it says it all.
    """

    def __init__(self, title: str, text: str, *, sent: bool, step: str = "") -> None:
        self._copied = text
        self._sent = sent
        self._step = step
        super().__init__(title)

    def lines(self) -> Iterable[Line]:
        """Return the text, and where it is."""
        for line in wrap(uncut(self._copied), self._room):
            yield (Piece(line, Tone.HEAD),)
        yield EMPTY
        if self._step:
            yield (Piece(f"{'step':<{_LABEL}}", Tone.DIM), Piece(uncut(self._step)))
            yield EMPTY
        yield (Piece(SENT if self._sent else NOT_SENT, Tone.DIM if self._sent else Tone.WARN),)

    def answers(self) -> Sequence[tuple[str, str]]:
        """There is one."""
        return (("close", "Close (Esc)"),)
