"""Words of a command that a person pastes into a shell: what they are is what is seen of them.

A name may have control characters in it. Written as they are, a terminal would take them for keys
as soon as the command is pasted, quotes or not: one of them clears the line, another one runs it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from agentclient.model.text import printable

_AS_IT_IS = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\")


def quoted(word: str) -> str:
    """Return a word so that bash, zsh and ksh read it as it is; in quotes if it needs them."""
    if printable(word, len(word)) == word:
        return shlex.quote(word)
    try:
        data = word.encode("utf-8", "surrogateescape")  # as it came from the system
    except UnicodeEncodeError:
        data = word.encode("utf-8", "replace")  # nothing on this system is called so
    return "$'" + "".join(chr(one) if one in _AS_IT_IS else f"\\{one:03o}" for one in data) + "'"


def joined(words: Iterable[str]) -> str:
    """Return the line of a shell that has these words."""
    return " ".join(map(quoted, words))
