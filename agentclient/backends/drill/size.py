"""How many guests a drill has; apart from `plan`, so that asking for the number costs nothing."""

from __future__ import annotations

from typing import Final

DEFAULT_GUESTS: Final = 24
MOST_GUESTS: Final = 10_000
