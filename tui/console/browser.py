"""The console in a browser: what stands in the place of a terminal then.

The server (textual-serve) is the other end of a pipe, whose end counts as a terminal's. It passes
on whatever a page sends, so that sizes and floods of keys are bounded here.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any, Final

from textual.app import App
from textual.drivers.web_driver import WebDriver
from textual.message import Message

_TAKEN: Final = (signal.SIGINT, signal.SIGTERM)
# Cells: beyond the largest screens. What is larger is drawn as far as that.
MOST_COLUMNS: Final = 1000
MOST_LINES: Final = 500
MOST_WAITING: Final = 1000  # keys and moves of the mouse: no person is so far ahead
_USUAL: Final = (80, 24)


class BrowserDriver(WebDriver):
    """Textual's own, which leaves signals to whoever has them: a second one leaves at once.

    Args:
        app: the app that is drawn.
        size: columns and lines; None for what the server says.
        options: Textual's own.
    """

    def __init__(
        self, app: App[Any], *, size: tuple[int, int] | None = None, **options: Any
    ) -> None:
        columns, lines = size or (os.environ.get("COLUMNS"), os.environ.get("ROWS"))
        super().__init__(app, size=bounded(columns, lines), **options)
        self._told = app

    def start_application_mode(self) -> None:
        """Begin to draw."""
        before = {number: signal.getsignal(number) for number in _TAKEN}
        super().start_application_mode()
        loop = asyncio.get_running_loop()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        """Take what the server says: a page of any size is drawn within bounds."""
        if packet_type == "resize":
            columns, lines = bounded(payload.get("width"), payload.get("height"))
            payload = {**payload, "width": columns, "height": lines}
        super().on_meta(packet_type, payload)

    def process_message(self, message: Message) -> None:
        """Take a key or a move of the mouse, unless far too many wait already."""
        if self._waiting() < MOST_WAITING:
            super().process_message(message)

    def _waiting(self) -> int:
        count = self._told.message_queue_size
        with suppress(Exception):  # a screen comes, or goes
            count += self._told.screen.message_queue_size
            focused = self._told.focused
            count += focused.message_queue_size if focused is not None else 0
        return count


def bounded(columns: object, lines: object) -> tuple[int, int]:
    """Return a size in cells that can be drawn, whatever a page says."""
    try:
        wanted = int(str(columns)), int(str(lines))
    except ValueError:  # also of what has thousands of digits
        return _USUAL
    return min(max(wanted[0], 1), MOST_COLUMNS), min(max(wanted[1], 1), MOST_LINES)
