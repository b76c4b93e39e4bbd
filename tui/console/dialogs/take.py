"""Asks what is to be taken away of a VM: copied to the clipboard, or saved in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar, cast

from textual import on
from textual.binding import Binding, BindingType

from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.widgets.lines import LinesView
from tui.shared.fit import safe
from tui.shared.tone import Line, Piece, Row, Tone

_LABEL = 8
_WORDS = 9


class Take(StrEnum):
    """What can be taken away, in the order of its keys."""

    OUTCOME = "outcome"
    COMMAND = "command"
    LOG = "log"
    SAVE_LOG = "save log"
    REPORT = "report"
    PICTURE = "picture"


class TakeDialog(Dialog[Take]):
    """Offers what there is; a digit, or a button, takes it.

    Args:
        title: which VM, safe to show.
        offers: what each is, as a clause; None for what there is not.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(str(number), f"take('{take}')", take.value.capitalize(), show=False,
                id=f"take.{number}")
        for number, take in enumerate(Take, start=1)
    ]  # fmt: skip

    def __init__(self, title: str, offers: dict[Take, str | None]) -> None:
        self._offers = offers
        self._said: str | None = None
        super().__init__(title)

    def lines(self) -> Iterable[Line]:
        """Return what there is, by its key."""
        for number, take in enumerate(Take, start=1):
            if take in (Take.OUTCOME, Take.SAVE_LOG):
                if take is Take.SAVE_LOG:
                    yield EMPTY
                verb = (
                    "Copy, for a ticket or a shell" if take is Take.OUTCOME else "Save, in a file"
                )
                yield (Piece(verb, Tone.HEAD),)
            offer = self._offers[take]
            tone = Tone.NORMAL if offer is not None else Tone.DIM
            line = (
                Piece(f"  {number} ", Tone.ACTIVE),
                Piece(f"{take.value:<{_WORDS}}", tone),
                Piece(safe(offer or "there is none", 200), tone if offer else Tone.DIM),
            )
            yield Row.of(take, line)
        if self._said is not None:
            yield EMPTY
            yield (Piece(self._said, Tone.WARN),)

    def answers(self) -> Sequence[tuple[str, str]]:
        """One takes nothing; the report is what most come for."""
        return (("close", "Close (Esc)"), (Take.REPORT.name, "Report (5)"))

    def answered(self, answer: str) -> None:
        """Take the report, or nothing."""
        if answer == Take.REPORT.name:
            self.action_take(Take.REPORT)
        else:
            self.dismiss(None)

    @on(LinesView.Clicked)
    def _clicked(self, event: LinesView.Clicked) -> None:
        """Take what was clicked, as its digit does: there is no cursor here."""
        event.stop()
        self.action_take(cast("Take", event.row))

    def action_take(self, wanted: str) -> None:
        """Take one thing."""
        take = Take(wanted)
        if self._offers[take] is None:
            self._said = f"there is no {take.value} to be taken"
            self.update_text()
        else:
            self.dismiss(take)
