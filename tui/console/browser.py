"""The console in a browser: what stands in the place of a terminal then.

The server (textual-serve) is the other end of a pipe, whose end counts as a terminal's.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from textual.drivers.web_driver import WebDriver

_TAKEN: Final = (signal.SIGINT, signal.SIGTERM)


class BrowserDriver(WebDriver):
    """Textual's own, which leaves signals to whoever has them: a second one leaves at once."""

    def start_application_mode(self) -> None:
        """Begin to draw."""
        before = {number: signal.getsignal(number) for number in _TAKEN}
        super().start_application_mode()
        loop = asyncio.get_running_loop()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
