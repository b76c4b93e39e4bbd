"""The palette: every action by its name, with its key, and why one can't be done now."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType

from tui.console.dialogs.row_dialog import RowDialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.model.commands import Command, matching, suggestion
from tui.shared.fit import fit, fit_end, safe, wrap
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Row, Tone

_KEYS, _NAME, SHORT_NAME = 9, 26, 20  # cells
_ROOMY = 80
_TOLD = 3  # lines of what the chosen command does
_LONGEST = 200
_STEPS = {"up": -1, "down": 1, "ctrl+p": -1, "ctrl+n": 1, "shift+tab": -1, "tab": 1}


class PaletteDialog(RowDialog[Command]):
    """Asks for a command; answers with it.

    Args:
        commands: all there are.
        about: which VMs a command would act on; safe to show.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Choose", id="palette.up"),
        Binding("down", "choose(1)", "Choose", show=False, id="palette.down"),
    ]

    def __init__(self, commands: Sequence[Command], about: str, signs: Signs) -> None:
        super().__init__(f"What is to be done{about}?")
        self._commands = tuple(commands)
        self._signs = signs
        self._typed = ""
        self._found = self._commands
        self._at = 0

    @property
    def chosen(self) -> Command | None:
        """The command that has the cursor."""
        return self._found[self._at] if self._found else None

    # -- what is shown -----------------------------------------------------------------------

    def lines(self) -> Iterable[Line]:
        """Return what is typed, the commands, and what the chosen one does.

        There are always as many lines as fit, so that nothing jumps while one types.
        """
        room = self._rows
        top = self._top
        text = safe(self._typed, _LONGEST)
        yield (Piece(": ", Tone.WARN), Piece(f"{fit_end(text, self._room - 3)}_", Tone.HEAD))
        yield from [EMPTY] * self._apart
        shown = self._found[top : top + room]
        for place, command in enumerate(shown, top):
            yield Row.of((place, command), self._line(command, here=place == self._at))
        if not shown:
            hint = suggestion(self._commands, self._typed)
            yield (Piece(f"  nothing is called so{f': {hint}' if hint else ''}", Tone.WARN),)
        for _ in range(room - max(len(shown), 1)):
            yield EMPTY
        yield from [EMPTY] * self._apart
        yield from self._told()

    def is_chosen(self, line: Line) -> bool:
        """Return whether it has the cursor."""
        return line[0].text.startswith(self._signs.cursor)

    @property
    def _apart(self) -> int:
        """So many empty lines stand above the commands, and below them."""
        return 0 if self.is_bare else 1

    @property
    def _rows(self) -> int:
        """How many commands are seen."""
        head = 1 + self._apart  # what is typed
        return max(self._most_lines - self._above - head - self._apart - _TOLD, 1)

    @property
    def _top(self) -> int:
        """The place of the first one that is."""
        return min(max(self._at - self._rows // 2, 0), max(len(self._found) - self._rows, 0))

    def _line(self, command: Command, *, here: bool) -> Line:
        mark = self._signs.cursor if here else " "
        width = _NAME if self._room >= _ROOMY else min(SHORT_NAME, self._room - 3)
        head = f"{mark} {fit(command.name, width)} "
        keys = fit(f"{fit(command.keys, _KEYS)} ", min(_KEYS + 1, self._room - cell_len(head)))
        room = self._room - cell_len(head) - cell_len(keys)
        if command.why_not is not None:
            told = Piece(fit(f"not now: {safe(command.why_not, 300)}", room), Tone.DIM)
        else:
            told = Piece(fit(command.told, room), Tone.NORMAL)
        tone = Tone.DIM if command.why_not is not None else Tone.NORMAL
        return (Piece(head, Tone.HEAD if here else tone), Piece(keys, Tone.ACTIVE), told)

    def _told(self) -> Iterator[Line]:
        chosen, lines = self.chosen, list[Line]()
        if chosen is not None:
            tone, text = Tone.NORMAL, chosen.told
            if chosen.why_not is not None:
                tone, text = Tone.WARN, f"not now: {safe(chosen.why_not, 400)}"
            lines += [(Piece(part, tone),) for part in wrap(text, self._room)[:_TOLD]]
        yield from lines
        yield from [EMPTY] * (_TOLD - len(lines))

    # -- what can be answered ----------------------------------------------------------------

    def answers(self) -> Sequence[tuple[str, str]]:
        """Do the chosen command, or leave."""
        return (("do", "Do it (Enter)"), ("no", "Leave (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer with the command; one that can't be done now is not done."""
        if answer != "do":
            self.dismiss(None)
        elif self.chosen is not None and self.chosen.why_not is None:
            self.dismiss(self.chosen)

    def on_key(self, event: events.Key) -> None:
        """Take letters, and what moves: of keys that come together each finds its place here."""
        if self._take(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()

    def _take(self, key: str, letter: str | None) -> bool:
        if key in _STEPS:
            self.action_choose(_STEPS[key])
        elif key in ("pageup", "pagedown"):
            self.action_choose((1 if key == "pagedown" else -1) * max(self._most_lines // 2, 1))
        elif key == "backspace":
            self._type(self._typed[:-1])
        elif key == "ctrl+u":
            self._type("")
        elif letter:
            self._type(self._typed + letter)
        else:
            return False
        return True

    def on_paste(self, event: events.Paste) -> None:
        """Take a line that is pasted."""
        event.stop()
        self._type(self._typed + "".join(one for one in event.text if one.isprintable()))

    @property
    def chosen_row(self) -> Hashable:
        """The chosen command, by where it stands: several commands may have one name."""
        return self._at, self.chosen

    def choose_row(self, row: Hashable) -> None:
        """Choose a command."""
        places = list(enumerate(self._found))
        if row in places:
            self._at = places.index(row)
            self.update_text()

    def _type(self, text: str) -> None:
        self._typed = text[:_LONGEST]
        self._found = matching(self._commands, self._typed)
        self._at = 0
        self.update_text()

    def action_choose(self, rows: int) -> None:
        """Choose another command."""
        self._at = min(max(self._at + rows, 0), max(len(self._found) - 1, 0))
        self.update_text()
