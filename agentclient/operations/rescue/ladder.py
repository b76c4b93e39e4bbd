"""Decides which rungs of the rescue ladder make sense for a VM now, and why not. Pure, no I/O.

A rung that is *impossible* is also refused when it is taken
(`agentclient.operations.rescue.agent_rungs`). One that makes no sense *now* can still be taken:
what is known here is a moment old, and a person may know more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from agentclient.access.guest_inputs import Inputs, Serial
from agentclient.freeze.port_watch import BLOCKED_STATES, RELEASED_BY
from agentclient.model.durations import in_words
from agentclient.model.json_contract import SCHEMA, JsonObject
from agentclient.model.rescue import Means, RescueTimes, Rung, Step
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import AgentState, FreezeState, Phase, RunState
from agentclient.model.text import printable
from agentclient.model.vm import VmId

# An agent that has not answered for so many seconds may hang.
HANGS_S: Final = 10.0
NO_CONNECTION: Final = (
    "its hypervisor holds the agent's channel all the time, so that a connection releases nothing"
)
_ENDED: Final = frozenset({RunState.SHUTDOWN, RunState.PANICKED})


@dataclass(frozen=True, slots=True)
class LadderFacts:
    """What is known of a VM when its ladder is made.

    Attributes:
        state: the fleet's state of it; its agent may have been asked some seconds ago.
        view: the monitor's view, just taken.
        inputs: its keyboards and serial ports.
        has_monitor: whether something can be pressed at it without its agent.
        serial: the label of its console, as a person named it.
        tried: the rungs that were taken already without success.
        read_only: why nothing may be sent, as a clause; None if something may.
        in_flight: this console's operation in flight on it, ``"freeze"``; None if none.
        waited_s: how long that operation has waited for the agent's reply, in seconds.
        doubt: why its monitor may be another VM's, as a clause; None if nothing indicates that.
        no_connection: why no connection to its agent can be made, as a clause; None if one can.
    """

    state: VmState
    view: MonitorView
    inputs: Inputs = field(default_factory=Inputs)
    has_monitor: bool = True
    serial: str | None = None
    tried: frozenset[Rung] = frozenset()
    read_only: str | None = None
    in_flight: str | None = None
    doubt: str | None = None
    waited_s: float = math.inf
    no_connection: str | None = None

    @property
    def run_state(self) -> RunState:
        """The VM's run state."""
        known = self.view.run_state is not RunState.UNKNOWN
        return self.view.run_state if known else self.state.run_state

    @property
    def silent(self) -> bool:
        """Whether its agent was asked, and did not answer."""
        return self.state.agent.state is AgentState.SILENT

    @property
    def thawed(self) -> bool:
        """Whether its agent said that nothing is frozen."""
        return self.state.freeze.state is FreezeState.THAWED


@dataclass(frozen=True, slots=True)
class Offer:
    """One rung as offered: what it would do, its risk, and whether it makes sense now.

    Attributes:
        step: the rung, and the way to do it.
        does: what it would do, as a sentence.
        risk: its risk, as a sentence.
        why_not: why it makes no sense now, as a clause; None if it does.
        possible: False where it can't be taken at all.
    """

    step: Step
    does: str
    risk: str
    why_not: str | None = None
    possible: bool = True

    @property
    def sensible(self) -> bool:
        """Whether it makes sense now."""
        return self.why_not is None

    @property
    def title(self) -> str:
        """The rung's name, with the way to do it where there are several."""
        return title(self.step)


def offer_object(vm: VmId, offer: Offer) -> JsonObject:
    """Return an offered rung as JSON: a line of ``frostwatch rescue --json``."""
    return {
        "schema": SCHEMA,
        "vm": str(vm),
        "rung": offer.step.rung.value,
        "by": offer.step.means.value if offer.step.means else None,
        "serial": offer.step.serial,
        "sensible": offer.sensible,
        "possible": offer.possible,
        "why_not": offer.why_not,
        "does": offer.does,
        "risk": offer.risk,
    }


def title(step: Step) -> str:
    """Return the name of a step's rung, with the way to do it where there are several."""
    if step.serial is not None:
        return f"{step.rung} at {printable(step.serial, 20)}"
    return f"{step.rung} by {step.means}" if step.means else str(step.rung)


def ladder(known: LadderFacts, times: RescueTimes | None = None) -> tuple[Offer, ...]:
    """Return all rungs from the foot of the ladder, SysRq once for each of its ways.

    Where the guest's console is not known, each serial port is offered: a person may know it.
    """
    times = times or RescueTimes()
    offers = []
    for step in _steps(known):
        impossible = _impossible(known, step)
        why_not = impossible or _unwise(known, step)
        does, risk = describe(step, times)
        locked = known.state.vm.locked_by
        if locked and step.rung is not Rung.CONNECT:
            risk = f"{risk} Its manager is at work on it ({printable(locked, 60)})."
        if known.state.held_by is not None and step.rung is not Rung.CONNECT:
            risk = f"{risk} It is {printable(known.state.held_by, 100)}."
        offers.append(Offer(step, does, risk, why_not, impossible is None))
    return tuple(offers)


def next_offer(offers: Iterable[Offer], tried: Collection[Rung] = ()) -> Offer | None:
    """Return the lowest rung that makes sense and was not taken yet; None if there is none."""
    return next((one for one in offers if one.sensible and one.step.rung not in tried), None)


def _steps(known: LadderFacts) -> tuple[Step, ...]:
    found: list[str | None] = [one.label for one in known.inputs.serials]
    if known.serial is not None:
        found = [known.serial]
    return (
        Step(Rung.CONNECT),
        Step(Rung.THAW),
        Step(Rung.WAIT),
        Step(Rung.SYSRQ, Means.KEY),
        *(Step(Rung.SYSRQ, Means.SERIAL, label) for label in found or [None]),
        Step(Rung.RESET),
    )


# -- what each rung does -----------------------------------------------------------------------


def describe(step: Step, times: RescueTimes) -> tuple[str, str]:
    """Return what a step does and its risk, a sentence or two each."""
    return _does(step, times), _RISKS[step.rung]


def _does(step: Step, times: RescueTimes) -> str:
    match step.rung:
        case Rung.CONNECT:
            hold = in_words(times.hold_s)
            return (
                f"Connects to the agent's channel and holds it for {hold} without a byte, which "
                "releases an agent that can't get rid of an answer; then asks it for its status."
            )
        case Rung.THAW:
            return (
                "Sends the agent an ordinary thaw and checks the status after it; at most "
                f"{in_words(times.thaw_s)}."
            )
        case Rung.WAIT:
            return (
                f"Waits up to {in_words(times.wait_s)} for an agent to come back, then thaws: "
                "for somebody who can start it inside the guest."
            )
        case Rung.SYSRQ if step.means is Means.SERIAL:
            return f"Sends a break and the letter j to the guest's serial console: {_AFTER_SYSRQ}"
        case Rung.SYSRQ:
            return f"Presses Alt+SysRq+J on the guest's keyboard: {_AFTER_SYSRQ}"
        case Rung.RESET:
            return "Resets the VM as its reset button does: after it nothing is frozen."


_AFTER_SYSRQ: Final = (
    "its kernel thaws everything, if kernel.sysrq there is 1 or has bit 64 (Debian's default, 438, "
    "has not). Whether it worked is told by its writes, or by a thaw once an agent answers."
)
_WINDOW: Final = (
    "Breaks the window of whoever froze it: a backup that is being taken now comes out "
    "inconsistent."
)
_RISKS: Final = {
    Rung.CONNECT: "Takes an answer that was meant for somebody who has left.",
    Rung.THAW: _WINDOW,
    Rung.WAIT: _WINDOW,
    Rung.SYSRQ: f"{_WINDOW} What is no Linux may take the keys for others.",
    Rung.RESET: (
        "Everything that runs in the guest is lost, and what it had not written to its disks."
    ),
}


# -- what can't be done, and what makes no sense -------------------------------------------------


def _impossible(known: LadderFacts, step: Step) -> str | None:
    """Return why a step can't be taken at all, as a clause; None if it can."""
    if known.read_only is not None:
        return known.read_only
    busy = _in_flight(known, step)
    if busy is not None:
        return busy
    if known.view.gone:
        return "the VM does not run: nothing in it is frozen"
    if known.run_state is RunState.MIGRATED:
        return "the VM has migrated away: its guest runs elsewhere"
    if known.run_state is RunState.MIGRATING:
        return f"the VM is migrating: {RELEASED_BY[RunState.MIGRATING]}"
    if step.rung is Rung.RESET:
        return _no_monitor(known)
    if known.run_state in _ENDED:
        return f"the guest is {known.run_state}: nothing in it answers"
    if known.run_state in BLOCKED_STATES:
        return f"the VM is {known.run_state}: {RELEASED_BY[known.run_state]}"
    return _no_sysrq(known, step) if step.rung is Rung.SYSRQ else _no_channel(known, step.rung)


def _in_flight(known: LadderFacts, step: Step) -> str | None:
    """Return why a step can't be taken beside the operation in flight, as a clause; None if it can.

    A rung that needs no agent is meant for a freeze or a thaw that hangs.
    """
    what, progress = known.in_flight, known.state.progress
    if what is None:
        return None
    if step.bypasses_agent and what != "rescue" and progress is not None:
        if what == "freeze" and progress.sent_at is None:
            return "its freeze is being prepared, and was not sent yet: stop it first"
        return "it is held: thaw it first" if progress.phase is Phase.HELD else None
    if progress is not None and progress.cancelled:
        return "its own thaw is queued behind the freeze already, and does the same"
    return f"a {what} of this VM is in flight: stop waiting for it first"


def _no_channel(known: LadderFacts, rung: Rung) -> str | None:
    vm = known.state.vm
    if vm.out_of_reach is not None:
        return f"its agent's channel is out of reach: {printable(vm.out_of_reach, 120)}"
    if not vm.has_agent:
        return "no agent channel is configured"
    if rung is Rung.CONNECT and known.no_connection is not None:
        return known.no_connection
    if known.view.client:
        held = known.state.held_by
        who = f"it is {printable(held, 100)}" if held else "somebody else holds the agent's channel"
        return f"{who}, and may be about to be thawed" if held else f"{who}, and may thaw it"
    if known.view.port_open is False and rung is not Rung.WAIT:
        return "no agent runs (port closed)"
    return None


def _no_sysrq(known: LadderFacts, step: Step) -> str | None:
    if _no_monitor(known) is not None:
        return _no_monitor(known)
    if step.means is Means.SERIAL:
        if known.inputs.no_break is not None:
            return known.inputs.no_break
        console = known.inputs.console(step.serial)
        return console.problem if isinstance(console, Serial) else console
    return "the VM has no keyboard" if known.inputs.keyboard is False else None


def _no_monitor(known: LadderFacts) -> str | None:
    if known.has_monitor:
        return known.doubt
    return known.state.vm.no_monitor or "it has no monitor"


def _unwise(known: LadderFacts, step: Step) -> str | None:
    """Return why a step that can be taken makes no sense now, as a clause; None if it does."""
    if known.thawed:
        return "nothing is frozen, as its agent said"
    if step.rung is Rung.CONNECT:
        return None
    held = known.state.held_by
    ends = held is None or (held.ended and not held.kept)
    if held is not None and held.state is FreezeState.FROZEN and not ends:
        return f"it is {printable(held, 100)}: wait for that, or end it there"
    if known.in_flight is not None:
        soon = known.waited_s < HANGS_S
        return f"its agent has had {known.waited_s:.0f} s, and may answer yet" if soon else None
    if step.rung is Rung.THAW:
        return "its agent does not answer: wait for it" if known.silent else None
    agent_there = known.view.port_open is not False and known.state.vm.has_agent
    untried = Rung.THAW not in known.tried
    if agent_there and not known.silent and untried and not known.view.client:
        return "an agent may be there: a thaw comes first"
    several = known.serial is None and len(known.inputs.serials) > 1
    if step.means is Means.SERIAL and several:
        return "whether it is the guest's console can't be told from here"
    return None
