"""What can happen to a freeze in a drill: a closed list, each entry seen on a real guest first.

A trouble strikes each time a freeze comes, so that one can play again; or it is there from the
beginning. All times are pleasant for a person, and can be run faster (`--drill-speed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

HOOK_FAILED: Final = "fsfreeze hook has failed with status 1"
# What a guest may write to repaint, retitle or reorder a screen, or to end its markup.
HOSTILE_WORDS: Final = "\x1b[2J\x1b]0;owned\x07[red]db[/]\u202e\r\n"
HUGE_BYTES: Final = 100 * 1024 * 1024
BOOT_S: Final = 15.0
"""How long a guest boots after a reset."""


class Trouble(StrEnum):
    """How a simulated guest behaves."""

    FAST = "fast"
    SLOW_FLUSH = "slow-flush"
    SLOW_HOOK = "slow-hook"
    LOST = "lost"
    RESPAWNED = "respawned"
    RESET = "reset"
    HALF_FROZEN = "half-frozen"
    SILENT = "silent"
    BUSY = "busy"
    FOREIGN = "foreign"
    NOT_COVERED = "not-covered"
    FAILING_HOOK = "failing-hook"
    HOSTILE = "hostile"
    HUGE = "huge"


@dataclass(frozen=True, slots=True)
class Course:
    """What happens inside of a guest when its agent has read a freeze; times in seconds.

    Attributes:
        hook_s: how long the freeze hook runs.
        flush_s: how long each file system takes to freeze.
        flush_bytes_s: bytes that a flush writes in a second.
        error: what the hook fails with; empty if it succeeds.
        dies_s: when the agent is killed, None if it is not.
        resets: the whole guest is reset then, not the agent alone.
        back_s: how long the agent is gone.
    """

    hook_s: float = 0.1
    flush_s: float = 0.05
    flush_bytes_s: float = 0.0
    error: str = ""
    dies_s: float | None = None
    resets: bool = False
    back_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a trouble is.

    Attributes:
        clause: what happens, for a person: the end of a sentence about the guest.
        shown_by: the test in tests/guests in which a real guest behaved so; None if none did,
            and the guest does it because nobody may trust it.
        course: what a freeze meets with.
    """

    clause: str
    shown_by: str | None
    course: Course = field(default_factory=Course)


BEHAVIOURS: Final[Mapping[Trouble, Behaviour]] = MappingProxyType(
    {
        Trouble.FAST: Behaviour(
            "freezes at once",
            "test_freeze_is_verified_held_thawed_and_certified",
        ),
        Trouble.SLOW_FLUSH: Behaviour(
            "flushes its disks for 40 s, and bytes are written meanwhile",
            "test_a_slow_flush_is_told_from_nothing_and_verified",
            Course(flush_s=20.0, flush_bytes_s=3.5e6),
        ),
        Trouble.SLOW_HOOK: Behaviour(
            "runs a freeze hook of 25 s, in which nothing is seen to happen",
            "test_a_hook_of_30_s_is_watched_through",
            Course(hook_s=25.0),
        ),
        Trouble.LOST: Behaviour(
            "loses its agent 3 s into the freeze; a person starts another one 30 s later",
            "test_killed_in_the_hook_it_is_lost",
            Course(hook_s=60.0, dies_s=3.0, back_s=30.0),
        ),
        Trouble.RESPAWNED: Behaviour(
            "loses its agent 3 s into the freeze, and starts another one at once",
            "test_no_lost_command_stays_unnoticed",
            Course(hook_s=60.0, dies_s=3.0, back_s=0.1),
        ),
        Trouble.RESET: Behaviour(
            "is reset 3 s into the freeze, and boots for 15 s",
            "test_reset_in_the_hook",
            Course(hook_s=60.0, dies_s=3.0, resets=True, back_s=BOOT_S),
        ),
        Trouble.HALF_FROZEN: Behaviour(
            "loses its agent between two file systems; the next one, 2 s later, says frozen",
            "test_killed_half_way_it_is_partial_whatever_the_next_agent_says",
            Course(hook_s=1.0, flush_s=2.0, dies_s=4.0, back_s=2.0),
        ),
        Trouble.SILENT: Behaviour(
            "has an agent that is stopped: its port is open, and it never answers",
            "test_stopped_before_the_freeze_it_is_refused",
        ),
        Trouble.BUSY: Behaviour(
            "talks to another client, which never leaves",
            "test_a_second_client_is_seen_and_nothing_is_sent",
        ),
        Trouble.FOREIGN: Behaviour(
            "is frozen by somebody else, who does it again a minute after a thaw",
            "test_a_foreign_freeze_is_found_shown_and_thawed_on_request_only",
        ),
        Trouble.NOT_COVERED: Behaviour(
            "has a vfat file system beside the others, which can't freeze",
            "test_what_cannot_freeze_is_named",
        ),
        Trouble.FAILING_HOOK: Behaviour(
            "has a freeze hook that fails after 2 s",
            "test_a_late_reply_is_adopted_with_its_true_error",
            Course(hook_s=2.0, error=HOOK_FAILED),
        ),
        # The words are made up; that a guest's words get as far as the outcome is what was seen.
        Trouble.HOSTILE: Behaviour(
            "fills its answers, and the error of its hook, with escapes, markup and reversed text",
            "test_a_late_reply_is_adopted_with_its_true_error",
            Course(hook_s=1.0, error=f"hook says {HOSTILE_WORDS}"),
        ),
        # For tests: nobody would learn anything from moving so much at each visit.
        Trouble.HUGE: Behaviour(
            "lists its file systems in one line of 100 MiB",
            None,
        ),
    }
)

PLAYED: Final = tuple(trouble for trouble in Trouble if trouble is not Trouble.HUGE)
"""The troubles of a person's drill."""

REFREEZE_S: Final = 60.0
"""How long after a thaw the somebody of `Trouble.FOREIGN` freezes again."""
