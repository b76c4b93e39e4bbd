"""What scenarios have in common: goals that any may have, and what is wrong in any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.scenario import Mark

# A window that is over sooner, in seconds, is one that was not meant to be held.
_AT_ONCE_S: Final = 1.0

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


def held_s(diary: Diary, vm: str, until: Fact | None = None) -> tuple[float, float] | None:
    """Return for how long a guest's last window was open, and when it ended, in seconds.

    Args:
        diary: what happened.
        vm: the guest.
        until: what came of that window; None for the last one of all.

    Returns:
        None if none was open, or it has not ended.
    """
    facts = diary.facts if until is None else diary.facts[: diary.facts.index(until)]
    held = [one for one in facts if one.vm == vm and one.what is What.HELD]
    thaw = diary.first(What.THAW_SENT, vm, held[-1]) if held else None
    return (thaw.at - held[-1].at, thaw.at) if thaw is not None else None


def over_at_once(diary: Diary, vm: str) -> Iterator[Mark]:
    """Yield that the window that was certified was over before anything could be copied in it."""
    certified = diary.last(What.CERTIFIED, vm)
    if certified is None:
        return
    window = held_s(diary, vm, certified)
    if window is None or window[0] < _AT_ONCE_S:
        text = f"the window of {vm} was over at once: nothing can be copied in it. Choose a hold"
        yield Mark(False, text, certified.at)


def sysrq(diary: Diary, vm: str, instead: str) -> Iterator[Mark]:
    """Yield that SysRq was pressed in a guest, where something else would have done."""
    for deed in diary.all_of(What.RUNG_SYSRQ, vm):
        yield Mark(False, f"you pressed SysRq in {vm} though {instead}", deed.at)


def left_frozen(diary: Diary, vm: str) -> Iterator[Mark]:
    """Yield that a guest was left that may be frozen."""
    left, writes = diary.last(What.LEFT_FROZEN, vm), diary.last(What.WRITES, vm)
    if left is None or diary.ended_at is None:
        return
    if writes is None or writes.at < left.at:
        text = f"you left while {vm} may be frozen: what runs in it stands still until it is thawed"
        yield Mark(False, text, diary.ended_at)
