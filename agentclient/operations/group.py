"""Freezes VMs together: all are frozen within a time, or all are thawed again.

Each VM's freeze is an operation like any other, with its own evidence, bound and holder. The group
is a barrier on top of them: it waits until every window is open, holds them for the requested time,
and thaws in the reverse order. Each window also ends by itself, even if the group fails.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from agentclient.config.defaults import DEFAULTS
from agentclient.model.durations import in_words
from agentclient.model.errors import NO_THREAD, BadInput, FrostwatchError, why_no_thread
from agentclient.model.events import Ended, Event, EventKind, OnEvent
from agentclient.model.outcome import GroupOutcome, Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import OutcomeKind
from agentclient.model.timeline import Group
from agentclient.model.vm import Vm, VmId

DEFAULT_WITHIN_S: Final = DEFAULTS.within_s
# A thaw takes milliseconds; one that takes longer must not keep the other guests frozen.
NEXT_THAW_S: Final = 2.0
# Seconds between the group's end of a window and the window's own.
SPARE_S: Final = 1.0
_LOOK_S: Final = 0.5


def group_request(request: FreezeRequest, within_s: float) -> FreezeRequest:
    """Return the request of one member: its window also bridges the wait for the others.

    Args:
        request: the group's request; its hold begins when the last member is frozen.
        within_s: how long the first may wait for the last, in seconds.

    Raises:
        BadInput: the two together are longer than a window may be held.
    """
    schedule = request.schedule
    hold_s = schedule.hold_s + within_s
    if hold_s > schedule.maximum_hold_s:
        raise BadInput(
            f"held for {in_words(schedule.hold_s)}, and up to {in_words(within_s)} until all are "
            f"frozen: that is more than the {in_words(schedule.maximum_hold_s)} that a window may "
            "be held; choose a shorter --hold or --within"
        )
    return replace(request, schedule=replace(schedule, hold_s=hold_s, bridge_s=within_s))


class Member(Protocol):
    """One VM's freeze in flight (see `agentclient.operations.manager.Operation`)."""

    @property
    def vm(self) -> Vm:
        """The VM."""

    def cancel(self) -> None:
        """Stop waiting, and thaw when it answers."""

    def end_hold(self) -> None:
        """Thaw now."""

    def extend_hold(self, seconds: float) -> None:
        """Prolong the hold by so many seconds; a negative number shortens it."""

    def fail_together(self, why: str) -> None:
        """Note that the group was not frozen together: the member is not certified.

        Of one that has ended by now the outcome is taken back.
        """

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal."""

    def wait(self, timeout_s: float | None = None) -> object:
        """Return its outcome; None if it still runs after `timeout_s` seconds."""


MemberT = TypeVar("MemberT", bound=Member)
MemberT_co = TypeVar("MemberT_co", bound=Member, covariant=True)


class FreezeStarter(Protocol[MemberT_co]):
    """Begins freezes (see `agentclient.operations.manager.OperationManager`)."""

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None) -> MemberT_co:
        """Begin a freeze."""


class GroupFreeze(Generic[MemberT]):
    """One group, from its first freeze to its last thaw; a thread of its own runs the barrier.

    Args:
        operations: begins the freezes.
        vms: the members.
        request: the group's request; its hold begins with the last acknowledgement.
        within_s: seconds from sending the first freeze until all must be frozen.
        on_event: is called with each member's events.
        on_group: is called when all are frozen, and when all are thawed again.
    """

    def __init__(
        self,
        operations: FreezeStarter[MemberT],
        vms: Sequence[Vm],
        request: FreezeRequest,
        *,
        within_s: float = DEFAULT_WITHIN_S,
        on_event: OnEvent = lambda _: None,
        on_group: Callable[[GroupOutcome], None] = lambda _: None,
    ) -> None:
        group = Group(os.urandom(8).hex(), len(vms))
        self._request = replace(group_request(request, within_s), group=group)
        self._hold_s = request.schedule.hold_s
        self._within_s = within_s
        self._operations = operations
        self._vms = tuple(vms)
        self._listener = on_event
        self._on_group = on_group
        self._news = threading.Condition()
        self._frozen_at: dict[VmId, float] = {}
        self._held: set[VmId] = set()
        self._failed: dict[VmId, str] = {}
        self._blamed: tuple[VmId, ...] = ()
        self._over = False
        self.members: tuple[MemberT, ...] = ()
        self.outcome: GroupOutcome | None = None
        self.complete: str | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group", daemon=True)

    def start(self) -> tuple[MemberT, ...]:
        """Begin all freezes, and return them.

        Whatever is raised when one can't be begun is raised here as well; those that were begun
        before it (`members`) are thawed at once.

        Raises:
            FrostwatchError: the system has no thread for the barrier; nothing was begun.
        """
        try:
            self._thread.start()  # first: without it nobody would thaw them together
        except NO_THREAD as error:
            raise FrostwatchError(f"the group was not begun: {why_no_thread(error)}") from None
        begun: list[MemberT] = []
        try:
            for vm in self._vms:
                begun.append(self._operations.freeze(vm, self._request, self._event))
        except BaseException as error:
            with self._news:  # the barrier need not wait for one that will never be frozen
                self._failed[self._vms[len(begun)].id] = f"could not be begun: {error!r}"
            raise
        finally:
            self.members = tuple(begun)
            self._begun.set()
        return self.members

    def end_hold(self) -> None:
        """End the hold: all are thawed now, told in the reverse order of freezing.

        Unlike the end of the hold itself, none is waited for before the next one is told.
        """
        by_id = {member.vm.id: member for member in self.members}
        for vm_id in reversed(self._order()):
            if vm_id in by_id:
                by_id[vm_id].end_hold()
        with self._news:
            self._over = True
            self._news.notify_all()

    def wait(self, timeout_s: float | None = None) -> GroupOutcome | None:
        """Return the group's outcome; None if it still runs after `timeout_s` seconds."""
        self._thread.join(timeout_s)
        return self.outcome

    # -- what the members tell ------------------------------------------------------------

    def _event(self, event: Event) -> None:
        with self._news:
            self._note(event)
            self._news.notify_all()
        self._listener(event)

    def _note(self, event: Event) -> None:
        match event.kind:
            case EventKind.REPLY:
                # Never overwritten: the first event is the freeze's own reply.
                self._frozen_at.setdefault(event.vm, time.monotonic())
            case EventKind.HELD:
                self._held.add(event.vm)
            case EventKind.VERDICT | EventKind.REVISED | EventKind.OUTCOME:
                outcome = event.details.outcome if isinstance(event.details, Ended) else None
                if isinstance(outcome, Outcome) and outcome.kind is not OutcomeKind.VERIFIED:
                    self._failed.setdefault(event.vm, str(outcome.kind))
                elif event.kind is EventKind.OUTCOME and event.vm not in self._held:
                    self._failed.setdefault(event.vm, "ended before the others")

    # -- the barrier ----------------------------------------------------------------------

    def _run(self) -> None:
        self._begun.wait()
        deadline = time.monotonic() + self._within_s
        if not self._wait(lambda: len(self._held) == len(self._vms), deadline):
            self._end(self._why_not())
            return
        self._tell_complete()
        ends_at = time.monotonic() + self._hold_s
        if not self._wait(lambda: self._over, ends_at) and self._failed:
            self._end(f"broken while they were held: {self._named()}")
            return
        self._end(None)

    def _wait(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Wait until `holds` is true, a member fails, or the deadline has passed."""
        with self._news:
            while not holds() and not self._failed and time.monotonic() < deadline:
                self._news.wait(min(_LOOK_S, max(0.0, deadline - time.monotonic())))
            return holds() and not self._failed

    def _end(self, problem: str | None) -> None:
        order = self._order()
        # Read before the others are stopped, since that fails them as well.
        missing = [vm.id for vm in self._vms if problem is not None and vm.id not in self._held]
        self._blamed = tuple(self._failed) or tuple(missing)
        together = problem is None and len(self._held) == len(self._vms)
        reason = f"{_vms(len(self._vms), over=True)} frozen together, within {self._skew_ms()}"
        if not together:
            # Before its thaw, while its window is still recorded.
            reason = self._fail(str(problem), "; what is frozen of it is thawed now")
        self._thaw(order)
        if together and self._failed:  # a member's own end has shown it, when others had ended
            together, self._blamed = False, tuple(self._failed)
            reason = self._fail(f"broken while they were held: {self._named()}")
        if stuck := self._stuck():
            reason = f"{stuck}; {reason}"
        else:
            reason += "; all are thawed again"
        self.outcome = self._outcome(reason, together=together, final=True)
        self._report(self.outcome)

    def _fail(self, problem: str, more: str = "") -> str:
        """Tell each member that the group was not frozen together; return the reason."""
        reason = f"NOT frozen together: {problem}"
        for member in self.members:
            member.fail_together(problem)
            member.note(f"group: {reason}{more}")
        return reason

    def _report(self, outcome: GroupOutcome) -> None:
        """Tell the listener; an error of its keeps nobody frozen (P4)."""
        try:
            self._on_group(outcome)
        except Exception as error:  # noqa: BLE001 - as above
            for member in self.members:
                member.note(f"a listener failed: {error!r}")

    def _outcome(self, reason: str, *, together: bool, final: bool) -> GroupOutcome:
        skew = self._skew() if len(self._held) == len(self._vms) else None
        order, blamed = self._order(), self._blamed
        return GroupOutcome(together, reason, skew, order, final, self._hold_s, blamed)

    def _order(self) -> tuple[VmId, ...]:
        return tuple(sorted(self._frozen_at, key=self._frozen_at.__getitem__))

    def _skew_ms(self) -> str:
        return f"{self._skew() * 1000:.0f} ms" if len(self._held) == len(self._vms) else "-"

    def _tell_complete(self) -> None:
        """Report that all are frozen, and set each window's end to the group's."""
        ends_at = time.monotonic() + self._hold_s
        self.complete = (
            f"{_vms(len(self._vms), over=False)} frozen together, within {self._skew_ms()}; "
            f"held for {in_words(self._hold_s)} from now on"
        )
        for member in self.members:
            planned = self._frozen_at[member.vm.id] + self._request.schedule.hold_s
            member.extend_hold(min(ends_at + SPARE_S - planned, 0.0))
            member.note(f"group: {self.complete}")
        self._report(self._outcome(self.complete, together=True, final=False))

    def _stuck(self) -> str:
        """Return which members may still be frozen, and which are waited for; empty if none."""
        ended = [(member.vm.name, member.wait(0)) for member in self.members]
        names = [
            name for name, found in ended if not (isinstance(found, Outcome) and found.settled)
        ]
        return f"{', '.join(names)} MAY STILL BE FROZEN" if names else ""

    def _thaw(self, order: Sequence[VmId]) -> None:
        """Thaw in the reverse order of freezing; freezes still pending are cancelled.

        One after the other, but none waits long for one that does not answer.
        """
        by_id = {member.vm.id: member for member in self.members}
        for member in self.members:
            if member.vm.id not in self._held:
                member.cancel()
        for vm_id in reversed([one for one in order if one in by_id]):
            by_id[vm_id].end_hold()
            by_id[vm_id].wait(NEXT_THAW_S)
        for member in self.members:
            member.wait(self._request.schedule.thaw_timeout_s)

    def _skew(self) -> float:
        times = [self._frozen_at[vm.id] for vm in self._vms]
        return max(times) - min(times)

    def _why_not(self) -> str:
        if self._failed:
            return self._named()
        missing = [str(vm.id) for vm in self._vms if vm.id not in self._held]
        return f"not frozen within {in_words(self._within_s)}: {', '.join(missing)}"

    def _named(self) -> str:
        return ", ".join(f"{vm_id} {how}" for vm_id, how in self._failed.items())


def _vms(count: int, *, over: bool) -> str:
    if count == 1:
        return f"1 VM {'was' if over else 'is'}"
    return f"{count} VMs {'were' if over else 'are'}"
