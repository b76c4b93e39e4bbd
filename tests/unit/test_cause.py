"""A freeze that died with its guest names what the guest died of."""

from __future__ import annotations

from itertools import count

import pytest

from agentclient.freeze.freeze_machine import FreezeMachine
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OutcomeKind, RunState

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
