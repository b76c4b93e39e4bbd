"""The rescue of a guest that is frozen while its agent is dead or silent: one rung at a time."""

from __future__ import annotations

import math
import time

from agentclient.access.guest_access import AgentKind, GuestAccess
from agentclient.access.guest_inputs import Inputs, find_inputs
from agentclient.freeze.effects import ReportEvent
from agentclient.model.events import Ended, EventKind, RungBegan
from agentclient.model.rescue import BY_ITSELF, RescueOutcome, RescueTimes, Rung, RungResult, Step
from agentclient.model.snapshot import MonitorView, Progress, VmState
from agentclient.model.states import Level, OperationKind
from agentclient.operations.context import OperationContext
from agentclient.operations.operation import WITHDRAWN, Operation
from agentclient.operations.ownership import is_provably_ours
from agentclient.operations.refusals import GONE
from agentclient.operations.rescue.agent_rungs import connect, thaw, wait
from agentclient.operations.rescue.ladder import (
    NO_CONNECTION,
    LadderFacts,
    Offer,
    describe,
    ladder,
    title,
)
from agentclient.operations.rescue.monitor_rungs import reset, sysrq
from agentclient.operations.rescue.rung import RungContext


def survey(
    access: GuestAccess,
    state: VmState,
    *,
    serial: str | None = None,
    tried: frozenset[Rung] = frozenset(),
    read_only: str | None = None,
    in_flight: str | None = None,
) -> tuple[Offer, ...]:
    """Look at the VM's monitor, and return its ladder; nothing is sent to the guest or its agent.

    Args:
        access: the access to the VM.
        state: what the fleet knows of it.
        serial: the label of its console, as a person named it.
        tried: the rungs that were taken already without success.
        read_only: why nothing may be sent, as a clause; None if something may.
        in_flight: this console's operation in flight on it; None if none.
    """
    buttons, doubt = access.buttons, access.doubt_anew()
    inputs = Inputs(trouble=doubt)
    if doubt is None and access.monitor is not None:
        inputs = find_inputs(access.monitor, access.vm)
    elif doubt is None and buttons is not None:
        inputs = Inputs(buttons.keyboard, no_break=buttons.no_break)
    view = access.observe() if doubt is None else MonitorView(problem=doubt, gone=access.is_gone())
    known = LadderFacts(
        state,
        view,
        inputs,
        buttons is not None,
        serial,
        tried,
        read_only,
        in_flight,
        doubt,
        _waited_s(state.progress),
        NO_CONNECTION if access.capabilities.kind is AgentKind.CALLS else None,
    )
    return ladder(known)


def _waited_s(progress: Progress | None) -> float:
    """Return for how many seconds a reply is awaited; infinity if none is to be waited for."""
    if progress is None or progress.cancelled or progress.verdict is not None:
        return math.inf
    since = progress.sent_at if progress.what == "freeze" else progress.started_at
    return math.inf if since is None else time.monotonic() - since


class RescueOperation(Operation[RescueOutcome]):
    """One rung of the rescue ladder, on one VM.

    Args:
        context: its collaborators.
        step: the rung.
        person: a person has decided to take it; else only a freeze of ours is thawed (P4).
        times: its bounds, in seconds.
        beside: the operation in flight that keeps the agent's channel; None if there is none.
    """

    kind = OperationKind.RESCUE

    def __init__(
        self,
        context: OperationContext,
        step: Step,
        *,
        person: bool,
        times: RescueTimes | None = None,
        beside: OperationKind | None = None,
    ) -> None:
        super().__init__(context)
        self.step = step
        self._person = person
        self._times = times or RescueTimes()
        self._beside = beside

    @property
    def bypasses_agent(self) -> bool:
        """Whether it needs no agent, so that it can run while another operation hangs on it."""
        return self.step.bypasses_agent

    # -- ways not to begin ------------------------------------------------------------------

    def busy(self, running: OperationKind) -> RescueOutcome:
        """Report that it is not taken, since another operation is in flight on its VM."""
        reason = f"not taken: a {running} of this VM is in flight; stop it first"
        return self._ended(RungResult.REFUSED, reason, None)

    def withdrawn(self) -> RescueOutcome:
        """Report that it was taken out of the queue before it began."""
        return self._ended(RungResult.CANCELLED, WITHDRAWN, None)

    def _announce(self) -> None:
        does, risk = describe(self.step, self._times)
        text = f"{title(self.step)}: {does} Risk: {risk}"
        details = RungBegan(self.step.rung, self.step.means)
        self.context.reporter.event(ReportEvent(EventKind.RUNG, Level.INFO, text, details))

    def _not_begun(self, reason: str, step: str) -> RescueOutcome:
        return self._ended(RungResult.FAILED, reason, step)

    def _crashed(self, reason: str, step: str) -> RescueOutcome:
        return self._ended(RungResult.FAILED, reason, step)

    def _ended(self, found: RungResult, reason: str, step: str | None) -> RescueOutcome:
        """Report the end of a rung that was not taken, or that a bug of ours ended."""
        outcome = RescueOutcome(
            self.vm.id, self.step.rung, self.step.means, found, None, None, reason, 0.0, step
        )
        text = f"{self.step.rung}: {reason}"
        report_event = ReportEvent(EventKind.OUTCOME, Level.WARNING, text, Ended(outcome))
        self.context.reporter.event(report_event)
        return self.context.reporter.with_meaning(outcome)

    # -- the work ----------------------------------------------------------------------

    def _read_only(self, why: str) -> RescueOutcome:
        return self._told(self._rung().refuse(why))

    def _run(self) -> RescueOutcome:
        rung = self._rung()
        return self._told(self._forbidden(rung) or self._take(rung))

    def _rung(self) -> RungContext:
        return RungContext(
            self.context,
            self.step,
            ours=is_provably_ours(self.context),
            times=self._times,
            beside=self._beside is not None,
        )

    def _told(self, outcome: RescueOutcome) -> RescueOutcome:
        text = f"{title(self.step)}: {outcome.reason}"
        level = Level.GOOD if outcome.ok else Level.WARNING
        report_event = ReportEvent(EventKind.OUTCOME, level, text, Ended(outcome))
        self.context.reporter.event(report_event)
        return outcome

    def _forbidden(self, rung: RungContext) -> RescueOutcome | None:
        """Return the refusal that follows from the configuration, or None; nothing is asked."""
        vm = self.vm
        if self.context.access.is_another(vm):
            return rung.refuse(GONE, "look for it in the list")
        if not self._person and not (self.step.rung in BY_ITSELF and rung.ours):
            return rung.refuse("a person has to decide it: it isn't provably ours")
        if self.step.rung is Rung.RESET and self.step.name != vm.name:
            return rung.refuse("a reset needs the VM's name, typed by a person")
        return None

    def _take(self, rung: RungContext) -> RescueOutcome:
        # Looked at anew, since the ladder that a person saw may be minutes old.
        step, access = self.step, self.context.access
        state = self.context.state
        offers = survey(access, state, serial=step.serial, in_flight=self._beside)
        fitting = [
            one for one in offers if (one.step.rung, one.step.means) == (step.rung, step.means)
        ]
        if len(fitting) != 1:
            return rung.refuse("which of its serial ports is meant was not said")
        (offer,) = fitting
        if not offer.possible:
            return rung.refuse(str(offer.why_not))
        if step.rung in (Rung.SYSRQ, Rung.RESET):
            why = access.unproven()
            if why is not None:
                return rung.refuse(why, "name the sockets of one VM: --vm")
        match step.rung:
            case Rung.CONNECT:
                return connect(rung)
            case Rung.THAW:
                return thaw(rung)
            case Rung.WAIT:
                return wait(rung)
            case Rung.SYSRQ:
                return sysrq(rung, offer.step)
            case Rung.RESET:
                return reset(rung)
