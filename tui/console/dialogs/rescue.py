"""The rescue ladder of one VM, drawn as a ladder: its foot at the bottom, the danger at the top."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, NamedTuple, cast

from rich.cells import cell_len
from textual.binding import Binding, BindingType

from agentclient.journal.history import VmHistory
from agentclient.model.rescue import Rung, Step
from agentclient.operations.rescue.ladder import Offer, next_offer
from tui.console.dialogs.row_dialog import RowDialog
from tui.console.dialogs.vm_text import EMPTY, labelled, who
from tui.console.model.rungs import DANGER, Finding, RungKey, findings_in, newest
from tui.console.model.targets import Target
from tui.shared.fit import fit, safe
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Row, Tone

_LOOK_S = 0.1
_NO = ("no", "Leave it (Esc)")
_TITLE_WIDTH = 20
_LADDER = 41  # cells that a rung between its rails takes, with a word about it
MOST_KEYS = 9


class Taken(NamedTuple):
    """What this console knows of the rungs that it has taken.

    Attributes:
        tried: the rungs that were taken in vain.
        found: what each has found, and when.
        running: the rung that is taken now, and since when; None if there is none.
    """

    tried: frozenset[Rung] = frozenset()
    found: Mapping[RungKey, Finding] = MappingProxyType({})
    running: tuple[RungKey, datetime] | None = None


class RescueDialog(RowDialog[Step]):
    """Shows the ladder; answers with the rung that was taken.

    Args:
        target: the VM of the key press.
        look: the ladder, as soon as the monitor was looked at.
        past: what the journal knows of the VM, for what others' rungs have found.
        taken: returns what is known of this console's own rungs by now.
        signs: the set of signs that the terminal can show.
    """

    CAREFUL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(1)", "Rung above", id="rescue.up"),
        Binding("down,j", "choose(-1)", "Rung below", id="rescue.down"),
        *(
            Binding(str(n), f"pick({n})", "That rung", show=False, id=f"rescue.rung_{n}")
            for n in range(1, MOST_KEYS + 1)
        ),
    ]

    def __init__(
        self,
        target: Target,
        look: Future[tuple[Offer, ...]],
        past: Future[VmHistory | None],
        taken: Callable[[], Taken],
        signs: Signs,
    ) -> None:
        super().__init__(f"Rescue {safe(target.vm.name, 40)}: which rung?")
        self.target = target
        self._look = look
        self._past = past
        self._taken = taken
        self._shown = taken()
        self._signs = signs
        self._offers: tuple[Offer, ...] = ()
        self._chosen = 0
        self._sure = False
        self._trouble: str | None = None
        self.set_class(target.foreign, "-danger")
        self._take_look()

    def on_mount(self) -> None:
        """Show the ladder as soon as it is known, and what its rungs find meanwhile."""
        super().on_mount()
        self._told = self._known
        self.update_text()  # of now: more may be known since it was put together
        self.set_interval(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        if not self._offers and not self._trouble:
            self._take_look()
        self._shown = self._taken()
        if self._known != self._told:
            self._told = self._known
            self.update_text()

    @property
    def _known(self) -> tuple[object, ...]:
        """What is shown beside the choice: if it is another, it is drawn again."""
        return self._offers, self._trouble, self._shown, self._past.done()

    def _take_look(self) -> None:
        """Take the ladder over if it is there; begin at the lowest rung that makes sense."""
        if not self._look.done():
            return
        error = None if self._look.cancelled() else self._look.exception()
        if error is not None or self._look.cancelled():
            self._trouble = f"the ladder can't be drawn: {safe(str(error or 'we are leaving'))}"
            return
        self._offers = self._look.result()
        first = self._turn
        self._chosen = self._offers.index(first) if first is not None else 0

    @property
    def _turn(self) -> Offer | None:
        """The rung whose turn it is; None if none makes sense."""
        return next_offer(self._offers, self._shown.tried)

    # -- what is shown -----------------------------------------------------------------------

    def lines(self) -> Iterable[Line]:
        """Return the VM, the rungs, the highest on top, and what the chosen one risks and does."""
        yield who(self.target.state, self._signs)
        if not self._offers:
            tone = Tone.WARN if self._trouble else Tone.DIM
            yield (Piece(f"  {self._trouble or 'looking at its monitor'}", tone),)
            return
        yield EMPTY
        turn, found = self._turn, self._found()
        for place, offer in reversed(list(enumerate(self._offers))):
            yield Row.of(place, self._rung_line(place, offer, turn, found))
        yield EMPTY
        yield from self._chosen_lines(self._offers[self._chosen], found)

    def _found(self) -> dict[RungKey, Finding]:
        """Return what each rung has found since the guest is frozen, whoever took it."""
        past = self._past
        known = past.done() and not past.cancelled() and past.exception() is None
        history = past.result() if known else None
        since = self.target.state.freeze.since
        rows = history.windows if history is not None else ()
        mine = {
            key: one for key, one in self._shown.found.items() if since is None or one.at >= since
        }
        return newest(mine, findings_in(rows, since))

    def _rung_line(
        self, place: int, offer: Offer, turn: Offer | None, found: Mapping[RungKey, Finding]
    ) -> Line:
        """Return a rung between the rails; the one whose turn it is is thick, and lit."""
        if self._room < _LADDER:
            return self._short_line(place, offer)
        chosen, its_turn = place == self._chosen, offer is turn
        mark = self._signs.cursor if chosen else " "
        rail, thick, thin = ("|", "=", "-") if self._signs.ascii else ("║", "═", "─")
        rung = thick if its_turn else thin
        title = fit(f" {place + 1} {safe(offer.title, 24)} ", _TITLE_WIDTH).rstrip()
        body = f"{rung}{title} ".ljust(_TITLE_WIDTH + 2, rung)
        tone = Tone.NORMAL if offer.possible else Tone.DIM
        tone = Tone.GOOD if its_turn else Tone.HEAD if chosen else tone
        danger = "!" * DANGER[offer.step.rung]
        head = (
            Piece(f"{mark} ", Tone.HEAD),
            Piece(rail, Tone.DIM),
            Piece(body, tone),
            Piece(f"{rail} ", Tone.DIM),
            Piece(f"{danger:<4}", Tone.BAD if danger == "!!!" else Tone.WARN),
        )
        word, tone = self._now(offer, found, its_turn=its_turn)
        used = sum(cell_len(piece.text) for piece in head)
        return (*head, Piece(fit(word, max(self._room - used, 10)).rstrip(), tone))

    def _short_line(self, place: int, offer: Offer) -> Line:
        """Return a rung where there is no room for a ladder; the chosen one is told below."""
        chosen = place == self._chosen
        tone = Tone.NORMAL if offer.possible else Tone.DIM
        danger = "!" * DANGER[offer.step.rung]
        return (
            Piece(f"{self._signs.cursor if chosen else ' '} ", Tone.HEAD),
            Piece(
                fit(f"{place + 1} {safe(offer.title, 24)}", self._room - 6),
                Tone.HEAD if chosen else tone,
            ),
            Piece(f" {danger}", Tone.BAD if danger == "!!!" else Tone.WARN),
        )

    def _now(
        self, offer: Offer, found: Mapping[RungKey, Finding], *, its_turn: bool
    ) -> tuple[str, Tone]:
        """Return what one should know of a rung first: that it runs, what it found, or why not."""
        key = RungKey.of(offer.step)
        running = self._shown.running
        if running is not None and running[0] == key:
            return f"RUNS since {running[1]:%H:%M:%S}", Tone.ACTIVE
        if key in found:
            return found[key].text, found[key].tone
        if not offer.possible:
            return f"can't be taken: {safe(str(offer.why_not))}", Tone.DIM
        if offer.why_not is not None:
            return f"not now: {safe(offer.why_not)}", Tone.DIM
        if offer.step.rung in self._shown.tried:
            return "was taken already", Tone.NORMAL
        return ("ITS TURN: makes sense now", Tone.GOOD) if its_turn else ("if that fails", Tone.DIM)

    def _chosen_lines(self, offer: Offer, found: Mapping[RungKey, Finding]) -> Iterator[Line]:
        """Yield the chosen rung in full: its risk first, so that it is always in sight."""
        if self._sure:
            text = f"it is not its turn: {safe(offer.why_not or '')}. Enter takes it all the same"
            yield labelled("sure?", text, Tone.BAD)
        yield labelled("risk", safe(offer.risk, 600), Tone.WARN)
        if offer.why_not is not None and not self._sure:
            word = "not now" if offer.possible else "can't be"
            yield labelled(word, safe(offer.why_not, 300), Tone.DIM)
        if (finding := found.get(RungKey.of(offer.step))) is not None:
            yield labelled("found", finding.text, finding.tone)
        yield labelled("does", safe(offer.does, 600))
        if offer.step.rung is Rung.RESET:
            yield labelled("then", "asks for the VM's name to be typed", Tone.DIM)

    def is_chosen(self, line: Line) -> bool:
        """Return whether it has the cursor."""
        return line[0].text.startswith(self._signs.cursor)

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

    @property
    def chosen_row(self) -> Hashable:
        """The place of the chosen rung; a ladder that is drawn keeps its rungs."""
        return self._chosen if self._offers else None

    @property
    def choice(self) -> Hashable:
        """The chosen rung, and whether it was asked about once more."""
        return self._chosen, self._sure

    def choose_row(self, row: Hashable) -> None:
        """Choose a rung; nothing is done."""
        self._choose(cast("int", row))

    def action_choose(self, direction: int) -> None:
        """Choose another rung."""
        self._choose(self._chosen + direction)

    def action_pick(self, number: int) -> None:
        """Choose a rung by its number; nothing is done before Enter."""
        if number <= len(self._offers):
            self._choose(number - 1)

    def _choose(self, place: int) -> None:
        if self._offers:
            self._chosen = min(max(place, 0), len(self._offers) - 1)
            self._sure = False
            self.update_text()
