"""Lines that a person reads on a terminal: broken at words, but for a command that is copied."""

from __future__ import annotations

import os
import re
from typing import IO, Final

from rich.cells import cell_len

from tui.shared.fit import wrap

FURTHER: Final = 2
NARROWEST: Final = 8
_USUAL: Final = 80
_DEEP: Final = 4  # where what follows would have to stand too far to the right
# A command that a person is to type, up to what is said behind it.
_COMMAND: Final = re.compile(
    r"(?<=: )(?:frostwatch|virsh|qm|kill|qemu-img|systemctl|apt|apt-get|pip|mkdir|chmod) "
    r"[^;()]*[^;() ,.]"
)
# No letter of any text that is shown: names may have blanks of every other kind.
_GLUE: Final = "\ue000"


def columns_of(stream: IO[str]) -> int | None:
    """Return the columns of a terminal; None if a stream is none.

    The variable ``COLUMNS`` is stronger than what the terminal says.
    """
    try:
        if not stream.isatty():
            return None
        said = os.environ.get("COLUMNS", "")
        if said.isascii() and said.isdecimal() and 0 < len(said) < 6 and int(said):
            return int(said)
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError, AttributeError):
        return _USUAL


def folded(text: str, columns: int | None, below: int = FURTHER) -> str:
    """Return text in lines that fit a terminal, broken at words.

    Args:
        text: one line or several; the spaces before each are kept.
        columns: the terminal's columns; None if it is none, and the text stays as it is.
        below: how many cells further to the right stands what is broken off a line.
    """
    if columns is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _folded(line, columns, below))


def _folded(line: str, columns: int, below: int) -> list[str]:
    room = max(columns, NARROWEST)
    if cell_len(line) <= room:
        return [line]
    words = line.lstrip(" ")
    head = len(line) - len(words)
    if below + head > room // 2:
        below = min(_DEEP, below)
    if head > room // 2:
        head = 0
    glued = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), words)
    first, *rest = wrap(glued, max(room - head, NARROWEST), whole=True)
    shown = [f"{' ' * head}{first}"]
    if rest:
        width = max(room - head - below, NARROWEST)
        further = wrap(" ".join(one.strip(" ") for one in rest), width, whole=True)
        shown += [f"{' ' * (head + below)}{one}" for one in further]
    return [one.replace(_GLUE, " ").rstrip(" ") for one in shown]
