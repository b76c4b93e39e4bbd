"""A note in a PNG that says of which SVG it was made; a test compares it, without any font."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = len(_SIGNATURE) + 25  # the first chunk, which every PNG begins with
_NAME: Final = b"svg-sha256\0"


def stamped(png: bytes, svg: str) -> bytes:
    """Return a PNG with a note of the SVG that it was made of."""
    body = b"tEXt" + _NAME + _digest(svg)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]


def is_of(png: bytes, svg: str) -> bool:
    """Return whether a PNG was made of an SVG."""
    return png.startswith(_SIGNATURE) and _NAME + _digest(svg) in png


def _digest(svg: str) -> bytes:
    return hashlib.sha256(svg.encode()).hexdigest().encode()
