"""A VM's log: it follows what comes, and leaves a reader who scrolled up alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from textual.message import Message

from agentclient.fleet import DEFAULT_LOG_LINES, Fleet
from agentclient.vm import LogLine, VmId
from tui.console.detail.lines import LinesView
from tui.console.safe import safe, wrap
from tui.console.tones import Line, Piece, Tone
from tui.console.words import LEVEL, Signs

_LINE_LIMIT = 1000


class LogView(LinesView):
    """The log of one VM.

    Args:
        fleet: whose logs are read.
        signs: the set of signs that the terminal can show.
    """

    class Position(Message):
        """The reader follows, or has scrolled up with so many lines of the log below.

        Attributes:
            following: whether new lines are shown as they come.
            unread: lines that came since the reader scrolled up.
        """

        def __init__(self, *, following: bool, unread: int) -> None:
            super().__init__()
            self.following = following
            self.unread = unread

    def __init__(self, fleet: Fleet, signs: Signs) -> None:
        super().__init__(id="log")
        self._fleet = fleet
        self._signs = signs
        self._vm_id: VmId | None = None
        self._entries: deque[tuple[LogLine, int]] = deque()  # with its lines on the screen
        self._wrapped: list[Line] = []
        self._last = 0
        self._following = True
        self._unread = 0

    def show_vm(self, vm_id: VmId | None) -> None:
        """Show another VM's log, from its end."""
        self._vm_id = vm_id
        self._start_again()
        self.follow()

    def _start_again(self) -> None:
        self._entries.clear()
        self._wrapped = []
        self._last = 0
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
        """Append what came since the last time."""
        if self._vm_id is None:
            self.show_lines(())
            return
        new = self._fleet.log_since(self._vm_id, self._last)
        if not new and self._entries:
            return
        known = bool(self._entries)
        self._append(new)
        dropped = self._drop_oldest()
        self.show_lines(
            tuple(self._wrapped) or ((Piece("nothing has happened to it yet", Tone.DIM),),)
        )
        if self._following:
            self._to_the_end()
        elif known:
            self._stay(dropped, len(new))

    def _append(self, new: Iterable[LogLine]) -> None:
        width = max(self.room, 20)
        for entry in new:
            lines = log_lines(entry, width, self._signs)
            self._entries.append((entry, len(lines)))
            self._wrapped.extend(lines)
            self._last = entry.number

    def _drop_oldest(self) -> int:
        """Forget what the fleet has forgotten; return how many lines of the screen that were."""
        dropped = 0
        while len(self._entries) > DEFAULT_LOG_LINES:
            dropped += self._entries.popleft()[1]
        del self._wrapped[:dropped]
        return dropped

    def _stay(self, dropped: int, new: int) -> None:
        """Keep what the reader reads where it is."""
        if dropped:
            self.scroll_to(y=max(self.scroll_offset.y - dropped, 0), animate=False)
        self._unread += new
        self._tell()

    def on_resize(self) -> None:
        """Wrap everything anew; a reader who had scrolled up starts at the end again."""
        if self._vm_id is not None:
            self._start_again()
            self.follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow while the end is in sight."""
        super().watch_scroll_y(old_value, new_value)
        following = round(new_value) >= self.max_scroll_y
        if following != self._following:
            self._following = following
            self._unread = 0
            self._tell()

    def _tell(self) -> None:
        self.post_message(self.Position(following=self._following, unread=self._unread))


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
