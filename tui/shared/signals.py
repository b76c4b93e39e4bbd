"""Counts SIGINT, SIGTERM and SIGHUP, for a main loop that asks, instead of raising exceptions."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# `timeout` and some terminals send one signal twice, and systemd SIGHUP right behind SIGTERM:
# that is one request, not two.
SAME_REQUEST_S = 0.25

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """A context in which signals only count.

    Attributes:
        requests: how often somebody asked us to stop, 0 to 2; a second SIGHUP asks for nothing.
        last: the name of the last signal, empty before the first.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.last = ""
        self._at = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in _WATCHED:
            # Under nohup, or in a script's background, somebody decided that we don't hear it.
            if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGTERM:
                continue
            self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def patience(self, leaving_s: float, has_left: Callable[[], bool]) -> Callable[[], bool]:
        """Return a check that ends the wait for a slow reader: one more signal, or we have left.

        Args:
            leaving_s: for how many seconds it is waited for once we have left.
            has_left: whether we have.
        """
        requests, since = self.requests, time.monotonic()

        def patient() -> bool:
            if has_left():
                return time.monotonic() < since + leaving_s
            return self.requests == requests

        return patient

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Count; runs in the main thread between two steps of whatever it does: no locks here."""
        del frame
        now = time.monotonic()
        self.last = signal.Signals(number).name
        if self.requests == 0:
            self.requests = 1
            self._at = now
        elif number != signal.SIGHUP and now - self._at >= SAME_REQUEST_S:
            self.requests = 2
