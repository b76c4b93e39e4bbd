"""Names that a mistyped name may stand for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from agentclient.model.text import printable

# More names than these help nobody.
_MOST = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question in parentheses, with a blank before it; empty if no name is alike.

    Args:
        word: what was typed.
        known: the names that there are.
    """
    names = get_close_matches(word, list(known), _MOST, 0.6)
    said = " or ".join(printable(name, 80) for name in names)
    return f" (did you mean {said}?)" if said else ""
