"""The help: all keys, as they are bound, and what every sign and word means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType

from agentclient.model.durations import in_words
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.widgets.keyline import key_name
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
from tui.shared.tone import Line, Piece, Tone

_KEY_WIDTH = 14
_STATE_WIDTH = 14


class HelpDialog(Dialog[bool]):
    """Shows the keys and the states.

    Args:
        groups: bindings, under a title each.
        interval_s: seconds between two visits to an agent.
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
        interval_s: float,
        signs: Signs,
    ) -> None:
        super().__init__("frostwatch: keys and signs")
        self._interval_s = interval_s
        self._groups = groups
        self._signs = signs

    def lines(self) -> Iterable[Line]:
        """Return the keys, and the states."""
        for title, bindings in self._groups:
            yield (Piece(title, Tone.HEAD),)
            yield from _keys(bindings)
            yield EMPTY
        yield from self._states("The agent", AGENT)
        freezes: dict[Any, Look] = {**FREEZE, "foreign": FOREIGN, "left": LEFT, "by": LEFT_BY}
        freezes |= {look.word: look for look in (OTHERS_PENDING, OTHERS_LOST)}
        yield from self._states("The guest's file systems", freezes)
        yield from self._states("What came out of a freeze", {**OUTCOME, "group": NO_GROUP})
        copies = {look.word: look for look in (JOB, LEFT_JOB, UNENDED, *all_looks())}
        yield from self._states("Copies, and what came out of them", copies)
        yield (Piece("Clocks", Tone.HEAD),)
        every = in_words(self._interval_s)
        visits = f"each agent is asked every {every}, not while something is in flight"
        for name, meaning in (*_CLOCKS, ("visits", visits)):
            yield (Piece(f"  {name:<{_STATE_WIDTH}}"), Piece(meaning))

    def _states(self, title: str, looks: Mapping[Any, Look]) -> Iterator[Line]:
        yield (Piece(title, Tone.HEAD),)
        for look in looks.values():
            label = f"  {self._signs.labelled(look)}"
            padding = " " * max(_STATE_WIDTH + 2 - cell_len(label), 1)
            yield (Piece(label + padding, look.tone), Piece(look.meaning))
        yield EMPTY

    def answers(self) -> Sequence[tuple[str, str]]:
        """There is one."""
        return (("close", "Close (Esc)"),)

    def answered(self, answer: str) -> None:  # noqa: ARG002 - there is one
        """Close."""
        self.dismiss(None)

    def action_scroll_line(self, lines: int) -> None:
        """Scroll by a line."""
        self._text.scroll_relative(y=lines, animate=False)


_CLOCKS = (
    ("STEP 2/6 9:41", "the step, of how many, and when it ends"),
    ("ENDS IN", "when the whole wait ends at the latest"),
    ("SILENT", "since the guest last answered anything; not while it is held"),
    ("HELD 0:12/1:00", "how long the window has been open, of how long at the most"),
)


def _keys(bindings: Iterable[BindingType]) -> Iterator[Line]:
    for binding in bindings:
        if isinstance(binding, Binding):
            keys = " ".join(key_name(key) for key in binding.key.split(","))
            yield (
                Piece(f"  {keys:<{_KEY_WIDTH}}", Tone.ACTIVE),
                Piece(binding.tooltip or binding.description),
            )
