"""Why an action can't be done now, before anybody asks for it.

What a key says when it is pressed in vain is said here in the same words: a test presses them all.
"""

from __future__ import annotations

from collections.abc import Callable

from tui.console.actions.context import NO_VM, ActionContext
from tui.console.actions.execute import Executor
from tui.console.actions.next_command import NOTHING_NEXT, next_now
from tui.console.model.sending import READ_ONLY
from tui.console.model.targets import Target, Targets
from tui.console.widgets.lines import LinesView
from tui.shared.fit import safe
from tui.shared.key_hints import key

NOT_FROM_HERE = "Esc, then {key}: the keys are the pane's now, not the table's; nothing was done"
IN_FLIGHT = f"{key('stop', 'x')} stops waiting for what is in flight there already"
COPY_IN_FLIGHT = f"something is in flight there already; {key('stop', 'x')} stops it"
NO_WINDOW = "no window is held there"
NOTHING_LEFT = "no frostwatch has left a window there to its holder"
NOTHING_FROZEN = "nothing is frozen here, as far as is known"
NO_FREEZE = "nothing is frozen"
NOTHING_TO_CLEAR = "there is no filter and no mark"
NO_LOG = f"{key('pane', 'Tab')} leads to the log first"


def nothing_in_flight(chosen: Targets) -> str:
    """Return that there is nothing to stop on some VMs."""
    names = ", ".join(safe(one.vm.name, 40) for one in chosen[:3])
    more = f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
    return f"nothing is in flight on {names or 'any VM'}{more}"


def not_ended(target: Target) -> str | None:
    """Return that no copy can be made of a VM before the last one has ended; None if it has."""
    unended = target.state.unended
    if unended is None:
        return None
    return f"no copy is made until the last one has ended: {safe(str(unended), 200)}"


def busy_of(context: ActionContext, chosen: Targets) -> Targets:
    """Return those VMs on which something is in flight, so that no copy of them can be begun."""
    copies, operations = context.copies, context.operations
    return tuple(
        one
        for one in chosen
        if copies.on(one.vm.id) is not None or operations.on(one.vm.id) is not None
    )


def no_trouble(*, filtered: bool, but_here: bool) -> str:
    """Return that no VM is in trouble; `but_here`: but the one under the cursor."""
    shown = " that the filter shows" if filtered else ""
    return f"no {'other ' if but_here else ''}VM{shown} is in trouble"


class Possible:
    """Tells why an action can't be done now.

    Args:
        context: what is shared.
        executor: what is in flight.
    """

    def __init__(self, context: ActionContext, executor: Executor) -> None:
        self._context = context
        self._executor = executor
        self._checks: dict[str, Callable[[Targets], str | None]] = {
            "mark": self._any,
            "freeze": self._freeze,
            "thaw": self._acts,
            "thaw.all": self._thaw_all,
            "copy": self._copy,
            "copy.next": lambda _chosen: None if next_now(context) else NOTHING_NEXT,
            "extend": self._extend,
            "attach": self._attach,
            "stop": self._stop,
            "rescue": self._rescue,
            "past": self._any,
            "explain": self._any,
            "details": self._any,
            "take": self._any,
            "look": self._any,
            "longest": lambda _chosen: None if context.view.frozen else NO_FREEZE,
            "vms.next_trouble": self._trouble,
            "vms.trouble_above": self._trouble,
            "log.search": lambda _chosen: None if self._in_pane else NO_LOG,
            "log.next": lambda _chosen: None if self._in_pane else NO_LOG,
            "log.previous": lambda _chosen: None if self._in_pane else NO_LOG,
            "log.leave": lambda _chosen: None if self._in_pane else NO_LOG,
        }

    def why_not(self, action: str, chosen: Targets) -> str | None:
        """Return why an action can't be done now, None if it can.

        Args:
            action: its id.
            chosen: the VMs that it would act on.
        """
        check = self._checks.get(action)
        if check is None and action.startswith("vms."):
            check = self._any
        return check(chosen) if check is not None else None

    @property
    def _in_pane(self) -> bool:
        return isinstance(self._context.app.focused, LinesView)

    def _any(self, _chosen: Targets) -> str | None:
        return None if self._context.view.cursor is not None else NO_VM

    def _acts(self, chosen: Targets, otherwise: str = NO_VM) -> str | None:
        if self._context.read_only:
            return READ_ONLY
        return None if chosen else otherwise

    def _rescue(self, _chosen: Targets) -> str | None:
        cursor = self._context.view.cursor
        return READ_ONLY if self._context.read_only else None if cursor else NO_VM

    def _freeze(self, chosen: Targets) -> str | None:
        if self._in_pane:
            return NOT_FROM_HERE.format(key=key("freeze", "f"))
        targets = tuple(one for one in chosen if not self._executor.in_flight(one))
        return self._acts(targets, IN_FLIGHT if chosen else NO_VM)

    def _copy(self, chosen: Targets) -> str | None:
        if self._in_pane:
            return NOT_FROM_HERE.format(key=key("copy", "c"))
        if self._context.read_only or not chosen:
            return self._acts(chosen)
        if len(chosen) == 1:
            (target,) = chosen
            if self._context.copies.on(target.vm.id) is not None:
                return None
            if (text := not_ended(target)) is not None:
                return f"{safe(target.vm.name, 60)}: {text}"
            if target.state.left_jobs:
                return None
        return COPY_IN_FLIGHT if len(busy_of(self._context, chosen)) == len(chosen) else None

    def _thaw_all(self, _chosen: Targets) -> str | None:
        targets = tuple(
            one
            for one in map(Target, self._context.view.states())
            if self._executor.is_ours(one) or one.foreign or one.left_to_holder
        )
        return self._acts(targets, NOTHING_FROZEN)

    def _extend(self, chosen: Targets) -> str | None:
        held = (one for one in chosen if self._executor.held(one) or one.extends_elsewhere)
        return self._acts(tuple(held), NO_WINDOW)

    def _attach(self, chosen: Targets) -> str | None:
        return self._acts(tuple(one for one in chosen if one.left_to_holder), NOTHING_LEFT)

    def _stop(self, chosen: Targets) -> str | None:
        copies = self._context.copies
        if not self._context.read_only and any(copies.on(one.vm.id) for one in chosen):
            return None
        flying = tuple(one for one in chosen if self._executor.in_flight(one))
        return self._acts(flying, nothing_in_flight(chosen))

    def _trouble(self, _chosen: Targets) -> str | None:
        view = self._context.view
        found = view.troubles.next_row(view.cursor_row, 1)
        if found not in (None, view.cursor_row):
            return None
        return no_trouble(filtered=bool(view.filter), but_here=found is not None)
