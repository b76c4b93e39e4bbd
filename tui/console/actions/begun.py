"""What was begun with keys, until it has ended: how far it is, and what came of it.

Nothing in here waits: it is asked each time that the console takes over what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from agentclient.model.outcome import ExtendOutcome, Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome
from agentclient.model.states import Level
from agentclient.operations.group import GroupFreeze
from tui.console.model.batch import Batch, Ended
from tui.console.model.notices import Notice, thaw_notice
from tui.console.model.targets import Target
from tui.console.ports import OperationPort
from tui.shared.bulk_words import OK, recap, word_of
from tui.shared.clocks import Clock
from tui.shared.fit import safe

T = TypeVar("T")
Group = GroupFreeze[OperationPort]


class _Receipt(NamedTuple):
    """A thaw of everything, of which it is told how many are thawed.

    Attributes:
        asked: each VM's name, and what thaws it; None where that could not be begun.
        batch: what thaws them, together.
    """

    asked: tuple[tuple[str, OperationPort | None], ...]
    batch: Batch


class Begun:
    """What this console has begun on VMs, and has not told the end of.

    Args:
        clock: for the notices.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thaws: list[OperationPort] = []
        self._receipts: list[_Receipt] = []
        self._groups: list[Group] = []
        self._told_complete: list[Group] = []
        self._batches: list[Batch] = []
        self._thaw_batches: list[Batch] = []
        self._extensions: list[tuple[Target, Future[ExtendOutcome]]] = []

    # -- what is begun -------------------------------------------------------------------------

    def freezes(self, begun: Sequence[OperationPort]) -> None:
        """Follow freezes that were begun with one key; of one alone its VM tells all."""
        if len(begun) > 1:
            self._batches.append(Batch("freeze", begun, _frozen))

    def group(self, group: Group) -> None:
        """Follow a group."""
        self._groups.append(group)

    def thaws(self, begun: Sequence[OperationPort]) -> None:
        """Follow thaws that were begun with one key."""
        self._follow_thaws(begun)
        if len(begun) > 1:
            self._thaw_batches.append(Batch("thaw", begun, _thawed))

    def thaw_of_all(self, asked: Iterable[tuple[Target, OperationPort | None]]) -> None:
        """Follow a thaw of everything, and give a receipt in the end.

        Args:
            asked: each VM, and what thaws it; None where that could not be begun.
        """
        named = tuple((name_of(target), one) for target, one in asked)
        begun = [one for _, one in named if one is not None]
        self._follow_thaws(begun)
        self._receipts.append(_Receipt(named, Batch("thaw", begun, _thawed)))

    def _follow_thaws(self, begun: Iterable[OperationPort]) -> None:
        """Have the end of each thaw told; of a freeze that is told to thaw its VM tells it."""
        self._thaws += [one for one in begun if one.kind == "thaw"]

    def extension(self, target: Target, asked: Future[ExtendOutcome]) -> None:
        """Follow what another frostwatch answers that is to hold its window for longer."""
        self._extensions.append((target, asked))

    # -- how far it is -------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """Yield what was begun of many VMs with one key, and has not been told to be over."""
        yield from self._batches
        for group in self._groups:
            yield Batch("freeze together", group.members, _frozen)
        yield from self._thaw_batches
        yield from (one.batch for one in self._receipts if len(one.batch) > 1)

    # -- what came of it -----------------------------------------------------------------------

    def ended(self) -> Iterator[Notice]:
        """Yield what came of what has ended since the last time."""
        yield from self._ended_thaws()
        yield from self._ended_receipts()
        yield from self._ended_groups()
        yield from self._ended_freeze_batches()
        yield from self._ended_thaw_batches()
        yield from self._ended_extensions()

    def _ended_thaws(self) -> Iterator[Notice]:
        for operation in _taken_out(self._thaws, [one for one in self._thaws if one.done]):
            outcome = operation.wait(0)
            if isinstance(outcome, ThawOutcome):
                yield thaw_notice(operation.vm.name, outcome, self._clock.wall())

    def _ended_receipts(self) -> Iterator[Notice]:
        """Yield how many of all that were to be thawed are, once all have ended."""
        over = [one for one in self._receipts if one.batch.is_over]
        for receipt in _taken_out(self._receipts, over):
            left = [
                name for name, one in receipt.asked if one is None or not _is_thawed(one.wait(0))
            ]
            count = len(receipt.asked)
            if left:
                text = f"{len(left)} of {count} MAY STILL BE FROZEN: {', '.join(left)}"
                yield self._notice(Level.ERROR, f"thaw all: {text}", sums_up=False)
            else:
                text = f"thaw all: {count} of {count} thawed"
                yield self._notice(Level.GOOD, text, sums_up=False)

    def _ended_groups(self) -> Iterator[Notice]:
        """Yield which groups are complete, and what came of those that have ended."""
        for group in self._groups:
            if group.complete is not None and group not in self._told_complete:
                self._told_complete.append(group)
                yield self._notice(Level.GOOD, f"group complete: {safe(group.complete, 400)}")
        ended = [one for one in self._groups if one.outcome is not None]
        for group in _taken_out(self._groups, ended):
            outcome = group.outcome
            if outcome is not None:
                level = Level.GOOD if outcome.together else Level.ERROR
                yield self._notice(level, f"group: {safe(outcome.reason, 400)}")
        self._told_complete = [one for one in self._told_complete if one in self._groups]

    def _ended_freeze_batches(self) -> Iterator[Notice]:
        """Yield what came of many freezes that were asked for with one key, in one line."""
        for batch in _taken_out(self._batches, [one for one in self._batches if one.is_over]):
            ended = batch.look()
            loud, good = _loud(ended), all(one.good for one in ended)
            level = Level.ERROR if loud else Level.GOOD if good else Level.WARNING
            text = f"{loud}freeze of {len(batch)} VMs is over: {_recap(ended)}"
            yield self._notice(level, text)

    def _ended_thaw_batches(self) -> Iterator[Notice]:
        """Yield what came of many thaws that were asked for with one key, in one line."""
        over = [one for one in self._thaw_batches if one.is_over]
        for batch in _taken_out(self._thaw_batches, over):
            ended = batch.look()
            loud = _loud(ended)
            text = f"{loud}thaw of {len(batch)} VMs is over: {_recap(ended)}"
            yield self._notice(Level.ERROR if loud else Level.GOOD, text)

    def _ended_extensions(self) -> Iterator[Notice]:
        """Yield what came of asking other frostwatches to hold their windows for longer."""
        ended = [one for one in self._extensions if one[1].done()]
        for target, asked in _taken_out(self._extensions, ended):
            level, text = _extended(asked)
            told = f"{name_of(target)}: {text}"
            yield Notice(level, told, self._clock.wall(), target.vm.id, answer=True)

    def _notice(self, level: Level, text: str, *, sums_up: bool = True) -> Notice:
        return Notice(level, text, self._clock.wall(), sums_up=sums_up)


def name_of(target: Target) -> str:
    """Return a VM's name, safe to show."""
    return safe(target.vm.name, 60)


def _taken_out(flying: list[T], ended: Sequence[T]) -> Sequence[T]:
    """Take what has ended out of a list, and return it."""
    gone = set(map(id, ended))
    flying[:] = [one for one in flying if id(one) not in gone]
    return ended


def _extended(asked: Future[ExtendOutcome]) -> tuple[Level, str]:
    problem = asked.exception()
    if problem is not None:
        return Level.ERROR, f"not held for longer: {safe(str(problem), 300)}"
    outcome = asked.result()
    return Level.GOOD if outcome.ok else Level.WARNING, safe(outcome.reason, 400)


def _loud(ended: Iterable[Ended]) -> str:
    """Return how many guests may still be frozen, as what is told first; empty if none is."""
    frozen = sum(one.frozen for one in ended)
    return f"{frozen} MAY STILL BE FROZEN; " if frozen else ""


def _recap(ended: Iterable[Ended]) -> str:
    return recap(one.word for one in ended)


def _frozen(outcome: object) -> Ended:
    """Return what is kept of how a freeze ended; one that was left tells nothing."""
    if not isinstance(outcome, Outcome):
        return Ended(word_of(outcome), good=True)
    frozen = not outcome.settled and outcome.refusal is None
    return Ended(word_of(outcome), outcome.certified, frozen)


def _thawed(outcome: object) -> Ended:
    """Return what is kept of how a thaw ended; a freeze told to thaw is well once its guest is."""
    good = _is_thawed(outcome)
    return Ended(OK if good else word_of(outcome), good, frozen=not good)


def _is_thawed(outcome: object) -> bool:
    if isinstance(outcome, ThawOutcome | RescueOutcome):
        return outcome.ok
    return isinstance(outcome, Outcome) and outcome.settled
