"""Many freezes at once, and a thaw that waits behind none of them (a drill's guests)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agentclient.access.access_pool import AccessPool
from agentclient.backends.drill.troubles import TROUBLES, Trouble
from agentclient.fleet.store import Fleet
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import OutcomeKind
from agentclient.operations.manager import OperationManager
from tests.drilled import drill_of

FREEZES = 40
HOOK_S = 8.0


def test_forty_freezes_at_once_and_a_thaw_of_another_vm(
    record_property: Callable[[str, object], None],
) -> None:
    troubles = {f"vm{n}": Trouble.SLOW_HOOK for n in range(FREEZES)} | {"other": Trouble.FOREIGN}
    speed = TROUBLES[Trouble.SLOW_HOOK].freeze_behaviour.hook_s / HOOK_S
    sent = threading.Semaphore(0)

    def count(event: Event) -> None:
        if event.kind is EventKind.SENT:
            sent.release()

    with drill_of(troubles, speed=speed) as drill:
        vms = drill.vms
        fleet = Fleet()
        fleet.set_vms("drill", vms)
        operations = OperationManager(fleet, AccessPool())
        freezes = [operations.freeze(vm, FreezeRequest(), count) for vm in vms[:FREEZES]]
        for _ in range(FREEZES):
            assert sent.acquire(timeout=30)
        assert len(operations.active()) == FREEZES

        told: list[tuple[float, Event]] = []
        began = time.monotonic()
        thaw = operations.thaw(
            vms[-1], foreign=True, on_event=lambda event: told.append((time.monotonic(), event))
        )
        thawed = thaw.wait(10)
        assert isinstance(thawed, ThawOutcome)
        assert (thawed.ok, thawed.thawed) == (True, 2)
        thaw_sent = next(at for at, event in told if event.kind is EventKind.THAW_SENT)
        record_property("thaw_started_s", round(thaw_sent - began, 3))
        print(f"a thaw beside {FREEZES} pending freezes started after {thaw_sent - began:.3f} s")
        assert len(operations.active()) == FREEZES, "the freezes were all still pending"

        outcomes = [freeze.wait(60) for freeze in freezes]
        for outcome in outcomes:
            assert isinstance(outcome, Outcome)
            assert (outcome.kind, outcome.certified) == (OutcomeKind.VERIFIED, True)
        assert operations.stop(1.0)
