"""The banner across the screen while a window is open: a copy is to be made now, or never."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.strip import Strip

from agentclient.model.durations import clock
from agentclient.model.sizes import size_text
from agentclient.model.snapshot import VmState
from agentclient.model.states import OutcomeKind, Phase
from tui.console.model.notices import Notice
from tui.console.model.open_window import NearlyOver, OpenWindow, open_windows
from tui.console.widgets.passing import Passing
from tui.shared.clocks import Clock
from tui.shared.fit import fit, safe
from tui.shared.glyphs import OUTCOME, PHASE, Look, Signs
from tui.shared.key_hints import key
from tui.shared.timeline_picture import skew_in_words
from tui.shared.tone import Tone

_LOUD = Style(reverse=True, bold=True)
_MOST_NAMES = 12
TAKE = "TAKE YOUR SNAPSHOT NOW"
NOT_VERIFIED = "HELD, NOT VERIFIED"
AT_RISK = "AT RISK, its agent's port closed"
WRITTEN = "WRITTEN TO WHILE FROZEN"


class Banner(Passing):
    """Says who is frozen for how much longer, and that the copy is to be made now.

    It is hidden while no window is open. In its last seconds it changes its colour and its words.

    Args:
        states: returns all VMs.
        clock: the time.
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    Banner { height: 2; }
    """

    class Wanted(Message):
        """The operator clicked on it, for the next command."""

    def __init__(self, states: Callable[[], Iterable[VmState]], clock: Clock, signs: Signs) -> None:
        super().__init__(id="banner")
        self._states = states
        self._clock = clock
        self._signs = signs
        self._windows: tuple[OpenWindow, ...] = ()
        self._nearly_over = NearlyOver()
        self._shown: tuple[object, ...] = ()

    @property
    def window(self) -> OpenWindow | None:
        """The window that is shown: of several the one that ends first; None if none is open."""
        return self._windows[0] if self._windows else None

    def lines_when_there(self) -> int:
        """Return 2."""
        return 2

    @property
    def windows(self) -> tuple[OpenWindow, ...]:
        """All windows that are open, the one that ends first on top."""
        return self._windows

    def notices(self) -> Iterator[Notice]:
        """Yield, once of each window, that it is nearly over."""
        return self._nearly_over.notices(self._windows, self._clock.monotonic(), self._clock.wall())

    def update_lines(self) -> bool:
        """Show what is open as of now; return whether the banner has come or gone."""
        self._windows = open_windows(self._states())
        shown = (self._windows, self._texts(self.size.width))
        if shown != self._shown:
            self._shown = shown
            self.refresh()
        return self.be_there(bool(self._windows))

    def render_line(self, y: int) -> Strip:
        """Return a line of it."""
        tone, texts = self._texts(self.size.width)
        style = self.base_style + self.tone_style(tone) + _LOUD
        text = texts[y] if y < len(texts) else ""
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)

    def on_click(self) -> None:
        """Ask for the next command."""
        self.post_message(self.Wanted())

    def _texts(self, width: int) -> tuple[Tone, tuple[str, ...]]:
        """Return its tone and its lines, of exactly `width` cells."""
        window = self.window
        if window is None:
            return Tone.NORMAL, ()
        now = self._clock.monotonic()
        look, words = _what(window)
        tone = look.tone
        if look.tone is Tone.FROZEN and window.nearly_over(now):
            tone, words = Tone.WARN, f"{words}: NEARLY OVER"
        left = _left(window, now)
        head = f" {self._signs.of(look)} {words}: "
        room = max(width - cell_len(head) - cell_len(left) - 1, 1)
        first = f"{head}{fit(_names(window, room), room)}{left} "
        more = len(self._windows) - 1
        facts = [_skew(window), _writes(window), f"{more} more open" if more else ""]
        dot = f" {self._signs.dot} "
        second = f"   {dot.join(fact for fact in facts if fact)}"
        hint = f"{key('copy.next', 'y')}: the command that thaws "
        gap = width - cell_len(second) - cell_len(hint)
        return tone, (first, second + " " * gap + hint if gap > 0 else fit(second, width))


def _what(window: OpenWindow) -> tuple[Look, str]:
    """Return what is said loudest: nothing that is not verified is offered for a copy."""
    if window.written:
        return OUTCOME[OutcomeKind.BROKEN], WRITTEN
    if window.at_risk:
        return PHASE[Phase.AT_RISK], AT_RISK
    if not window.verified:
        return OUTCOME[OutcomeKind.UNVERIFIED], NOT_VERIFIED
    return PHASE[Phase.HELD], TAKE


def _left(window: OpenWindow, now: float) -> str:
    left_s = window.left_s(now)
    return "until it is thawed" if left_s is None else f"{clock(math.ceil(left_s - 1e-6))} left"


def _names(window: OpenWindow, room: int) -> str:
    """Return whom it is about: as many names as fit, and how many more there are."""
    names = [safe(vm.name, 60) for vm in window.vms]
    for count in range(min(len(names), _MOST_NAMES), 0, -1):
        more = f" and {len(names) - count} more" if count < len(names) else ""
        text = f"{', '.join(names[:count])}{more}"
        if cell_len(text) <= room:
            return text
    return f"{len(names)} VMs" if len(names) > 1 else names[0]


def _skew(window: OpenWindow) -> str:
    if window.skew_s is None:
        return "frozen"
    return f"{len(window.vms)} frozen within {skew_in_words(window.skew_s)}"


def _writes(window: OpenWindow) -> str:
    if window.written is None:
        return "writes can't be seen"
    return f"{size_text(window.written)} written since" if window.written else "nothing written"
