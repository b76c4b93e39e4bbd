"""A dialog with fields: up and down lead from one to the next, left and right change one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, TypeVar, cast

from textual import events
from textual.binding import Binding, BindingType

from tui.console.dialogs.field import ChoiceField, Field, MarkField, TextField
from tui.console.dialogs.row_dialog import RowDialog
from tui.console.dialogs.vm_text import LABEL, arrows
from tui.console.widgets.lines import is_box
from tui.shared.fit import fit_end, safe
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Row, Tone

Result = TypeVar("Result")
_LEAST = 12
_STEPS = {"up": -1, "down": 1}
_CHANGES = {"left": -1, "right": 1, "space": 1}
_ERASES = ("backspace", "ctrl+u")


class Form(RowDialog[Result]):
    """A dialog with fields.

    Args:
        title: what is asked, safe to show.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "field(-1)", "Field", id="form.before"),
        Binding("down", "field(1)", "Field", show=False, id="form.after"),
        Binding("left", "change(-1)", "Change", id="form.less"),
        Binding("right", "change(1)", "Change", show=False, id="form.more"),
        Binding("backspace", "erase", "Erase a letter", show=False, id="form.erase"),
        Binding("ctrl+u", "clear", "Erase the line", show=False, id="form.clear"),
    ]

    def __init__(self, title: str, signs: Signs) -> None:
        super().__init__(title)
        self.signs = signs
        self.at = 0

    def fields(self) -> Sequence[Field]:
        """Return the fields, from top to bottom; at least one."""
        raise NotImplementedError

    def meaning_of(self, field: Field) -> tuple[str, Tone]:
        """Return what is said behind a field."""
        if isinstance(field, ChoiceField):
            return field.chosen.meaning, Tone.NORMAL
        return "", Tone.NORMAL

    def changed(self, field: Field) -> None:
        """Take note that a field has been changed."""

    @property
    def field(self) -> Field:
        """The field that has the keys."""
        fields = self.fields()
        self.at = min(self.at, len(fields) - 1)
        return fields[self.at]

    # -- what is shown -----------------------------------------------------------------------

    def field_lines(self) -> Iterator[Line]:
        """Yield a line for each field; the one that has the keys bears the cursor's sign."""
        here = self.field
        for one in self.fields():
            yield Row.of(one, self._field_line(one, here=one is here))

    def _field_line(self, field: Field, *, here: bool) -> Line:
        mark = self.signs.cursor if here else " "
        head = Piece(f"{mark} {field.label:<{LABEL}}", Tone.ACTIVE if here else Tone.DIM)
        value = self._value(field, here=here)
        meaning, tone = self.meaning_of(field)
        return (head, Piece(value, Tone.HEAD if here else Tone.NORMAL), Piece(f"  {meaning}", tone))

    def _value(self, field: Field, *, here: bool) -> str:
        less, more = arrows(self.signs)
        if isinstance(field, ChoiceField):
            several = len(field.choices) > 1
            return f"{less} {field.chosen.value} {more}" if several else field.chosen.value
        if isinstance(field, MarkField):
            return f"[{'x' if field.marked else ' '}] {field.name}"
        room = max(self._room - LABEL - _LEAST * 2, _LEAST)
        return f"{fit_end(safe(field.text, 400), room)}{'_' if here else ''}"

    def is_chosen(self, line: Line) -> bool:
        """Return whether it has the cursor."""
        return line[0].text.startswith(self.signs.cursor)

    # -- what is changed ---------------------------------------------------------------------

    def action_field(self, direction: int) -> None:
        """Go to another field."""
        self.at = (self.at + direction) % len(self.fields())
        self.update_text()

    def action_change(self, direction: int) -> None:
        """Choose something else."""
        field = self.field
        if isinstance(field, ChoiceField):
            field.step(direction)
        elif isinstance(field, MarkField):
            field.toggle()
        else:
            return
        self._changed(field)

    def action_erase(self) -> None:
        """Take the last letter away."""
        field = self.field
        if isinstance(field, TextField):
            field.erase()
            self._changed(field)

    def action_clear(self) -> None:
        """Take the whole line away."""
        field = self.field
        if isinstance(field, TextField):
            field.clear()
            self._changed(field)

    def take_key(self, key: str, letter: str | None) -> bool:
        """Take letters for the field that has the keys, and what is bound as well."""
        field = self.field
        if key in _STEPS:
            self.action_field(_STEPS[key])
        elif key in _CHANGES and not isinstance(field, TextField):
            self.action_change(_CHANGES[key])
        elif key in _ERASES and isinstance(field, TextField):
            (self.action_clear if key == "ctrl+u" else self.action_erase)()
        elif letter and isinstance(field, TextField):
            field.type(letter)
            self._changed(field)
        else:
            return False
        return True

    def on_paste(self, event: events.Paste) -> None:
        """Take a line that is pasted."""
        event.stop()
        field = self.field
        if isinstance(field, TextField):
            field.type(event.text)
            self._changed(field)

    # -- the mouse ---------------------------------------------------------------------------

    @property
    def chosen_row(self) -> Hashable:
        """The field that has the keys."""
        return self.field

    def choose_row(self, row: Hashable) -> None:
        """Give the keys to a field, if it is still there."""
        fields = self.fields()
        if row in fields:
            self.at = fields.index(cast("Field", row))
            self.update_text()

    def open_row(self) -> None:
        """Change the field as space does: Enter would answer."""
        self.action_change(1)

    def take_sign(self, row: Hashable, sign: str) -> bool:
        """Change the field whose arrow or box was clicked."""
        several = isinstance(row, ChoiceField) and len(row.choices) > 1
        box = isinstance(row, MarkField) and is_box(sign)
        direction = 1 if box else arrows(self.signs).get(sign, 0) if several else 0
        if not direction or row not in self.fields():
            return False
        self.choose_row(row)
        self.action_change(direction)
        return True

    def _changed(self, field: Field) -> None:
        self.changed(field)
        self.update_text()
