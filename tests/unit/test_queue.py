"""Freezes that wait for their turn: each has a place, and can be taken out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import Progress
from agentclient.model.states import OutcomeKind, Phase, Refusal
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.manager import OperationManager
from tests.waiting import until

VMS = [Vm(VmId("qemu", f"vm{n}"), AgentChannel(Path(f"/nonexistent/{n}"))) for n in range(5)]
WELL = Outcome(OutcomeKind.VERIFIED, "frozen", certified=True, settled=True)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.set_vms("qemu", VMS)
    return fleet


@pytest.fixture
def operations(
    fleet: Fleet, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OperationManager]:
    def freeze(self: FreezeOperation) -> Outcome:
        pending = Progress("freeze", Phase.PENDING, "its answer", time.monotonic(), sent_at=1.0)
        self.context.reporter.progress(pending)
        gate.wait(60)
        return WELL

    monkeypatch.setattr(FreezeOperation, "run", freeze)
    operations = OperationManager(fleet, AccessPool(), freezes_at_once=2)
    yield operations
    gate.set()
    operations.stop(5.0)


def phase(fleet: Fleet, vm: Vm) -> Phase | None:
    progress = fleet.get(vm.id).progress
    return progress.phase if progress is not None else None


def test_what_waits_for_its_turn_is_queued_with_a_place(
    fleet: Fleet, operations: OperationManager
) -> None:
    begun = [operations.freeze(vm, FreezeRequest()) for vm in VMS]
    until(lambda: phase(fleet, VMS[1]) is Phase.PENDING)
    assert [phase(fleet, vm) for vm in VMS[2:]] == [Phase.QUEUED] * 3
    assert [one.place for one in begun] == [0, 0, 1, 2, 3]
    assert operations.freezes_at_once == 2


def test_what_is_stopped_in_the_queue_is_not_begun_and_has_not_failed(
    fleet: Fleet, operations: OperationManager
) -> None:
    begun = [operations.freeze(vm, FreezeRequest()) for vm in VMS]
    until(lambda: phase(fleet, VMS[1]) is Phase.PENDING)
    begun[3].cancel()
    outcome = begun[3].wait(30.0)
    assert isinstance(outcome, Outcome), "it waited for freezes that may hang for an hour"
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.CANCELLED)
    assert "not begun" in outcome.reason
    assert fleet.get(VMS[3].id).progress is None
    assert operations.on(VMS[3].id) is None
    assert [one.place for one in begun[2:]] == [1, 0, 3]
