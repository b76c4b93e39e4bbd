"""From a key to an action: capture the VMs, ask, act on exactly those, and say what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from textual.app import App

from agentclient.vm import Level, VmId
from tui.console.actions import READ_ONLY, Actions
from tui.console.dialogs.confirm import (
    FreezeAnswer,
    FreezeDialog,
    StopDialog,
    Targets,
    ThawDialog,
)
from tui.console.dialogs.extend import ExtendDialog
from tui.console.dialogs.past import PastDialog
from tui.console.dialogs.thawall import Everything, ThawAllDialog
from tui.console.model.view import FleetView
from tui.console.notices import Notice
from tui.console.safe import safe
from tui.console.targets import Target
from tui.console.times import Clock
from tui.console.words import Signs


class Asking:
    """Asks before anything is done to a guest.

    Args:
        app: whose screens the dialogs are.
        view: which VMs a key means.
        actions: what is done in the end.
        tell: shows a notice.
        clock: for the notices.
        signs: the set of signs that the terminal can show.
        read_only: refuse everything.
    """

    def __init__(
        self,
        app: App[Any],
        *,
        view: FleetView,
        actions: Actions,
        tell: Callable[[Notice], None],
        clock: Clock,
        signs: Signs,
        read_only: bool,
    ) -> None:
        self._app = app
        self._view = view
        self._actions = actions
        self._tell = tell
        self._clock = clock
        self._signs = signs
        self._read_only = read_only

    def freeze(self) -> None:
        """Ask, and freeze what has nothing in flight."""
        chosen = self._chosen()
        left_out = tuple(one for one in chosen if self._actions.in_flight(one))
        targets = tuple(one for one in chosen if one not in left_out)
        if not self._can_ask(targets, "something is in flight already; x stops waiting for it"):
            return

        def answered(chosen: FreezeAnswer | None) -> None:
            if chosen is not None and chosen.together:
                self._show(self._actions.freeze_together(targets, chosen.hold_s))
            elif chosen is not None:
                self._show(self._actions.freeze(targets, chosen.hold_s))

        dialog = FreezeDialog(
            targets, self._actions.schedule, self._hidden(targets), left_out, signs=self._signs
        )
        self._app.push_screen(dialog, answered)

    def thaw(self) -> None:
        """Ask, and thaw."""
        targets = self._chosen()
        if not self._can_ask(targets, "there is no VM"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._show(self._actions.thaw(targets))

        self._app.push_screen(ThawDialog(targets, self._hidden(targets), self._signs), answered)

    def past(self) -> None:
        """Show what the journal knows of the VM under the cursor."""
        state = self._view.state(self._view.cursor) if self._view.cursor is not None else None
        if state is None:
            self._tell(Notice(Level.WARNING, "there is no VM", self._clock.wall(), answer=True))
            return
        target = Target(state)
        dialog = PastDialog(target, self._actions.past(target), self._signs)
        self._app.push_screen(dialog)

    def extend(self) -> None:
        """Ask, and hold the windows for longer."""
        targets = tuple(one for one in self._chosen() if self._actions.held(one))
        if not self._can_ask(targets, "no window is held there"):
            return

        def answered(seconds: float | None) -> None:
            if seconds is not None:
                self._show(self._actions.extend(targets, seconds))

        most_s = self._actions.schedule.maximum_hold_s
        self._app.push_screen(ExtendDialog(targets, most_s, self._signs), answered)

    def thaw_all(self) -> None:
        """Ask, and thaw all that this console froze; and after one more question all that is."""
        states = self._view.states()
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

        self._app.push_screen(ThawAllDialog(ours, foreign, self._signs), answered)

    def _ask_foreign(self, ours: Targets, foreign: Targets) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._show(self._actions.thaw_all(ours + foreign))

        dialog = ThawDialog(foreign, self._hidden(foreign), self._signs)
        self._app.push_screen(dialog, answered)

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

        self._app.push_screen(StopDialog(targets, self._signs), answered)

    def _chosen(self) -> Targets:
        """Return the VMs that a key means, as they are at this moment (P6)."""
        return tuple(Target(state) for state in self._view.chosen())

    def _hidden(self, targets: Targets) -> frozenset[VmId]:
        ids = (target.vm.id for target in targets)
        return frozenset(each for each in ids if self._view.index_of(each) is None)

    def _can_ask(self, targets: Targets, otherwise: str) -> bool:
        """Return whether there is anything to ask about; say why not."""
        reason = READ_ONLY if self._read_only else otherwise
        if targets and not self._read_only:
            return True
        self._tell(Notice(Level.WARNING, reason, self._clock.wall(), answer=True))
        return False

    def _show(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._tell(notice)


def _since(target: Target) -> float:
    """Return when a freeze was first seen, for the oldest to come first."""
    since = target.state.freeze.since
    return since.timestamp() if since else 0.0
