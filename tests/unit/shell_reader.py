"""Reads a line as bash does, as far as our own commands go."""

from __future__ import annotations

import re
import shlex

_BYTES = re.compile(r"(?<!\S)\$'((?:[^'\\]|\\[0-7]{3})*)'")


def read_words(line: str) -> list[str]:
    """Return the words of a line, with those in ``$'…'`` as what they stand for."""

    def plain(found: re.Match[str]) -> str:
        data = re.sub(r"\\([0-7]{3})", lambda one: chr(int(one[1], 8)), found[1])
        return shlex.quote(data.encode("latin-1").decode("utf-8", "surrogateescape"))

    return shlex.split(_BYTES.sub(plain, line))
