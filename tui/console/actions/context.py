"""What all actions share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

from textual.app import App

from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.request import Schedule
from agentclient.model.states import Level
from agentclient.model.vm import Vm, VmId
from tui.console.copies import Copies
from tui.console.model.notices import Notice
from tui.console.model.sending import READ_ONLY, Sending, sending_of
from tui.console.model.targets import Target, TargetChanged, resolve
from tui.console.model.view import FleetView
from tui.console.ports import OperationsPort
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs

T = TypeVar("T")

NO_VM: Final = "there is no VM here"
NOTHING_SENT: Final = "nothing was sent"


class ActionContext(NamedTuple):
    """What an action needs of the console.

    Attributes:
        app: whose screens the dialogs are.
        view: which VMs a key means.
        fleet: what is known now, and the VMs' logs.
        operations: what freezes, thaws and rescues.
        copies: the copies of this console.
        show_notice: shows a notice.
        clock: for the notices.
        signs: the set of signs that the terminal can show.
        read_only: nothing may be sent to any guest.
        schedule: how long freezes are waited for, of a VM for which nothing is set.
        write_to_terminal: writes to the terminal what is no part of the screen.
        journal_options: the options by which another frostwatch finds the same journal; None where
            none can play it again.
        replayed: it is a replay: what is shown is what the journal has, of a moment that is over.
    """

    app: App[Any]
    view: FleetView
    fleet: Fleet
    operations: OperationsPort
    copies: Copies
    show_notice: Callable[[Notice], None]
    clock: Clock
    signs: Signs
    read_only: bool
    schedule: Schedule
    write_to_terminal: Callable[[str], None] = lambda _text: None
    journal_options: tuple[str, ...] | None = None
    replayed: bool = False

    @property
    def sending(self) -> Sending:
        """Whether the console's keys act on guests."""
        return sending_of(read_only=self.read_only, replay=self.replayed)

    def schedule_of(self, vm: Vm) -> Schedule:
        """Return how long a freeze of a VM is waited for, and its window held."""
        if vm.policy is None:
            return self.schedule
        most_s = vm.policy.maximum_hold_s
        return Schedule.of(vm.policy, hold_s=min(vm.policy.hold_s, most_s))

    def schedule_for(self, vms: Iterable[Vm]) -> Schedule:
        """Return one schedule for VMs that are asked about together.

        The longest waits of any of them; the shortest hold, and the shortest that one may have.
        """
        each = [self.schedule_of(vm) for vm in vms]
        longest = max(each, key=lambda one: one.total_s)
        most_s = min(one.maximum_hold_s for one in each)
        hold_s = min(one.hold_s for one in each)
        return replace(longest, maximum_hold_s=most_s, hold_s=min(hold_s, most_s))

    def answer(self, level: Level, text: str, about: VmId | None = None) -> None:
        """Show the answer to a key that was just pressed."""
        self.show_notice(Notice(level, text, self.clock.wall(), about, answer=True))

    # -- acting on the VM of a key press -------------------------------------------------------

    def checked(self, target: Target) -> Vm:
        """Return the VM that was meant.

        Raises:
            TargetChanged: it is another one by now, or nothing may be sent at all.
        """
        if self.read_only:
            raise TargetChanged(READ_ONLY)
        return resolve(target, self.fleet)

    def begin(
        self, target: Target, start: Callable[[Vm], T], nothing: str = NOTHING_SENT
    ) -> T | None:
        """Begin something on the VM that was meant, and return it.

        Whatever is raised is this VM's trouble alone: nobody else's thaw waits for that (P4, P8).

        Args:
            target: the VM of the key press.
            start: begins it.
            nothing: what is said of a VM on which it can't be begun.

        Returns:
            None if it can't be begun, which has been told.
        """
        try:
            return start(self.checked(target))
        except Exception as problem:  # noqa: BLE001 - as above
            self._refused(target, problem, nothing)
            return None

    def _refused(self, target: Target, problem: Exception, nothing: str) -> None:
        """Say why nothing was done to a VM, and write it into its log if it still has one."""
        text = f"refused: {why(problem)}; {nothing}"
        if any(state.id == target.vm.id for state in self.fleet.states()):
            self.fleet.log(target.vm.id, Level.WARNING, text)
        # What has become of the VM says which one it is.
        name = "" if isinstance(problem, TargetChanged) else f"{safe(target.vm.name, 60)}: "
        self.answer(Level.WARNING, f"{name}{text}", target.vm.id)


def why(problem: BaseException) -> str:
    """Return what went wrong, as a clause; what nobody has foreseen as Python calls it."""
    foreseen = isinstance(problem, FrostwatchError | OSError)
    return safe(str(problem) if foreseen else repr(problem), 300)
