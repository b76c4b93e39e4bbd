"""No order of events makes a freeze verified without evidence, or leaves it frozen in silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.request import Schedule
from agentclient.model.states import OutcomeKind, RunState
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import DEVICES, VirtualGuest

FAULTS = (
    "wait",
    "kill",
    "kill and lose",
    "terminate",
    "respawn",
    "reset",
    "reload driver",
    "leave",
    "pause",
    "resume",
    "suspend",
    "panic",
    "write",
    "thaw inside",
    "cancel",
    "end hold",
    "give up",
    "noise",
    "break",
    "break for long",
)
steps = st.lists(st.tuples(st.floats(0.0, 4.0), st.sampled_from(FAULTS)), min_size=0, max_size=12)
guests = st.builds(
    VirtualGuest,
    hook_s=st.sampled_from([0.0, 0.0, 1.0, 7.0, 1e6]),
    flush_s=st.sampled_from([0.0, 0.5, 3.0]),
    hook_fails=st.booleans(),
    fails_frozen=st.booleans(),
    sees_openings=st.booleans(),
    resets=st.sampled_from([None, 0]),
)
schedules = st.builds(
    Schedule,
    first_timeout_s=st.sampled_from([1.0, 5.0]),
    probe_timeout_s=st.sampled_from([1.0, 3.0]),
    probes=st.integers(0, 3),
    hold_s=st.sampled_from([0.0, 2.0, 6.0]),
    thaw_timeout_s=st.sampled_from([2.0, 10.0]),
)


def strike(freeze: VirtualFreeze, fault: str) -> None:
    """Let something happen."""
    guest = freeze.guest
    match fault:
        case "kill":
            guest.kill(lose_unread=False)
        case "kill and lose":
            guest.kill(lose_unread=True)
        case "terminate":
            guest.terminate()
        case "respawn":
            guest.respawn()
        case "reset":
            guest.reset()
        case "reload driver":
            guest.reload_driver()
        case "leave":
            guest.leave()
        case "pause":
            guest.run_state = RunState.PAUSED
        case "suspend":
            guest.run_state = RunState.SUSPENDED
        case "resume":
            guest.run_state = RunState.RUNNING
        case "panic":
            guest.run_state = RunState.PANICKED
        case "write":
            guest.written += 512
        case "thaw inside":
            guest.frozen.clear()
        case "cancel":
            freeze.instruction(Instruction.CANCEL)
        case "end hold":
            freeze.instruction(Instruction.END_HOLD)
        case "give up":
            freeze.instruction(Instruction.GIVE_UP)
        case "break":
            freeze.break_channel(1.0)
        case "break for long":
            freeze.break_channel(1e6)
        case "noise":
            guest.outbox += b'{"return": "frozen", "id": "fw1.1"}\n[[[]]]\n'


@settings(max_examples=200)
@given(guest=guests, schedule=schedules, script=steps, monitor=st.booleans())
def test_whatever_happens(
    guest: VirtualGuest, schedule: Schedule, script: list[tuple[float, str]], monitor: bool
) -> None:
    whatever_happens(guest, schedule, script, monitor)


@pytest.mark.soak
@settings(max_examples=20_000)
@given(guest=guests, schedule=schedules, script=steps, monitor=st.booleans())
def test_whatever_happens_for_long(
    guest: VirtualGuest, schedule: Schedule, script: list[tuple[float, str]], monitor: bool
) -> None:
    whatever_happens(guest, schedule, script, monitor)


def whatever_happens(
    guest: VirtualGuest, schedule: Schedule, script: list[tuple[float, str]], monitor: bool
) -> None:
    """Hold what comes of a freeze against what was promised."""
    freeze = VirtualFreeze(guest, schedule, monitor=monitor)
    for seconds, fault in script:
        freeze.run(seconds)
        if freeze.outcome is None:
            strike(freeze, fault)
    outcome = freeze.run_out(most_s=schedule.total_s + schedule.hold_s + 60.0)

    verdicts = [tell for _, tell in freeze.told if tell.kind is EventKind.VERDICT]
    assert len(verdicts) == 1
    assert freeze.kinds()[-1] is EventKind.OUTCOME

    if verdicts[0].text.startswith("verified"):
        assert freeze.frozen_at_verdict or "thaw inside" in [fault for _, fault in script]
        assert not (freeze.closed_at_verdict and guest.sees_openings)
    if outcome.kind is OutcomeKind.VERIFIED:
        # P3: the reply, its count, the status asked after it, and a port that was watched.
        assert monitor
        assert outcome.frozen == len(DEVICES)
        by_name = {piece.name: str(piece.result) for piece in outcome.evidence}
        assert by_name["reply"] == by_name["coverage"] == by_name["status"] == "for"
    if outcome.certified:
        assert outcome.kind is OutcomeKind.VERIFIED
        assert outcome.thawed == outcome.frozen
        assert guest.freeze_runs == 1

    # P4: thawed, or somebody is told what to do.
    if guest.frozen:
        assert not outcome.settled
        assert outcome.next
    assert outcome.kind is not OutcomeKind.REFUSED, "refused means that it was not sent"
    if outcome.settled:
        assert guest.frozen == set()
    if guest.freeze_runs and outcome.settled:
        assert guest.thaw_runs or guest.ever_closed_since_freeze


@settings(max_examples=100)
@given(at=st.floats(0.0, 20.0), respawned=st.booleans(), lose=st.booleans())
def test_a_kill_at_any_moment_never_ends_verified_before_the_reply(
    at: float, respawned: bool, lose: bool
) -> None:
    guest = VirtualGuest(hook_s=5.0, flush_s=5.0)
    freeze = VirtualFreeze(guest, Schedule(hold_s=5.0))
    freeze.run(at)
    answered = EventKind.REPLY in freeze.kinds()
    guest.kill(lose_unread=lose)
    if respawned:
        guest.respawn()
    freeze.run(1.0)
    if not answered:
        verdict = freeze.procedure.freeze.judgement.verdict
        assert verdict is not None, "a lost freeze is known within a second"
        assert verdict.kind in (OutcomeKind.LOST, OutcomeKind.PARTIAL)
    guest.respawn()
    outcome = freeze.run_out(most_s=300.0)
    assert outcome.settled
    assert guest.frozen == set()
