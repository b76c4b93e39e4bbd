"""The rungs that use the monitor and not the agent: SysRq and the reset (protocol §3.17).

QEMU answers ``{}`` to a key or a break, whether the guest received it or not. Whether it worked is
shown by the guest's writes, and by the count of a thaw as soon as an agent answers: 0 if SysRq had
thawed everything, more if it had done nothing.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from agentclient.access.buttons import ASK_S, SYSRQ_J, Buttons, MonitorButtons
from agentclient.access.guest_inputs import Serial, connect_serial, find_inputs
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.access.stream import Channel, ConnectFailed, StreamEnded
from agentclient.freeze.coverage import count
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.port_watch import CHANGE_TEXT, RELEASED_BY, Change, PortWatch
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind
from agentclient.model.next_command import rescue_command
from agentclient.model.rescue import Means, RescueOutcome, Rung, RungResult, Step
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import FreezeState, Level, RunState
from agentclient.model.text import printable
from agentclient.operations.rescue.rung import LOOK_EVERY_S, RungContext

LETTER: Final = b"j"
# QEMU checks once a second whether a pty has been opened, and Linux accepts the letter within 5 s
# after a break: if the pty is closed at once, QEMU reads nothing.
CONSOLE_HELD_S: Final = 1.5
# A reset shows at once; where it does not, it can't be seen here.
RESET_SHOWS_S: Final = 3.0

# ext4 writes its superblock when it is thawed, so that an idle guest shows it too; others may not.
_LOOK_INSIDE: Final = (
    "whether it worked can't be told: an idle guest may have nothing to write. Look into the guest"
)
_NOT_ALLOWED: Final = "kernel.sysrq may not allow it"


class Writes:
    """Decides whether a guest that wrote nothing writes now. Pure, no I/O.

    Args:
        written: bytes that it had written when the watching began; None if not known.
    """

    def __init__(self, written: int | None) -> None:
        self._last = written
        self._seen = written is not None
        self.busy = False
        self.sent = False
        self.rose = False

    def saw(self, written: int | None) -> None:
        """Take the count of one look; a rise before SysRq means that writes will prove nothing."""
        if written is None:
            return
        moved = self._last is not None and written > self._last
        self._last, self._seen = written, True
        self.rose = self.rose or (moved and self.sent)
        self.busy = self.busy or (moved and not self.sent)

    @property
    def prove(self) -> bool:
        """Whether the guest wrote nothing before SysRq, and something since."""
        return self.rose and not self.busy

    @property
    def why_not(self) -> str:
        """Why the writes prove nothing, as a clause."""
        if not self._seen:
            return "whether it worked can't be told: its writes can't be seen. Look into the guest"
        if self.busy:
            return "whether it worked can't be told: it wrote before it, too. Look into the guest"
        return f"nothing has been written since: {_LOOK_INSIDE}"


# -- SysRq -------------------------------------------------------------------------------------


def sysrq(rung: RungContext, step: Step) -> RescueOutcome:
    """Have the guest's kernel thaw everything, and find out whether it did."""
    writes = Writes(rung.look().written_bytes)
    rung.progress("what it writes before", time.monotonic() + rung.times.before_s)
    if not _watch(rung, writes, rung.times.before_s):
        return rung.stopped("nothing was sent")
    with ExitStack() as cleanup:
        try:
            _press(rung, step, cleanup)
        except (MonitorError, ConnectFailed, StreamEnded, TimeoutError, OSError) as error:
            return rung.outcome(RungResult.FAILED, f"it could not be sent: {printable(error, 300)}")
        writes.sent = True
        rung.progress("what it writes after it", time.monotonic() + rung.times.after_s)
        _watch(
            rung,
            writes,
            max(rung.times.after_s, CONSOLE_HELD_S if step.means is Means.SERIAL else 0),
        )
    if writes.prove:
        rung.note("the guest wrote nothing before, and writes now", Level.GOOD)
    return _thaw_behind(rung, writes)


def _watch(rung: RungContext, writes: Writes, seconds: float) -> bool:
    """Watch what the guest writes; return False if the rung is cancelled."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not rung.pause(LOOK_EVERY_S):
            return False
        writes.saw(rung.look().written_bytes)
    return True


def _press(rung: RungContext, step: Step, cleanup: ExitStack) -> None:
    if step.means is not Means.SERIAL:
        _buttons(rung).press(SYSRQ_J)
        rung.note("Alt+SysRq+J was pressed")
        return
    serial = _console(rung, step)
    channel = connect_serial(serial, rung.serving_vm)
    cleanup.callback(channel.close)
    _break(rung, serial, channel)
    rung.note(f"a break and the letter j were sent to {printable(serial.label, 60)}")


def _console(rung: RungContext, step: Step) -> Serial:
    """Find the console again: another client may have connected to it meanwhile."""
    assert rung.access.monitor is not None, "the ladder has seen it"
    found = find_inputs(rung.access.monitor, rung.access.vm).console(step.serial)
    problem = found.problem if isinstance(found, Serial) else found
    if problem is not None or not isinstance(found, Serial):
        raise MonitorError(str(problem))
    return found


def _break(rung: RungContext, serial: Serial, channel: Channel) -> None:
    assert rung.access.monitor is not None, "the ladder has seen it"
    MonitorButtons(rung.access.monitor).do(Ask("chardev-send-break", {"id": serial.label}))
    channel.send(LETTER, time.monotonic() + ASK_S)


def _buttons(rung: RungContext) -> Buttons:
    buttons = rung.access.buttons
    assert buttons is not None, "the ladder has seen them"
    return buttons


def _thaw_behind(rung: RungContext, writes: Writes) -> RescueOutcome:
    """Thaw as soon as an agent answers: its count tells what SysRq did, and its flag is cleared."""
    if not rung.access.has_agent or rung.cancelled:
        return _by_writes(rung, writes, "no agent was asked")
    if rung.beside:
        return _by_writes(rung, writes, "the thaw that is queued at its agent is waited for")
    view = rung.await_port(time.monotonic() + rung.times.agent_s)
    if view.client:
        return _by_writes(rung, writes, "somebody else holds the agent's channel")
    if view.port_open is False or view.gone or rung.cancelled:
        return _by_writes(rung, writes, "no agent has come back yet")
    thaw = rung.thaw(rung.times.agent_s)
    if not thaw.ok:
        return _by_writes(rung, writes, "no agent has answered a thaw yet")
    if thaw.thawed:
        reason = f"SysRq had done nothing ({_NOT_ALLOWED}); the agent thawed {count(thaw.thawed)}"
    elif thaw.thawed is None:
        reason = thaw.reason
    else:
        reason = "thawed: the agent found nothing that was still frozen"
    return rung.outcome(RungResult.THAWED, reason, state=FreezeState.THAWED, thawed=thaw.thawed)


def _by_writes(rung: RungContext, writes: Writes, agent: str) -> RescueOutcome:
    if writes.prove:
        reason = (
            f"the guest writes again; {agent}, and one that comes will say frozen until it is "
            "thawed once more"
        )
        step = None if rung.beside else rescue_command(rung.access.vm, Rung.WAIT)
        return replace(rung.outcome(RungResult.WRITES, reason), next=step)
    if rung.cancelled:
        return rung.stopped(f"SysRq was sent; {writes.why_not}")
    return rung.outcome(RungResult.UNKNOWN, f"{writes.why_not} ({_NOT_ALLOWED}); {agent}")


# -- the reset ---------------------------------------------------------------------------------


def reset(rung: RungContext) -> RescueOutcome:
    """Reset the guest, and watch until its agent is back."""
    watch = PortWatch(rung.look(), time.monotonic())
    try:
        _buttons(rung).reset()
    except MonitorError as error:
        reason = f"the reset may not have been done: {printable(error, 300)}"
        return rung.outcome(RungResult.FAILED, reason)
    rung.reporter.frozen(FreezeState.THAWED, foreign=False)
    view = _follow(rung, watch)
    reason = f"the guest was reset: {_what_was_seen(rung, watch, view)}"
    outcome = rung.outcome(RungResult.RESET, reason, state=FreezeState.THAWED)
    ours = rung.access.has_agent and not rung.beside
    if view.port_open and ours and not rung.cancelled:
        # Clears the agent's flag if it has outlived the reset; else no thaw is sent.
        rung.thaw(rung.times.agent_s, ask=True)
    step = RELEASED_BY.get(view.run_state)
    return replace(outcome, next=step)


def _follow(rung: RungContext, watch: PortWatch) -> MonitorView:
    """Watch a guest that starts again; return the last look."""
    now = time.monotonic()
    ends_at = now + rung.times.boot_s
    shows_by = now + RESET_SHOWS_S
    rung.progress("the guest to start anew", ends_at)
    while now < ends_at and rung.pause(LOOK_EVERY_S):
        view = rung.look()
        now = time.monotonic()
        for change in watch.on_look(now, view):
            rung.reporter.event(
                ReportEvent(EventKind.PORT, Level.INFO, CHANGE_TEXT.get(change, change))
            )
        unseen = not watch.changes and view.port_open is not False and now > shows_by
        if unseen or _has_ended(watch, view):
            break
    return watch.view


def _has_ended(watch: PortWatch, view: MonitorView) -> bool:
    """Return whether there is nothing more to wait for."""
    if view.gone or view.run_state is RunState.SHUTDOWN or watch.blocked:
        return True
    anew = {Change.RESET, Change.DEVICE_RESET, Change.OPENED, Change.RESTARTED}
    return view.port_open is True and not anew.isdisjoint(watch.changes)


def _what_was_seen(rung: RungContext, watch: PortWatch, view: MonitorView) -> str:
    if view.gone or view.run_state is RunState.SHUTDOWN:
        return "the VM has ended with it, as it was started to do"
    seconds = in_words(time.monotonic() - rung.began_at)
    parts = []
    if Change.CLOSED in watch.changes:
        parts.append("its port closed")
    if view.port_open and Change.OPENED in watch.changes:
        parts.append(f"an agent opened its port after {seconds}")
    elif view.port_open is False:
        parts.append(f"no agent has opened its port within {seconds}")
    if not watch.changes:
        parts.append("QEMU said so, and nothing else shows it here")
    return ", ".join([*parts, f"it is {view.run_state}"])
