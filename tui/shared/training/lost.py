"""The scenario *lost*: an agent dies in the middle of a freeze."""

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

VM = "db1"


def _wrong(diary: Diary) -> Iterator[Mark]:
    yield from others_frozen(diary, VM)
    yield from reset(diary, VM, "Its agent was being started again; waiting would have done.")
    yield from sysrq(diary, VM, "an agent was on its way, which thaws and counts")
    yield from over_at_once(diary, VM)
    yield from left_frozen(diary, VM)


LOST = Scenario(
    name="lost",
    title="an agent dies in the middle of a freeze",
    story=(
        "A storage snapshot of db1 is due. Its database must be frozen while it is taken.",
        "Freeze db1, and end with a window that is certified. Leave no guest frozen.",
        "A colleague looks after the agents in the guests, and is half a minute away.",
    ),
    guests=(
        replace(make_guest("db", 1, Trouble.LOST), strikes=1),
        make_guest("web", 1, Trouble.FAST),
        make_guest("app", 1, Trouble.FAST),
    ),
    goals=(
        Goal(
            "freeze db1",
            "Put the cursor on db1 (arrows), press {freeze}, look at what it says, and Enter.",
            after(What.FREEZE, VM),
        ),
        Goal(
            "see what comes of the freeze",
            "Look at the row and the pane: the agent has read the freeze, and says nothing yet.",
            after(What.LOST, VM),
        ),
        Goal(
            "its answer is lost: see to it that db1 writes again",
            "No answer will come. The thaw is tried again and again; it needs an agent, and your "
            "colleague starts one. Wait for it: the row says thawed.",
            one_of(after(What.WRITES, VM), after(What.ENDED, VM)),
            "you waited for an agent that could thaw it, and did no harm meanwhile",
        ),
        Goal(
            "there is no window yet: make one that is certified",
            "A lost freeze is no window, whatever was frozen for a moment. Freeze db1 again "
            "({freeze}), and choose how long it is held: a snapshot needs a moment.",
            after(What.CERTIFIED, VM),
            "you froze it again, and got a window that is certified",
            90.0,
            "you took long to freeze it again: the snapshot waited for that",
        ),
    ),
    wrong=_wrong,
    lesson=(
        "A freeze is lost when its agent dies with it: nobody will answer, and what was frozen is "
        "not known. A copy of that moment is crash-consistent at best.",
        "The thaw needs an agent. Until one is back nothing in the guest helps but SysRq.",
    ),
    commands=(
        Command("frostwatch freeze db1 --hold 30s", "freezes, proves it, and thaws"),
        Command("frostwatch rescue db1 --rung wait", "waits for an agent, and thaws"),
        Command("systemctl restart qemu-guest-agent", "starts the agent, inside the guest"),
    ),
)
