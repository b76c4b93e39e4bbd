"""The defaults and bounds of settings; apart from `tree`, since each start needs them.

The defaults of a VM's policy are in `agentclient.model.policy`, where the freeze finds them, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

SHORTEST_INTERVAL_S: Final = 0.5  # P5: nobody reads a screen faster than that
SHORTEST_TIMEOUT_S: Final = 0.001
MOST_AT_ONCE: Final = 1000
MOST_PROBES: Final = 1000
MOST_DRILL_GUESTS: Final = 10_000


# The ways in which an operator is called.
BELL: Final = "bell"
TERMINAL: Final = "terminal"
TMUX: Final = "tmux"
WAYS: Final = (BELL, TERMINAL, TMUX)
# What an operator is called for: the words of `agentclient.model.transition`.
CALLS: Final = ("answered", "lost", "broken", "nearly-over", "left-frozen")


class General(NamedTuple):
    """The settings for frostwatch as a whole.

    Attributes:
        freezes_at_once: the maximum number of VMs that are frozen at the same time.
        within_s: how long it may take until all VMs of a group are frozen, in seconds.
        journal: the journal's file; None for the default one, under the XDG state directory.
        drill_guests: the number of simulated guests of a drill.
        ascii: draw with ASCII characters only, whatever the terminal can show.
        colours: use colours, where the terminal has them.
        jobs_at_once: the maximum number of copies that run at the same time.
        bell: call an operator who does not look at the console.
        notify: the ways in which that is done.
        notify_command: the command, with its arguments, that tells of transitions; None for none.
        notify_on: the transitions that are told, in these ways and by the command; None for all by
            the command, and for what calls somebody usually.
        copy_to: the folder of backups and mirrors; None if it has to be named each time.
        connect: the addresses of libvirt's daemons; None for the one of this system, if any.
        theme: the name of the console's colours; None for those that were chosen last.
    """

    freezes_at_once: int = 64
    within_s: float = 30.0
    journal: Path | None = None
    drill_guests: int = 24
    ascii: bool = False
    colours: bool = True
    jobs_at_once: int = 2
    bell: bool = False
    notify: tuple[str, ...] = WAYS
    notify_command: tuple[str, ...] | None = None
    notify_on: tuple[str, ...] | None = None
    copy_to: Path | None = None
    connect: tuple[str, ...] | None = None
    theme: str | None = None


DEFAULTS: Final = General()
