"""Calls an operator who does not look at the screen: a bell, a notification, a message of tmux.

A terminal or a tmux that knows no notifications (OSC 9, OSC 777) passes over them; a bell reaches
most of them, and a tmux tells it in its status line.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Final

from agentclient.config.defaults import BELL, TERMINAL, TMUX, WAYS
from tui.console.ascii import to_ascii
from tui.console.model.notices import Notice
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.terminal_features import few_letters

if TYPE_CHECKING:
    from tui.shared.bounded_commands import BoundedCommands

BEL: Final = "\x07"
# A hundred VMs that are lost at once are one bell, and the rest of them another.
APART_S: Final = 5.0
LONGEST: Final = 160  # characters of a notification
SHOWN_S: Final = 10.0
_FORMATS: Final = str.maketrans("#%", "＃％")
_FORMATS_IN_ASCII: Final = str.maketrans("#%", "-/")


class Alarm:
    """Rings for notices that call.

    Args:
        write: writes to the terminal.
        clock: the time.
        signs: the set of signs that the terminal can show.
        variables: the environment, which tells what terminal it is.
        ways: in which ways it calls.
        commands: runs what has tmux show a message; None if nothing does.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Clock,
        signs: Signs,
        variables: Mapping[str, str] = os.environ,
        *,
        ways: Container[str] = WAYS,
        commands: BoundedCommands | None = None,
    ) -> None:
        self._ways = ways
        self._commands = commands
        self._write = write
        self._clock = clock
        self._signs = signs
        self._variables = variables
        self._waiting: list[str] = []
        self._rang_at = float("-inf")

    def take(self, notice: Notice) -> None:
        """Take a notice; `ring` tells it if it calls."""
        if notice.calls:
            self.call(notice.text)

    def call(self, text: str) -> None:
        """Have the next `ring` tell a text."""
        self._waiting.append(text)

    def ring(self) -> None:
        """Ring for what has come, unless it has rung a moment ago: then later."""
        now = self._clock.monotonic()
        if not self._waiting or now - self._rang_at < APART_S:
            return
        first, *more = self._waiting
        self._waiting, self._rang_at = [], now
        text = f"{first} (and {len(more)} more)" if more else first
        host = socket.gethostname()
        plain = self._signs.ascii
        said = notification(text, host, self._variables, ascii=plain)
        written = BEL * (BELL in self._ways) + said * (TERMINAL in self._ways)
        if written:
            self._write(written)
        if TMUX in self._ways and "TMUX" in self._variables and self._commands is not None:
            self._commands.begin("tmux", tmux_message(text, host, ascii=plain))


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
    sequence = f"\x1b]777;notify;{title};{said}{BEL}"
    if _knows_osc_9_alone(variables):
        sequence = f"\x1b]9;{title}: {said}{BEL}"
    if "TMUX" in variables:  # passed on to the terminal where `allow-passthrough` is on
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def tmux_message(text: str, host: str, *, ascii: bool = False) -> tuple[str, ...]:  # noqa: A002
    """Return the command that has tmux show a message in its status line, whatever is looked at.

    Args:
        text: what is told; names in it may be anything.
        host: the machine's name.
        ascii: nothing beyond ASCII.
    """
    said = _plain(f"frostwatch {host}: {text}", ascii=ascii)
    # tmux runs what stands in #(), and the time is put in the place of %H.
    harmless = said.translate(_FORMATS_IN_ASCII if ascii else _FORMATS)
    return ("tmux", "display-message", "-d", f"{SHOWN_S * 1000:.0f}", harmless)


def _knows_osc_9_alone(variables: Mapping[str, str]) -> bool:
    iterm = variables.get("LC_TERMINAL") == "iTerm2"
    return iterm or variables.get("TERM_PROGRAM") == "iTerm.app" or "ConEmuPID" in variables


def _plain(text: str, *, ascii: bool) -> str:  # noqa: A002
    """Return text without what would end the notification, or begin another sequence."""
    shown = safe(text, LONGEST).replace(";", ",")
    return to_ascii(shown) if ascii else shown
