"""Puts text into the clipboard of the operator's terminal (OSC 52), also through ssh and tmux.

Nobody answers: a terminal that takes none passes over it. So whoever copies shows the text as well.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from tui.shared.terminal_features import few_letters, is_in_browser

# Terminals take some 74,994 bytes (xterm) or more, in base64.
LONGEST: Final = 50_000


def clipboard_sequence(text: str, variables: Mapping[str, str]) -> str:
    """Return what puts `text` into the clipboard; empty where nothing would take it.

    Args:
        text: what is copied; what is too long is not copied at all.
        variables: the environment, which tells what terminal it is.
    """
    data = text.encode("utf-8", "replace")
    prints_it = few_letters(variables.get("TERM", "")) or "STY" in variables
    if prints_it or is_in_browser(variables) or len(data) > LONGEST:
        return ""
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if "TMUX" in variables:  # tmux takes it itself with `set-clipboard on`, or passes it on
        return sequence + "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence
