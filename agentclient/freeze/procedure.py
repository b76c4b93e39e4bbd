"""The freeze and the thaw that follows it, as one pure machine: no freeze without its thaw (P4).

The procedure passes everything that happens to both machines, begins the thaw when the freeze may
have run, and passes the thaw's report to the freeze's judgement.
"""

from __future__ import annotations

from collections.abc import Callable

from agentclient.freeze import freeze_texts as texts
from agentclient.freeze.effects import Effect, NewTicket, ReportEvent
from agentclient.freeze.freeze_machine import FreezeMachine
from agentclient.freeze.freeze_plan import FreezePlan, FreezeStage
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.model.events import EventKind
from agentclient.model.instruction import Asked, Extension, Instruction, Instructions
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import MonitorView, Progress
from agentclient.model.states import ENDS, Cause, FreezeState, Level, Stuck
from agentclient.model.vm import Vm
from agentclient.protocol.qga_events import WireEvent


class FreezeProcedure:
    """One freeze from its sending to the end of its thaw.

    The outcome is final: what happens after it changes nothing, and is not told.

    Args:
        vm: the VM.
        plan: what is to be frozen.
        new_ticket: numbers for the requests.
        now: seconds of the monotonic clock.
        can_hand_over: the driver hands over to a holder what was not acknowledged to be thawed,
            before the outcome is concluded (see `unsettled`).
        follows: the driver looks for a VM that has left its process, before the outcome is
            concluded (see `wants_target`).

    Attributes:
        freeze: the freeze's machine.
        thaw: the thaw's machine; None until the thaw begins.
        unsettled: the report of a thaw that was not acknowledged, until `on_handed_over` is called.
        group_error: is called when the outcome is concluded, and returns why the freeze's
            group was not frozen together; None if it was, or if there is no group.
        wants_target: the VM has left its process, perhaps for another one: the driver looks for
            that one, and calls `on_target_searched`.
        wants_keep: the operator leaves the window to the holder: the driver tells that, and calls
            `on_kept`.
    """

    def __init__(
        self,
        vm: Vm,
        plan: FreezePlan,
        new_ticket: NewTicket,
        now: float,
        *,
        can_hand_over: bool = False,
        follows: bool = False,
    ) -> None:
        self._vm = vm
        self._can_hand_over = can_hand_over
        self.unsettled: ThawReport | None = None
        self._schedule = plan.schedule
        self._ticket = new_ticket
        self.freeze = FreezeMachine(plan, new_ticket, now)
        self._judgement = self.freeze.judgement
        self.group_error: Callable[[], str | None] = lambda: None
        self.thaw: ThawMachine | None = None
        self._broke: str | None = None
        self._broke_pending = False
        self._taken_over = False
        self._follows = follows
        self.wants_target = False
        self.wants_keep = False

    @property
    def outcome(self) -> Outcome | None:
        """The outcome; None until everything has ended."""
        return self._judgement.outcome

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        return self.thaw.wakes_at if self.thaw else self.freeze.wakes_at

    @property
    def watch_every_s(self) -> float:
        """How often the monitor should be looked at."""
        return self.freeze.watch_every_s

    @property
    def wants_look(self) -> bool:
        """Whether a conclusion waits for nothing but a look at the monitor."""
        return self.freeze.wants_look

    @property
    def done(self) -> bool:
        """Whether everything has ended: the outcome is there."""
        return self.outcome is not None

    def start(self, now: float) -> list[Effect]:
        """Send the freeze."""
        return self.freeze.start(now)

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        if self.outcome is not None:
            return []
        effects = self.freeze.on_reply(now, event)
        if self.thaw is not None:
            self._free_thaw(now, self.thaw)
            effects += self.thaw.on_reply(now, event)
        return effects + self._hand_over(now)

    def on_look(self, now: float, view: MonitorView) -> list[Effect]:
        """Take one look at the monitor."""
        if self.outcome is not None:
            return []
        before = len(self.freeze.watch.changes)
        effects = self.freeze.on_look(now, view)
        if self.thaw is not None:
            self._free_thaw(now, self.thaw)
            effects += self.thaw.on_changes(now, self.freeze.watch.changes[before:])
        return effects + self._hand_over(now)

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if self.outcome is not None:
            return []
        effects = self.freeze.on_tick(now)
        if self.thaw is not None:
            effects += self.thaw.on_tick(now)
        return effects + self._hand_over(now)

    def on_flood(self, now: float, text: str) -> list[Effect]:
        """Take that nothing but noise comes through the channel."""
        if self.outcome is not None:
            return []
        return self.freeze.on_flood(now, text) + self._hand_over(now)

    def on_stream_ended(
        self, now: float, text: str, *, gone: bool | None, cause: Cause = Cause.CHANNEL_BROKEN
    ) -> list[Effect]:
        """Take that the channel broke: another one is wanted; see `Machine.on_stream_ended`."""
        if self.outcome is not None:
            return []
        if gone:
            self.freeze.watch.on_gone()
        elif cause in ENDS:
            cause = Cause.CHANNEL_BROKEN  # that the VM has ended is told, and not proven (P9)
        # The freeze may still run in the guest: its thaw waits as long as the freeze would have.
        pending = self._judgement.awaits_answer
        self._broke_pending = self._broke_pending or pending
        self._broke = text
        thawing, succeeded = self.thaw, self._judgement.seen.succeeded
        effects = self.freeze.on_stream_ended(now, text, cause)
        if thawing is not None:
            thawing.freeze_succeeded = succeeded
            effects += thawing.on_stream_ended(now, text, gone=gone, cause=cause)
        return effects + self._hand_over(now)

    def wants_connection(self, now: float) -> bool:
        """Whether a try to connect is due; see `on_connected` and `on_connect_failed`."""
        return self.thaw is not None and self.thaw.wants_connection(now)

    def on_connected(self, now: float) -> list[Effect]:
        """Take that another channel to the same guest was opened."""
        self._broke = None
        effects = self.thaw.on_connected(now) if self.thaw is not None else []
        return effects + self._hand_over(now)

    def on_connect_failed(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """Take that no channel could be opened; see `Machine.on_connect_failed`."""
        effects = self.thaw.on_connect_failed(now, text, gone=gone) if self.thaw is not None else []
        return effects + self._hand_over(now)

    def on_taken_over(
        self, now: float, why: str, report: ThawReport, *, over: bool
    ) -> list[Effect]:
        """Take that the holder took the channel over and thawed: conclude with its report.

        Args:
            now: seconds of the monotonic clock.
            why: why the holder took over, one clause.
            report: what the holder's thaw came to.
            over: the hold had ended before that.
        """
        short = f"the hold was cut short: the holder thawed it, since {why}"
        effects = [] if over else self.freeze.break_window(now, short)
        text = f"the holder took over, since {why}; what it found: {report.reason}"
        report_event = ReportEvent(EventKind.NOTE, Level.WARNING, text)
        self._taken_over = True
        return [report_event, *effects, *self._ended(now, report)]

    def on_handed_over(self, now: float, report: ThawReport) -> list[Effect]:
        """Take that the guest was handed over, or that nobody could take it: conclude the outcome.

        Args:
            now: seconds of the monotonic clock.
            report: `unsettled`, with the holder that thaws now.
        """
        self.unsettled = None
        return self.freeze.on_thawed(
            now, report, taken=self._taken_over, group_error=self.group_error()
        )

    def on_target_searched(self, now: float, report: ThawReport | None) -> list[Effect]:
        """Take that the driver has looked for the process in which the VM runs now.

        Args:
            now: seconds of the monotonic clock.
            report: what the thaw there came to; None if no such process was found.
        """
        self.wants_target = False
        if report is None or self._judgement.outcome is not None:
            return self._hand_over(now)
        self.freeze.watch.cause = Cause.MIGRATED
        return self.freeze.on_thawed(now, report, group_error=self.group_error())

    def on_kept(self, now: float, holder: int | None) -> list[Effect]:
        """Take that the holder holds the window from now on; or that it does not, None."""
        self.wants_keep = False
        window = self.freeze.window
        if holder is None or window is None:
            return [texts.not_kept("its holder has not taken it")]
        self.freeze.stage = FreezeStage.DONE
        return [self._judgement.on_kept(now, holder, window.ends_at - now)]

    def on_instruction(self, now: float, instruction: Instructions) -> list[Effect]:
        """Do what the operator asks."""
        if isinstance(instruction, Asked):
            return self._asked(now, instruction)
        if instruction is Instruction.KEEP:
            held = self.freeze.stage is FreezeStage.HELD and self.thaw is None
            self.wants_keep = held and self._judgement.can_be_kept
            return [] if self.wants_keep else [texts.not_kept("no verified window is open")]
        if isinstance(instruction, Extension):
            return self.freeze.extend_hold(instruction.seconds)
        if instruction is Instruction.END_HOLD:
            return self.freeze.end_hold(now) + self._hand_over(now)
        effects = self.freeze.cancel(now) + self._hand_over(now)
        if instruction is Instruction.GIVE_UP:
            effects += self._give_up(now)
        return effects

    def _asked(self, now: float, asked: Asked) -> list[Effect]:
        """Do what another process asks through the holder, and tell who that is."""
        if asked.longer_s is not None:
            return [texts.asked(asked), *self.freeze.extend_hold(asked.longer_s)]
        if self.thaw is not None:
            return []
        self._judgement.asked_by = asked.by
        return [texts.asked(asked), *self.on_instruction(now, Instruction.CANCEL)]

    def progress(self, now: float) -> Progress:
        """Return how far the operation is, for the screen."""
        freeze, thaw, window = self.freeze, self.thaw, self.freeze.window
        waiting_for = texts.waiting_for(freeze.stage, freeze.watch)
        return Progress(
            what="freeze",
            phase=texts.phase(freeze.stage, freeze.watch, window),
            waiting_for=thaw.waiting_for if thaw else waiting_for,
            started_at=freeze.schedule.sent_at,
            step=freeze.schedule.step,
            steps=self._schedule.steps,
            sent_at=freeze.schedule.sent_at,
            step_ends_at=None if thaw or window else freeze.schedule.step_ends_at,
            # A cancelled freeze that is pending is waited for as long as before, and no longer.
            ends_at=freeze.schedule.ends_at if thaw is None or self._waits(now) else thaw.ends_at,
            heard_at=freeze.heard_at,
            held_since=window.since if window else None,
            hold_ends_at=window.ends_at if window else None,
            # Whole seconds, so that a state is not written anew at each look.
            blocked_s=float(int(freeze.watch.blocked_s(now))),
            read=freeze.watch.read,
            written_bytes=window.written_bytes if window else freeze.watch.written_bytes,
            frozen=self._judgement.seen.frozen,
            verdict=self._judgement.verdict,
            cancelled=self._judgement.cancelled,
        )

    def _waits(self, now: float) -> bool:
        """Whether the freeze's own reply is still waited for."""
        return self._judgement.awaits_answer and now < self.freeze.schedule.ends_at

    @property
    def state(self) -> FreezeState | None:
        """The state of the file systems, as far as evidence goes."""
        outcome = self._judgement.outcome
        if outcome is not None:
            return FreezeState.THAWED if outcome.settled else None
        if self.thaw is not None:
            return FreezeState.THAWING
        return FreezeState.FROZEN if self.freeze.stage is FreezeStage.HELD else FreezeState.FREEZING

    def _hand_over(self, now: float) -> list[Effect]:
        """Begin the thaw when the freeze asks for it; end when the thaw has reported.

        Why a freeze is lost may come to be known until then.
        """
        effects: list[Effect] = [*self._judgement.on_cause(now)]
        if self.freeze.stage is FreezeStage.RELEASED and self.thaw is None:
            self.thaw = ThawMachine(self._thaw_plan(now), self.freeze.watch, self._ticket, now)
            effects += self.thaw.start(now)
        report = self.thaw.report if self.thaw is not None else None
        if report is not None and self._judgement.outcome is None and self.unsettled is None:
            effects += self._ended(now, report)
        return effects

    def _ended(self, now: float, report: ThawReport) -> list[Effect]:
        elsewhere = self.freeze.watch.cause in (Cause.MIGRATED, Cause.VM_GONE)
        if self._follows and elsewhere and not self._taken_over:
            self._follows, self.wants_target = False, True
        if self.wants_target:
            return []
        hopeless = report.stuck in (Stuck.MIGRATED, Stuck.PANICKED)  # no holder could thaw it
        if self._can_hand_over and not report.settled and not hopeless:
            self.unsettled = report
            return []
        return self.freeze.on_thawed(
            now, report, taken=self._taken_over, group_error=self.group_error()
        )

    def _thaw_plan(self, now: float) -> ThawPlan:
        freeze = self.freeze
        # A cancelled freeze that is still pending may take its whole schedule before the thaw runs.
        may_run = self._broke_pending or self._judgement.awaits_answer
        return ThawPlan(
            vm=str(self._vm.id),
            command=thaw_command(self._vm, foreign=False),
            timeout_s=self._schedule.thaw_timeout_s,
            patience_s=max(0.0, freeze.schedule.ends_at - now) if may_run else 0.0,
            connected=self._broke is None,
            clean=not self._judgement.seen.pending and not freeze.watch.ever_closed,
            after_reset=freeze.watch.reset,
            ask=freeze.watch.device_reset or freeze.watch.cause is Cause.GUEST_RESET,
            dead=self._dead(),
            freeze_succeeded=self._judgement.seen.succeeded,
        )

    def _free_thaw(self, now: float, thaw: ThawMachine) -> None:
        """Let the thaw's own bound begin once no freeze stands before the thaw any more."""
        watch = self.freeze.watch
        if self._broke_pending and watch.open is not False:
            return  # the freeze's answer was lost with its channel: the agent's next answer tells
        if not self._judgement.seen.pending or watch.ever_closed:
            thaw.on_freeze_settled(now)

    def _give_up(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._judgement.outcome is None and self.thaw is None:
            self.freeze.abandon_hold()
            effects += self._hand_over(now)
        if self.thaw is not None:
            effects += self.thaw.on_instruction(now, Instruction.GIVE_UP)
        return effects + self._hand_over(now)

    def _dead(self) -> bool:
        return self.freeze.watch.cause in (Cause.VM_GONE, Cause.GUEST_SHUTDOWN)
