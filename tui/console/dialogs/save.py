"""Asks for a file's name, and writes it in a thread: a disk that hangs holds up nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from agentclient.model.errors import NO_THREAD, why_no_thread
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, labelled
from tui.shared.fit import safe
from tui.shared.new_file import write_new
from tui.shared.tone import Line, Piece, Tone

_LOOK_S = 0.1
LONGEST = 4096
_NO = ("no", "Leave it (Esc)")


class SaveDialog(Dialog[str]):
    """Asks where to, and writes a new file; answers with its path once it is written.

    Args:
        title: what is written, safe to show.
        path: the name that is proposed.
        text: returns what is written to a path; its ending tells in which form.
        hint: what endings there are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace", "erase", "Erase a letter", show=False, id="save.erase"),
        Binding("ctrl+u", "erase_all", "Erase all", show=False, id="save.erase_all"),
    ]

    def __init__(self, title: str, path: Path, text: Callable[[Path], str], hint: str) -> None:
        self._typed = str(path)
        self._text_of = text
        self._hint = hint
        self._problem: str | None = None
        self._writing: Future[str | None] | None = None
        super().__init__(title)

    def lines(self) -> Iterable[Line]:
        """Return the name as it was typed so far, and what became of writing it."""
        yield (Piece("  to  "), Piece(f"{safe(self._typed, LONGEST)}_", Tone.HEAD))
        yield EMPTY
        yield labelled("", f"{self._hint}; a file that is there is left alone", Tone.DIM)
        if self._writing is not None:
            yield labelled("writing", "the disk has not answered yet; Esc does not wait", Tone.WARN)
        elif self._problem is not None:
            yield labelled("not", self._problem, Tone.BAD)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Write it, or don't."""
        return (("yes", "Save (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Write it, or leave."""
        if answer != "yes":
            self.dismiss(None)
        elif self._writing is None and self._typed.strip():
            self._begin(self._typed)

    def _begin(self, typed: str) -> None:
        """Write in a thread of its own; it ends with the process, whatever the disk does."""
        done: Future[str | None] = Future()

        def write() -> None:
            try:
                path = Path(typed).expanduser()
                done.set_result(write_new(path, self._text_of(path)))
            except Exception as error:  # noqa: BLE001 - it is told, and costs this file alone
                done.set_result(f"it can't be written: {safe(repr(error))}")

        try:
            threading.Thread(target=write, name="save", daemon=True).start()
        except NO_THREAD as error:
            self._problem = why_no_thread(error)
        else:
            self._problem, self._writing = None, done
            self._timer = self.set_interval(_LOOK_S, self._look)
        self.update_text()

    def _look(self) -> None:
        if self._writing is None or not self._writing.done():
            return
        self._timer.stop()
        self._problem, self._writing = self._writing.result(), None
        if self._problem is None:
            self.dismiss(self._typed)
        else:
            self.update_text()

    def action_erase(self) -> None:
        """Take the last letter away."""
        self._type(self._typed[:-1])

    def action_erase_all(self) -> None:
        """Begin with an empty name."""
        self._type("")

    def on_key(self, event: events.Key) -> None:
        """Take letters."""
        if event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self._type(self._typed + event.character)

    def on_paste(self, event: events.Paste) -> None:
        """Take a name that is pasted."""
        event.stop()
        self._type(self._typed + event.text.partition("\n")[0])

    def _type(self, text: str) -> None:
        if self._writing is None:
            self._typed, self._problem = text[:LONGEST], None
            self.update_text()
