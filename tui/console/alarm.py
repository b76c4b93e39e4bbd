"""Calls an operator who does not look at the screen: a bell, and a notification of the terminal.

A terminal or a tmux that knows no notifications (OSC 9, OSC 777) passes over them; a bell reaches
most of them, and a tmux tells it in its status line.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from tui.console.ascii import to_ascii
from tui.console.model.notices import Notice
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.terminal_features import few_letters

BELL: Final = "\x07"
# A hundred VMs that are lost at once are one bell, and the rest of them another.
APART_S: Final = 5.0
LONGEST: Final = 160  # characters of a notification


class Alarm:
    """Rings for notices that call.

    Args:
        write: writes to the terminal.
        clock: the time.
        signs: the set of signs that the terminal can show.
        variables: the environment, which tells what terminal it is.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Clock,
        signs: Signs,
        variables: Mapping[str, str] = os.environ,
    ) -> None:
        self._write = write
        self._clock = clock
        self._signs = signs
        self._variables = variables
        self._waiting: list[str] = []
        self._rang_at = float("-inf")

    def take(self, notice: Notice) -> None:
        """Take a notice; `ring` tells it if it calls."""
        if notice.calls:
            self._waiting.append(notice.text)

    def ring(self) -> None:
        """Ring for what has come, unless it has rung a moment ago: then later."""
        now = self._clock.monotonic()
        if not self._waiting or now - self._rang_at < APART_S:
            return
        first, *more = self._waiting
        self._waiting, self._rang_at = [], now
        text = f"{first} (and {len(more)} more)" if more else first
        host = socket.gethostname()
        self._write(BELL + notification(text, host, self._variables, ascii=self._signs.ascii))


def notification(text: str, host: str, variables: Mapping[str, str], *, ascii: bool = False) -> str:  # noqa: A002
    """Return what has a terminal show a notification; empty for one that would print it.

    Args:
        text: what is told; names in it may be anything.
        host: the machine's name.
        variables: the environment, which tells what terminal it is.
        ascii: nothing beyond ASCII.
    """
    if few_letters(variables.get("TERM", "")) or "STY" in variables:  # a GNU screen prints it
        return ""
    title, said = _plain(f"frostwatch {host}", ascii=ascii), _plain(text, ascii=ascii)
    sequence = f"\x1b]777;notify;{title};{said}{BELL}"
    if _knows_osc_9_alone(variables):
        sequence = f"\x1b]9;{title}: {said}{BELL}"
    if "TMUX" in variables:  # passed on to the terminal where `allow-passthrough` is on
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def _knows_osc_9_alone(variables: Mapping[str, str]) -> bool:
    iterm = variables.get("LC_TERMINAL") == "iTerm2"
    return iterm or variables.get("TERM_PROGRAM") == "iTerm.app" or "ConEmuPID" in variables


def _plain(text: str, *, ascii: bool) -> str:  # noqa: A002
    """Return text without what would end the notification, or begin another sequence."""
    shown = safe(text, LONGEST).replace(";", ",")
    return to_ascii(shown) if ascii else shown
