"""The refusals of a freeze that don't depend on an answer of the guest."""

from __future__ import annotations

from agentclient.access.guest_access import GuestAccess
from agentclient.freeze.coverage import Coverage
from agentclient.freeze.port_watch import RELEASED_BY
from agentclient.freeze.verdict import refused
from agentclient.freeze.window import WINDOWS_S
from agentclient.holder.client import NoHolder
from agentclient.model.durations import in_words
from agentclient.model.next_command import freeze_command, start_word
from agentclient.model.next_step import step_while_held
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import HeldBy, MonitorView
from agentclient.model.states import Refusal, RunState
from agentclient.model.text import printable
from agentclient.model.vm import Vm

CANCELLED = "cancelled before the freeze was sent"
# Another VM may have taken its place meanwhile, with the same name and sockets (P6).
GONE = "the VM that was meant has gone: its process has ended, or another has its sockets"

_BY_RUN_STATE = {
    RunState.PAUSED: Refusal.PAUSED,
    RunState.IO_ERROR: Refusal.PAUSED,
    RunState.SUSPENDED: Refusal.SUSPENDED,
    RunState.MIGRATING: Refusal.MIGRATING,
}


def refuse_by_configuration(access: GuestAccess, vm: Vm, listed: Vm) -> Outcome | None:
    """Return the refusal that follows from the configuration, or None; nothing is asked.

    Args:
        access: the access to the VM.
        vm: the VM, as it was when the freeze was asked for.
        listed: the VM as its source lists it now: it may have been locked since.
    """
    if access.is_another(vm):
        return refused(Refusal.NO_AGENT, GONE, "see where it is: frostwatch list")
    if listed.freeze_disabled:
        return refused(Refusal.DISABLED, f"freezing is disabled: {listed.freeze_disabled}")
    if listed.locked_by:
        reason = f"the VM is locked by {listed.locked_by}: its manager is at work on it"
        return refused(Refusal.LOCKED, reason, "wait until it has finished")
    if not access.has_agent:
        return refused(
            Refusal.NO_AGENT, "no agent channel is configured", "add one, and install the agent"
        )
    return None


def refuse_by_look(view: MonitorView, vm: Vm | None = None) -> Outcome | None:
    """Return the refusal that follows from the monitor's view, or None.

    Args:
        view: the monitor's.
        vm: the VM, for what is to be done with its agent; None where nobody is told that.
    """
    if view.gone:
        return refused(Refusal.NO_AGENT, "the VM does not run: its process has ended")
    refusal = _BY_RUN_STATE.get(view.run_state)
    if refusal is not None:
        step = RELEASED_BY[view.run_state]
        return refused(refusal, f"the VM is {view.run_state}: it could not answer", step)
    if view.run_state is RunState.MIGRATED:
        return refused(Refusal.MIGRATING, "the VM has migrated away: its guest runs elsewhere")
    if view.run_state in (RunState.SHUTDOWN, RunState.PANICKED):
        return refused(Refusal.NO_AGENT, f"the guest is {view.run_state}", "start or reset it")
    if view.port_open is False:
        reason = "the agent's port is closed: no agent runs in the guest"
        step = f"{start_word(vm)} qemu-guest-agent in the guest"
        return refused(Refusal.NO_AGENT, reason, step)
    if view.client:
        reason = "another client holds the agent's channel (QEMU serves one), and does not leave"
        return refused(Refusal.BUSY, reason, "wait until it has left; lsof or ss -xp names it")
    return None


def held_elsewhere(held: HeldBy, vm: Vm) -> Outcome:
    """Return the refusal of a freeze while another frostwatch works on the guest."""
    reason = f"another frostwatch is at work on it: {held}"
    return refused(Refusal.BUSY, reason, step_while_held(held, vm))


def cancelled() -> Outcome:
    """Return the outcome of a freeze that was cancelled before it was sent."""
    return refused(Refusal.CANCELLED, CANCELLED)


def no_long_hold(request: FreezeRequest, coverage: Coverage | None) -> Outcome | None:
    """Return the refusal of a hold that the guest would end by itself (Windows); None if it is not.

    Args:
        request: the request; it may carry a person's decision to hold all the same.
        coverage: what is known of the guest; None if nothing.
    """
    hold_s = request.schedule.hold_s
    windows = coverage is not None and coverage.windows
    if not windows or hold_s <= WINDOWS_S or request.long_hold:
        return None
    reason = (
        f"it is a Windows guest: its shadow copy lets writes go after {WINDOWS_S:g} s, so that a "
        f"hold of {in_words(hold_s)} would end broken; the freeze was not sent"
    )
    step = f"with --hold {WINDOWS_S:g}s, or with --yes if that is meant"
    return refused(Refusal.NOT_BEGUN, reason, step)


def no_remote_hold(request: FreezeRequest, vm: Vm) -> Outcome | None:
    """Return the refusal of a freeze on a host where nobody stands by; None if it is not refused.

    Args:
        request: the request; it may carry a person's decision to freeze all the same.
        vm: the VM.
    """
    if vm.far is None or request.remote_hold:
        return None
    host = printable(vm.far.name, 80)
    reason = (
        f"it runs on {host}: nobody there would thaw it if the link to {host} were cut while it is "
        "frozen; the freeze was not sent"
    )
    step = f"if you could do it there yourself ({vm.far.thaw}): {freeze_command(vm)}"
    return refused(Refusal.HOLDER, reason, step)


def no_holder(error: NoHolder) -> Outcome:
    """Return the refusal of a freeze without a holder that would thaw if this process died."""
    reason = f"nobody would thaw the guest if frostwatch died: {error}"
    return refused(Refusal.HOLDER, reason)
