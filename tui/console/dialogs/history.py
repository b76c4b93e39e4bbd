"""What the journal knows of one VM: how long its freezes take, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from datetime import datetime

from agentclient.journal.history import VmHistory
from agentclient.journal.window_row import WindowRow
from agentclient.model.durations import in_words
from agentclient.model.states import OutcomeKind
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.model.targets import Target
from tui.shared.fit import safe
from tui.shared.glyphs import OUTCOME, Signs
from tui.shared.history_text import counts, figures_in_words, notes, others_in_words, outcome_word
from tui.shared.tone import Line, Piece, Tone

_LOOK_S = 0.1
_WORD_WIDTH = 13
_NO_SIGN = " "


class HistoryDialog(Dialog[None]):
    """Shows a VM's past, as soon as the journal has told it.

    Args:
        target: the VM of the key press.
        look: its past; None if the journal can't tell.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, target: Target, look: Future[VmHistory | None], signs: Signs) -> None:
        super().__init__(f"{safe(target.vm.name, 40)}: past freezes and thaws")
        self._look = look
        self._signs = signs

    def on_mount(self) -> None:
        """Wait for the journal without holding up anything."""
        super().on_mount()
        self.set_interval(_LOOK_S, self.update_text)

    def lines(self) -> Iterable[Line]:
        """Return the figures, then the windows, the newest first."""
        if not self._look.done():
            yield (Piece("reading the journal …", Tone.DIM),)
            return
        if (error := self._look.exception()) is not None:
            yield (Piece(f"The journal can't be read: {safe(str(error), 200)}", Tone.WARN),)
            return
        past = self._look.result()
        if past is None:
            yield (Piece("No journal is kept here: none is in a drill.", Tone.WARN),)
            return
        if not past.windows:
            yield (Piece("Nothing was frozen or thawed here yet."),)
            return
        if past.figures.count:
            yield (Piece(figures_in_words(past.figures), Tone.HEAD),)
        if past.others.count:
            yield (Piece(others_in_words(past.others), Tone.HEAD),)
        if past.figures.count or past.others.count:
            yield EMPTY
        for row in past.windows:
            yield self._row(row)

    def _row(self, row: WindowRow) -> Line:
        asked = row.times["asked"]
        when = f"{datetime.fromisoformat(asked.at):%Y-%m-%d %H:%M:%S}" if asked else "-"
        word = outcome_word(row)
        kinds = [each for each in OutcomeKind if each == word]
        look = OUTCOME[kinds[0]] if kinds else None
        sign, tone = (self._signs.of(look), look.tone) if look else (_NO_SIGN, Tone.NORMAL)
        held = "" if row.held_s is None else f", held {in_words(row.held_s)}"
        took = "" if row.seconds is None else f", {row.seconds:.1f} s"
        more = "; ".join(notes(row))
        text = f"{counts(row)}{held}{took}  {row.user} (pid {row.pid})  {more}"
        return (
            Piece(f"{when}  ", Tone.DIM),
            Piece(f"{sign} {word:<{_WORD_WIDTH}}", tone),
            Piece(safe(text.rstrip(), 300)),
        )
