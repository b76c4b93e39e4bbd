"""A VM's log: it scrolls with new lines unless the reader has scrolled up, and can be searched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from textual.message import Message

from agentclient.fleet.logs import DEFAULT_LINES
from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import LogLine
from agentclient.model.vm import VmId
from tui.console.widgets.lines import LinesView
from tui.console.widgets.pane.log_search import LogSearch
from tui.shared.fit import safe, wrap
from tui.shared.glyphs import LEVEL, Signs
from tui.shared.tone import Line, Piece, Tone, hanging

_LINE_LIMIT = 1000
_NOTHING = "this console has logged nothing of it yet"


class LogView(LinesView):
    """The log of one VM.

    Args:
        fleet: whose logs are read.
        signs: the set of signs that the terminal can show.
    """

    class Position(Message):
        """Where the reader is.

        Attributes:
            following: whether new lines are shown as they come.
            unread: lines that came since the reader scrolled up, or began to search.
            match: which match of a search one is at, and of how many; None without a search.
        """

        def __init__(
            self, *, following: bool, unread: int = 0, match: tuple[int, int] | None = None
        ) -> None:
            super().__init__()
            self.following = following
            self.unread = unread
            self.match = match

    def __init__(self, fleet: Fleet, signs: Signs) -> None:
        super().__init__(id="log")
        self._fleet = fleet
        self._signs = signs
        self._vm_id: VmId | None = None
        self._entries: deque[tuple[LogLine, int]] = deque()  # with its lines on the screen
        self._wrapped: list[Line] = []
        self._wrapped_for = 0
        self._height = 0
        self._last = 0
        self._is_new = True  # nothing of it was shown yet, not even that there is nothing
        self._following = True
        self._unread = 0
        self._search = LogSearch()

    # -- what is shown ---------------------------------------------------------------------

    def show_vm(self, vm_id: VmId | None) -> None:
        """Show another VM's log, from its end."""
        self._vm_id = vm_id
        self._search = LogSearch()
        self._start_again()
        self.follow()

    def _start_again(self) -> None:
        self._entries.clear()
        self._wrapped = []
        self._wrapped_for = self.room
        self._last = 0
        self._is_new = True
        self.update_log()

    def follow(self) -> None:
        """Go to the end, and stay there."""
        self._following, self._unread = True, 0
        self._to_the_end()
        self._tell()

    def _to_the_end(self) -> None:
        # Forced: a log that has just outgrown the view has no scroll bar before the next layout.
        self.scroll_end(animate=False, immediate=True, force=True)

    def update_log(self) -> None:
        """Append what came since the last time, however much it is, with one repaint."""
        if self._vm_id is None:
            self.show_lines(())
            return
        new = self._fleet.log_since(self._vm_id, self._last)
        if new and new[0].number <= self._last:  # the VM was forgotten, and is there again
            self._start_again()
            return
        if not new and not self._is_new:
            return
        self._is_new = False
        known = bool(self._entries)
        self._append(new)
        dropped = self._drop_oldest()
        self._show()
        if self._following:
            self._to_the_end()
        elif known:
            self._stay(dropped, len(new))

    def _append(self, new: Sequence[LogLine]) -> None:
        width = max(self.room, 8)
        for entry in new:
            lines = log_lines(entry, width, self._signs)
            self._entries.append((entry, len(lines)))
            self._wrapped.extend(lines)
            self._last = entry.number
        self._search.add(new)

    def _drop_oldest(self) -> int:
        """Forget what the fleet has forgotten; return how many lines of the screen that were."""
        dropped = 0
        while len(self._entries) > DEFAULT_LINES:
            dropped += self._entries.popleft()[1]
        if dropped:
            del self._wrapped[:dropped]
            self._search.forget(self._entries[0][0].number)
        return dropped

    def _show(self) -> None:
        """Show the lines as they are now, with the words that are searched for."""
        lines = list(self._with_matches()) if self._search else tuple(self._wrapped)
        self.show_lines(lines or hanging((Piece(_NOTHING, Tone.DIM),), self.room))

    def _with_matches(self) -> Iterator[Line]:
        start = 0
        for entry, count in self._entries:
            lines = self._wrapped[start : start + count]
            start += count
            if self._search.matches(entry):
                here = entry.number == self._search.at
                yield from (self._search.highlighted(line, found=here) for line in lines)
            else:
                yield from lines

    def _stay(self, dropped: int, new: int) -> None:
        """Keep what the reader reads where it is."""
        if dropped:
            self.scroll_to(y=max(self.scroll_offset.y - dropped, 0), animate=False)
        self._unread += new
        self._tell()

    def on_resize(self) -> None:
        """Wrap everything anew for another width; a reader who had scrolled up starts at the end.

        Another height, as when words are being typed below, leaves everybody where they are; but
        who searches keeps the last line in sight, since that is where the search began.
        """
        lost, self._height = self._height - self.size.height, self.size.height
        if self._vm_id is None:
            return
        another_width = self.room != self._wrapped_for
        if another_width:
            self._start_again()
        if self._search:
            if lost:
                y = max(self.scroll_offset.y + lost, 0)
                self.scroll_to(y=y, animate=False, immediate=True, force=True)
            self._go_to_match()
        elif another_width or self._following:
            self.follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow while the end is in sight, and nobody searches."""
        super().watch_scroll_y(old_value, new_value)
        self._look_whether_to_follow(round(new_value))

    def _look_whether_to_follow(self, top: int) -> None:
        following = top >= self.max_scroll_y and not self._search
        if following != self._following:
            self._following = following
            self._unread = 0
            self._tell()

    def _tell(self) -> None:
        match = self._search.place if self._search else None
        self.post_message(
            self.Position(following=self._following, unread=self._unread, match=match)
        )

    # -- searching -------------------------------------------------------------------------

    def search(self, text: str) -> None:
        """Search for `text` as it is typed, and go to the newest match that is not below."""
        entries = (entry for entry, _ in self._entries)
        self._search.look_for(text, entries, near=self._last_seen())
        self._go_to_match()

    def step(self, direction: int) -> None:
        """Go to the next match below (1) or above (-1)."""
        self._search.step(direction)
        self._go_to_match()

    def _go_to_match(self) -> None:
        """Show the match that one is at, as far from the edges as it takes to see around it."""
        self._show()
        self._look_whether_to_follow(self.scroll_offset.y)
        start = 0
        for entry, count in self._entries:
            if entry.number == self._search.at:
                self._reveal(start, count)
            start += count
        self._tell()

    def _reveal(self, start: int, count: int) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if not top <= start <= start + count <= top + height:
            y = max(start - max(height - count, 0) // 2, 0)
            self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def _last_seen(self) -> int:
        """Return the number of the last entry that is in sight.

        A height that was not heard of yet will be made up for: the last line stays in sight.
        """
        bottom = self.scroll_offset.y + self._height
        start = number = 0
        for entry, count in self._entries:
            start += count
            if start > bottom:
                break
            number = entry.number
        return number


def log_lines(entry: LogLine, width: int, signs: Signs) -> list[Line]:
    """Return a log line as lines of the screen; what is wrapped is indented."""
    look = LEVEL[entry.level]
    clock = entry.at.strftime("%H:%M:%S")
    text_tone = Tone.NORMAL if look.tone is Tone.GOOD else look.tone
    indent = len(clock) + 3
    first, *rest = wrap(safe(entry.text, _LINE_LIMIT), width - indent)
    return [
        (
            Piece(f"{clock} ", Tone.DIM),
            Piece(f"{signs.of(look)} ", look.tone),
            Piece(first, text_tone),
        ),
        *[(Piece(" " * indent), Piece(line, text_tone)) for line in rest],
    ]
