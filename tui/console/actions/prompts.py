"""From a key to an action: capture the VMs, ask, act on exactly those, and say what was done."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.actions.context import Desk
from tui.console.actions.execute import READ_ONLY, Actions
from tui.console.dialogs.extend import ExtendDialog
from tui.console.dialogs.freeze import FreezeAnswer, FreezeDialog
from tui.console.dialogs.history import PastDialog
from tui.console.dialogs.stop import StopDialog
from tui.console.dialogs.thaw import ThawDialog
from tui.console.dialogs.thaw_all import Everything, ThawAllDialog
from tui.console.model.notices import Notice
from tui.console.model.targets import Target, Targets
from tui.shared.fit import safe

NO_VM = "there is no VM here"


class Asking:
    """Asks before anything is done to a guest.

    Args:
        desk: what is shared.
        actions: what is done in the end.
    """

    def __init__(self, desk: Desk, actions: Actions) -> None:
        self._desk = desk
        self._actions = actions

    def freeze(self) -> None:
        """Ask, and freeze what has nothing in flight."""
        chosen = self._chosen()
        left_out = tuple(one for one in chosen if self._actions.in_flight(one))
        targets = tuple(one for one in chosen if one not in left_out)
        otherwise = "x stops waiting for what is in flight there already" if chosen else NO_VM
        if not self._can_ask(targets, otherwise):
            return

        def answered(chosen: FreezeAnswer | None) -> None:
            if chosen is not None and chosen.together:
                self._show(self._actions.freeze_together(targets, chosen.hold_s))
            elif chosen is not None:
                self._show(self._actions.freeze(targets, chosen.hold_s))

        dialog = FreezeDialog(
            targets,
            self._actions.schedule,
            self._hidden(targets),
            left_out,
            signs=self._desk.signs,
            at_once=self._desk.operations.freezes_at_once,
        )
        self._desk.app.push_screen(dialog, answered)

    def thaw(self) -> None:
        """Ask, and thaw."""
        targets = self._chosen()
        if not self._can_ask(targets, NO_VM):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._show(self._actions.thaw(targets))

        self._desk.app.push_screen(
            ThawDialog(targets, self._hidden(targets), self._desk.signs), answered
        )

    def past(self) -> None:
        """Show what the journal knows of the VM under the cursor."""
        state = (
            self._desk.view.state(self._desk.view.cursor)
            if self._desk.view.cursor is not None
            else None
        )
        if state is None:
            self._desk.answer(Level.WARNING, NO_VM)
            return
        target = Target(state)
        dialog = PastDialog(target, self._actions.past(target), self._desk.signs)
        self._desk.app.push_screen(dialog)

    def extend(self) -> None:
        """Ask, and hold the windows for longer."""
        targets = tuple(one for one in self._chosen() if self._actions.held(one))
        if not self._can_ask(targets, "no window is held there"):
            return

        def answered(seconds: float | None) -> None:
            if seconds is not None:
                self._show(self._actions.extend(targets, seconds))

        most_s = self._actions.schedule.maximum_hold_s
        self._desk.app.push_screen(ExtendDialog(targets, most_s, self._desk.signs), answered)

    def thaw_all(self) -> None:
        """Ask, and thaw all that this console froze; and after one more question all that is."""
        states = self._desk.view.states()
        ours = tuple(one for one in map(Target, states) if self._actions.is_ours(one))
        frozen = [one for one in map(Target, states) if one.foreign and one not in ours]
        foreign = tuple(sorted(frozen, key=_since))
        if not self._can_ask(ours + foreign, "nothing is frozen here, as far as is known"):
            return
        if not ours:
            self._ask_foreign(ours, foreign)
            return

        def answered(chosen: Everything | None) -> None:
            if chosen is Everything.OURS:
                self._show(self._actions.thaw_all(ours))
            elif chosen is Everything.ALL:
                self._ask_foreign(ours, foreign)

        self._desk.app.push_screen(ThawAllDialog(ours, foreign, self._desk.signs), answered)

    def _ask_foreign(self, ours: Targets, foreign: Targets) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._show(self._actions.thaw_all(ours + foreign))

        dialog = ThawDialog(foreign, self._hidden(foreign), self._desk.signs)
        self._desk.app.push_screen(dialog, answered)

    def stop(self) -> None:
        """Ask, and stop waiting for what is in flight."""
        chosen = self._chosen()
        targets = tuple(one for one in chosen if self._actions.in_flight(one))
        names = ", ".join(safe(one.vm.name, 40) for one in chosen[:3])
        more = f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
        if not self._can_ask(targets, f"nothing is in flight on {names or 'any VM'}{more}"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._show(self._actions.stop(targets))

        self._desk.app.push_screen(StopDialog(targets, self._desk.signs), answered)

    def _chosen(self) -> Targets:
        """Return the VMs that a key means, as they are at this moment (P6)."""
        return tuple(Target(state) for state in self._desk.view.chosen())

    def _hidden(self, targets: Targets) -> frozenset[VmId]:
        ids = (target.vm.id for target in targets)
        return frozenset(each for each in ids if self._desk.view.index_of(each) is None)

    def _can_ask(self, targets: Targets, otherwise: str) -> bool:
        """Return whether there is anything to ask about; say why not."""
        if targets and not self._desk.read_only:
            return True
        self._desk.answer(Level.WARNING, READ_ONLY if self._desk.read_only else otherwise)
        return False

    def _show(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._desk.tell(notice)


def _since(target: Target) -> float:
    """Return when a freeze was first seen, for the oldest to come first."""
    since = target.state.freeze.since
    return since.timestamp() if since else 0.0
