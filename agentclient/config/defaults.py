"""The defaults and bounds of what can be set, apart from `tree`: each start needs them.

The defaults of one VM are those of `agentclient.model.policy`, which the freeze itself takes them
from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

SHORTEST_INTERVAL_S: Final = 0.5  # a polite visitor (P5): nobody reads faster than that
SHORTEST_TIMEOUT_S: Final = 0.001
MOST_AT_ONCE: Final = 1000
MOST_PROBES: Final = 1000
MOST_DRILL_GUESTS: Final = 10_000


class General(NamedTuple):
    """What is set for frostwatch as a whole.

    Attributes:
        freezes_at_once: how many VMs are frozen at once at the most.
        within_s: how long it may take until all VMs of a group are frozen, in seconds.
        journal: the journal's file; None for the usual one, under the XDG state directory.
        drill_guests: how many simulated guests a drill has.
        ascii: draw with ASCII alone, whatever the terminal can show.
        colours: use colours, where the terminal has them.
    """

    freezes_at_once: int = 64
    within_s: float = 30.0
    journal: Path | None = None
    drill_guests: int = 24
    ascii: bool = False
    colours: bool = True


DEFAULTS: Final = General()
