"""The scenario *half-frozen*: an agent dies between two file systems, and the next says frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentclient.backends.drill.plan import make_guest
from agentclient.backends.drill.troubles import Trouble
from tui.shared.training.diary import Diary, What
from tui.shared.training.rules import (
    after,
    left_frozen,
    one_of,
    others_frozen,
    over_at_once,
    reset,
    sysrq,
)
from tui.shared.training.scenario import Command, Goal, Mark, Scenario

VM = "mail1"


def _wrong(diary: Diary) -> Iterator[Mark]:
    yield from others_frozen(diary, VM)
    yield from reset(diary, VM, "An ordinary thaw was on its way.")
    yield from sysrq(diary, VM, "an ordinary thaw was on its way, which counts")
    yield from over_at_once(diary, VM)
    partial, certified = diary.first(What.PARTIAL, VM), diary.first(What.CERTIFIED, VM)
    if partial is not None and certified is None and diary.ended_at is not None:
        text = "you left with a partial freeze: its agent said frozen, and half of it could write"
        yield Mark(False, text, diary.ended_at)
    yield from left_frozen(diary, VM)


HALF_FROZEN = Scenario(
    name="half-frozen",
    title="an agent dies between two file systems, and the next one says frozen",
    story=(
        "mail1 is to be copied. Its mailboxes are on a second disk, and must fit to the first.",
        "Freeze mail1, and end with a window that is certified. Leave no guest frozen.",
    ),
    guests=(
        replace(make_guest("mail", 1, Trouble.HALF_FROZEN), strikes=1),
        make_guest("web", 1, Trouble.FAST),
        make_guest("files", 1, Trouble.FAST),
    ),
    goals=(
        Goal(
            "freeze mail1",
            "Put the cursor on mail1 (arrows), press {freeze}, look at what it says, and Enter.",
            after(What.FREEZE, VM),
        ),
        Goal(
            "see what comes of the freeze",
            "It takes some seconds. The word in STEP/OUTCOME counts, not that the agent says "
            "frozen.",
            after(What.PARTIAL, VM),
        ),
        Goal(
            "it is partial: see to it that mail1 writes again",
            "One file system is frozen, the other is not. frostwatch thaws what is frozen; the "
            "pane says how many that were.",
            one_of(after(What.WRITES, VM), after(What.ENDED, VM)),
            "you let it be thawed",
        ),
        Goal(
            "half a window is none: make one that is certified",
            "Freeze mail1 again ({freeze}), and choose how long it is held: only a window of all "
            "file systems fits together.",
            after(What.CERTIFIED, VM),
            "you did not take half a window for a whole one, and froze it again",
            90.0,
            "you took long to freeze it again: the copy waited for that",
        ),
    ),
    wrong=_wrong,
    lesson=(
        "An agent says frozen as soon as it has begun, and so does the next one: it keeps a flag "
        "in a file. Only the count of its reply, compared with what it lists, proves a freeze.",
        "The thaw's count tells what was frozen: 1 of 2 here.",
    ),
    commands=(
        Command("frostwatch freeze mail1 --hold 30s", "freezes, proves it, and thaws"),
        Command("frostwatch thaw mail1", "thaws what is provably ours"),
        Command("virsh domfsthaw mail1", "an ordinary thaw, under libvirt"),
        Command("qm guest cmd 101 fsfreeze-thaw", "the same, under Proxmox"),
    ),
)
