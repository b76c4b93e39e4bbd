"""Which frostwatch this is: the number of its release, as in pyproject.toml."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
