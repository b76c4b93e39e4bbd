"""A freeze that died with its guest names what the guest died of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from agentclient.freeze.effects import Effect, ReportEvent
from agentclient.freeze.freeze_machine import FreezeMachine
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.judgement import CAUSE_WITHIN_S
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.model.events import Ended, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OutcomeKind, RunState
from agentclient.model.vm import Vm, VmId

UP = MonitorView(RunState.RUNNING, port_open=True, openings=5)


@pytest.mark.parametrize(
    ("view", "cause"),
    [
        # A panic leaves the port open (protocol §3.16); so may a shutdown.
        (UP._replace(run_state=RunState.PANICKED), Cause.GUEST_PANICKED),
        (UP._replace(run_state=RunState.SHUTDOWN), Cause.GUEST_SHUTDOWN),
        (UP._replace(run_state=RunState.SHUTDOWN, port_open=False), Cause.GUEST_SHUTDOWN),
        (MonitorView(RunState.GONE, gone=True), Cause.VM_GONE),
    ],
)
def test_the_cause_is_known_also_where_the_port_stayed_open(
    view: MonitorView, cause: Cause
) -> None:
    machine = FreezeMachine(FreezePlan(Schedule(), UP), count(1).__next__, 0.0)
    machine.start(0.0)
    machine.on_look(1.0, view)
    verdict = machine.judgement.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.cause) == (
        OutcomeKind.LOST,
        cause,
    )
    assert str(cause) in verdict.reason


def lost(cause: Cause = Cause.AGENT_GONE) -> tuple[FreezeProcedure, list[Effect]]:
    """A freeze whose agent has gone 5 s after it was sent, as a hypervisor has told at once."""
    plan = FreezePlan(Schedule(), UP._replace(resets=0))
    procedure = FreezeProcedure(Vm(VmId("libvirt", "db1")), plan, count(1).__next__, 0.0)
    procedure.start(0.0)
    told = procedure.on_stream_ended(5.0, "it has disappeared", gone=None, cause=cause)
    return procedure, told


def verdicts(told: list[Effect]) -> Iterator[tuple[EventKind, Cause | None]]:
    for one in told:
        if isinstance(one, ReportEvent) and isinstance(one.details, Ended):
            outcome = one.details.outcome
            assert isinstance(outcome, Outcome)
            yield one.kind, outcome.cause


@pytest.mark.parametrize(
    ("view", "cause"),
    [
        (UP._replace(port_open=False, resets=1), Cause.GUEST_RESET),
        (MonitorView(RunState.GONE, gone=True), Cause.VM_GONE),
        (MonitorView(RunState.MIGRATED), Cause.MIGRATED),
        (MonitorView(RunState.PANICKED), Cause.GUEST_PANICKED),
    ],
)
@pytest.mark.parametrize("first", [Cause.AGENT_GONE, Cause.CHANNEL_BROKEN])
def test_a_cause_that_comes_to_be_known_after_the_verdict_revises_it(
    view: MonitorView, cause: Cause, first: Cause
) -> None:
    procedure, told = lost(first)
    assert list(verdicts(told)) == [(EventKind.VERDICT, first)]
    told = procedure.on_look(5.4, view)
    assert next(verdicts(told)) == (EventKind.REVISED, cause)
    verdict = procedure.freeze.judgement.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, cause)
    assert verdict.reason.startswith(f"no answer will come ({cause}): ")
    assert EventKind.REVISED not in [kind for kind, _ in verdicts(procedure.on_look(5.6, view))]


def test_what_befalls_the_guest_much_later_is_not_why_it_was_lost() -> None:
    procedure, _ = lost()
    told = procedure.on_look(5.1 + CAUSE_WITHIN_S, UP._replace(port_open=False, resets=1))
    assert not list(verdicts(told))
    verdict = procedure.freeze.judgement.verdict
    assert verdict is not None
    assert verdict.cause is Cause.AGENT_GONE


def test_an_agent_that_is_back_explains_nothing_more() -> None:
    procedure, _ = lost()
    for now, is_open in ((5.1, False), (5.2, True)):
        assert not list(verdicts(procedure.on_look(now, UP._replace(port_open=is_open))))
