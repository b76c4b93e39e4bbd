"""The scenario *foreign*: two guests are frozen by backups; of one the backup has died."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentclient.backends.drill.plan import make_guest
from agentclient.backends.drill.troubles import Trouble
from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.rules import after, left_frozen, one_of, others_frozen, reset
from tui.shared.training.scenario import Command, Goal, Mark, Scenario

LEFT, WORKS = "git1", "app1"
_THAWS = (What.THAW_FOREIGN, What.RUNG_THAW, What.RUNG_SYSRQ)
_FREES = (*_THAWS, What.RUNG_RESET)


def _first(diary: Diary, vm: str) -> Fact | None:
    """Return what has thawed a guest first, by a thaw or by a rung; None if nothing has."""
    found = [one for what in _THAWS if (one := diary.first(what, vm)) is not None]
    return min(found, key=lambda one: one.at, default=None)


def _wrong(diary: Diary) -> Iterator[Mark]:
    for deed in (one for what in _THAWS for one in diary.all_of(what, WORKS)):
        text = f"you thawed {WORKS}, whose backup was at work: it comes out inconsistent, and"
        yield Mark(False, f"nobody tells those who made it: {text}", deed.at)
    thaw, overdue = _first(diary, LEFT), diary.first(What.OVERDUE, LEFT)
    if thaw is not None and (overdue is None or thaw.at < overdue.at):
        text = f"you thawed {LEFT} before it was known that nobody works on it: that was a guess"
        yield Mark(False, text, thaw.at)
    for name in (LEFT, WORKS):
        yield from reset(diary, name, "A thaw would have done.")
    yield from others_frozen(diary, LEFT, WORKS)
    for held in (one for one in diary.all_of(What.HELD) if one.vm in (LEFT, WORKS)):
        yield Mark(False, f"you froze {held.vm}, which nobody had asked for", held.at)
    if diary.first(What.FOREIGN, LEFT) is not None and diary.ended_at is not None:
        yield from left_frozen(diary, LEFT)


FOREIGN = Scenario(
    name="foreign",
    title="two guests are frozen by backups, and one of these backups has died",
    story=(
        "It is night, and backups run on this host. You froze nothing.",
        "Users of git1 say that it stands still. Find out why, and help them.",
        "Break no backup that is at work. It takes about two and a half minutes.",
    ),
    guests=(
        replace(make_guest("app", 1, Trouble.BACKUP_WORKS), begins_s=4.0),
        replace(make_guest("git", 1, Trouble.BACKUP_LEFT), begins_s=8.0),
        make_guest("web", 1, Trouble.FAST),
        make_guest("db", 1, Trouble.FAST),
    ),
    goals=(
        Goal(
            "look out for guests that are frozen by somebody else",
            "Sorted by trouble ({sort}) they stand on top; {trouble} goes to the next. Wait a "
            "moment.",
            after(What.FOREIGN, LEFT),
        ),
        Goal(
            "two may be frozen: find out which nobody will thaw",
            "A backup thaws its guest after seconds. app1 is thawed by its own. Of a guest that is "
            "frozen for more than 2 min nobody is likely to think any more: the console says so.",
            after(What.OVERDUE, LEFT),
        ),
        Goal(
            "git1 was left frozen: thaw it",
            "Put the cursor on git1, press {thaw}, read what that breaks, and say yes (Tab, "
            "Enter).",
            one_of(*(after(what, LEFT) for what in _FREES)),
            "you thawed what nobody else would have thawed",
            60.0,
            "you took long to thaw git1 once it was known: its users waited",
        ),
        Goal(
            "see that git1 writes again",
            "The row says thawed.",
            after(What.WRITES, LEFT),
            "you saw to it that it writes again",
        ),
    ),
    wrong=_wrong,
    lesson=(
        "A freeze that is not ours belongs to somebody. To thaw it breaks their window, and they "
        "are not told. So first ask who, since when, and whether they still live.",
        "A backup that died leaves its guest frozen: nobody thaws it but you.",
    ),
    commands=(
        Command("frostwatch list --state foreign", "which are frozen, and by whom"),
        Command("ps -p PID", "whether who froze it still lives"),
        Command("frostwatch thaw --foreign git1", "thaws what somebody else has frozen"),
        Command("qm guest cmd 103 fsfreeze-status", "what its agent says, under Proxmox"),
    ),
)
