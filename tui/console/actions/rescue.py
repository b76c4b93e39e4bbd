"""From the key `R` to a rung of the rescue ladder, and what came of it; nothing in here waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from agentclient.operations.rescue.ladder import title
from tui.console.actions.context import ActionContext
from tui.console.actions.execute import READ_ONLY
from tui.console.dialogs.rescue import NameDialog, RescueDialog
from tui.console.model.notices import NAME, Notice
from tui.console.model.targets import Target, TargetChanged, resolve
from tui.console.ports import OperationPort
from tui.shared.fit import fit_middle, safe
from tui.shared.key_hints import key

# A rung that was not taken, or was stopped, has not been tried.
_NOT_TRIED = frozenset({RungResult.REFUSED, RungResult.CANCELLED})


class RescuePrompt:
    """Asks which rung, takes it in a thread of agentclient's, and remembers which were in vain.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._flying: list[OperationPort] = []
        self._tried: dict[VmId, frozenset[Rung]] = {}

    def ask(self) -> None:
        """Show the ladder of the VM under the cursor, and take the rung that is chosen."""
        context = self._context
        cursor = context.view.cursor
        state = context.view.state(cursor) if cursor is not None else None
        if state is None or context.read_only:
            context.answer(Level.WARNING, READ_ONLY if context.read_only else "there is no VM")
            return
        target = Target(state)
        tried = self._tried.get(state.id, frozenset())
        look = context.operations.ladder(target.vm, tried=tried)

        def answered(step: Step | None) -> None:
            if step is not None:
                self._decided(target, step)

        context.app.push_screen(RescueDialog(target, look, tried, context.signs), answered)

    def _decided(self, target: Target, step: Step) -> None:
        if step.rung is not Rung.RESET:
            self._begin(target, step)
            return

        def typed(name: str | None) -> None:
            if name is not None:
                self._begin(target, replace(step, name=name))

        self._context.app.push_screen(NameDialog(target, self._context.signs), typed)

    def _begin(self, target: Target, step: Step) -> None:
        name = safe(target.vm.name, 60)
        try:
            vm = resolve(target, self._context.fleet)
        except TargetChanged as problem:
            self._say(target, Level.WARNING, f"refused: {problem}; nothing was done")
            return
        self._flying.append(self._context.operations.rescue(vm, step))
        self._say(target, Level.INFO, f"{name}: {title(step)} begun; {key('stop', 'x')} stops it")

    def ended(self) -> Iterator[Notice]:
        """Yield what came out of the rungs that have ended since the last time."""
        ended = [one for one in self._flying if one.done]
        self._flying = [one for one in self._flying if not one.done]
        for operation in ended:
            outcome = operation.wait(0)
            if isinstance(outcome, RescueOutcome):
                self._remember(outcome)
                yield self._notice(operation.vm.name, outcome)

    def _remember(self, outcome: RescueOutcome) -> None:
        if outcome.ok:
            self._tried.pop(outcome.vm, None)
        elif outcome.found not in _NOT_TRIED:
            before = self._tried.get(outcome.vm, frozenset())
            self._tried[outcome.vm] = before | {outcome.rung}

    def _notice(self, name: str, outcome: RescueOutcome) -> Notice:
        what = f"{outcome.rung}: {safe(outcome.reason, 400)}"
        again = (
            "" if outcome.ok or not outcome.next else f"{key('rescue', 'R')} shows the next rung; "
        )
        text = f"{fit_middle(safe(name), NAME)}: {again}{what}"
        level = Level.GOOD if outcome.ok else Level.WARNING
        return Notice(level, text, self._context.clock.wall(), outcome.vm)

    def _say(self, target: Target, level: Level, text: str) -> None:
        self._context.answer(level, text, target.vm.id)
