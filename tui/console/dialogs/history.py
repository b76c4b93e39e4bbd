"""What the journal knows of one VM: its past freezes as lines, and the chosen one in full."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import ClassVar, cast

from rich.cells import cell_len
from textual.binding import Binding, BindingType

from agentclient.journal.figures import usual_of
from agentclient.journal.history import VmHistory
from agentclient.journal.window_row import WindowRow
from agentclient.model.durations import in_words
from agentclient.model.states import WindowKind
from tui.console.dialogs.past_window import WINDOW_KEYS, PastWindows
from tui.console.dialogs.row_dialog import RowDialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.model.past_tracks import group_size, group_tracks, past_track, took, word_of
from tui.console.model.targets import Target
from tui.console.model.vm_lines import past_head
from tui.shared.clocks import Clock
from tui.shared.fit import fit, safe
from tui.shared.glyphs import Signs
from tui.shared.history_text import counts, notes
from tui.shared.timeline import Scale, Track, bar
from tui.shared.timeline_picture import picture
from tui.shared.tone import Line, Piece, Row, Tone, hanging

_LOOK_S = 0.1
_WORD_WIDTH = 13
_TOOK_WIDTH = 8
_DRAWN = 45  # cells that a window with its picture takes
_TO_THE_MINUTE = 11
_LEAST_ROWS = 3
_DETAIL = 9  # lines for the chosen one


class HistoryDialog(RowDialog[None]):
    """Shows a VM's past, as soon as the journal has told it; Enter opens a window's certificate.

    Args:
        target: the VM of the key press.
        look: its past; None if the journal can't tell.
        clock: the time.
        signs: the set of signs that the terminal can show.
        windows: what can be done with a window.
    """

    maximum_width: ClassVar[int] = 150
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)", "Newer window", id="past.up"),
        Binding("down,j", "choose(1)", "Older window", id="past.down"),
        *WINDOW_KEYS,
        Binding("pageup,ctrl+b", "choose(-10)", "Ten newer", show=False, id="past.page_up"),
        Binding("pagedown,ctrl+f", "choose(10)", "Ten older", show=False, id="past.page_down"),
        Binding("home,g", "choose(-1000000)", "The newest", show=False, id="past.first"),
        Binding("end,G", "choose(1000000)", "The oldest", show=False, id="past.last"),
    ]

    def __init__(
        self,
        target: Target,
        look: Future[VmHistory | None],
        clock: Clock,
        signs: Signs,
        windows: PastWindows,
    ) -> None:
        self._look = look
        self._windows = windows
        self._clock = clock
        self._signs = signs
        self._chosen = 0
        self._top = 0
        super().__init__(f"{safe(target.vm.name, 40)}: past freezes and thaws")

    def on_mount(self) -> None:
        """Wait for the journal without holding up anything."""
        super().on_mount()
        if self._look.done():  # perhaps since it was put together
            self.update_text()
        else:
            self._timer = self.set_interval(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        if self._look.done():
            self._timer.stop()
            self.update_text()

    @property
    def _past(self) -> VmHistory | None:
        """The past, once it is known; None before, and if it can't be."""
        known = self._look.done() and not self._look.cancelled()
        return self._look.result() if known and self._look.exception() is None else None

    # -- what is shown -----------------------------------------------------------------------

    def lines(self) -> Iterable[Line]:
        """Return the figures, the windows, the newest first, and the chosen one in full."""
        past = self._past
        if past is None or not past.windows:
            yield from self._nothing(past)
            return
        head = list(self._head(past))
        detail = [
            each
            for line in self._detail(past, past.windows[self._chosen])
            for each in hanging(line, self._room)
        ][:_DETAIL]
        rows = max(self._most_lines - len(head) - len(detail) - 1, _LEAST_ROWS)
        yield from head
        yield from self._list(past, min(rows, len(past.windows)))
        yield EMPTY
        yield from detail

    def _nothing(self, past: VmHistory | None) -> Iterator[Line]:
        if not self._look.done():
            yield (Piece("reading the journal …", Tone.DIM),)
        elif not self._look.cancelled() and (error := self._look.exception()) is not None:
            yield (Piece(f"The journal can't be read: {safe(str(error), 200)}", Tone.WARN),)
        elif past is None:
            yield (Piece("No journal is kept here: none is in a drill.", Tone.WARN),)
        elif past.missing is not None:
            yield (Piece(f"What was frozen is not known: {safe(past.missing, 300)}", Tone.WARN),)
        else:
            yield (Piece("Nothing was frozen or thawed here yet."),)

    def _head(self, past: VmHistory) -> Iterator[Line]:
        head = list(past_head(past))
        yield from (*head, EMPTY) if head else ()

    def _list(self, past: VmHistory, room: int) -> Iterator[Line]:
        """Yield the rows in sight: the chosen one always is."""
        self._top = min(max(self._top, self._chosen - room + 1), self._chosen)
        self._top = max(min(self._top, len(past.windows) - room), 0)
        shown = past.windows[self._top : self._top + room]
        now, usual = self._clock.wall(), usual_of(past.figures)
        tracks = [past_track(row, self._signs, now, usual) for row in shown]
        for number, (row, track) in enumerate(zip(shown, tracks, strict=True), self._top):
            line = self._row(row, track, tracks, chosen=number == self._chosen)
            yield Row.of(number, line)

    def _row(
        self, row: WindowRow, track: Track | None, tracks: Sequence[Track | None], *, chosen: bool
    ) -> Line:
        """Return one window: when, what came of it, its picture, and how long its answer took."""
        mark = self._signs.cursor if chosen else " "
        asked = row.times["asked"]
        when = f"{datetime.fromisoformat(asked.at):%m-%d %H:%M:%S}" if asked else ""
        word = word_of(row, self._signs)
        if self._room < _DRAWN:
            end = word._replace(text=fit(word.text, self._room - _TO_THE_MINUTE - 3))
            text = f"{mark} {when[:_TO_THE_MINUTE]:<{_TO_THE_MINUTE}} "
            return (Piece(text, Tone.HEAD if chosen else Tone.DIM), end)
        head = (
            Piece(f"{mark} {when:<14}  ", Tone.HEAD if chosen else Tone.DIM),
            word._replace(text=fit(word.text, _WORD_WIDTH)),
        )
        room = self._room - sum(cell_len(piece.text) for piece in head) - 2 - _TOOK_WIDTH
        end = Piece(f" {fit(took(row), _TOOK_WIDTH, right=True)}", Tone.DIM)
        if track is None:
            what = fit(" ".join((row.kind.value, *notes(row))), max(room, 1))
            return (*head, Piece(" "), Piece(safe(what), Tone.DIM), end)
        # One scale for all in sight, so that one compares them; what is far longer is cut.
        spans = sorted(one.end - one.asked for one in tracks if one is not None)
        span = max(min(spans[-1] * 1.02, spans[len(spans) // 2] * 3), 0.01)
        scale = Scale(track.asked, span, max(room, 1))
        return (*head, Piece(" "), *bar(track, scale, self._signs), end)

    def _detail(self, past: VmHistory, row: WindowRow) -> Iterator[Line]:
        """Yield the chosen window: when it was, who asked, and all its group on one scale."""
        asked = row.times["asked"]
        when = f"{datetime.fromisoformat(asked.at):%Y-%m-%d %H:%M:%S}" if asked else "-"
        word = word_of(row, self._signs)
        held = "" if row.held_s is None else f", held {in_words(row.held_s)}"
        in_all = "" if row.seconds is None else f", {row.seconds:.1f} s"
        text = f"{counts(row)}{held}{in_all}  {row.user} (pid {row.pid})"
        yield (
            Piece(f"{when}  ", Tone.HEAD),
            word._replace(text=f"{word.text.strip()}  "),
            Piece(safe(text, 200)),
        )
        members = past.groups.get(row.group or "", ())
        usual = usual_of(past.figures)
        tracks = group_tracks(row, members, self._signs, self._clock.wall(), usual)
        yield from picture(tracks, self._room, self._signs, height=5, size=group_size(row))
        reason = (row.outcome or row.thaw or row.rescue or {}).get("reason")
        more = "; ".join(notes(row))
        if more:
            yield (Piece(safe(more, 300), Tone.WARN),)
        if isinstance(reason, str) and row.kind is not WindowKind.OTHERS:
            yield (Piece(safe(reason, 300)),)

    def is_chosen(self, line: Line) -> bool:
        """Return whether it has the cursor."""
        return line[0].text.startswith(self._signs.cursor)

    # -- what can be answered ----------------------------------------------------------------

    def answers(self) -> Sequence[tuple[str, str]]:
        """Open the certificate of the chosen window, or leave; of none where there is no window."""
        if self._look.done() and (self._past is None or not self._past.windows):
            return (("close", "Close (Esc)"),)
        return (("open", "Certificate (Enter)"), ("close", "Close (Esc)"))

    def answered(self, answer: str) -> None:
        """Open the certificate, or leave; without a window there is nothing but to leave."""
        past = self._past
        if answer == "open" and past is not None and past.windows:
            self.action_certificate()
        else:
            self.dismiss(None)

    def action_certificate(self) -> None:
        """Open the certificate of the chosen window."""
        past = self._past
        if past is not None and past.windows:
            self._windows.open_certificate(self.app, past, self._chosen)

    def action_replay(self) -> None:
        """Play the chosen window, and what was frozen with it, again."""
        past = self._past
        if past is not None and past.windows:
            self._windows.play(past, self._chosen)

    @property
    def chosen_row(self) -> Hashable:
        """The place of the chosen window."""
        return self._chosen

    def choose_row(self, row: Hashable) -> None:
        """Choose a window; a window of the past keeps its place."""
        self.action_choose(cast("int", row) - self._chosen)

    def action_choose(self, direction: int) -> None:
        """Choose another window."""
        past = self._past
        if past is not None and past.windows:
            last = len(past.windows) - 1
            self._chosen = min(max(self._chosen + direction, 0), last)
            self.update_text()
