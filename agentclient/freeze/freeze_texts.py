"""What a freeze tells while it runs, one function for each kind of event. Pure."""

from __future__ import annotations

from typing import Final

from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.freeze_plan import FreezePlan, FreezeStage
from agentclient.freeze.port_watch import CHANGE_TEXT, RELEASED_BY, Change, PortWatch
from agentclient.freeze.verdict import LEVELS
from agentclient.freeze.window import WINDOWS_LOST, WINDOWS_S, Window
from agentclient.model.durations import in_words
from agentclient.model.events import (
    AnsweredWithError,
    Ended,
    EventKind,
    FreezeAnswered,
    FreezeSent,
    HoldExtended,
    PortChanged,
    StepBegan,
    WindowOpened,
)
from agentclient.model.instruction import Asked
from agentclient.model.outcome import Outcome
from agentclient.model.request import Schedule
from agentclient.model.states import Cause, FreezeState, Level, Phase
from agentclient.protocol.qga_events import Dropped

_PHASES: Final = {
    FreezeStage.PENDING: Phase.PENDING,
    FreezeStage.DRAINING: Phase.DRAINING,
    FreezeStage.CHECKING: Phase.VERIFYING,
    FreezeStage.VERIFYING: Phase.VERIFYING,
    FreezeStage.HELD: Phase.HELD,
    FreezeStage.RELEASED: Phase.THAWING,
    FreezeStage.DONE: Phase.DONE,
}
_WAITING_FOR: Final = {
    FreezeStage.PENDING: "the agent's answer to the freeze",
    FreezeStage.DRAINING: "a last answer in the channel",
    FreezeStage.CHECKING: "the agent's status",
    FreezeStage.VERIFYING: "the agent's status",
    FreezeStage.HELD: "the end of the hold",
    FreezeStage.RELEASED: "the thaw",
    FreezeStage.DONE: "nothing",
}
# A guest that talks nonsense without end must not fill the log (P7).
MOST_DROPS: Final = 20


def phase(stage: FreezeStage, watch: PortWatch, window: Window | None) -> Phase:
    """Return where a freeze is, in the words of the screen.

    Args:
        stage: where its machine is.
        watch: the port and the run state.
        window: the window; None if there is none.
    """
    if stage is FreezeStage.HELD and window is not None and window.at_risk:
        return Phase.AT_RISK
    if stage is FreezeStage.PENDING and watch.blocked:
        return Phase.BLOCKED
    return _PHASES[stage]


def waiting_for(stage: FreezeStage, watch: PortWatch) -> str:
    """Return what a freeze waits for, one clause."""
    if stage is FreezeStage.PENDING and watch.blocked:
        return f"the VM is {watch.run_state}: {RELEASED_BY[watch.run_state]}"
    return _WAITING_FOR[stage]


def sent(schedule: Schedule) -> ReportEvent:
    """Tell that the freeze was sent."""
    text = (
        f"freeze sent: waiting up to {in_words(schedule.total_s)} in "
        f"{schedule.steps} steps, the first {in_words(schedule.first_timeout_s)}"
    )
    return ReportEvent(EventKind.SENT, Level.INFO, text, FreezeSent(schedule.total_s))


def step(number: int, schedule: Schedule, left_s: float, watch: PortWatch) -> ReportEvent:
    """Tell that a step's time ran out, and a probe was queued.

    Args:
        number: the step that begins, from 2.
        schedule: the freeze's.
        left_s: seconds until the freeze has timed out.
        watch: the port.
    """
    read = {True: "; the agent has read it", False: "; the agent has not read it", None: ""}
    written = watch.written_bytes
    tail = "" if written is None else f"; {written} bytes written since"
    text = (
        f"no answer yet: step {number} of {schedule.steps}, a status is queued behind the "
        f"freeze; {in_words(round(left_s))} left{read[watch.read]}{tail}"
    )
    details = StepBegan(number, schedule.steps, round(left_s, 1))
    return ReportEvent(EventKind.STEP, Level.INFO, text, details)


def dropped(event: Dropped, number: int) -> ReportEvent | None:
    """Tell that something came that answers nothing; None for what is not told any more.

    Args:
        event: what came.
        number: which one it is, from 1.
    """
    if number > MOST_DROPS:
        return None
    level = Level.WARNING if event.violation else Level.DEBUG
    more = "; further ones are not told" if number == MOST_DROPS else ""
    return ReportEvent(EventKind.NOTE, level, f"dropped from the channel: {event.text}{more}")


def replied(frozen: int | None) -> ReportEvent:
    """Tell that the freeze was answered; None stands for no number."""
    said = "no number" if frozen is None else frozen
    text = f"the agent answered the freeze: {said}"
    return ReportEvent(EventKind.REPLY, Level.INFO, text, FreezeAnswered(frozen))


def failed(error: str) -> ReportEvent:
    """Tell that the freeze was answered with an error."""
    text = f"the agent answered the freeze with an error: {error}"
    return ReportEvent(EventKind.REPLY, Level.ERROR, text, AnsweredWithError(error))


def status(state: FreezeState | None) -> ReportEvent:
    """Tell that the status was answered; None stands for what can't be read."""
    return ReportEvent(EventKind.REPLY, Level.INFO, f"the agent's status: {state or 'unreadable'}")


def port_changed(change: Change, watch: PortWatch, now: float) -> ReportEvent:
    """Tell what a look at the monitor showed."""
    details = PortChanged(str(change), str(watch.run_state))
    if change is Change.BLOCKED:
        state = watch.run_state
        text = f"blocked by the host: the VM is {state}; {RELEASED_BY[state]}"
        return ReportEvent(EventKind.BLOCKED, Level.WARNING, text, details)
    if change is Change.RELEASED:
        text = f"no more blocked by the host, after {in_words(watch.blocked_s(now))}"
        return ReportEvent(EventKind.BLOCKED, Level.INFO, text, details)
    level = Level.INFO if change in (Change.OPENED, Change.HINT) else Level.WARNING
    return ReportEvent(EventKind.PORT, level, CHANGE_TEXT[change], details)


def flooded(how: str) -> ReportEvent:
    """Tell that nothing but noise comes through the channel."""
    return ReportEvent(EventKind.NOTE, Level.ERROR, how)


def broke(text: str, cause: Cause, *, held: bool = False) -> str:
    """Return the clause that says how the channel ended.

    Args:
        text: why it ended.
        cause: the cause; where it was told, `text` names it.
        held: the window was held then.
    """
    while_held = " while the freeze was held" if held else ""
    if cause is Cause.CHANNEL_BROKEN:
        return f"the channel broke{while_held}: {text}"
    return f"{text}{while_held}"


def draining() -> ReportEvent:
    """Tell that what the channel still holds is read first."""
    text = "reading what the channel still holds before anything is concluded"
    return ReportEvent(EventKind.DRAINING, Level.INFO, text)


def cancelled(left_s: float | None) -> ReportEvent:
    """Tell that the operator asked to stop waiting.

    Args:
        left_s: for how long the freeze's answer is still waited for; None if it has come.
    """
    text = "cancelled: thawing now"
    if left_s is not None:
        text = (
            "cancelled: a thaw is queued behind the freeze, and runs as soon as the agent can; "
            f"it is waited for as long as before, {in_words(round(left_s))} at the most"
        )
    return ReportEvent(EventKind.CANCELLED, Level.WARNING, text)


def extended(more_s: float, most_s: float) -> ReportEvent:
    """Tell what came of the operator's request for a longer hold.

    Args:
        more_s: how much longer it is held; 0 if it is not.
        most_s: how long a window may be held in all.
    """
    if not more_s:
        text = f"the hold is not extended: it is over, or at its most, {in_words(most_s)}"
        return ReportEvent(EventKind.NOTE, Level.WARNING, text)
    text = f"the hold is extended by {in_words(more_s)}"
    return ReportEvent(EventKind.NOTE, Level.WARNING, text, HoldExtended(more_s))


def asked(what: Asked) -> ReportEvent:
    """Tell what another process asks for, through the holder."""
    wanted = "to thaw it now"
    if what.longer_s is not None:
        wanted = f"to hold it for {in_words(what.longer_s)} more"
    return ReportEvent(
        EventKind.NOTE, Level.WARNING, f"{what.by} has asked, by its holder, {wanted}"
    )


def not_kept(why: str) -> ReportEvent:
    """Tell why the window is not left to the holder."""
    return ReportEvent(EventKind.NOTE, Level.WARNING, f"not left to its holder: {why}")


def held(hold_s: float, plan: FreezePlan) -> list[ReportEvent]:
    """Tell that the window is open, and what to beware of.

    Args:
        hold_s: seconds for which it is held at the most.
        plan: the freeze's.
    """
    text = f"held for up to {in_words(hold_s)}"
    bridge_s = plan.schedule.bridge_s
    if bridge_s:
        own = in_words(hold_s - bridge_s)
        text = f"held for {own} once its group is frozen, waited for up to {in_words(bridge_s)}"
    report_event = ReportEvent(EventKind.HELD, Level.GOOD, text, WindowOpened(hold_s))
    if plan.windows and hold_s > WINDOWS_S:
        return [report_event, ReportEvent(EventKind.NOTE, Level.WARNING, f"beware: {WINDOWS_LOST}")]
    return [report_event]


def verdict(outcome: Outcome) -> ReportEvent:
    """Tell the verdict."""
    text = f"{outcome.kind}: {outcome.reason}"
    return ReportEvent(EventKind.VERDICT, LEVELS[outcome.kind], text, Ended(outcome))


def revised(outcome: Outcome) -> ReportEvent:
    """Tell that the verdict was revised: a reply came after all, the window broke, or its group."""
    text = f"revised to {outcome.word}: {outcome.reason}"
    level = Level.WARNING if outcome.without_group else LEVELS[outcome.kind]
    return ReportEvent(EventKind.REVISED, level, text, Ended(outcome))


def ended(outcome: Outcome) -> ReportEvent:
    """Tell the outcome: everything has ended."""
    level = Level.GOOD if outcome.certified else LEVELS[outcome.kind]
    text = f"outcome: {outcome.word}: {outcome.reason}"
    if outcome.not_together and level is Level.GOOD:
        level = Level.WARNING  # by itself it was; its copy is not consistent with its group
    if not outcome.settled:
        level = Level.ERROR
    return ReportEvent(EventKind.OUTCOME, level, text, Ended(outcome))
