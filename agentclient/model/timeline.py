"""When each thing of one freeze happened, as a picture of it needs it. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

# So many samples of a guest's writes are kept of one freeze, however long it takes.
MOST_SAMPLES: Final = 96
# Of one that has ended fewer are: a console may know thousands of them.
MOST_OF_PAST: Final = 24
# Two samples are so many seconds apart at least.
APART_S: Final = 0.1


class Group(NamedTuple):
    """The group that a freeze belongs to.

    Attributes:
        key: the same for all members, and for nobody else.
        size: how many members there are.
    """

    key: str
    size: int


class Usual(NamedTuple):
    """How long a VM's last freezes took, from their sending to their answer.

    Attributes:
        freezes: how many freezes that is known from.
        median_s: the median, in seconds.
        p95_s: 95 of 100 were answered within so many seconds.
    """

    freezes: int
    median_s: float
    p95_s: float


class Sample(NamedTuple):
    """What a guest had written at one moment.

    Attributes:
        at: seconds of the monotonic clock.
        size: bytes since its freeze was sent.
    """

    at: float
    size: int


class Timeline(NamedTuple):
    """When each thing of one freeze happened, in seconds of the monotonic clock; None if it didn't.

    Attributes:
        asked: when the operator asked for it.
        sent: when the freeze was sent.
        replied: when the agent's own reply to it came.
        verdict: when its first verdict was reached.
        held: when its window was told to be open.
        thaw_sent: when its thaw was sent.
        thawed: when that was acknowledged.
        ended: when everything had ended.
        writes: what the guest had written meanwhile; empty where that can't be seen.
        usual: how long its freezes take otherwise; None if that isn't known.
        group: the group that it belongs to; None if it belongs to none.
    """

    asked: float
    sent: float | None = None
    replied: float | None = None
    verdict: float | None = None
    held: float | None = None
    thaw_sent: float | None = None
    thawed: float | None = None
    ended: float | None = None
    writes: tuple[Sample, ...] = ()
    usual: Usual | None = None
    group: Group | None = None

    def marked(self, moment: str, at: float) -> Timeline:
        """Return it with the time of a moment, unless that is known already."""
        known = getattr(self, moment) is not None
        return self if known else Timeline(**{**self._asdict(), moment: at})

    def briefer(self) -> Timeline:
        """Return it with as few samples as are kept of a freeze that has ended."""
        writes = self.writes
        while len(writes) > MOST_OF_PAST:
            writes = tuple(thinned(writes))
        return self._replace(writes=writes)


def with_sample(samples: tuple[Sample, ...], new: Sample) -> tuple[Sample, ...]:
    """Return samples with a new one; of too many each second one is left out.

    A counter that falls was another QEMU's: it tells nothing.
    """
    if samples and (new.at < samples[-1].at + APART_S or new.size < samples[-1].size):
        return samples
    kept = (*samples, new)
    return kept if len(kept) <= MOST_SAMPLES else tuple(thinned(kept))


def thinned(samples: Iterable[Sample]) -> list[Sample]:
    """Return about half of some samples, the newest among them."""
    return list(samples)[::-1][::2][::-1]
