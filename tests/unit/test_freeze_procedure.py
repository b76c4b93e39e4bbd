"""The bounded freeze in virtual time: every branch of protocol §4's table, and one whole hour."""

from __future__ import annotations

import itertools

import pytest

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.meaning import with_meaning
from agentclient.model.request import Schedule
from agentclient.model.states import Cause, EvidenceResult, GuestIs, OutcomeKind, Phase, RunState
from agentclient.model.vm import Vm, VmId
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import VirtualGuest

FREEZE, STATUS, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-status", "guest-fsfreeze-thaw"


def test_a_quick_freeze_is_certified() -> None:
    freeze = VirtualFreeze(VirtualGuest())
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.certified, outcome.settled) == (OutcomeKind.VERIFIED, True, True)
    assert (outcome.frozen, outcome.thawed, outcome.coverage) == (2, 2, "2 of 3")
    assert [one.mountpoint for one in outcome.not_covered] == ["/boot/efi"]
    assert freeze.guest.frozen == set()


def test_the_hour_second_by_second() -> None:
    """10 min + 5 × 10 min; a status before each further step; then the thaw, and its own bound."""
    freeze = VirtualFreeze(VirtualGuest(hook_s=1e9))
    start = freeze.guest.now
    for second in range(1, 3600):
        freeze.run(1.0, step_s=1.0)
        progress = freeze.procedure.progress(freeze.guest.now)
        assert progress.phase is Phase.PENDING
        assert progress.step == second // 600 + 1
        assert progress.step_ends_at == pytest.approx(start + 600 * (second // 600 + 1))
        assert progress.ends_at == pytest.approx(start + 3600)
        assert len(freeze.asked(STATUS)) == second // 600
    assert not freeze.texts(EventKind.VERDICT)
    freeze.run(1.0, step_s=1.0)
    assert freeze.verdict.kind is OutcomeKind.TIMEOUT
    assert freeze.asked(THAW) == [pytest.approx(start + 3600)]
    assert [text.split(";")[1].strip() for text in freeze.texts(EventKind.STEP)] == [
        f"{minutes} min left" for minutes in (50, 40, 30, 20, 10)
    ]
    outcome = freeze.run_out(step_s=1.0)
    assert freeze.guest.now == pytest.approx(start + 3600 + 180)
    assert (outcome.kind, outcome.thawed, outcome.settled) == (OutcomeKind.TIMEOUT, None, False)
    assert outcome.next is not None
    assert "thaw" in outcome.next


def test_a_schedule_of_ones_own() -> None:
    schedule = Schedule(first_timeout_s=5, probe_timeout_s=2, probes=3, thaw_timeout_s=1)
    freeze = VirtualFreeze(VirtualGuest(hook_s=1e9), schedule)
    freeze.run_out()
    statuses = freeze.asked(STATUS)[:3]
    assert statuses == [pytest.approx(at, abs=0.3) for at in (5, 7, 9)]
    assert freeze.at(EventKind.VERDICT) == pytest.approx(11, abs=0.3)


def test_a_late_reply_is_adopted_with_its_true_count() -> None:
    schedule = Schedule(first_timeout_s=5, probe_timeout_s=5, probes=5)
    freeze = VirtualFreeze(VirtualGuest(hook_s=12), schedule)
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.frozen, outcome.certified) == (OutcomeKind.VERIFIED, 2, True)
    assert len(freeze.texts(EventKind.STEP)) == 2


def test_a_hooks_error_is_told_and_thawed() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=2, hook_fails=True))
    outcome = freeze.run_out()
    assert outcome.kind is OutcomeKind.FAILED
    assert "hook failed" in outcome.reason
    assert freeze.guest.thaw_runs == 1  # the freeze hook has run, so the thaw hook must


def test_what_is_frozen_after_an_error_is_ours_and_thawed() -> None:
    freeze = VirtualFreeze(VirtualGuest(fails_frozen=True))
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.thawed, outcome.settled) == (OutcomeKind.PARTIAL, 1, True)
    assert "hook failed" in outcome.reason
    assert (freeze.guest.thaw_runs, freeze.guest.frozen) == (1, set())


def test_a_killed_agent_is_lost_within_a_second_and_thawed_when_it_comes_back() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    freeze.guest.kill(lose_unread=True)
    freeze.run(1.0)
    verdict = freeze.verdict
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.AGENT_GONE)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.thawed, outcome.settled) == (OutcomeKind.LOST, 0, True)
    assert freeze.guest.thaw_runs == 1


@pytest.mark.parametrize("lose_unread", [True, False])
def test_a_restart_between_two_looks_is_lost(lose_unread: bool) -> None:
    """Only the counter moves: the port is open at each look (protocol §1.10)."""
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    freeze.guest.kill(lose_unread=lose_unread)
    freeze.guest.respawn()
    freeze.run(1.0)
    verdict = freeze.verdict
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.AGENT_RESTARTED)


def test_agents_that_come_and_go_without_end_are_not_waited_for() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    for _ in range(40):
        freeze.guest.kill(lose_unread=True)
        freeze.guest.respawn()
        freeze.step(0.05)
    assert freeze.at(EventKind.VERDICT) < 6.0
    verdict = freeze.verdict
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.AGENT_RESTARTED)


def test_a_half_frozen_guest_that_says_frozen_is_partial() -> None:
    freeze = VirtualFreeze(VirtualGuest(flush_s=10))
    freeze.run(15.0)
    assert freeze.guest.frozen == {"vdb"}
    freeze.guest.kill(lose_unread=True)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTIAL, Cause.AGENT_RESTARTED)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 1, True)


def test_a_half_frozen_guest_whose_agent_comes_back_late_is_revised_to_partial() -> None:
    freeze = VirtualFreeze(VirtualGuest(flush_s=10))
    freeze.run(15.0)
    freeze.guest.kill(lose_unread=True)
    freeze.run(3.0)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert outcome.kind is OutcomeKind.PARTIAL
    assert EventKind.REVISED in freeze.kinds()
    assert freeze.guest.frozen == set()


def test_a_success_reply_of_an_agent_that_leaves_is_partial() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=5))
    freeze.run(2.0)
    freeze.guest.terminate()
    freeze.run(4.0)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.frozen, outcome.certified) == (OutcomeKind.PARTIAL, 2, False)


@pytest.mark.parametrize("told", [True, False])
def test_a_reset_is_lost_and_nothing_is_thawed_unpaired(told: bool) -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60, resets=0 if told else None))
    freeze.run(5.0)
    freeze.guest.reset()
    freeze.run(5.0)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    cause = Cause.GUEST_RESET if told else Cause.UNKNOWN
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, cause)
    assert (outcome.settled, outcome.thawed, freeze.guest.thaw_runs) == (True, 0, 0)
    assert ("perhaps with its whole guest" in outcome.reason) is not told


@pytest.mark.parametrize("told", [True, False])
def test_only_a_proven_reset_is_settled_without_an_agent(told: bool) -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60, resets=0 if told else None))
    freeze.run(5.0)
    freeze.guest.reset()
    outcome = freeze.run_out()
    assert outcome.settled is told
    assert freeze.guest.now < 200


@pytest.mark.parametrize("when", [5.0, 0.0], ids=["held", "pending"])
def test_a_port_whose_driver_was_loaded_anew_leaves_the_guest_frozen_and_is_thawed(
    when: float,
) -> None:
    flush_s = 0.0 if when else 3.0
    freeze = VirtualFreeze(VirtualGuest(flush_s=flush_s), Schedule(hold_s=20))
    freeze.run(5.0)
    freeze.guest.reload_driver()
    assert freeze.guest.frozen
    outcome = freeze.run_out()
    assert freeze.guest.frozen == set()
    assert (outcome.settled, outcome.certified) == (True, False)
    assert outcome.cause is not Cause.GUEST_RESET
    assert outcome.thawed


def test_a_paused_vm_is_blocked_not_lost() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=5))
    freeze.run(2.0)
    freeze.guest.run_state = RunState.PAUSED
    freeze.run(60.0)
    progress = freeze.procedure.progress(freeze.guest.now)
    assert progress.phase is Phase.BLOCKED
    assert progress.blocked_s == pytest.approx(60, abs=1)
    assert "resume" in progress.waiting_for
    freeze.guest.run_state = RunState.RUNNING
    assert freeze.run_out().kind is OutcomeKind.VERIFIED


def test_a_vm_that_goes_is_lost_at_once_and_needs_no_thaw() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    freeze.guest.leave()
    freeze.run(1.0)
    outcome = freeze.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.VM_GONE)
    assert (outcome.settled, outcome.next) == (True, None)


def test_a_panic_is_lost_and_somebody_is_told_to_reset() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    freeze.guest.run_state = RunState.PANICKED
    freeze.run(1.0)
    outcome = freeze.outcome
    assert outcome is not None
    assert outcome.cause is Cause.GUEST_PANICKED
    assert outcome.next is not None
    assert "reset" in outcome.next


def test_cancel_queues_a_thaw_that_runs_right_behind_the_freeze() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=30))
    freeze.run(5.0)
    freeze.instruction(Instruction.CANCEL)
    assert len(freeze.asked(THAW)) == 1
    outcome = freeze.run_out()
    assert freeze.guest.now == pytest.approx(30, abs=2)
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.UNVERIFIED, 2, 2)


def test_a_cancelled_freeze_may_take_its_schedule_before_the_thaws_bound_begins() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=1000))
    freeze.run(5.0)
    freeze.instruction(Instruction.CANCEL)
    outcome = freeze.run_out(step_s=1.0)
    assert (outcome.settled, outcome.thawed) == (True, 2)


def test_giving_up_ends_at_once_and_says_what_to_do() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=1000))
    freeze.run(5.0)
    freeze.instruction(Instruction.GIVE_UP)
    freeze.run(1.0)
    outcome = freeze.outcome
    assert outcome is not None
    assert (outcome.settled, outcome.thawed) == (False, None)
    assert outcome.next is not None


def test_a_hold_is_thawed_at_its_end() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=30))
    freeze.run(10.0)
    assert freeze.guest.frozen == {"vda", "vdb"}
    assert freeze.procedure.progress(freeze.guest.now).phase is Phase.HELD
    outcome = freeze.run_out()
    assert freeze.asked(THAW) == [pytest.approx(30, abs=1)]
    assert outcome.certified


@pytest.mark.parametrize(
    "instruction", [Instruction.END_HOLD, Instruction.CANCEL, Instruction.GIVE_UP]
)
def test_a_hold_can_be_ended(instruction: Instruction) -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=100))
    freeze.run(10.0)
    freeze.instruction(instruction)
    freeze.run(1.0)
    assert freeze.guest.frozen == set()
    assert freeze.outcome is not None


def test_writes_during_a_hold_break_the_window() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=10))
    freeze.run(5.0)
    freeze.guest.written += 4096
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.certified, outcome.thawed) == (OutcomeKind.BROKEN, False, 2)
    assert "4096 bytes" in outcome.reason
    results = {piece.name: piece.result for piece in outcome.evidence}
    assert results["writes"] is EvidenceResult.AGAINST


def test_what_was_flushed_before_the_answer_does_not_count() -> None:
    """The last look before it is an old one, where the port can't be seen and isn't waited for."""
    freeze = VirtualFreeze(VirtualGuest(flush_s=1.0), Schedule(hold_s=5), port_seen=False)
    freeze.run(1.9)
    freeze.guest.written += 44032
    outcome = freeze.run_out(step_s=0.01)
    assert (outcome.kind, outcome.thawed) == (OutcomeKind.UNVERIFIED, 2)
    by_name = {piece.name: piece for piece in outcome.evidence}
    assert (by_name["writes"].result, by_name["writes"].value) == (EvidenceResult.UNKNOWN, 0)
    assert EventKind.CONTRADICTION not in freeze.kinds()


def test_without_a_look_since_the_answer_writes_are_unknown() -> None:
    freeze = VirtualFreeze(VirtualGuest(flush_s=1.0), port_seen=False)
    freeze.run(1.9)
    freeze.guest.written += 44032
    freeze.monitor = False
    outcome = freeze.run_out(step_s=0.01)
    by_name = {piece.name: piece for piece in outcome.evidence}
    assert by_name["writes"].result is EvidenceResult.UNKNOWN
    assert by_name["writes"].value == "can't be seen"


def test_the_thaws_own_writes_do_not_count() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=2))
    freeze.run(1.0)
    while not freeze.asked(THAW):
        freeze.step(0.05)
    freeze.guest.written += 2048
    assert freeze.run_out().certified


def test_an_agent_killed_while_held_is_at_risk_and_settled_by_the_next() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=20))
    freeze.run(5.0)
    freeze.guest.kill(lose_unread=True)
    freeze.run(1.0)
    assert freeze.procedure.progress(freeze.guest.now).phase is Phase.AT_RISK
    freeze.guest.respawn()
    outcome = freeze.run_out()
    # Settled, since the next agent says frozen and the counts agree; but no certificate.
    assert (outcome.kind, outcome.certified, outcome.thawed) == (OutcomeKind.VERIFIED, False, 2)


@pytest.mark.parametrize("told", [True, False])
def test_a_reset_while_held_breaks_the_window(told: bool) -> None:
    """At once where QEMU tells of it; else as soon as the next agent says thawed."""
    freeze = VirtualFreeze(VirtualGuest(resets=0 if told else None), Schedule(hold_s=60))
    freeze.run(5.0)
    freeze.guest.reset()
    freeze.run(2.0)
    assert freeze.verdict.kind is (OutcomeKind.BROKEN if told else OutcomeKind.VERIFIED)
    freeze.guest.respawn()
    outcome = freeze.run_out(most_s=5.0)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.BROKEN, True)


def test_somebody_who_thaws_behind_our_back_is_found_by_the_count() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=10))
    freeze.run(5.0)
    freeze.guest.frozen.discard("vda")
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.thawed) == (OutcomeKind.BROKEN, 1)


def test_without_a_monitor_it_is_unverified_and_says_what_is_missing() -> None:
    outcome = VirtualFreeze(VirtualGuest(), monitor=False).run_out()
    assert (outcome.kind, outcome.certified, outcome.settled) == (
        OutcomeKind.UNVERIFIED,
        False,
        True,
    )
    assert "no monitor" in outcome.reason


def test_without_a_monitor_the_order_of_replies_shows_a_loss() -> None:
    schedule = Schedule(first_timeout_s=10, probe_timeout_s=10, probes=5)
    freeze = VirtualFreeze(VirtualGuest(hook_s=60), schedule, monitor=False)
    freeze.run(5.0)
    freeze.guest.kill(lose_unread=True)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert outcome.kind is OutcomeKind.LOST
    assert freeze.at(EventKind.VERDICT) == pytest.approx(10, abs=1)
    assert "later command" in outcome.reason


def test_strict_demands_full_coverage() -> None:
    outcome = VirtualFreeze(VirtualGuest(), strict=True).run_out()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.UNVERIFIED, True)
    assert "/boot/efi" in outcome.reason


def test_a_thaw_that_dies_with_its_agent_is_sent_again() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=5))
    freeze.run(4.9)
    while not freeze.asked(THAW):
        freeze.perform(freeze.procedure.on_tick(freeze.guest.now))
        freeze.look()
        freeze.guest.now += 0.05
    freeze.guest.kill(lose_unread=True)
    freeze.run(2.0)
    freeze.guest.respawn()
    outcome = freeze.run_out()
    assert freeze.guest.frozen == set()
    assert len(freeze.asked(THAW)) >= 2
    assert outcome.settled


@pytest.mark.parametrize("away_s", [0.0, 1.0, 150.0])
@pytest.mark.parametrize("hold_s", [0.0, 60.0])
def test_a_broken_channel_is_opened_anew_for_the_thaw(hold_s: float, away_s: float) -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=5), Schedule(hold_s=hold_s))
    freeze.run(2.0 if not hold_s else 20.0)
    freeze.break_channel(away_s)
    outcome = freeze.run_out()
    assert outcome.cause is Cause.CHANNEL_BROKEN
    # The pending freeze went on in the guest, and froze it: known only from its status.
    assert outcome.kind is (OutcomeKind.BROKEN if hold_s else OutcomeKind.PARTIAL)
    assert (outcome.settled, freeze.guest.frozen) == (True, set())
    assert freeze.guest.thaw_runs == 1
    gaps = [after - before for before, after in itertools.pairwise(freeze.tries)]
    assert all(gap >= 0.1 for gap in gaps), "no busy loop"
    assert all(gap <= 1.5 for gap in gaps)


def test_a_channel_that_stays_broken_is_tried_until_the_bound_and_told_loudly() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=60))
    freeze.run(20.0)
    freeze.break_channel(float("inf"))
    outcome = freeze.run_out()
    assert freeze.guest.now == pytest.approx(20 + 180, abs=1)
    assert len(freeze.tries) == pytest.approx(180, abs=20)
    assert (outcome.settled, outcome.thawed) == (False, None)
    assert "THE GUEST MAY STILL BE FROZEN" in outcome.reason
    assert "nobody listens" in outcome.reason
    assert outcome.next is not None


def test_a_freeze_whose_channel_broke_runs_on_and_is_thawed_when_it_ends() -> None:
    """The hook of an agent that nobody hears any more takes longer than a thaw may."""
    freeze = VirtualFreeze(VirtualGuest(hook_s=1000))
    freeze.run(5.0)
    freeze.break_channel()
    outcome = freeze.run_out(step_s=1.0)
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTIAL, Cause.CHANNEL_BROKEN)
    assert (outcome.settled, freeze.guest.frozen, freeze.guest.thaw_runs) == (True, set(), 1)


def test_a_thaw_whose_channel_broke_is_not_sent_twice_unasked() -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=5))
    while not freeze.asked(THAW):
        freeze.run(0.05)
    freeze.guest.advance(0.0)  # the guest has thawed; its answer is lost with the channel
    freeze.break_channel(2.0)
    outcome = freeze.run_out()
    assert (outcome.settled, freeze.guest.thaw_runs) == (True, 1)
    assert outcome.thawed is None, "how many it thawed is not known"
    assert (outcome.kind, outcome.certified) == (OutcomeKind.VERIFIED, False)


@pytest.mark.parametrize("monitor", [False, True])
def test_a_failed_hook_whose_thaw_was_lost_with_the_channel_is_thawed(monitor: bool) -> None:
    """The agent says thawed before that thaw and after it: its hook has run all the same."""
    freeze = VirtualFreeze(VirtualGuest(hook_fails=True), monitor=monitor)
    while not freeze.asked(THAW):
        freeze.step(0.01)
    freeze.break_channel()
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, True)
    assert (freeze.guest.freeze_runs, freeze.guest.thaw_runs) == (1, 1)


def test_a_vm_that_is_found_gone_while_its_channel_is_away_is_settled() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60), monitor=False)
    freeze.run(5.0)
    freeze.break_channel(float("inf"))
    freeze.run(2.0)
    assert freeze.outcome is None
    freeze.guest.leave()
    outcome = freeze.run_out(most_s=2.0)
    assert (outcome.settled, outcome.cause, outcome.thawed) == (True, Cause.VM_GONE, 0)


@pytest.mark.parametrize("monitor", [True, False])
def test_a_window_whose_vm_has_ended_says_so_and_what_to_start(monitor: bool) -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=60), monitor=monitor)
    freeze.run(5.0)
    freeze.break_channel(float("inf"))
    freeze.guest.leave()
    outcome = freeze.run_out(most_s=5.0)
    assert (outcome.settled, outcome.certified, outcome.cause) == (True, False, Cause.VM_GONE)
    told = with_meaning(outcome, Vm(VmId("socket", "db1")))
    assert told.meaning is not None
    assert told.meaning.guest_is is GuestIs.ENDED
    assert str(told.next).startswith("start the VM")


def test_a_vm_that_migrated_away_may_be_frozen_where_it_runs_now() -> None:
    freeze = VirtualFreeze(VirtualGuest(hook_s=60))
    freeze.run(5.0)
    freeze.guest.run_state = RunState.MIGRATING
    freeze.run(5.0)
    assert freeze.procedure.progress(freeze.guest.now).phase is Phase.BLOCKED
    freeze.guest.leave()
    outcome = freeze.run_out()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.MIGRATED)
    assert (outcome.settled, outcome.thawed) == (False, None)
    assert outcome.next is not None
    assert "new host" in outcome.next


@pytest.mark.parametrize("held", [True, False], ids=["held", "pending"])
def test_a_migration_that_has_ended_is_known_at_once(held: bool) -> None:
    """Its source stays, and can't be waited for: it will never answer."""
    freeze = VirtualFreeze(VirtualGuest(hook_s=0 if held else 60), Schedule(hold_s=60))
    freeze.run(5.0)
    freeze.guest.run_state = RunState.MIGRATING
    freeze.run(1.0)
    freeze.guest.run_state = RunState.MIGRATED
    outcome = freeze.run_out(most_s=1.0)
    assert (outcome.cause, outcome.settled, outcome.thawed) == (Cause.MIGRATED, False, None)
    assert "may be frozen where it runs now" in outcome.reason


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("found", [True, False])
def test_before_the_last_word_it_is_looked_for_where_it_may_run(ended: bool, found: bool) -> None:
    freeze = VirtualFreeze(VirtualGuest(), Schedule(hold_s=60), follows=True)
    freeze.run(5.0)
    if ended:
        freeze.guest.leave()  # the migration was over between two looks
    else:
        freeze.guest.run_state = RunState.MIGRATED
    freeze.run(1.0)
    assert freeze.procedure.wants_target
    assert freeze.outcome is None
    there = ThawReport(None, 2, None, True, "it runs here: thawed 2", None, sent=True)
    freeze.perform(freeze.procedure.on_target_searched(freeze.guest.now, there if found else None))
    outcome = freeze.run_out(most_s=1.0)
    assert not outcome.certified
    if found:
        assert (outcome.thawed, outcome.settled, outcome.cause) == (2, True, Cause.MIGRATED)
        assert "it runs here" in outcome.reason
    else:
        assert outcome.settled is ended
        assert outcome.cause is (Cause.VM_GONE if ended else Cause.MIGRATED)
