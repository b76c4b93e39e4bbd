"""Starts and stops operations: checks each VM once more, starts, and tells the operator.

Nothing in here waits: operations run in agentclient's own threads, and their results reach the
console through the fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from agentclient.model.durations import in_words
from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import Level, OutcomeKind, Phase
from agentclient.model.vm import Vm
from agentclient.operations.group import DEFAULT_WITHIN_S, GroupFreeze
from tui.console.actions.begun import Begun, Group, name_of
from tui.console.actions.context import NOTHING_SENT, ActionContext, why
from tui.console.dialogs.freeze import FreezeAnswer
from tui.console.model.batch import Batch
from tui.console.model.notices import Notice
from tui.console.model.targets import Target, Targets, check_same_freeze
from tui.console.ports import OperationPort
from tui.shared.fit import safe

_NOT_BEGUN = (OutcomeKind.REFUSED, OutcomeKind.FAILED)


class Executor:
    """Starts and stops operations on the VMs of a key press.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._operations = context.operations
        self._begun = Begun(context.clock)

    def batches(self) -> Iterator[Batch]:
        """Yield what was begun of many VMs with one key, and has not been told to be over."""
        return self._begun.batches()

    def ended(self) -> Iterator[Notice]:
        """Yield what came of what has ended since the last time."""
        return self._begun.ended()

    # -- freezes ---------------------------------------------------------------------------------

    def freeze(self, targets: Iterable[Target], chosen: FreezeAnswer) -> None:
        """Begin a freeze of each VM.

        Args:
            targets: the VMs of the key press.
            chosen: for how long, and where.
        """
        begun = (self._freeze(target, chosen) for target in targets)
        self._begun.freezes([one for one in begun if one is not None])

    def _freeze(self, target: Target, chosen: FreezeAnswer) -> OperationPort | None:
        def start(vm: Vm) -> OperationPort:
            request = _request(self._context.schedule_of(vm), chosen)
            return self._operations.freeze(vm, request)

        operation = self._context.begin(target, start)
        if operation is None:
            return None
        outcome = operation.wait(0)
        if isinstance(outcome, Outcome) and outcome.kind in _NOT_BEGUN:
            self._say(target, Level.WARNING, safe(outcome.reason, 400))
        else:
            most = in_words(self._context.schedule_of(operation.vm).total_s)
            self._say(target, Level.INFO, f"freeze begun; at most {most}")
        return operation

    def freeze_together(self, targets: Targets, chosen: FreezeAnswer) -> None:
        """Begin a freeze of all VMs behind a barrier; of none if one is not what was meant."""
        try:
            schedule = self._context.schedule_for(target.vm for target in targets)
            vms = [self._context.checked(target) for target in targets]
            group = GroupFreeze(self._operations, vms, _request(schedule, chosen))
        except FrostwatchError as problem:
            self._context.answer(Level.WARNING, f"refused: {why(problem)}; {NOTHING_SENT}")
            return
        try:
            group.start()
        except Exception as problem:  # noqa: BLE001 - P8: what was begun is followed to its end
            self._half_way(group, len(vms), problem)
            return
        self._begun.group(group)
        text = f"{len(vms)} VMs: frozen together within {in_words(DEFAULT_WITHIN_S)}, or not at all"
        self._context.answer(Level.INFO, text)

    def _half_way(self, group: Group, count: int, problem: Exception) -> None:
        """Say that a group was not begun, or not on all VMs: it thaws what was begun by itself."""
        begun = len(group.members)
        if not begun:
            self._context.answer(Level.WARNING, f"refused: {why(problem)}; {NOTHING_SENT}")
            return
        self._begun.group(group)
        was = "was begun, and is" if begun == 1 else "were begun, and are"
        text = f"not begun on all VMs: {begun} of {count} {was} thawed at once: {why(problem)}"
        self._context.answer(Level.ERROR, text)

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

    # -- thaws -----------------------------------------------------------------------------------

    def thaw(self, targets: Iterable[Target]) -> None:
        """Begin a thaw of each VM; a foreign freeze only where it was foreign at the key press."""
        begun = (self._thaw(target) for target in targets)
        self._begun.thaws([one for one in begun if one is not None])

    def thaw_all(self, targets: Targets) -> None:
        """Begin a thaw of each VM, and give a receipt when all have ended."""
        self._begun.thaw_of_all([(target, self._thaw(target)) for target in targets])

    def _thaw(self, target: Target) -> OperationPort | None:
        """Begin a thaw, and return what thaws it: a freeze of ours in flight does it itself."""

        def start(vm: Vm) -> OperationPort:
            check_same_freeze(target, self._context.fleet)
            return self._operations.thaw(vm, foreign=target.foreign)

        operation = self._context.begin(target, start)
        if operation is not None:
            self._say(target, Level.INFO, "thaw begun")
        return operation

    # -- windows ---------------------------------------------------------------------------------

    def extend(self, targets: Iterable[Target], seconds: float) -> None:
        """Hold the window of each VM for longer."""
        for target in targets:
            operation = self._operations.on(target.vm.id)
            if operation is None and target.extends_elsewhere:
                self._extend_elsewhere(target, seconds)
                continue
            if operation is None or not self.held(target):
                self._say(target, Level.INFO, "its window is over")
                continue
            operation.extend_hold(seconds)
            text = f"asked to be held for {in_words(seconds)} more: its log says how much it got"
            self._say(target, Level.INFO, text)

    def _extend_elsewhere(self, target: Target, seconds: float) -> None:
        """Ask another frostwatch to hold its window for longer."""
        ask = self._operations.extend_elsewhere
        asked = self._context.begin(target, lambda vm: ask(vm, seconds))
        if asked is not None:
            self._begun.extension(target, asked)
            self._say(target, Level.INFO, "its holder is asked to hold it for longer")

    def attach(self, targets: Iterable[Target]) -> None:
        """Take over the window of each VM that a frostwatch has left to its holder."""
        for target in targets:
            if self._context.begin(target, self._operations.attach) is not None:
                self._say(target, Level.INFO, "its holder is asked: this console takes it over")

    # -- what is so now --------------------------------------------------------------------------

    def is_ours(self, target: Target) -> bool:
        """Return whether we froze a VM, or are freezing it: this console, or one that died."""
        operation = self._operations.on(target.vm.id)
        freezing = operation is not None and operation.kind == "freeze"
        return freezing or target.state.left_frozen or target.state.left_by is not None

    def held(self, target: Target) -> bool:
        """Return whether a window of ours is open on a VM."""
        try:
            progress = self._context.fleet.get(target.vm.id).progress
        except KeyError:
            return False
        return progress is not None and progress.phase in (Phase.HELD, Phase.AT_RISK)

    def in_flight(self, target: Target) -> bool:
        """Return whether something is in flight on a VM."""
        return self._operations.on(target.vm.id) is not None

    def _say(self, target: Target, level: Level, text: str) -> None:
        self._context.answer(level, f"{name_of(target)}: {text}", target.vm.id)


def _request(schedule: Schedule, chosen: FreezeAnswer) -> FreezeRequest:
    """Return what is asked of a freeze.

    Raises:
        BadInput: it is to be held for longer than it may be.
    """
    held = replace(schedule, hold_s=chosen.hold_s)
    return FreezeRequest(schedule=held, remote_hold=chosen.remote_hold)
