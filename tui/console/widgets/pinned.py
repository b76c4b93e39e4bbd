"""The line below the header: the VM that has been frozen longest, wherever the table is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from rich.cells import cell_len
from textual.message import Message
from textual.strip import Strip

from agentclient.model.others_freeze import doer
from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.console.model.view import FleetView
from tui.console.widgets.passing import Passing
from tui.console.widgets.table import cells
from tui.console.widgets.table.cells import Paint
from tui.shared.clocks import Clock
from tui.shared.fit import fit, fit_middle, safe
from tui.shared.freeze_look import freeze_look
from tui.shared.frozen_for import frozen_for, frozen_word
from tui.shared.glyphs import FOREIGN, Signs
from tui.shared.key_hints import key
from tui.shared.tone import Line, Piece, Tone

_LEAST_CELLS = 12  # fewer of a piece say nothing
# Most windows are over by then: a line that comes and goes with each would be all that one sees.
LASTS_S = 5.0
_MOST_NAME = 30


class PinnedLine(Passing):
    """Shows the longest freeze and its clock, whatever cursor, filter and scroll bar are at.

    It is hidden while nothing is frozen, and where there is one VM alone, whose row says it all.

    Args:
        view: what is known.
        clock: the time.
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    PinnedLine { background: $surface; }
    """

    class Wanted(Message):
        """The operator clicked on it, to go to that VM."""

    def __init__(self, view: FleetView, clock: Clock, signs: Signs) -> None:
        super().__init__(id="pinned")
        self._view = view
        self._clock = clock
        self._signs = signs
        self._shown: Line = ()

    def lines_when_there(self) -> int:
        """Return 1."""
        return 1

    def update_line(self, *, may_move: bool, told: Collection[VmId] = ()) -> bool:
        """Show who it is as of now; return whether the line has come or gone.

        Args:
            may_move: whether what stands below may move by a line; if not, it waits.
            told: the VMs of which the banner tells as much.
        """
        paint = Paint(self._clock.moment(), self._signs)
        state = self._longest(paint)
        state = None if state is not None and state.id in told else state
        shown = self._safe_pieces(state, paint) if state is not None else ()
        if shown != self._shown:
            self._shown = shown
            self.refresh()
        return may_move and self.be_there(bool(shown))

    def _longest(self, paint: Paint) -> VmState | None:
        state = self._view.longest_frozen(paint.moment) if self._view.total > 1 else None
        lasts = state is not None and frozen_for(state, paint.moment) >= LASTS_S
        return state if lasts else None

    def _safe_pieces(self, state: VmState, paint: Paint) -> Line:
        try:
            return self._pieces(state, paint)
        except Exception as problem:  # noqa: BLE001 - P8: it is this line's trouble alone
            return (Piece(f" the longest freeze can't be shown: {safe(repr(problem))}", Tone.BAD),)

    def _pieces(self, state: VmState, paint: Paint) -> Line:
        look = freeze_look(state)
        clock = cells.held(state, paint)
        who = look.word
        locked = f" {self._signs.dot} locked: {safe(state.vm.locked_by or '', 40)}"
        if state.held_by is not None:
            who = f"by {safe(state.held_by.user, 20)}, pid {state.held_by.pid}"
        elif state.left_by is not None:
            who = f"left by {safe(state.left_by.user, 20)}, pid {state.left_by.pid}"
        elif (others := doer(state)) is not None and others.by is not None:
            foreign = f"{look.word}, " if look is FOREIGN else ""
            who, locked = f"{foreign}by {safe(str(others.by), 60)}", ""
        frozen = frozen_word(state)
        more = more_words(self._view.frozen_words - Counter([frozen]), frozen)
        return (
            Piece(f" {self._signs.of(look)} {frozen} longest: ", look.tone),
            Piece(fit_middle(safe(state.vm.name), _MOST_NAME), Tone.HEAD),
            Piece(f", for {clock.text}, ", clock.tone),
            Piece(who, look.tone),
            Piece(locked if state.vm.locked_by else "", Tone.DIM),
            Piece(f" {self._signs.dot} {more}" if more else "", Tone.DIM),
        )

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        width = self.size.width
        pieces = fitted(self._shown, width)
        used = sum(cell_len(piece.text) for piece in pieces)
        hint = f"{key('longest', 'L')} goes there "
        if pieces and used + len(hint) < width:
            pieces.append(Piece(fit(hint, width - used, right=True), Tone.DIM))
        return Strip(self.segments(pieces)).adjust_cell_length(width, self.base_style)

    def on_click(self) -> None:
        """Ask to go there."""
        self.post_message(self.Wanted())


def more_words(further: Counter[str], word: str) -> str:
    """Return how many further VMs there are, by their words where not all have the same one.

    Args:
        further: how many have each word.
        word: that of the VM which is named.
    """
    if set(further) <= {word}:
        return f"{further[word]} more" if further else ""
    first = [f"{further[word]} more {word}"] if word in further else []
    return ", ".join([*first, *(f"{n} {one}" for one, n in further.items() if one != word)])


def fitted(line: Line, width: int) -> list[Piece]:
    """Return the pieces of a line that fit: what is least wanted, and so behind, is left out."""
    pieces = [piece for piece in line if piece.text]
    while len(pieces) > 1 and (over := sum(cell_len(one.text) for one in pieces) - width) > 0:
        last = pieces.pop()
        room = cell_len(last.text) - over
        if room >= _LEAST_CELLS:
            return [*pieces, Piece(fit(last.text, room), last.tone)]
    return pieces
