"""Everything that a key of the operator's reaches: the questions, and what is done in the end.

Imported when the screen has been painted; `tui.console.app_actions` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from textual.binding import BindingType

from tui.console.actions.context import Desk
from tui.console.actions.execute import Actions
from tui.console.actions.prompts import Asking
from tui.console.actions.rescue import Rescuing
from tui.console.dialogs.help import HelpDialog
from tui.console.dialogs.quit import QuitDialog
from tui.console.model.leaving import Leave
from tui.console.model.notices import Notice


class Hands:
    """What acts for the operator.

    Args:
        desk: what all of it shares.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._actions = Actions(
            desk.fleet,
            desk.operations,
            desk.clock,
            read_only=desk.read_only,
            schedule=desk.schedule,
        )
        self.asking = Asking(desk, self._actions)
        self.rescuing = Rescuing(desk)

    def ended(self) -> Iterator[Notice]:
        """Yield what came out of what has ended since the last time."""
        yield from self._actions.ended_thaws()
        yield from self.rescuing.ended()

    def help(self, groups: Iterable[tuple[str, Iterable[BindingType]]], interval_s: float) -> None:
        """Show the keys and the signs."""
        self._desk.app.push_screen(HelpDialog(tuple(groups), interval_s, self._desk.signs))

    def leave(self, answered: Callable[[Leave | None], None]) -> None:
        """Ask how to leave while something is in flight; who is asked already, insists."""
        desk = self._desk
        asked = [each for each in desk.app.screen_stack if isinstance(each, QuitDialog)]
        if asked:
            asked[-1].action_insist()
            return
        dialog = QuitDialog(desk.fleet, desk.operations, desk.clock, desk.signs)
        desk.app.push_screen(dialog, answered)
