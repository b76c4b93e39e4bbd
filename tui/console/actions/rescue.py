"""From the key `R` to a rung of the rescue ladder, and what came of it; nothing in here waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from agentclient.operations.rescue.ladder import title
from tui.console.actions.context import NO_VM, ActionContext
from tui.console.dialogs.rescue import RescueDialog, Taken
from tui.console.dialogs.typed_name import NameDialog
from tui.console.model.notices import NAME, Notice
from tui.console.model.rungs import Finding, RungKey, finding_of
from tui.console.model.sending import READ_ONLY
from tui.console.model.targets import Target
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
        self._flying: list[tuple[OperationPort, RungKey, datetime]] = []
        self._found: dict[VmId, dict[RungKey, Finding]] = {}
        self._tried: dict[VmId, frozenset[Rung]] = {}

    def ask(self) -> None:
        """Show the ladder of the VM under the cursor, and take the rung that is chosen."""
        context = self._context
        cursor = context.view.cursor
        state = context.view.state(cursor) if cursor is not None else None
        if state is None or context.read_only:
            context.answer(Level.WARNING, READ_ONLY if context.read_only else NO_VM)
            return
        target = Target(state)
        tried = self._tried.get(state.id, frozenset())
        look = context.operations.ladder(target.vm, tried=tried)
        past = context.operations.history(target.vm)

        def answered(step: Step | None) -> None:
            if step is not None:
                self._decided(target, step)

        dialog = RescueDialog(target, look, past, lambda: self._taken(state.id), context.signs)
        context.app.push_screen(dialog, answered)

    def _taken(self, vm_id: VmId) -> Taken:
        """Return what is known of the rungs that this console has taken on a VM."""
        running = [(rung, at) for one, rung, at in self._flying if one.vm.id == vm_id]
        found = dict(self._found.get(vm_id, {}))
        return Taken(self._tried.get(vm_id, frozenset()), found, running[-1] if running else None)

    def _decided(self, target: Target, step: Step) -> None:
        if step.rung is not Rung.RESET:
            self._begin(target, step)
            return

        def typed(name: str | None) -> None:
            if name is not None:
                self._begin(target, replace(step, name=name))

        self._context.app.push_screen(NameDialog(target, self._context.signs), typed)

    def _begin(self, target: Target, step: Step) -> None:
        take = self._context.operations.rescue
        begun = self._context.begin(target, lambda vm: take(vm, step), "nothing was done")
        if begun is None:
            return
        self._flying.append((begun, RungKey.of(step), self._context.clock.wall()))
        text = f"{safe(target.vm.name, 60)}: {title(step)} begun; {key('stop', 'x')} stops it"
        self._context.answer(Level.INFO, text, target.vm.id)

    def ended(self) -> Iterator[Notice]:
        """Yield what came out of the rungs that have ended since the last time."""
        ended = [one for one in self._flying if one[0].done]
        self._flying = [one for one in self._flying if not one[0].done]
        for operation, rung, _ in ended:
            outcome = operation.wait(0)
            if isinstance(outcome, RescueOutcome):
                self._remember(outcome, rung)
                yield self._notice(operation.vm.name, outcome)

    def _remember(self, outcome: RescueOutcome, rung: RungKey) -> None:
        if outcome.found is not RungResult.REFUSED:
            found = finding_of(outcome, self._context.clock.wall())
            self._found.setdefault(outcome.vm, {})[rung] = found
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
