"""From a key to an action: capture the VMs, ask, and act on exactly those.

Imported when the screen has been painted: all this takes longer to import than what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from textual.binding import BindingType

from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.actions.context import NO_VM, ActionContext
from tui.console.actions.copy import CopyPrompt
from tui.console.actions.execute import Executor
from tui.console.actions.next_command import NextCommandPrompt
from tui.console.actions.possible import (
    IN_FLIGHT,
    NO_WINDOW,
    NOT_FROM_HERE,
    NOTHING_FROZEN,
    NOTHING_LEFT,
    Possible,
    nothing_in_flight,
)
from tui.console.actions.replay import ReplayPrompt
from tui.console.actions.rescue import RescuePrompt
from tui.console.dialogs.columns import ColumnsDialog
from tui.console.dialogs.extend import ExtendDialog
from tui.console.dialogs.freeze import FreezeAnswer, FreezeDialog
from tui.console.dialogs.help import About, HelpDialog
from tui.console.dialogs.history import HistoryDialog
from tui.console.dialogs.palette import PaletteDialog
from tui.console.dialogs.past_window import PastWindows
from tui.console.dialogs.quit import QuitDialog
from tui.console.dialogs.stop import StopDialog
from tui.console.dialogs.thaw import ThawDialog
from tui.console.dialogs.thaw_all import ThawAllAnswer, ThawAllDialog
from tui.console.model.batch import Batch
from tui.console.model.commands import Command
from tui.console.model.exit_kind import ExitKind
from tui.console.model.notices import Notice
from tui.console.model.sending import READ_ONLY
from tui.console.model.targets import Target, Targets
from tui.console.widgets.lines import LinesView
from tui.console.widgets.table.columns import Column
from tui.shared.fit import safe
from tui.shared.key_hints import key


class Prompts:
    """Asks before anything is done to a guest; each key of the console leads to one of these.

    Attributes:
        rescue: asks which rung of the rescue ladder is taken.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._executor = Executor(context)
        self.rescue = RescuePrompt(context)
        self._copy = CopyPrompt(context)
        self._possible = Possible(context, self._executor)
        self.next_command = NextCommandPrompt(context)
        self._replay = ReplayPrompt(context, self.next_command)

    def ended(self) -> Iterator[Notice]:
        """Yield what came of what has ended since the last time."""
        yield from self._executor.ended()
        yield from self.rescue.ended()
        yield from self._copy.ended()

    def batches(self) -> Iterator[Batch]:
        """Yield what was begun of many VMs with one key, and goes on."""
        yield from self._executor.batches()
        yield from self._copy.batches()

    def freeze(self) -> None:
        """Ask, and freeze what has nothing in flight; only while one sees which VM it is."""
        if isinstance(self._context.app.focused, LinesView):
            self._context.answer(Level.WARNING, NOT_FROM_HERE.format(key=key("freeze", "f")))
            return
        chosen = self._chosen()
        left_out = tuple(one for one in chosen if self._executor.in_flight(one))
        targets = tuple(one for one in chosen if one not in left_out)
        otherwise = IN_FLIGHT if chosen else NO_VM
        if not self._can_ask(targets, otherwise):
            return

        def answered(chosen: FreezeAnswer | None) -> None:
            if chosen is not None and chosen.together:
                self._executor.freeze_together(targets, chosen)
            elif chosen is not None:
                self._executor.freeze(targets, chosen)

        dialog = FreezeDialog(
            targets,
            self._context.schedule_for(target.vm for target in targets),
            self._hidden(targets),
            left_out,
            signs=self._context.signs,
            at_once=self._context.operations.freezes_at_once,
        )
        self._context.app.push_screen(dialog, answered)

    def copy(self) -> None:
        """Ask, and copy the disks; only while one sees which VM it is."""
        if isinstance(self._context.app.focused, LinesView):
            self._context.answer(Level.WARNING, NOT_FROM_HERE.format(key=key("copy", "c")))
            return
        self._copy.ask(self._chosen())

    def thaw(self) -> None:
        """Ask, and thaw."""
        targets = self._chosen()
        if not self._can_ask(targets, NO_VM):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._executor.thaw(targets)

        self._context.app.push_screen(
            ThawDialog(targets, self._hidden(targets), self._context.signs), answered
        )

    def history(self) -> None:
        """Show what the journal knows of the VM under the cursor."""
        cursor = self._context.view.cursor
        state = self._context.view.state(cursor) if cursor is not None else None
        if state is None:
            self._context.answer(Level.WARNING, NO_VM)
            return
        past = self._context.operations.history(state.vm)
        clock, signs = self._context.clock, self._context.signs
        windows = PastWindows(clock, signs, self._replay.play)
        dialog = HistoryDialog(Target(state), past, clock, signs, windows)
        self._context.app.push_screen(dialog)

    def extend(self) -> None:
        """Ask, and hold the windows for longer."""
        chosen = self._chosen()
        targets = tuple(one for one in chosen if self._executor.held(one) or one.extends_elsewhere)
        if not self._can_ask(targets, NO_WINDOW):
            return

        def answered(seconds: float | None) -> None:
            if seconds is not None:
                self._executor.extend(targets, seconds)

        most_s = self._context.schedule_for(target.vm for target in targets).maximum_hold_s
        self._context.app.push_screen(ExtendDialog(targets, most_s, self._context.signs), answered)

    def attach(self) -> None:
        """Take over what a frostwatch has left to its holder: it loses nothing, so nobody asks."""
        targets = tuple(one for one in self._chosen() if one.left_to_holder)
        if self._can_ask(targets, NOTHING_LEFT):
            self._executor.attach(targets)

    def thaw_all(self) -> None:
        """Ask, and thaw all that this console froze; and after one more question all that is."""
        states = self._context.view.states()
        ours = tuple(one for one in map(Target, states) if self._executor.is_ours(one))
        others = (one for one in map(Target, states) if one.foreign or one.left_to_holder)
        foreign = tuple(sorted((one for one in others if one not in ours), key=_since))
        if not self._can_ask(ours + foreign, NOTHING_FROZEN):
            return
        if not ours:
            self._ask_foreign(ours, foreign)
            return

        def answered(chosen: ThawAllAnswer | None) -> None:
            if chosen is ThawAllAnswer.OURS:
                self._executor.thaw_all(ours)
            elif chosen is ThawAllAnswer.ALL:
                self._ask_foreign(ours, foreign)

        self._context.app.push_screen(ThawAllDialog(ours, foreign, self._context.signs), answered)

    def _ask_foreign(self, ours: Targets, foreign: Targets) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._executor.thaw_all(ours + foreign)

        dialog = ThawDialog(foreign, self._hidden(foreign), self._context.signs)
        self._context.app.push_screen(dialog, answered)

    def stop(self) -> None:
        """Ask, and stop waiting for what is in flight, or stop a copy."""
        chosen = self._chosen()
        if self._copy.stop(chosen):
            return
        targets = tuple(one for one in chosen if self._executor.in_flight(one))
        if not self._can_ask(targets, nothing_in_flight(chosen)):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._executor.stop(targets)

        self._context.app.push_screen(StopDialog(targets, self._context.signs), answered)

    def _chosen(self) -> Targets:
        """Return the VMs that a key means, as they are at this moment (P6)."""
        return tuple(Target(state) for state in self._context.view.chosen())

    def _hidden(self, targets: Targets) -> frozenset[VmId]:
        ids = (target.vm.id for target in targets)
        return frozenset(each for each in ids if self._context.view.index_of(each) is None)

    def _can_ask(self, targets: Targets, otherwise: str) -> bool:
        """Return whether there is anything to ask about; say why not."""
        if targets and not self._context.read_only:
            return True
        self._context.answer(Level.WARNING, READ_ONLY if self._context.read_only else otherwise)
        return False

    # -- nothing is done to a guest ----------------------------------------------------------

    def help(self, groups: Iterable[tuple[str, Iterable[BindingType]]], about: About) -> None:
        """Show the keys and the signs."""
        dialog = HelpDialog(tuple(groups), about, self._context.signs)
        self._context.app.push_screen(dialog)

    def why_not(self, action: str) -> str | None:
        """Return why an action, by its id, can't be done now; None if it can."""
        return self._possible.why_not(action, self._chosen())

    def palette(self, commands: Sequence[Command], answered: Callable[[Command], None]) -> None:
        """Ask for a command, and do it; what acts on VMs acts on those of this key press (P6)."""
        chosen = [one.vm.id for one in self._chosen()]

        def do(command: Command | None) -> None:
            if command is None:
                return
            if chosen != [one.vm.id for one in self._chosen()]:
                self._context.answer(Level.WARNING, "other VMs are chosen now; nothing was done")
                return
            answered(command)

        about = f" on {safe(chosen[0].name, 40)}" if len(chosen) == 1 else ""
        about = f" on {len(chosen)} marked VMs" if len(chosen) > 1 else about
        dialog = PaletteDialog(commands, about, self._context.signs)
        self._context.app.push_screen(dialog, do)

    def columns(
        self, shown: Sequence[Column], answered: Callable[[tuple[Column, ...]], None]
    ) -> None:
        """Ask which columns are shown."""

        def chosen(columns: tuple[Column, ...] | None) -> None:
            if columns is not None:
                answered(columns)

        self._context.app.push_screen(ColumnsDialog(shown, self._context.signs), chosen)

    def leave(self, answered: Callable[[ExitKind | None], None]) -> None:
        """Ask how to leave while something is in flight; who is asked already, insists."""
        context = self._context
        asked = [each for each in context.app.screen_stack if isinstance(each, QuitDialog)]
        if asked:
            asked[-1].action_insist()
            return
        dialog = QuitDialog(
            context.fleet, context.operations, context.copies, context.clock, context.signs
        )
        context.app.push_screen(dialog, answered)


def _since(target: Target) -> float:
    """Return when a freeze was first seen, for the oldest to come first."""
    since = target.state.freeze.since
    return since.timestamp() if since else 0.0
