"""What scenarios have in common: goals that any may have, and what is wrong in any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.scenario import Mark

Reached = Callable[[Diary, Fact | None], Fact | None]


def after(what: What, vm: str) -> Reached:
    """Return what reaches a goal: this, after what has reached the goal before it."""
    return lambda diary, before: diary.first(what, vm, before)


def one_of(*ways: Reached) -> Reached:
    """Return what reaches a goal: one of these, whichever came first."""

    def found(diary: Diary, before: Fact | None) -> Fact | None:
        facts = [one for way in ways if (one := way(diary, before)) is not None]
        return min(facts, key=lambda one: one.at, default=None)

    return found


def reset(diary: Diary, vm: str, instead: str) -> Iterator[Mark]:
    """Yield that a guest was reset, which loses what runs in it."""
    for deed in diary.all_of(What.RUNG_RESET, vm):
        text = f"you reset {vm}: all that ran in it is lost, and what it had not written. {instead}"
        yield Mark(False, text, deed.at)


def others_frozen(diary: Diary, *asked: str) -> Iterator[Mark]:
    """Yield that guests were frozen that nobody had asked for."""
    names = dict.fromkeys(one.vm for one in diary.all_of(What.FREEZE) if one.vm not in asked)
    for name in names:
        deed = diary.first(What.FREEZE, name)
        at = deed.at if deed is not None else None
        yield Mark(False, f"you froze {name}, which nobody had asked for: its users waited", at)


def left_frozen(diary: Diary, vm: str) -> Iterator[Mark]:
    """Yield that a guest was left that may be frozen."""
    left, writes = diary.last(What.LEFT_FROZEN, vm), diary.last(What.WRITES, vm)
    if left is None or diary.ended_at is None:
        return
    if writes is None or writes.at < left.at:
        text = f"you left while {vm} may be frozen: what runs in it stands still until it is thawed"
        yield Mark(False, text, diary.ended_at)
