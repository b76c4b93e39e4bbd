"""Leaves the console: every guest is thawed first, or a person is told what to do (P4).

Whatever ends the console comes through here once the screen has been left: ``q``, SIGTERM, SIGHUP,
a closed terminal, an error in the console itself. The guests are thawed by agentclient's own
threads, so that none of it depends on Textual, on its loop or on a terminal that can be written to.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from types import FrameType

from agentclient.fleet.store import Fleet
from agentclient.model.durations import in_words
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.text import uncut
from agentclient.model.vm import VmId
from tui.console.bare_terminal import FEW, last_line
from tui.console.copies import Copies
from tui.console.leave_copies import LEAVING_S, end_copies, tell_unended
from tui.console.model.keeping import can_be_kept
from tui.console.ports import OperationPort, OperationsPort
from tui.shared.fit import safe
from tui.shared.signals import Signals

CLEAN, LEFT_SOMETHING = 0, 1


# How long the screen may take to be left after a signal. A terminal that can't be written to
# blocks Textual's loop for ever; the thaw and the exit must not wait for it.
SCREEN_S = 3.0
_LOOK_S = 0.1
_REPEAT_S = 30.0
_GIVE_UP_S = 1.0
KEEPING_S = 2.5  # what a holder may take to answer, and a moment

Tell = Callable[[str], None]


class SignalHandler(Signals):
    """Acts on signals in a thread of its own, whatever the main thread is doing.

    Args:
        operations: what is cancelled at the first signal.
        leave_screen: asks the console to end; called from the handler's thread.
        leave: leaves without the console, if it does not end; returns the exit code.
        terminals: their numbers; the end of one counts as SIGHUP, which may be ignored (nohup).
    """

    def __init__(
        self,
        operations: OperationsPort,
        leave_screen: Callable[[], None],
        leave: Callable[[], int],
        terminals: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self._terminals = tuple(terminals)
        self._operations = operations
        self._leave_screen = leave_screen
        self._leave = leave
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self.screen_left = threading.Event()

    def start(self) -> None:
        """Begin to act on signals.

        Raises:
            FrostwatchError: the system has no thread for it.
        """
        try:
            threading.Thread(target=self._act, name="console-signals", daemon=True).start()
        except NO_THREAD as error:
            raise FrostwatchError(
                "the console can't act on signals: there is no thread for it"
                f" ({why_no_thread(error)}); nothing was sent"
            ) from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        with suppress(BlockingIOError):  # a storm: nobody reads more of them than one
            os.write(self._write_end, b"!")

    def _act(self) -> None:
        self._listen()
        self._operations.cancel_all()
        self._leave_screen()
        if self.screen_left.wait(SCREEN_S):
            return
        code = LEFT_SOMETHING
        try:
            code = self._leave()
        finally:
            os._exit(code)

    def _listen(self) -> None:
        """Wait for a signal, or for the end of a terminal."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        for number in self._terminals:
            poll.register(number, 0)  # its end is told in any case
        poll.poll()


def thaw_and_leave(
    fleet: Fleet,
    operations: OperationsPort,
    signals: Signals,
    tell: Tell,
    *,
    copies: Copies | None = None,
    detach: bool = False,
) -> int:
    """Thaw what is in flight, wait for it, and say what could not be thawed.

    Args:
        fleet: where the last words about each VM are.
        operations: what may be in flight.
        signals: one more of them ends the waiting.
        tell: says one line to whoever may read it.
        copies: the copies that may be in flight.
        detach: do not wait: the holder thaws what is in flight, and somebody has chosen that.

    Returns:
        0 if nothing was left frozen, as far as evidence goes, or to the holder by choice; else 1.
    """
    flying = tuple(operations.active())
    copied = tuple(copies.active()) if copies is not None else ()
    unended = tuple(copies.unended()) if copies is not None else ()
    if copies is not None and detach:  # first: what is left can't be cancelled any more
        copies.leave_all()
    elif copies is not None:
        copies.cancel_all()
    operations.cancel_all()
    if flying and not detach:
        _wait(fleet, flying, signals, tell)
    lost = end_copies(copied, signals, tell, wait_s=LEAVING_S if detach else None)
    lost += tell_unended(unended, tell)
    left = [one for one in flying if not one.done]
    _give_up(left)
    operations.stop(0.0)
    handed_over = {one.vm.id: one for one in left if one.kind == "freeze" and not _thawed(one)}
    for operation in handed_over.values():
        tell(_handed_over(operation))
    sentences = [*leftovers(fleet, flying, handed_over)]
    for sentence in sentences:
        tell(sentence)
    kept = sum(state.last is not None and state.last.kept for state in fleet.states())
    counts = {"left": len(sentences), "handed_over": len(handed_over) + kept}
    tell(last_line(fleet, **counts, idle=not flying))
    return LEFT_SOMETHING if sentences or lost or (handed_over and not detach) else CLEAN


def leave_windows(fleet: Fleet, operations: OperationsPort, tell: Tell) -> None:
    """Leave the windows that are held to their holders, which hold them to their end, and say so.

    A window that can't be left so is thawed with all the rest by `thaw_and_leave`.
    """
    held = tuple(can_be_kept(fleet, operations.active()))
    for operation in held:
        operation.keep()
    until = time.monotonic() + KEEPING_S
    for operation in held:
        outcome = operation.wait(max(until - time.monotonic(), 0.0))
        if isinstance(outcome, Outcome) and outcome.kept:
            tell(f"frostwatch: {_id(operation.vm.id)}: {safe(outcome.reason, 400)}")


def _wait(fleet: Fleet, flying: Sequence[OperationPort], signals: Signals, tell: Tell) -> None:
    """Wait until everything in flight has ended, or somebody insists on leaving."""
    requests = signals.requests
    waiting = [one for one in flying if not one.done]  # what was queued is never begun
    told_at = -_REPEAT_S
    while waiting and not _insists(signals, requests):
        if time.monotonic() - told_at >= _REPEAT_S:
            told_at = time.monotonic()
            for one in waiting[:FEW]:
                tell(f"frostwatch: thawing {_waits_for(fleet, one)}")
            if len(waiting) > FEW:
                tell(f"frostwatch: and {len(waiting) - FEW} more")
            tell("frostwatch: it leaves when that is done; Ctrl-C leaves that to the holder")
        waiting[0].wait(_LOOK_S)
        for one in [each for each in waiting if each.done]:
            waiting.remove(one)
            tell(f"frostwatch: {_id(one.vm.id)}: {_ended(fleet, one)}")


def _insists(signals: Signals, requests: int) -> bool:
    """Return whether a signal came since the waiting began; the one that began it doesn't count."""
    return signals.requests > requests


def _waits_for(fleet: Fleet, operation: OperationPort) -> str:
    name = _id(operation.vm.id)
    state = _state(fleet, operation.vm.id)
    if state is None or state.progress is None:
        return name
    progress = state.progress
    ends = progress.ends_at if progress.held_since is None else progress.hold_ends_at
    most = f", at most {in_words(ends - time.monotonic())} more" if ends is not None else ""
    return f"{name}: waits for {safe(progress.waiting_for)}{most}"


def _ended(fleet: Fleet, operation: OperationPort) -> str:
    outcome = operation.wait(0)
    if outcome is not None:
        return safe(outcome.reason, 400)
    state = _state(fleet, operation.vm.id)
    return safe(state.last.reason, 400) if state and state.last else "ended"


def _give_up(left: Sequence[OperationPort]) -> None:
    for one in left:
        one.give_up()
    until = time.monotonic() + _GIVE_UP_S
    for one in left:
        one.wait(max(until - time.monotonic(), 0.0))


# -- what is left behind -----------------------------------------------------------------------


def leftovers(
    fleet: Fleet, flying: Sequence[OperationPort], handed_over: Container[VmId] = ()
) -> Iterator[str]:
    """Yield a sentence for each guest that this console may have left frozen, to nobody's care."""
    unended = {one.vm.id for one in flying if not one.done}
    for state in fleet.states():
        kept = state.last is not None and state.last.kept
        if (
            state.id in unended or (state.left_frozen and not kept)
        ) and state.id not in handed_over:
            yield _sentence(state)


def _thawed(operation: OperationPort) -> bool:
    outcome = operation.wait(0)
    return isinstance(outcome, Outcome) and outcome.settled


def _handed_over(operation: OperationPort) -> str:
    command = uncut(thaw_command(operation.vm))
    return (
        f"frostwatch: {_id(operation.vm.id)}: left to its holder, which thaws it as soon as its "
        f"agent answers; if it does not: {command}"
    )


def _sentence(state: VmState) -> str:
    name = _id(state.id)
    reason = "it was left before its thaw was acknowledged"
    next_step = uncut(thaw_command(state.vm))
    if state.last is not None and state.left_frozen:
        reason = safe(state.last.reason, 400)
        next_step = uncut(state.last.next or next_step)
    return f"frostwatch: {name} MAY STILL BE FROZEN: {reason}. NEXT: {next_step}"


def _state(fleet: Fleet, vm_id: VmId) -> VmState | None:
    try:
        return fleet.get(vm_id)
    except KeyError:
        return None


def _id(vm_id: VmId) -> str:
    return safe(str(vm_id), 120)
