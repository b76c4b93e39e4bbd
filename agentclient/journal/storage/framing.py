"""How messages stand in the pipes between a program and its journal's process.

Apart from both, so that the program need not load what opens a database.
"""

from __future__ import annotations

import marshal
from typing import Any, Final

HEAD_BYTES: Final = 8


def packed(message: tuple[Any, ...]) -> bytes:
    """Return a message as bytes for the pipe: its length, then its plain values by marshal."""
    body = marshal.dumps(message)
    return len(body).to_bytes(HEAD_BYTES, "big") + body
