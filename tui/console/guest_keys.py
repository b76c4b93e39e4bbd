"""The keys that act on guests: each leads to one question of `tui.console.actions.prompts`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agentclient.late import load
from tui.console.actions.context import ActionContext
from tui.console.model.notices import Notice
from tui.console.terminal import TerminalApp

if TYPE_CHECKING:
    from tui.console.actions.prompts import Prompts
    from tui.console.model.batch import Batch

_PROMPTS = ("tui.console.actions.prompts", "Prompts")


class GuestKeysApp(TerminalApp):
    """An app with the keys that freeze, thaw and rescue; they are asked about before they act.

    Attributes:
        action_context: what the actions share; to be set before the first key.
    """

    action_context: ActionContext
    _prompts: Prompts | None = None

    def prepare_prompts(self) -> None:
        """Import what is behind the keys; in any thread."""
        load(*_PROMPTS)
        self.action_context.operations.prepare()

    @property
    def prompts(self) -> Prompts:
        """What asks, and acts; made when the first key needs it."""
        if self._prompts is None:
            made: type[Prompts] = load(*_PROMPTS)
            self._prompts = made(self.action_context)
        return self._prompts

    def what_ended(self) -> Iterable[Notice]:
        """Return what came of what has ended since the last time."""
        return self._prompts.ended() if self._prompts is not None else ()

    def batches(self) -> Iterable[Batch]:
        """Return what was begun of many VMs with one key, and goes on."""
        return self._prompts.batches() if self._prompts is not None else ()

    def action_freeze(self) -> None:
        """Freeze, after a question; only from the table, where one sees which VM it is."""
        self.prompts.freeze()

    def action_copy(self) -> None:
        """Copy disks, after a form; or change what is copied."""
        self.prompts.copy()

    def action_thaw(self) -> None:
        """Thaw, after a question."""
        self.prompts.thaw()

    def action_thaw_all(self) -> None:
        """Thaw everything, after a question or two."""
        self.prompts.thaw_all()

    def action_extend(self) -> None:
        """Hold a window for longer, after a question."""
        self.prompts.extend()

    def action_attach(self) -> None:
        """Take over what a frostwatch has left to its holder."""
        self.prompts.attach()

    def action_stop(self) -> None:
        """Stop waiting, after a question."""
        self.prompts.stop()

    def action_rescue(self) -> None:
        """Show the rescue ladder of the VM under the cursor."""
        self.prompts.rescue.ask()

    def action_copy_next(self) -> None:
        """Copy the command that comes next: of the window that is open, else of this VM."""
        self.prompts.next_command.copy()

    async def on_banner_wanted(self) -> None:
        """Do at a click on the banner what the key does."""
        await self.run_action("copy_next")

    def action_past(self) -> None:
        """Show the history of the VM under the cursor."""
        self.prompts.history()
