"""Strings from outside made printable.

A guest chooses its error texts, mount points and versions; a host's administrator its VM names.
None of them may move the cursor, colour the screen, reorder a line or fill it (P7).
"""

from __future__ import annotations

import unicodedata
from typing import Final

DEFAULT_LIMIT = 500
_ELLIPSIS = "…"
_MOST_ESCAPED: Final = 12  # characters that one is shown by, and more

# Cc: controls (with ESC and the C1 set), Cf: format controls (bidi overrides, zero-width joiners,
# tags), Cs: lone surrogates, Co and Cn: private and unassigned, Zl and Zp: line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


LONGEST_COMMAND: Final = 40_000
TOO_LONG: Final = "(its command is too long to be shown)"


def uncut(text: str) -> str:
    """Return a text with a command in it as one safe line, which is never cut.

    A command that lost its end may be another one; so a text that is too long is not shown.
    """
    return in_full(text) if len(text) <= LONGEST_COMMAND else TOO_LONG


def in_full(text: str) -> str:
    """Return a text as one safe line, however long it is."""
    return printable(text, _MOST_ESCAPED * len(text))


def printable(value: object, limit: int = DEFAULT_LIMIT) -> str:
    r"""Return `value` as one line that is safe for any terminal, log or JSON reader.

    Unsafe characters are shown as ``\x1b`` or ``\u202e``, so that a person sees that they were
    there; combining marks that pile up are cut after four.

    Args:
        value: anything; what is no string is converted.
        limit: characters of the result at the most; longer text ends in an ellipsis.
    """
    text = value if isinstance(value, str) else str(value)
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    length = 0
    marks = 0
    for character in text:
        piece = character
        if character in "\n\t\r":
            piece = " "
        elif " " <= character <= "~":
            marks = 0
        else:
            category = unicodedata.category(character)
            if category in _UNSAFE:
                piece = _escaped(character)
            if category in ("Mn", "Me"):
                marks += 1
                if marks > 4:
                    continue
            else:
                marks = 0
        length += len(piece)
        if length > limit:
            # Cut so that the ellipsis itself still fits.
            joined = "".join(out)
            return joined[: max(limit - 1, 0)] + _ELLIPSIS
        out.append(piece)
    return "".join(out)


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"


def plain_path(path: str) -> str:
    """Return a mount point as the guest names it: ``/mnt/data`` for ``//mnt/./data/``.

    What begins with no slash is a Windows one, and stays as it is. So does a ``..``, since only
    the guest knows where that leads.
    """
    if not path.startswith("/"):
        return path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/" + "/".join(parts)
