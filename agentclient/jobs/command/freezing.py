"""Freezes the VMs of a command, as a group or each by itself, and waits until all are verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from agentclient.jobs.command.guest_window import GuestWindow
from agentclient.jobs.command.request import CommandRequest
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobRefused
from agentclient.model.events import Event
from agentclient.model.job import FreezePolicy, JobRefusal
from agentclient.model.outcome import GroupOutcome, Outcome
from agentclient.model.states import Level, OutcomeKind
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.group import GroupFreeze, group_request

# A window opens moments after its verdict was told; nothing tells of that.
_SOON_S: Final = 0.005
_LOOK_S: Final = 0.1
MEND: Final = "mend that, or accept a crash-consistent copy with --policy prefer"


class Freezing:
    """The freezes of one command.

    Args:
        windows: the windows of its VMs.
        request: what was asked for.
        control: the operator's instructions.
        news: is notified when something has happened to a window.
        on_group: is called when a group is frozen, and when it is thawed again.

    Raises:
        BadInput: a window would be longer than it may be.
    """

    def __init__(
        self,
        windows: Sequence[GuestWindow],
        request: CommandRequest,
        control: JobControl,
        news: threading.Condition,
        on_group: Callable[[GroupOutcome], None],
    ) -> None:
        self._windows = {window.context.vm.id: window for window in windows}
        self._request = request
        self._control = control
        self._news = news
        self._on_group = on_group
        self._group: GroupFreeze[FreezeOperation] | None = None
        self._complete_until: float | None = None
        self._group_failed: str | None = None
        vms = [window.context.vm for window in windows]
        again = request.again(vms)
        if request.together:
            wanted = replace(request.freeze_of_group(vm.policy for vm in vms), again=again)
            group_request(wanted, request.within_s)  # what can't be used is told now
            self._requests = [wanted]
        else:
            each = [request.freeze_of(vm.policy) for vm in vms]
            self._requests = [replace(one, again=again) for one in each]

    @property
    def thaw_timeout_s(self) -> float:
        """How long a thaw is waited for, in seconds."""
        return max(one.schedule.thaw_timeout_s for one in self._requests)

    def begin(self) -> None:
        """Begin all freezes, and return at once.

        Raises:
            FrostwatchError: there is no thread for the group.
        """
        windows = list(self._windows.values())
        operations = windows[0].context.operations
        if not self._request.together:
            for window, request in zip(windows, self._requests, strict=True):
                window.freeze = operations.freeze(window.context.vm, request, window.on_event)
            return
        group = GroupFreeze(
            operations,
            [window.context.vm for window in windows],
            self._requests[0],
            within_s=self._request.within_s,
            on_event=self._event,
            on_group=self._told_by_group,
        )
        try:
            group.start()
            self._group = group
        finally:  # also those that were begun before one could not be: they are thawed
            for window, freeze in zip(windows, group.members, strict=False):
                window.freeze = freeze

    def wait_verified(self) -> None:
        """Wait until every guest is frozen and verified; thaw those that are not.

        Raises:
            JobRefused: one is not, and the policy demands it; the others are thawed.
            JobCancelled: the operator has stopped it.
        """
        while not self._is_complete():
            self._control.check()
            soon = any(one.is_told and not one.is_opened for one in self._windows.values())
            with self._news:
                self._news.wait(_SOON_S if soon else _LOOK_S)
        now = time.monotonic()
        for window in self._windows.values():
            if window.is_verified:
                window.verified_at = now

    def until(self) -> float | None:
        """Return when the first window ends on its own (monotonic seconds); None without one."""
        ends = [one.ends_at for one in self._windows.values() if one.verified_at is not None]
        known = [at for at in (*ends, self._complete_until) if at is not None]
        return min(known) if ends and known else None

    def end(self) -> None:
        """Thaw all guests now; doing it again changes nothing."""
        if self._group is not None:
            self._group.end_hold()
        for window in self._windows.values():
            window.end()

    def cancel(self) -> None:
        """Stop to wait for the guests, and thaw them."""
        for window in self._windows.values():
            window.cancel()

    def wait_group(self, timeout_s: float) -> None:
        """Wait until the group has told its end; at once without one."""
        if self._group is not None:
            self._group.wait(timeout_s)

    # -- what the group tells ----------------------------------------------------------------

    def _event(self, event: Event) -> None:
        self._windows[event.vm].on_event(event)

    def _told_by_group(self, outcome: GroupOutcome) -> None:
        with self._news:
            if not outcome.together:
                self._group_failed = outcome.reason
            elif not outcome.final:
                self._complete_until = time.monotonic() + outcome.hold_s
            self._news.notify_all()
        self._on_group(outcome)

    # -- whether all are frozen ---------------------------------------------------------------

    def _is_complete(self) -> bool:
        """Return whether nothing is waited for any more.

        Raises:
            JobRefused: a guest is not frozen, and the policy demands it.
        """
        if self._group is not None:
            if self._group_failed is not None:
                self._without(self._group_failed)
                return True
            if self._complete_until is None:
                return False
            if time.monotonic() >= self._complete_until:
                self._without("the window of one was over at once")
                return True
            return all(one.is_verified for one in self._windows.values())
        failed = [one for one in self._windows.values() if one.is_opened and not one.is_verified]
        for window in failed:
            window.end()  # what is not verified is of no use, and is not held
        if failed and self._request.policy is FreezePolicy.REQUIRE:
            self._without(_why_not(failed[0]), failed[0].freeze)
        if all(one.is_opened for one in self._windows.values()):
            if failed:
                self._without(_why_not(failed[0]), failed[0].freeze)
            return True
        return False

    def _without(self, why: str, freeze: FreezeOperation | None = None) -> None:
        """Go on without a guest that is not frozen, or not.

        Raises:
            JobRefused: the policy demands that it is.
            JobCancelled: the operator has stopped it, so that it is not.
        """
        self._control.check()
        if self._request.policy is FreezePolicy.REQUIRE:
            outcome = _ending(freeze)
            step = outcome.next if outcome is not None and outcome.next else MEND
            raise JobRefused(JobRefusal.NOT_FROZEN, f"the command was not started: {why}", step)
        text = f"going on without a freeze of all: crash-consistent at best ({why})"
        for window in self._windows.values():
            if not window.is_verified:
                window.context.reporter.note(Level.WARNING, text)


def _why_not(window: GuestWindow) -> str:
    name = window.context.vm.id
    verdict = None if window.freeze is None else window.freeze.verdict
    outcome = _ending(window.freeze)
    if verdict is not None and verdict.kind is not OutcomeKind.VERIFIED:
        outcome = verdict
    if outcome is None:
        return f"{name} was not frozen: it did not end"
    if window.freeze is not None and window.freeze.hold_ends_at is not None and outcome.certified:
        return (
            f"{name} was thawed at its window's end, before all were frozen; "
            "freeze them with --together, or hold it for longer"
        )
    word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
    return f"{name} was not frozen ({word}: {outcome.reason})"


def _ending(freeze: FreezeOperation | None) -> Outcome | None:
    if freeze is None:
        return None
    return freeze.wait(0) if freeze.done else freeze.verdict
