"""Asks for a file's name, and writes it in a thread: a disk that hangs holds up nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from agentclient.model.errors import NO_THREAD, why_no_thread
from tui.console.dialogs.typed_text import TypedTextDialog
from tui.console.dialogs.vm_text import EMPTY, labelled
from tui.shared.fit import safe
from tui.shared.new_file import write_new
from tui.shared.terminal_features import is_in_browser
from tui.shared.tone import Line, Piece, Tone

_LOOK_S = 0.1
IN_BROWSER = (
    "no page of a browser writes a file on this host: copy the text, or save it in a terminal"
)
_NO = ("no", "Leave it (Esc)")


def why_no_file() -> str | None:
    """Return why no file can be written from here at all; None if one can.

    Whoever has a page's address may look. Any file that they made, of any name, would be ours.
    """
    return IN_BROWSER if is_in_browser() else None


class SaveDialog(TypedTextDialog):
    """Asks where to, and writes a new file; answers with its path once it is written.

    Args:
        title: what is written, safe to show.
        path: the name that is proposed.
        text: returns what is written to a path; its ending tells in which form.
        hint: what endings there are.
    """

    LONGEST: ClassVar[int] = 4096

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace", "erase", "Erase a letter", show=False, id="save.erase"),
        Binding("ctrl+u", "erase_all", "Erase all", show=False, id="save.erase_all"),
    ]

    def __init__(self, title: str, path: Path, text: Callable[[Path], str], hint: str) -> None:
        self._text_of = text
        self._hint = hint
        self._problem: str | None = None
        self._writing: Future[str | None] | None = None
        super().__init__(title, str(path))

    def lines(self) -> Iterable[Line]:
        """Return the name as it was typed so far, and what became of writing it."""
        yield (Piece("  to  "), Piece(f"{safe(self.typed, self.LONGEST)}_", Tone.HEAD))
        yield EMPTY
        yield labelled("", f"{self._hint}; a file that is there is left alone", Tone.DIM)
        if self._writing is not None:
            yield labelled("writing", "the disk has not answered yet; Esc does not wait", Tone.WARN)
        elif self._problem is not None:
            yield labelled("not", self._problem, Tone.BAD)

    def is_chosen(self, line: Line) -> bool:
        """Return whether it is typed at."""
        return line[-1].text.endswith("_")

    def answers(self) -> Sequence[tuple[str, str]]:
        """Write it, or don't."""
        return (("yes", "Save (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Write it, or leave."""
        if answer != "yes":
            self.dismiss(None)
        elif self._writing is None and self.typed.strip():
            self._begin(self.typed)

    def _begin(self, typed: str) -> None:
        """Write in a thread of its own; it ends with the process, whatever the disk does."""
        self._problem = why_no_file()
        if self._problem is not None:
            self.update_text()
            return
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
            self.dismiss(self.typed)
        else:
            self.update_text()

    def action_erase_all(self) -> None:
        """Begin with an empty name."""
        self.change("")

    def take_key(self, key: str, letter: str | None) -> bool:
        """Take letters, and what erases one of them or all."""
        if key == "ctrl+u":
            self.action_erase_all()
            return True
        return super().take_key(key, letter)

    def change(self, text: str) -> None:
        """Have another name stand there, unless it is written to already."""
        if self._writing is None:
            self._problem = None
            super().change(text)
