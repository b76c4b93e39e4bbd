"""The rescue ladder of one VM, and the typed name that a reset needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType

from agentclient.model.rescue import Rung, Step
from agentclient.operations.rescue.ladder import Offer, next_offer
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, labelled, who
from tui.console.model.targets import Target
from tui.shared.fit import fit, safe
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone

_LOOK_S = 0.1
_NO = ("no", "Leave it (Esc)")
LONGEST_NAME = 200


class RescueDialog(Dialog[Step]):
    """Shows the ladder; answers with the rung that was taken.

    Args:
        target: the VM of the key press.
        look: the ladder, as soon as the monitor was looked at.
        tried: the rungs that were taken already, in vain.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)", "Rung before", id="rescue.up"),
        Binding("down,j", "choose(1)", "Rung after", id="rescue.down"),
    ]

    def __init__(
        self,
        target: Target,
        look: Future[tuple[Offer, ...]],
        tried: frozenset[Rung],
        signs: Signs,
    ) -> None:
        super().__init__(f"Rescue {safe(target.vm.name, 40)}: which rung?")
        self.target = target
        self._look = look
        self._tried = tried
        self._signs = signs
        self._offers: tuple[Offer, ...] = ()
        self._chosen = 0
        self._sure = False
        self._trouble: str | None = None
        self.set_class(target.foreign, "-danger")
        self._take_look()

    def on_mount(self) -> None:
        """Show the ladder as soon as it is known."""
        super().on_mount()
        if not self._offers:
            self._timer = self.set_interval(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._take_look()
        if self._offers or self._trouble:
            self._timer.stop()
            self.update_text()

    def _take_look(self) -> None:
        """Take the ladder over if it is there; begin at the lowest rung that makes sense."""
        if not self._look.done():
            return
        error = None if self._look.cancelled() else self._look.exception()
        if error is not None or self._look.cancelled():
            self._trouble = f"the ladder can't be drawn: {safe(str(error or 'we are leaving'))}"
            return
        self._offers = self._look.result()
        first = next_offer(self._offers, self._tried)
        self._chosen = self._offers.index(first) if first is not None else 0

    # -- what is shown -----------------------------------------------------------------------

    def lines(self) -> Iterable[Line]:
        """Return the VM, the rungs, and what the chosen one does."""
        yield who(self.target.state, self._signs)
        if not self._offers:
            tone = Tone.WARN if self._trouble else Tone.DIM
            yield (Piece(f"  {self._trouble or 'looking at its monitor'}", tone),)
            return
        yield EMPTY
        for place, offer in enumerate(self._offers):
            yield self._rung_line(place, offer)
        yield EMPTY
        yield from self._chosen_lines(self._offers[self._chosen])

    def _short(self, text: str, used: int) -> str:
        """Return what says why a rung is not one for now in one line: what is chosen says all."""
        return fit(text, max(self._room - used, 10)).rstrip()

    def _rung_line(self, place: int, offer: Offer) -> Line:
        chosen = place == self._chosen
        mark = self._signs.cursor if chosen else " "
        word, tone = _now(offer, tried=offer.step.rung in self._tried)
        head = f"{mark} {place + 1} {safe(offer.title, 24):<16} "
        return (
            Piece(head, Tone.HEAD if chosen else Tone.NORMAL),
            Piece(self._short(word, cell_len(head)), tone),
        )

    def _chosen_lines(self, offer: Offer) -> Iterator[Line]:
        if self._sure:
            text = f"it is not its turn: {safe(offer.why_not or '')}. Enter takes it all the same"
            yield labelled("sure?", text, Tone.BAD)
        yield labelled("risk", safe(offer.risk, 600), Tone.WARN)
        if offer.why_not is not None and not self._sure:
            word = "not now" if offer.possible else "can't be"
            yield labelled(word, safe(offer.why_not, 300), Tone.DIM)
        yield labelled("does", safe(offer.does, 600))
        if offer.step.rung is Rung.RESET:
            yield labelled("then", "asks for the VM's name to be typed", Tone.DIM)

    # -- what can be answered ----------------------------------------------------------------

    def answers(self) -> Sequence[tuple[str, str]]:
        """Take the chosen rung, or leave."""
        return (("take", "Take this rung (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Answer with the rung, or None; one that can't be taken is not."""
        if answer != "take":
            self.dismiss(None)
        elif self._offers and self._offers[self._chosen].possible:
            self._take(self._offers[self._chosen])

    def _take(self, offer: Offer) -> None:
        """Answer with a rung; one whose turn it is not is asked about once more."""
        if offer.why_not is not None and not self._sure and offer.step.rung is not Rung.RESET:
            self._sure = True
            self.update_text()
            return
        self.dismiss(offer.step)

    def action_choose(self, direction: int) -> None:
        """Choose another rung."""
        if self._offers:
            self._chosen = min(max(self._chosen + direction, 0), len(self._offers) - 1)
            self._sure = False
            self.update_text()


def _now(offer: Offer, *, tried: bool) -> tuple[str, Tone]:
    if not offer.possible:
        return f"can't be taken: {safe(str(offer.why_not))}", Tone.DIM
    if offer.why_not is not None:
        return f"not now: {safe(offer.why_not)}", Tone.DIM
    return ("was taken already", Tone.NORMAL) if tried else ("makes sense now", Tone.GOOD)


class NameDialog(Dialog[str]):
    """Asks for the VM's name before a reset; answers with the name as it was typed.

    Args:
        target: the VM of the key press.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace", "erase", "Erase a letter", show=False, id="name.erase"),
    ]

    def __init__(self, target: Target, signs: Signs) -> None:
        super().__init__(f"Reset {safe(target.vm.name, 40)}?")
        self.target = target
        self._signs = signs
        self._typed = ""
        self.set_class(True, "-danger")

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, what is lost, and what was typed so far."""
        yield who(self.target.state, self._signs)
        lost = "everything that runs in it, and what it had not written to its disks"
        yield labelled("lost", lost, Tone.BAD)
        locked = self.target.vm.locked_by
        if locked:
            yield labelled("locked", f"its manager holds it for: {safe(locked)}", Tone.WARN)
        yield EMPTY
        tone = Tone.GOOD if self._is_it else Tone.HEAD
        yield (Piece("  Type its name: "), Piece(f"{safe(self._typed)}_", tone))

    @property
    def _is_it(self) -> bool:
        return self._typed == self.target.vm.name

    def answers(self) -> Sequence[tuple[str, str]]:
        """Reset, or don't."""
        return (("yes", "Reset (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Answer with the name; while it is another one, Enter does nothing."""
        if answer != "yes":
            self.dismiss(None)
        elif self._is_it:
            self.dismiss(self._typed)

    def action_erase(self) -> None:
        """Take the last letter away."""
        self._type(self._typed[:-1])

    def on_key(self, event: events.Key) -> None:
        """Take letters."""
        if event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self._type(self._typed + event.character)

    def on_paste(self, event: events.Paste) -> None:
        """Take a name that is pasted."""
        event.stop()
        self._type(self._typed + event.text)

    def _type(self, text: str) -> None:
        self._typed = text[:LONGEST_NAME]
        self.update_text()
