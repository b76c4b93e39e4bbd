"""The part of the app that acts on guests: its keys lead to `tui.console.actions` alone.

All that is behind them takes longer to import than what is seen. So the screen comes first, and a
thread imports the rest while the operator looks at it; or the first key does, if that is sooner.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.model.leaving import Leave
from tui.console.model.notices import Notice
from tui.console.terminal_app import TerminalApp
from tui.console.widgets.lines import LinesView

if TYPE_CHECKING:
    from tui.console.actions.all_actions import Hands


NOT_FROM_HERE = "Esc, then f: the keys are the pane's now, not the table's; nothing was done"


class ActingApp(TerminalApp):
    """An app whose keys act on guests; who derives from it sets `desk`."""

    _made_hands: Hands | None = None

    @property
    def hands(self) -> Hands:
        """What acts for the operator."""
        if self._made_hands is None:
            from tui.console.actions.all_actions import Hands  # noqa: PLC0415 - see above

            self._made_hands = Hands(self.desk)
        return self._made_hands

    def prepare(self) -> None:
        """Import what is behind the keys, in a thread of its own."""

        def import_it() -> None:
            try:
                import tui.console.actions.all_actions  # noqa: F401, PLC0415

                self.desk.operations.prepare()
            finally:
                # What was imported stays until the end. Looking through it for garbage again and
                # again is what a key would have to wait for: up to 80 ms with a lively fleet.
                gc.freeze()
                gc.enable()  # it was disabled for the time until the first screen

        threading.Thread(target=import_it, name="prepare", daemon=True).start()

    def place(self, vm_id: VmId) -> int:
        """Return which one a VM's freeze is of those that wait for their turn; 0 if it doesn't."""
        operation = self.desk.operations.on(vm_id)
        return operation.place if operation is not None else 0

    def ended(self) -> Iterator[Notice]:
        """Yield what came out of what has ended since the last time."""
        if self._made_hands is not None:
            yield from self._made_hands.ended()

    def action_freeze(self) -> None:
        """Freeze, after a question; only from the table, where one sees which VM it is."""
        if isinstance(self.focused, LinesView):
            self.desk.answer(Level.WARNING, NOT_FROM_HERE)
            return
        self.hands.asking.freeze()

    def action_thaw(self) -> None:
        """Thaw, after a question."""
        self.hands.asking.thaw()

    def action_past(self) -> None:
        """Show the history of the VM under the cursor."""
        self.hands.asking.past()

    def action_extend(self) -> None:
        """Hold a window for longer, after a question."""
        self.hands.asking.extend()

    def action_thaw_all(self) -> None:
        """Thaw everything, after a question or two."""
        self.hands.asking.thaw_all()

    def action_stop(self) -> None:
        """Stop waiting, after a question."""
        self.hands.asking.stop()

    def action_rescue(self) -> None:
        """Show the rescue ladder of the VM under the cursor."""
        self.hands.rescuing.ask()

    def action_leave(self) -> None:
        """Quit; ask first while something is in flight. Asked again, it is the question's `q`."""
        if not self.desk.operations.active():
            self.exit(Leave.CLEAN)
            return
        self.hands.leave(lambda leave: self.exit(leave) if leave is not None else None)

    async def action_quit(self) -> None:
        """Quit as `q` does, whoever asks Textual for it."""
        self.action_leave()
