"""The window in which a copy is to be made now: whose, how much longer, and what it is worth.

Of a group there is one once all its members are frozen and verified, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import Level, OutcomeKind, Phase
from agentclient.model.vm import Vm
from tui.console.model.notices import Notice
from tui.shared.fit import safe
from tui.shared.key_hints import key

NEARLY_OVER_S = 10.0
# A shorter window is over before anybody has read of it, and rings for nothing.
LEAST_S = 3.0
LEAST_RINGING_S = 15.0


class OpenWindow(NamedTuple):
    """One window that is open, or those of one group.

    Attributes:
        vms: whose it is, in the order in which they froze.
        key: tells it from every other.
        ends_at: when the first of them is thawed on its own; None if that isn't known.
        since: when the last of them was frozen.
        skew_s: seconds between the first and the last; None for one VM alone.
        verified: all of them are frozen by all evidence.
        at_risk: an agent's port closed meanwhile.
        written: bytes that were written while they are frozen; None if that isn't seen of all.
    """

    vms: tuple[Vm, ...]
    key: str
    ends_at: float | None
    since: float
    skew_s: float | None
    verified: bool
    at_risk: bool
    written: int | None

    def left_s(self, now: float) -> float | None:
        """Return how much longer it is held, in seconds; None if that isn't known."""
        return None if self.ends_at is None else max(self.ends_at - now, 0.0)

    def nearly_over(self, now: float) -> bool:
        """Return whether it ends in a moment."""
        left_s = self.left_s(now)
        return left_s is not None and left_s <= NEARLY_OVER_S

    @property
    def rings(self) -> bool:
        """Whether it is long enough for an operator to be called at its end."""
        return self.ends_at is not None and self.ends_at - self.since >= LEAST_RINGING_S


class _Held(NamedTuple):
    state: VmState
    progress: Progress
    since: float


def open_windows(states: Iterable[VmState]) -> tuple[OpenWindow, ...]:
    """Return the windows in which a copy is to be made by hand, the one that ends first on top.

    Args:
        states: all VMs. The window of a copy that this console makes is that copy's.
    """
    groups: dict[str, list[_Held]] = {}
    sizes: dict[str, int] = {}
    for held in _held(states):
        timeline = held.state.timeline
        group = timeline.group if timeline is not None else None
        key = str(held.state.id) if group is None else group.key
        groups.setdefault(key, []).append(held)
        sizes[key] = 1 if group is None else group.size
    found = [_window(key, each) for key, each in groups.items() if len(each) >= sizes[key]]
    whole = (one for one in found if one.verified or len(one.vms) == 1)
    return tuple(sorted(whole, key=_ends))


def _held(states: Iterable[VmState]) -> Iterator[_Held]:
    for state in states:
        progress = state.progress
        if progress is None or progress.what != "freeze" or state.job is not None:
            continue
        if progress.phase not in (Phase.HELD, Phase.AT_RISK) or progress.held_since is None:
            continue
        ends_at = progress.hold_ends_at
        if ends_at is None or ends_at - progress.held_since >= LEAST_S:
            yield _Held(state, progress, progress.held_since)


def _window(key: str, held: list[_Held]) -> OpenWindow:
    each = sorted(held, key=lambda one: one.since)
    verdicts = [one.progress.verdict for one in each]
    kinds = [verdict.kind if verdict is not None else None for verdict in verdicts]
    ends = [end for one in each if (end := one.progress.hold_ends_at) is not None]
    written = [one.progress.written_bytes for one in each]
    known = [one for one in written if one is not None]
    return OpenWindow(
        tuple(one.state.vm for one in each),
        f"{key} {each[-1].since:.3f}",
        min(ends, default=None),
        each[-1].since,
        each[-1].since - each[0].since if len(each) > 1 else None,
        all(kind is OutcomeKind.VERIFIED for kind in kinds),
        any(one.progress.phase is Phase.AT_RISK for one in each),
        sum(known) if len(known) == len(written) or any(known) else None,
    )


class NearlyOver:
    """Tells once of each window that it is nearly over."""

    def __init__(self) -> None:
        self._told: frozenset[str] = frozenset()

    def notices(self, windows: Iterable[OpenWindow], now: float, at: datetime) -> Iterator[Notice]:
        """Yield a notice of each window that has come to its last seconds.

        Args:
            windows: those that are open.
            now: seconds of the monotonic clock.
            at: the wall clock.
        """
        each = [one for one in windows if one.rings and one.nearly_over(now)]
        for window in each:
            if window.key not in self._told:
                first, *others = window.vms
                more = f" and {len(others)} more" if others else ""
                longer = key("extend", "e")
                left = f"{window.left_s(now) or 0.0:.0f} s"
                text = f"{safe(first.name, 40)}{more}: thawed in {left}; {longer} holds longer"
                yield Notice(Level.WARNING, text, at, first.id, rings=True)
        self._told = frozenset(window.key for window in each)


def _ends(window: OpenWindow) -> float:
    return window.ends_at if window.ends_at is not None else float("inf")
