"""Starts and stops operations: checks each VM once more, starts, and tells the operator.

Nothing in here waits: operations run in agentclient's own threads, and their results reach the
console through the fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace

from agentclient.model.durations import in_words
from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import ExtendOutcome, Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueOutcome
from agentclient.model.states import Level, OutcomeKind, Phase
from agentclient.model.vm import Vm
from agentclient.operations.group import DEFAULT_WITHIN_S, GroupFreeze
from tui.console.actions.context import ActionContext
from tui.console.dialogs.freeze import FreezeAnswer
from tui.console.model.batch import Batch, Ended
from tui.console.model.notices import Notice, thaw_notice
from tui.console.model.sending import READ_ONLY
from tui.console.model.targets import Target, TargetChanged, Targets, resolve
from tui.console.ports import OperationPort
from tui.shared.bulk_words import OK, recap, word_of
from tui.shared.fit import safe

_NOT_BEGUN = (OutcomeKind.REFUSED, OutcomeKind.FAILED)


class Executor:
    """Starts and stops operations on the VMs of a key press, and tells what came of them.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._fleet = context.fleet
        self._operations = context.operations
        self._thaws: list[OperationPort] = []
        self._receipt: list[OperationPort] = []
        self._groups: list[GroupFreeze[OperationPort]] = []
        self._told_complete: list[GroupFreeze[OperationPort]] = []
        self._batches: list[Batch] = []
        self._thaw_batches: list[Batch] = []
        self._extensions: list[tuple[Target, Future[ExtendOutcome]]] = []

    def freeze(self, targets: Iterable[Target], chosen: FreezeAnswer) -> None:
        """Begin a freeze of each VM.

        Args:
            targets: the VMs of the key press.
            chosen: for how long, and where.
        """
        begun: list[OperationPort] = []
        for target in targets:
            try:
                vm = self._checked(target)
                schedule = replace(self._context.schedule_of(vm), hold_s=chosen.hold_s)
                request = FreezeRequest(schedule=schedule, remote_hold=chosen.remote_hold)
                operation = self._operations.freeze(vm, request)
            except (TargetChanged, OSError) as problem:
                self._refused(target, problem)
                continue
            begun.append(operation)
            outcome = operation.wait(0)
            if isinstance(outcome, Outcome) and outcome.kind in _NOT_BEGUN:
                self._say(target, Level.WARNING, safe(outcome.reason, 400))
                continue
            self._say(target, Level.INFO, f"freeze begun; at most {in_words(schedule.total_s)}")
        if len(begun) > 1:
            self._batches.append(Batch("freeze", begun, _frozen))

    def freeze_together(self, targets: Targets, chosen: FreezeAnswer) -> None:
        """Begin a freeze of all VMs behind a barrier; of none if one is not what was meant."""
        schedule = self._context.schedule_for(target.vm for target in targets)
        schedule = replace(schedule, hold_s=chosen.hold_s)
        request = FreezeRequest(schedule=schedule, remote_hold=chosen.remote_hold)
        try:
            vms = [self._checked(target) for target in targets]
            group = GroupFreeze(self._operations, vms, request)
            group.start()
        except FrostwatchError as problem:
            self._context.answer(Level.WARNING, f"refused: {problem}; nothing was sent")
            return
        self._groups.append(group)
        text = f"{len(vms)} VMs: frozen together within {in_words(DEFAULT_WITHIN_S)}, or not at all"
        self._context.answer(Level.INFO, text)

    def _ended_groups(self) -> Iterator[Notice]:
        """Yield what came of the groups that have ended since the last time."""
        for group in self._groups:
            if group.complete is not None and group not in self._told_complete:
                self._told_complete.append(group)
                text = f"group complete: {safe(group.complete, 400)}"
                yield Notice(Level.GOOD, text, self._context.clock.wall(), sums_up=True)
        ended = [one for one in self._groups if one.outcome is not None]
        self._groups = [one for one in self._groups if one.outcome is None]
        self._told_complete = [one for one in self._told_complete if one in self._groups]
        for group in ended:
            outcome = group.outcome
            if outcome is not None:
                level = Level.GOOD if outcome.together else Level.ERROR
                text = f"group: {safe(outcome.reason, 400)}"
                yield Notice(level, text, self._context.clock.wall(), sums_up=True)

    def batches(self) -> Iterator[Batch]:
        """Yield what was begun of many VMs with one key, and has not been told to be over."""
        yield from self._batches
        for group in self._groups:
            yield Batch("freeze together", group.members, _frozen)
        yield from self._thaw_batches
        if len(self._receipt) > 1:
            yield Batch("thaw", self._receipt, _thawed)

    def thaw(self, targets: Iterable[Target]) -> None:
        """Begin a thaw of each VM; a foreign freeze only where it was foreign at the key press."""
        begun = self._begin_thaws(targets)
        if len(begun) > 1:
            self._thaw_batches.append(Batch("thaw", begun, _thawed))

    def _begin_thaws(self, targets: Iterable[Target]) -> tuple[OperationPort, ...]:
        """Begin a thaw of each VM; return what thaws them."""
        begun = []
        for target in targets:
            try:
                operation = self._operations.thaw(self._checked(target), foreign=target.foreign)
            except (TargetChanged, OSError) as problem:
                self._refused(target, problem)
                continue
            if operation.kind == "thaw":
                self._thaws.append(operation)
            begun.append(operation)
            self._say(target, Level.INFO, "thaw begun")
        return tuple(begun)

    def thaw_all(self, targets: Targets) -> None:
        """Begin a thaw of each VM, and give a receipt when all have ended."""
        before = len(self._thaws)
        self._begin_thaws(targets)
        flying = (self._operations.on(target.vm.id) for target in targets)
        self._receipt = [one for one in flying if one is not None]
        self._receipt += [one for one in self._thaws[before:] if one not in self._receipt]

    def is_ours(self, target: Target) -> bool:
        """Return whether we froze a VM, or are freezing it: this console, or one that died."""
        operation = self._operations.on(target.vm.id)
        freezing = operation is not None and operation.kind == "freeze"
        return freezing or target.state.left_frozen or target.state.left_by is not None

    def stop(self, targets: Iterable[Target]) -> None:
        """Stop waiting for each VM, and have it thawed when it answers."""
        for target in targets:
            # An operation is bound to the VM it was begun on, so there is nothing to check.
            operation = self._operations.on(target.vm.id)
            if operation is None:
                self._say(target, Level.INFO, "nothing is in flight any more")
                continue
            operation.cancel()
            text = "no longer waited for; it is thawed as soon as its agent answers"
            if operation.kind == "rescue":
                text = "the rung is left; what it has done stays done"
            self._say(target, Level.INFO, text)

    def extend(self, targets: Iterable[Target], seconds: float) -> None:
        """Hold the window of each VM for longer."""
        for target in targets:
            operation = self._operations.on(target.vm.id)
            if operation is None and target.extends_elsewhere:
                asked = self._operations.extend_elsewhere(target.vm, seconds)
                self._extensions.append((target, asked))
                self._say(target, Level.INFO, "its holder is asked to hold it for longer")
                continue
            if operation is None or not self.held(target):
                self._say(target, Level.INFO, "its window is over")
                continue
            operation.extend_hold(seconds)
            text = f"asked to be held for {in_words(seconds)} more: its log says how much it got"
            self._say(target, Level.INFO, text)

    def attach(self, targets: Iterable[Target]) -> None:
        """Take over the window of each VM that a frostwatch has left to its holder."""
        for target in targets:
            try:
                self._operations.attach(self._checked(target))
            except (TargetChanged, OSError) as problem:
                self._refused(target, problem)
                continue
            self._say(target, Level.INFO, "its holder is asked: this console takes it over")

    def _ended_extensions(self) -> Iterator[Notice]:
        """Yield what came of asking other frostwatches to hold their windows for longer."""
        ended = [one for one in self._extensions if one[1].done()]
        self._extensions = [one for one in self._extensions if not one[1].done()]
        at = self._context.clock.wall()
        for target, asked in ended:
            problem = asked.exception()
            if problem is not None:
                text = f"{_name(target.vm)}: not held for longer: {safe(str(problem), 300)}"
                yield Notice(Level.ERROR, text, at, target.vm.id, answer=True)
                continue
            outcome = asked.result()
            level = Level.GOOD if outcome.ok else Level.WARNING
            text = f"{_name(target.vm)}: {safe(outcome.reason, 400)}"
            yield Notice(level, text, at, target.vm.id, answer=True)

    def held(self, target: Target) -> bool:
        """Return whether a window of ours is open on a VM."""
        try:
            progress = self._fleet.get(target.vm.id).progress
        except KeyError:
            return False
        return progress is not None and progress.phase in (Phase.HELD, Phase.AT_RISK)

    def in_flight(self, target: Target) -> bool:
        """Return whether something is in flight on a VM."""
        return self._operations.on(target.vm.id) is not None

    def ended(self) -> Iterator[Notice]:
        """Yield what came of what has ended since the last time."""
        ended = [one for one in self._thaws if one.done]
        self._thaws = [one for one in self._thaws if not one.done]
        for operation in ended:
            outcome = operation.wait(0)
            if isinstance(outcome, ThawOutcome):
                yield thaw_notice(operation.vm.name, outcome, self._context.clock.wall())
        yield from self._receipt_notice()
        yield from self._ended_groups()
        yield from self._ended_batches()
        yield from self._ended_thaws()
        yield from self._ended_extensions()

    def _receipt_notice(self) -> Iterator[Notice]:
        """Yield how many of all that were to be thawed are, once all have ended."""
        asked = self._receipt
        if not asked or not all(one.done for one in asked):
            return
        self._receipt = []
        left = [_name(one.vm) for one in asked if not _is_thawed(one.wait(0))]
        if left:
            text = f"thaw all: {len(left)} of {len(asked)} MAY STILL BE FROZEN: {', '.join(left)}"
            yield Notice(Level.ERROR, text, self._context.clock.wall())
            return
        text = f"thaw all: {len(asked)} of {len(asked)} thawed"
        yield Notice(Level.GOOD, text, self._context.clock.wall())

    def _ended_batches(self) -> Iterator[Notice]:
        """Yield what came of many freezes that were asked for with one key, in one line."""
        for batch, ended in _taken_out(self._batches):
            loud = _loud(ended)
            good = all(one.good for one in ended)
            level = Level.ERROR if loud else Level.GOOD if good else Level.WARNING
            text = f"{loud}freeze of {len(batch)} VMs is over: {_recap(ended)}"
            yield Notice(level, text, self._context.clock.wall(), sums_up=True)

    def _ended_thaws(self) -> Iterator[Notice]:
        """Yield what came of many thaws that were asked for with one key, in one line."""
        for batch, ended in _taken_out(self._thaw_batches):
            loud = _loud(ended)
            text = f"{loud}thaw of {len(batch)} VMs is over: {_recap(ended)}"
            level = Level.ERROR if loud else Level.GOOD
            yield Notice(level, text, self._context.clock.wall(), sums_up=True)

    def _checked(self, target: Target) -> Vm:
        """Return the VM that was meant.

        Raises:
            TargetChanged: it is another one by now, or nothing may be sent at all.
        """
        if self._context.read_only:
            raise TargetChanged(READ_ONLY)
        return resolve(target, self._fleet)

    def _refused(self, target: Target, problem: Exception) -> None:
        """Say why nothing was sent, and write it into the VM's log if it still has one."""
        text = f"refused: {problem}; nothing was sent"
        if any(state.id == target.vm.id for state in self._fleet.states()):
            self._fleet.log(target.vm.id, Level.WARNING, text)
        self._context.answer(Level.WARNING, text, target.vm.id)

    def _say(self, target: Target, level: Level, text: str) -> None:
        self._context.answer(level, f"{_name(target.vm)}: {text}", target.vm.id)


def _name(vm: Vm) -> str:
    return safe(vm.name, 60)


def _taken_out(batches: list[Batch]) -> list[tuple[Batch, tuple[Ended, ...]]]:
    """Take the batches that are over out of a list, and return them with how each VM's ended."""
    over = [batch for batch in batches if batch.is_over]
    batches[:] = [batch for batch in batches if batch not in over]
    return [(batch, batch.look()) for batch in over]


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
