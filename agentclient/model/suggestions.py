"""What somebody may have meant who has mistyped a name."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.model.text import printable

# So many names are a help.
_MOST = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question in parentheses, with a blank before it; empty if nothing is alike."""
    from difflib import get_close_matches  # noqa: PLC0415 - for whoever has mistyped alone

    names = get_close_matches(word, list(known), _MOST, 0.6)
    said = " or ".join(printable(name, 80) for name in names)
    return f" (did you mean {said}?)" if said else ""
