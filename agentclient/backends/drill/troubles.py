"""The troubles of a drill's freezes: a closed list, each first seen on a real guest.

A trouble happens at every freeze, so that an exercise can be repeated; or it is there from the
beginning. All times suit a person, and can be shortened (`--drill-speed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

HOOK_FAILED: Final = "fsfreeze hook has failed with status 1"
# What a hostile guest may send to clear the screen, set the title, reorder text or break markup.
HOSTILE_WORDS: Final = "\x1b[2J\x1b]0;owned\x07[red]db[/]\u202e\r\n"
HUGE_BYTES: Final = 100 * 1024 * 1024
BOOT_S: Final = 15.0
"""How long a guest boots after a reset, in seconds."""


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
    BACKUP_STUCK = "backup-stuck"
    BACKUP_LOST = "backup-lost"
    BACKUP_LEFT = "backup-left"
    BACKUP_WORKS = "backup-works"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class FreezeBehaviour:
    """What happens in a guest when its agent has read a freeze command; times in seconds.

    Attributes:
        hook_s: how long the freeze hook runs.
        flush_s: how long each file system takes to freeze.
        flush_bytes_s: bytes that a flush writes per second.
        error: the hook's error; empty if it succeeds.
        dies_s: when the agent is killed, after the command was read; None if it is not.
        resets: at `dies_s`, the whole guest is reset, not only the agent.
        back_s: how long no agent runs then.
        hangs_s: when the agent is stopped, after it has answered; None if it is not.
    """

    hook_s: float = 0.1
    flush_s: float = 0.05
    flush_bytes_s: float = 0.0
    error: str = ""
    dies_s: float | None = None
    resets: bool = False
    back_s: float = 0.0
    hangs_s: float | None = None


@dataclass(frozen=True, slots=True)
class TroubleDescription:
    """The description of a trouble.

    Attributes:
        clause: what happens, for a person: the end of a sentence about the guest.
        shown_by: the test in tests/guests in which a real guest behaved so; None if none did, but
            a guest is untrusted and could (P7).
        freeze_behaviour: what happens during a freeze.
    """

    clause: str
    shown_by: str | None
    freeze_behaviour: FreezeBehaviour = field(default_factory=FreezeBehaviour)


TROUBLES: Final[Mapping[Trouble, TroubleDescription]] = MappingProxyType(
    {
        Trouble.FAST: TroubleDescription(
            "freezes at once",
            "test_freeze_is_verified_held_thawed_and_certified",
        ),
        Trouble.SLOW_FLUSH: TroubleDescription(
            "flushes its disks for 40 s, and bytes are written meanwhile",
            "test_a_slow_flush_is_told_from_nothing_and_verified",
            FreezeBehaviour(flush_s=20.0, flush_bytes_s=3.5e6),
        ),
        Trouble.SLOW_HOOK: TroubleDescription(
            "runs a freeze hook of 25 s, in which nothing is seen to happen",
            "test_a_hook_of_30_s_is_watched_through",
            FreezeBehaviour(hook_s=25.0),
        ),
        Trouble.LOST: TroubleDescription(
            "loses its agent 3 s into the freeze; a person starts another one 30 s later",
            "test_killed_in_the_hook_it_is_lost",
            FreezeBehaviour(hook_s=60.0, dies_s=3.0, back_s=30.0),
        ),
        Trouble.RESPAWNED: TroubleDescription(
            "loses its agent 3 s into the freeze, and starts another one at once",
            "test_no_lost_command_stays_unnoticed",
            FreezeBehaviour(hook_s=60.0, dies_s=3.0, back_s=0.1),
        ),
        Trouble.RESET: TroubleDescription(
            "is reset 3 s into the freeze, and boots for 15 s",
            "test_reset_in_the_hook",
            FreezeBehaviour(hook_s=60.0, dies_s=3.0, resets=True, back_s=BOOT_S),
        ),
        Trouble.HALF_FROZEN: TroubleDescription(
            "loses its agent between two file systems; the next one, 2 s later, says frozen",
            "test_killed_half_way_it_is_partial_whatever_the_next_agent_says",
            FreezeBehaviour(hook_s=1.0, flush_s=2.0, dies_s=4.0, back_s=2.0),
        ),
        Trouble.SILENT: TroubleDescription(
            "has an agent that is stopped: its port is open, and it never answers",
            "test_stopped_before_the_freeze_it_is_refused",
        ),
        Trouble.BUSY: TroubleDescription(
            "talks to another client, which never leaves",
            "test_a_second_client_is_seen_and_nothing_is_sent",
        ),
        Trouble.FOREIGN: TroubleDescription(
            "is frozen by somebody else, who does it again a minute after a thaw",
            "test_a_foreign_freeze_is_found_shown_and_thawed_on_request_only",
        ),
        Trouble.NOT_COVERED: TroubleDescription(
            "has a vfat file system beside the others, which can't freeze",
            "test_what_cannot_freeze_is_named",
        ),
        Trouble.FAILING_HOOK: TroubleDescription(
            "has a freeze hook that fails after 2 s",
            "test_a_late_reply_is_adopted_with_its_true_error",
            FreezeBehaviour(hook_s=2.0, error=HOOK_FAILED),
        ),
        # The text is invented; the test shows that a guest's text reaches the outcome.
        Trouble.HOSTILE: TroubleDescription(
            "fills its answers, and the error of its hook, with escapes, markup and reversed text",
            "test_a_late_reply_is_adopted_with_its_true_error",
            FreezeBehaviour(hook_s=1.0, error=f"hook says {HOSTILE_WORDS}"),
        ),
        Trouble.BACKUP_STUCK: TroubleDescription(
            "is backed up by somebody's vzdump, whose freeze hangs, and which waits for an hour",
            "test_a_freeze_of_others_is_pending_and_then_answered",
            FreezeBehaviour(hook_s=3660.0),
        ),
        Trouble.BACKUP_LOST: TroubleDescription(
            "loses its agent 20 s into the freeze of somebody's vzdump, which waits on for 10 min",
            "test_an_agent_that_is_killed_loses_their_command",
            FreezeBehaviour(hook_s=60.0, dies_s=20.0, back_s=0.1),
        ),
        Trouble.BACKUP_LEFT: TroubleDescription(
            "is frozen by somebody's vzdump, which is killed then, and comes again after a thaw",
            "test_watch_tells_what_others_do_and_nothing_else",
            FreezeBehaviour(hook_s=3.0),
        ),
        Trouble.BACKUP_WORKS: TroubleDescription(
            "is frozen by somebody's vzdump, which thaws it half a minute later",
            "test_a_freeze_of_others_is_pending_and_then_answered",
        ),
        Trouble.HUNG: TroubleDescription(
            "has an agent that is stopped while it is frozen, and never thaws it",
            "test_stopped_while_held_the_thaw_waits_for_it",
            FreezeBehaviour(hangs_s=3.0),
        ),
        # For tests only: an operator learns nothing from so large replies.
        Trouble.HUGE: TroubleDescription(
            "lists its file systems in one line of 100 MiB",
            None,
        ),
    }
)

IN_SCENARIOS: Final = (Trouble.BACKUP_WORKS, Trouble.HUNG)
"""The troubles that guests of scenarios have, and no others."""

PLAYED: Final = tuple(each for each in Trouble if each not in (Trouble.HUGE, *IN_SCENARIOS))
"""The troubles of an operator's drill, without those for tests and scenarios."""

OF_OTHERS: Final = (Trouble.BACKUP_STUCK, Trouble.BACKUP_LOST, Trouble.BACKUP_LEFT)
"""The troubles of guests whose channel others hold again and again."""

WITH_CLIENTS: Final = (*OF_OTHERS, Trouble.BACKUP_WORKS)
"""The same, with those of scenarios."""

RESTARTED_S: Final = 10.0
"""How long after SysRq has thawed its disks a person starts a hung agent again, in seconds."""

REFREEZE_S: Final = 60.0
"""How long after a thaw the guest of `Trouble.FOREIGN` is frozen again, in seconds."""
