"""The frame of every dialog: a title, what there is to know, and what can be answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Button

from tui.console.dialogs.button_row import ButtonRow
from tui.console.textual_internals import forget_drawn_widgets
from tui.console.widgets.left_once import LeftOnce
from tui.console.widgets.lines import LinesView
from tui.shared.fit import safe
from tui.shared.tone import Line, Piece, Tone, hanging

Result = TypeVar("Result")

MAXIMUM_WIDTH = 100
_FRAMED = Size(60, 14)  # on less, all the screen is the dialog's, and its title is in its text


class Dialog(LeftOnce[Result]):
    """A dialog. Escape leaves it with None; Enter presses the button that is chosen.

    Args:
        title: what is asked, safe to show.
    """

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        #dialog {
            width: 90%;
            max-width: 100;  /* MAXIMUM_WIDTH */
            height: auto;
            max-height: 95%;
            background: $surface;
            border: round $primary;
            border-title-color: $tone-head;
            border-title-style: bold;
            padding: 0 2;
        }
        &.-danger #dialog { border: heavy $tone-warn; border-title-color: $tone-warn; }
        &.-bare #dialog { width: 100%; max-height: 100%; border: none; padding: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="dialog.leave", tooltip="Do nothing"),
        Binding("left,up", "app.focus_previous", "Other answer", show=False, id="dialog.previous"),
        Binding("right,down", "app.focus_next", "Other answer", show=False, id="dialog.next"),
        Binding("pageup", "scroll_text(-1)", "Up", show=False, id="dialog.page_up"),
        Binding("pagedown", "scroll_text(1)", "Down", show=False, id="dialog.page_down"),
    ]

    maximum_width: ClassVar[int] = MAXIMUM_WIDTH

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._text = LinesView(id="dialog-text")
        self._text.can_focus = False  # the keys are the answers'
        self._buttons = ButtonRow()
        self._measured: Size | None = None
        self._room = 40
        self._most_lines = 20
        self._above = 0  # lines of the title, where it is in the text
        self._chosen_at: tuple[int, int] | None = None

    def lines(self) -> Iterable[Line]:
        """Return what there is to know; a `Row` is a line that can be clicked."""
        return ()

    def is_chosen(self, line: Line) -> bool:
        """Return whether a line is the one with the cursor, or is typed at: it is kept in sight."""
        del line
        return False

    def answers(self) -> Sequence[tuple[str, str]]:
        """Return the buttons, as id and label; the first one is chosen at first."""
        return (("close", "Close (Esc)"),)

    def answered(self, answer: str) -> None:
        """Act on a button; without more to do it closes the dialog."""
        del answer
        self.dismiss(None)

    def take_key(self, key: str, letter: str | None) -> bool:
        """Take a key that changes what is typed or chosen; return whether it is one.

        Args:
            key: Textual's name for it.
            letter: what it types; None for nothing.
        """
        del key, letter
        return False

    def on_key(self, event: events.Key) -> None:
        """Take keys in the order in which they were pressed.

        A binding is looked for when a key has come as far as the app, which is later than here. Of
        keys that come together (over a slow line, or from a script) the letters would be first.
        """
        if self.take_key(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()

    def compose(self) -> ComposeResult:
        """Yield the frame."""
        self._buttons.take(self.answers())
        self._measure()
        with Vertical(id="dialog") as frame:
            frame.styles.max_width = self.maximum_width
            frame.border_title = Content(self._title)
            yield self._text
            yield self._buttons

    def on_mount(self) -> None:
        """Choose the first answer; there is none on a dialog that was left before it was drawn."""
        for button in self.query(Button):
            button.focus()
            break
        self.call_after_refresh(self._reveal)

    def on_unmount(self) -> None:
        """Let go of what was painted."""
        forget_drawn_widgets(self)

    def on_resize(self) -> None:
        """Wrap the text anew where there is another room for it."""
        self._measure()

    def _measure(self) -> None:
        """Keep the answers on the screen: it is the text that is wrapped, and scrolls."""
        if self._measured == self.app.size:
            return
        self._measured = self.app.size
        width, height = self.app.size
        bare = self.is_bare
        self.set_class(bare, "-bare")
        # The frame, its padding and the scroll bar take seven cells; the frame, the answers and
        # the space above them four lines.
        self._room = width - 1 if bare else min(width * 9 // 10, self.maximum_width) - 7
        answers = self._buttons.share_room(self._room + 1, height // 2, apart=not bare)
        self._most_lines = height - answers if bare else height * 95 // 100 - 2 - answers
        self.update_text()

    @property
    def is_bare(self) -> bool:
        """Whether the screen has no room for a frame."""
        return self.app.size.width < _FRAMED.width or self.app.size.height < _FRAMED.height

    def update_text(self) -> None:
        """Show the text as it is now."""
        title = list(self._title_lines())
        self._above = len(title)
        lines = title + [each for line in self._safe_lines() for each in hanging(line, self._room)]
        self._text.styles.height = min(len(lines), self._most_lines)
        self._text.show_lines(lines)
        self._keep_in_sight(lines)

    def _safe_lines(self) -> Sequence[Line]:
        """Return what there is to know; what can't be shown ends nothing (P8)."""
        try:
            return tuple(self.lines())
        except Exception as problem:  # noqa: BLE001 - P8
            return ((Piece(f"can't be shown: {safe(repr(problem))}", Tone.BAD),),)

    def _title_lines(self) -> Iterable[Line]:
        """Return the title, where no frame has it."""
        if not self.is_bare:
            return ()
        tone = Tone.WARN if self.has_class("-danger") else Tone.HEAD
        return hanging((Piece(self._title, tone),), self._room)

    def _keep_in_sight(self, lines: Sequence[Line]) -> None:
        """Have what is chosen in sight, once that is another line or on another screen."""
        at = max((y for y, line in enumerate(lines) if line and self.is_chosen(line)), default=None)
        here = None if at is None else (at, self._most_lines)
        if at is None or here == self._chosen_at:
            return
        self._chosen_at = here
        if self.is_mounted:
            self.call_after_refresh(self._reveal)

    def _reveal(self) -> None:
        """Scroll to what is chosen, once the text has its height."""
        if self._chosen_at is None:
            return
        at, height = self._chosen_at
        if not 0 <= at - self._text.scroll_offset.y < height:
            self._text.scroll_to(y=max(at - height // 2, 0), animate=False)

    def action_scroll_text(self, pages: int) -> None:
        """Scroll what doesn't fit."""
        text = self._text
        (text.scroll_page_down if pages > 0 else text.scroll_page_up)(animate=False)

    def action_scroll_line(self, lines: int) -> None:
        """Scroll by a line."""
        self._text.scroll_relative(y=lines, animate=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.answered(event.button.id or "")
