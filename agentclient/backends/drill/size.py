"""The number of guests of a drill; apart from `plan`, so that reading it imports nothing else."""

from __future__ import annotations

from typing import Final

from agentclient.config.defaults import DEFAULTS, MOST_DRILL_GUESTS

DEFAULT_GUESTS: Final = DEFAULTS.drill_guests
MOST_GUESTS: Final = MOST_DRILL_GUESTS
