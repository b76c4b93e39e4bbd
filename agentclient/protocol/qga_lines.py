"""The agent's framing: bytes to lines, lines to JSON objects, each within its caps. Pure.

One JSON object a line, nothing else, no greeting (protocol §1.1). What comes is untrusted: the
length, the nesting and the number of elements of a line are capped (protocol §2.6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from agentclient.model.text import printable

DEFAULT_MAX_LINE: Final = 8 * 1024 * 1024
DEFAULT_MAX_DEPTH: Final = 64
# Commas and brackets of one line: more than any real answer has, and what fits into memory.
MAX_ELEMENTS: Final = 500_000
SENTINEL: Final = b"\xff"
# A sync's reply is shorter than this, also where it ends a line that is too long.
LONGEST_SYNC_REPLY: Final = 256

# `json.dumps` makes one for each call, and each visit sends two messages.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
# A string that is never closed reaches to the line's end, and nothing is tried twice: otherwise a
# guest could keep us busy for hours with one line of quotes and backslashes.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Line(NamedTuple):
    """One line, without its end.

    Attributes:
        data: the whole line; empty if it is too long.
        length: how many bytes it has.
        tail: of a line that is too long, what may be a sync's reply at its end.
    """

    data: bytes
    length: int
    tail: bytes = b""


class LineBuffer:
    """The bytes of the line that has begun, within a cap.

    Args:
        max_line: the longest line in bytes that is kept whole.

    Attributes:
        length: how many bytes the line that has begun has by now.
    """

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._buffer = bytearray()
        self._tail = bytearray()
        self.length = 0

    @property
    def overlong(self) -> bool:
        """Whether the line that has begun is too long already."""
        return self.length > self._max_line

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take bytes that came, and yield the lines that they end."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._grow(end)
            yield self._end_of_line()
        self._grow(rest)

    def _grow(self, data: bytes) -> None:
        if self.length + len(data) <= self._max_line:
            self._buffer += data
        else:
            if self._buffer:
                self._keep_tail(self._buffer)
                self._buffer.clear()
            self._keep_tail(data)
        self.length += len(data)

    def _keep_tail(self, data: bytes | bytearray) -> None:
        """Of a line that is too long only what may be a sync's reply at its end is kept."""
        at = data.rfind(SENTINEL)
        if at >= 0:
            self._tail = bytearray(data[at : at + LONGEST_SYNC_REPLY])
        elif self._tail:
            self._tail += data[: LONGEST_SYNC_REPLY - len(self._tail)]

    def _end_of_line(self) -> Line:
        line = Line(bytes(self._buffer), self.length, bytes(self._tail))
        self.length = 0
        self._buffer.clear()
        self._tail.clear()
        return line


def encoded(message: Mapping[str, object]) -> bytes:
    """Return a message as one line of JSON with its end."""
    return _ENCODER.encode(message).encode() + b"\n"


def decoded(line: bytes, max_depth: int) -> tuple[str | None, dict[str, object]]:
    """Read a line.

    Args:
        line: without its end.
        max_depth: how deep arrays and objects may be nested.

    Returns:
        Why it can't be read, in words that are safe to show, and an empty object; or None, and the
        object that it holds.
    """
    if line.count(b",") + line.count(b"[") + line.count(b"{") > MAX_ELEMENTS:
        return f"a line of more than {MAX_ELEMENTS} elements", {}
    if not _is_shallow(line, max_depth):
        return f"a line nested deeper than {max_depth}", {}
    try:
        message = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return f"no JSON: {printable(line[:200], 120)}", {}
    if not isinstance(message, dict):
        return f"no JSON object: {printable(line[:200], 120)}", {}
    return None, message


def gist(message: Mapping[str, object]) -> str:
    """Return the beginning of a message, safe to show."""
    return printable(json.dumps(message, ensure_ascii=False)[:400], 160)


def _is_shallow(line: bytes, max_depth: int) -> bool:
    """Return whether `line` is nested at most `max_depth` deep; brackets never closed all count."""
    if line.count(b"[") + line.count(b"{") <= max_depth:
        return True
    brackets = _STRING.sub(b"", line).translate(_SQUARE, _NO_BRACKETS)
    # Each pass takes away the innermost pairs; much faster than counting in a loop of our own.
    too_deep = b"[" * (max_depth + 1)
    for depth in range(max_depth):
        if too_deep in brackets:
            return False
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            return depth + left.count(b"[") <= max_depth
        brackets = left
    return b"[" not in brackets
