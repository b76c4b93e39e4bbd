"""The keys that open pages: what a word means, one VM on the whole screen, all events."""

from __future__ import annotations

from abc import abstractmethod

from agentclient.late import load
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.actions.context import NO_VM
from tui.console.guest_keys import GuestKeysApp


class PageKeysApp(GuestKeysApp):
    """An app with the keys that open pages; each is imported when it is first wanted."""

    def action_explain(self) -> None:
        """Explain what is true of the VM under the cursor."""
        state = self._under_cursor()
        if state is not None:
            page = load("tui.console.pages.explain", "ExplainPage")
            self.push_screen(page(self.action_context, state))

    def action_take(self) -> None:
        """Ask what of the VM under the cursor is to be copied, or saved."""
        state = self._under_cursor()
        if state is not None:
            prompt = load("tui.console.actions.take", "TakePrompt")
            prompt(self.action_context, self.action_context.answer).ask(state)

    def action_details(self) -> None:
        """Show the VM under the cursor on the whole screen."""
        state = self._under_cursor()
        if state is not None:
            page = load("tui.console.pages.vm", "VmPage")
            self.push_screen(page(self.action_context, state), self._go_to)

    def action_events(self) -> None:
        """Show what has happened to all VMs."""
        page = load("tui.console.pages.events", "EventsPage")
        self.push_screen(page(self.action_context), self._go_to)

    def _go_to(self, vm_id: VmId | None) -> None:
        """Go to a VM in the table; a filter that hides it is taken away."""
        if vm_id is not None:
            self.go_to_vm(vm_id)

    @abstractmethod
    def go_to_vm(self, vm_id: VmId) -> None:
        """Put the cursor on a VM; a filter that hides it is taken away."""

    def _under_cursor(self) -> VmState | None:
        """Return the VM under the cursor, as it is at this moment (P6); say so if there is none."""
        view = self.action_context.view
        state = view.state(view.cursor) if view.cursor is not None else None
        if state is None:
            self.action_context.answer(Level.WARNING, NO_VM)
        return state
