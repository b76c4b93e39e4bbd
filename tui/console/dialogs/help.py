"""The help: all keys, as they are bound, and what every sign and word means; it can be searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType

from agentclient.model.durations import in_words
from agentclient.model.version import VERSION
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.keymap import keys_of
from tui.console.model.sending import ALLOWED_BY
from tui.shared.filter_words import CLOSED
from tui.shared.fit import safe
from tui.shared.glyphs import (
    AGENT,
    FOREIGN,
    FREEZE,
    JOB,
    LEFT,
    LEFT_BY,
    LEFT_JOB,
    NO_GROUP,
    OTHERS_LOST,
    OTHERS_PENDING,
    OUTCOME,
    UNENDED,
    Look,
    Signs,
)
from tui.shared.job_words import all_looks
from tui.shared.timeline import MARKS, WRITES, WRITES_MEANING
from tui.shared.tone import Line, Piece, Tone

_KEY_WIDTH = 14
_STATE_WIDTH = 14


class About(NamedTuple):
    """What the help says of this console.

    Attributes:
        interval_s: seconds between two visits to an agent.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        journal: the journal's file; None if there is none.
        theme: what the theme is called.
        read_only: keys that act on guests are refused.
    """

    interval_s: float
    keys: Mapping[str, str]
    journal: Path | None
    theme: str
    read_only: bool = False


class HelpDialog(Dialog[bool]):
    """Shows the keys and the states.

    Args:
        groups: bindings, under a title each.
        about: what is said of this console.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "dismiss(None)", "Close", show=False, id="help.close"),
        Binding("up,k", "scroll_line(-1)", "Up", show=False, id="help.up"),
        Binding("down,j", "scroll_line(1)", "Down", show=False, id="help.down"),
    ]

    def __init__(
        self,
        groups: Sequence[tuple[str, Iterable[BindingType]]],
        about: About,
        signs: Signs,
    ) -> None:
        super().__init__("frostwatch: keys and signs")
        self._about = about
        self._groups = groups
        self._signs = signs
        self._typed = ""
        self._searches = False

    def lines(self) -> Iterable[Line]:
        """Return all that there is to know, or those lines that have what is searched for."""
        if self._searches or self._typed:
            cursor = "_" if self._searches else "   (Esc shows all)"
            yield (Piece("/ ", Tone.WARN), Piece(f"{safe(self._typed)}{cursor}", Tone.HEAD))
        else:
            yield (Piece("/ searches here, : shows every action by its name", Tone.DIM),)
        yield EMPTY
        yield from found_in(list(self._all()), self._typed)

    def _all(self) -> Iterator[Line]:
        """Yield the keys, the states, and what is said of this console."""
        if self._about.read_only:
            yield (Piece(f"Read-only: no key acts on a guest; {ALLOWED_BY}", Tone.WARN),)
            yield EMPTY
        for title, bindings in self._groups:
            yield (Piece(title, Tone.HEAD),)
            yield from _keys(bindings, self._about.keys)
            yield EMPTY
        yield from self._signs_lines()
        yield from self._timeline()
        yield from self._clock_lines()
        yield EMPTY
        yield from _filter_lines()
        yield EMPTY
        yield from self._console_lines()

    def _signs_lines(self) -> Iterator[Line]:
        yield from self._states("The agent", AGENT)
        freezes: dict[Any, Look] = {**FREEZE, "foreign": FOREIGN, "left": LEFT, "by": LEFT_BY}
        freezes |= {look.word: look for look in (OTHERS_PENDING, OTHERS_LOST)}
        yield from self._states("The guest's file systems", freezes)
        yield from self._states("What came out of a freeze", {**OUTCOME, "group": NO_GROUP})
        copies = {look.word: look for look in (JOB, LEFT_JOB, UNENDED, *all_looks())}
        yield from self._states("Copies, and what came out of them", copies)

    def _clock_lines(self) -> Iterator[Line]:
        yield (Piece("Clocks", Tone.HEAD),)
        every = in_words(self._about.interval_s)
        visits = f"each agent is asked every {every}, not while something is in flight"
        for name, meaning in (*_CLOCKS, ("visits", visits)):
            yield (Piece(f"  {name:<{_STATE_WIDTH}}"), Piece(meaning))

    def _console_lines(self) -> Iterator[Line]:
        yield (Piece("This console", Tone.HEAD),)
        path = safe(str(self._about.journal), 300) if self._about.journal else "none in a drill"
        for name, what in (
            ("version", VERSION),
            ("journal", path),
            ("theme", safe(self._about.theme)),
        ):
            yield (Piece(f"  {name:<{_STATE_WIDTH}}"), Piece(what))

    def _states(self, title: str, looks: Mapping[Any, Look]) -> Iterator[Line]:
        yield (Piece(title, Tone.HEAD),)
        for look in looks.values():
            label = f"  {self._signs.labelled(look)}"
            padding = " " * max(_STATE_WIDTH + 2 - cell_len(label), 1)
            yield (Piece(label + padding, look.tone), Piece(look.meaning))
        yield EMPTY

    def _timeline(self) -> Iterator[Line]:
        """Yield what the signs of a freeze's timeline mean."""
        yield (Piece("A freeze with the time to the right", Tone.HEAD),)
        signs = [(mark.shown(self._signs), mark.meaning) for mark in MARKS]
        signs.append((WRITES[self._signs.ascii], WRITES_MEANING))
        for sign, meaning in signs:
            yield (Piece(f"  {sign:<{_STATE_WIDTH}}"), Piece(meaning))
        yield EMPTY

    def answers(self) -> Sequence[tuple[str, str]]:
        """There is one."""
        return (("close", "Close (Esc)"),)

    def answered(self, answer: str) -> None:  # noqa: ARG002 - there is one
        """Close."""
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        """Take what is searched for; of keys that come together each finds its place here."""
        if self._take(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()
            self.update_text()
            self._text.scroll_home(animate=False)

    def _take(self, key: str, letter: str | None) -> bool:
        if key == "slash" and not self._searches:
            self._searches = True
        elif key == "escape" and (self._searches or self._typed):
            self._searches, self._typed = False, ""
        elif not self._searches:
            return False
        elif key == "enter":
            self._searches = False
        elif key in ("backspace", "ctrl+u"):
            self._typed = self._typed[:-1] if key == "backspace" else ""
        elif letter:
            self._typed = (self._typed + letter)[:_LONGEST]
        else:
            return False
        return True

    def update_text(self) -> None:
        """Show the text as it is now, in as many lines as before: nothing jumps while one types."""
        super().update_text()
        self._text.styles.height = self._most_lines


_LONGEST = 100
_TERM_WIDTH = 16
_TERMS = (
    ("word", "it is found in what the row says; all words must be"),
    ('"two words"', "the same, with a blank in it"),
    ("!term", "what must not hold"),
    (">5m  <10s", "frozen, or about to be, for longer or for less; thawed with state:thawed"),
    ("name:web-*", "a name, a VMID, a UUID, or a pattern of one"),
    ("source: by: why:", "a text in the source, in who it is, in the reason; also lock: user:"),
    ("key:one,other", "either of them; the words of a key may be shortened"),
)
_CLOCKS = (
    ("STEP 2/6 9:41", "the step, of how many, and when it ends"),
    ("ENDS IN", "when the whole wait ends at the latest"),
    ("SILENT", "since the guest last answered anything; not while it is held"),
    ("HELD 0:12/1:00", "how long the window has been open, of how long at the most"),
)


def found_in(lines: Sequence[Line], typed: str) -> Iterator[Line]:
    """Yield the lines that have all typed words, below their titles; all if nothing is typed."""
    words = typed.casefold().split()
    if not words:
        yield from lines
        return
    title: Line | None = None
    found = False
    for line in lines:
        text = "".join(piece.text for piece in line)
        if line and line[0].tone is Tone.HEAD:
            title = line
        elif text.strip() and all(word in text.casefold() for word in words):
            if title is not None:
                yield from [EMPTY, title] if found else [title]
                title = None
            yield line
            found = True
    if not found:
        yield (Piece("nothing here says so", Tone.WARN),)


def _keys(bindings: Iterable[BindingType], changed: Mapping[str, str]) -> Iterator[Line]:
    for binding in bindings:
        if isinstance(binding, Binding):
            keys, said = keys_of(binding, changed), binding.tooltip or binding.description
            # By its name it is searched for, here and in the palette.
            named = binding.description.casefold() in said.casefold()
            yield (
                Piece(f"  {keys:<{_KEY_WIDTH}}", Tone.ACTIVE),
                Piece(said if named else f"{said} ({binding.description})"),
            )


def _filter_lines() -> Iterator[Line]:
    yield (Piece("What a filter can ask", Tone.HEAD),)
    for name, meaning in _TERMS:
        yield (Piece(f"  {name:<{_TERM_WIDTH}}"), Piece(meaning))
    for name, closed in CLOSED.items():
        yield (Piece(f"  {f'{name}:':<{_TERM_WIDTH}}"), Piece(", ".join(closed.words)))
