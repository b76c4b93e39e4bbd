"""What can be done with a past window that is chosen, wherever such windows are listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from textual.app import App
from textual.binding import Binding, BindingType

from agentclient.journal.figures import usual_of
from agentclient.journal.history import VmHistory
from tui.console.dialogs.certificate import CertificateDialog
from tui.shared.clocks import Clock
from tui.shared.glyphs import Signs

WINDOW_KEYS: Final[list[BindingType]] = [
    Binding(
        "enter",
        "certificate",
        "Certificate",
        id="past.certificate",
        tooltip="All that is known of it on one page, which w saves",
    ),
    Binding("p", "replay", "Replay", id="past.replay", tooltip="Play it again"),
]


class PastWindows:
    """Opens the certificate of a past window, and plays one again.

    Args:
        clock: the time.
        signs: the set of signs that the terminal can show.
        replay: plays a window, by its number in the journal, again.
    """

    def __init__(self, clock: Clock, signs: Signs, replay: Callable[[int], None]) -> None:
        self._clock = clock
        self._signs = signs
        self._replay = replay

    def open_certificate(self, app: App[Any], past: VmHistory, place: int) -> None:
        """Show all that is known of a window.

        Args:
            app: on whose screen.
            past: what the journal knows of its VM.
            place: which of the windows, from 0.
        """
        row = past.windows[place]
        members, usual = past.groups.get(row.group or "", ()), usual_of(past.figures)
        app.push_screen(CertificateDialog(row, members, usual, self._clock, self._signs))

    def play(self, past: VmHistory, place: int) -> None:
        """Play a window, and what was frozen with it, again."""
        self._replay(past.windows[place].window)
