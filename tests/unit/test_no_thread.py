"""Where the system has no thread for it, nothing is done, and who asked for it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.model.clock import now
from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import FreezeState, OutcomeKind
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations.group import GroupFreeze
from agentclient.operations.manager import OperationManager
from agentclient.operations.operation import AnyOperation
from tests.unit.no_thread import WHY

VM = Vm(VmId("qemu", "a"), AgentChannel(Path("/nonexistent/agent")))
LOST = Outcome(OutcomeKind.LOST, "its thaw was not acknowledged", settled=False)


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.set_vms("qemu", [VM])
    return fleet


@pytest.fixture(params=WHY, ids=[start.__name__ for start in WHY])
def start(request: pytest.FixtureRequest) -> Callable[..., None]:
    """What happens where a thread is started."""
    start: Callable[..., None] = request.param
    return start


@pytest.fixture
def why(start: Callable[..., None]) -> str:
    """What is told of it."""
    return re.escape(WHY[start])


@pytest.fixture
def operations(
    fleet: Fleet, start: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[OperationManager]:
    operations = OperationManager(fleet, AccessPool())
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        yield operations
    operations.stop(0.0)


def state(fleet: Fleet) -> VmState:
    return fleet.get(VM.id)


def test_a_freeze_that_was_not_begun_makes_no_freeze_ours(
    fleet: Fleet, operations: OperationManager, why: str
) -> None:
    foreign = FreezeInfo(FreezeState.FROZEN, now(), foreign=True)
    fleet.update(VM.id, lambda old: old._replace(freeze=foreign))
    before = state(fleet)
    outcome = operations.freeze(VM, FreezeRequest()).wait(0)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.settled, outcome.thawed) == (OutcomeKind.REFUSED, True, 0)
    assert re.search(f"not begun: {why}; nothing was sent", outcome.reason)
    assert "TasksMax" in (outcome.next or "")
    after = state(fleet)
    assert (after.freeze, after.last, after.left_frozen) == (foreign, before.last, False)
    assert after.progress is None, "it waits for no turn any more"


def test_nor_does_it_hide_one_that_was_left(fleet: Fleet, operations: OperationManager) -> None:
    fleet.update(VM.id, lambda old: old._replace(last=LOST))
    operations.freeze(VM, FreezeRequest())
    assert state(fleet).last is LOST


def test_a_thaw_says_what_is_left_to_do(fleet: Fleet, operations: OperationManager) -> None:
    outcome = operations.thaw(VM, foreign=True).wait(0)
    assert isinstance(outcome, ThawOutcome)
    assert not outcome.ok
    assert "frostwatch thaw" in (outcome.next or "")
    assert "not begun" in fleet.log_since(VM.id)[-1].text


def test_a_rung_has_failed(operations: OperationManager) -> None:
    outcome = operations.rescue(VM, Step(Rung.CONNECT)).wait(0)
    assert isinstance(outcome, RescueOutcome)
    assert (outcome.found, outcome.ok) == (RungResult.FAILED, False)


def test_the_way_is_free_afterwards(operations: OperationManager) -> None:
    begin: list[Callable[[], AnyOperation]] = [
        lambda: operations.freeze(VM, FreezeRequest()),
        lambda: operations.thaw(VM),
        lambda: operations.rescue(VM, Step(Rung.CONNECT)),
    ]
    for each in begin:
        assert each().done
        assert operations.active() == ()


def test_who_only_looks_is_told_by_what_they_wait_for(
    operations: OperationManager, why: str
) -> None:
    for look in (operations.history(VM), operations.ladder(VM)):
        with pytest.raises(FrostwatchError, match=f"no thread for it: {why}"):
            look.result(0)


def test_a_group_begins_nothing(fleet: Fleet, operations: OperationManager, why: str) -> None:
    group = GroupFreeze(operations, [VM], FreezeRequest(), within_s=10.0)
    with pytest.raises(FrostwatchError, match=f"the group was not begun: {why}"):
        group.start()
    assert group.members == ()
    assert not fleet.log_since(VM.id)
