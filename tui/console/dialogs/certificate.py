"""One page about one past window: what it is worth, and how that is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from agentclient.journal.window_row import WindowRow
from agentclient.model.timeline import Usual
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.save import SaveDialog, why_no_file
from tui.console.dialogs.vm_text import EMPTY
from tui.console.model.certificate import (
    LABEL,
    Page,
    as_json,
    as_text,
    entries,
    file_name,
    headline,
)
from tui.console.model.past_tracks import is_certified
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.new_file import current_folder
from tui.shared.tone import Line, Piece, Tone

HINT = "ending in .json: as JSON, else as text"


class CertificateDialog(Dialog[None]):
    """Shows a window of the journal in full; `w` saves it.

    Args:
        row: the window.
        members: the windows of its group; empty if it belongs to none.
        usual: how long its VM's freezes take otherwise; None if that isn't known.
        clock: the time.
        signs: the set of signs that the terminal can show.
    """

    maximum_width: ClassVar[int] = 120
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_line(-1)", "Up", show=False, id="certificate.up"),
        Binding("down,j", "scroll_line(1)", "Down", show=False, id="certificate.down"),
        Binding("w", "save", "Save", id="certificate.save", tooltip="Save it, as text or JSON"),
    ]

    def __init__(
        self,
        row: WindowRow,
        members: Sequence[WindowRow],
        usual: Usual | None,
        clock: Clock,
        signs: Signs,
    ) -> None:
        self._page = Page(row, members, usual, clock.wall())
        self._signs = signs
        self._saved: str | None = None
        self._problem: str | None = None
        word = "Certificate" if is_certified(row) else "Record"
        super().__init__(f"{word}: {safe(row.vm, 60)}")
        self.set_class(not is_certified(row), "-danger")

    def lines(self) -> Iterable[Line]:
        """Return the headline, and the page below it."""
        if self._saved is not None:
            yield (Piece(f"saved as {safe(self._saved, 400)}", Tone.GOOD),)
        if self._problem is not None:
            yield (Piece(self._problem, Tone.WARN),)
        yield (headline(self._page, self._signs),)
        yield EMPTY
        for entry in entries(self._page, self._room - LABEL, self._signs):
            label = Piece(f"{entry.label:<{LABEL}}", Tone.DIM)
            if entry.line is not None:
                yield (label, *entry.line)
            else:
                yield (label, Piece(entry.text, entry.tone))

    def answers(self) -> Sequence[tuple[str, str]]:
        """Leave, or save it."""
        return (("close", "Close (Esc)"), ("save", "Save (w)"))

    def answered(self, answer: str) -> None:
        """Leave, or save it."""
        if answer == "save":
            self.action_save()
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """Ask for a file's name, and write it."""
        page = self._page
        self._problem = why_no_file()
        if self._problem is not None:
            self.update_text()
            return

        def text(path: Path) -> str:
            return as_json(page) if path.suffix.lower() == ".json" else as_text(page)

        def saved(path: str | None) -> None:
            if path is not None:
                self._saved = path
                self.update_text()

        dialog = SaveDialog(
            "Save the certificate", current_folder() / file_name(page.row), text, HINT
        )
        self.app.push_screen(dialog, saved)
