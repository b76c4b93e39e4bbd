"""A console in a process of its own, for tests that end it from outside.

Its one freeze obeys a cancellation after the seconds of the first argument, or as soon as there is
a file `ANSWERED` in its folder; the second may be
``crash``: then the console itself fails after a second.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from agentclient.fleet.store import Fleet
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState, OutcomeKind
from agentclient.model.vm import VmId
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import fleet_of, pending, put, state_of
from tui.console import leave, run
from tui.console.app import FrostwatchApp

A = VmId("qemu", "a")
ANSWERED = "answered"
SCREEN_S = 1.0  # how long the screen may take to be left, so that the tests need not wait longer


class CrashingApp(FrostwatchApp):
    def on_mount(self) -> None:
        super().on_mount()
        self.set_timer(0.3, self.fail)

    def fail(self) -> None:
        raise RuntimeError("a bug in the console")


def main() -> int:
    seconds, how = float(sys.argv[1]), sys.argv[2]
    still = StillClock(time.monotonic())
    fleet = fleet_of(["a", "b"], still)
    operations = FakeOperations()
    if how != "idle":
        operations.add(state_of(fleet, "a").vm).on_cancel = lambda one: obey(fleet, one, seconds)
        put(fleet, A, progress=pending(still), freeze=FreezeInfo(FreezeState.FREEZING))
    leave.SCREEN_S = SCREEN_S
    if how == "crash":
        setattr(run, "FrostwatchApp", CrashingApp)  # noqa: B010
    code = run.run(fleet, operations, None, read_only=False, interval_s=15.0)
    calls = operations.started[0].calls if operations.started else []
    Path("left.txt").write_text(f"{code} {calls}")
    return code


def obey(fleet: Fleet, operation: FakeOperation, seconds: float) -> None:
    def end() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not Path(ANSWERED).exists():
            time.sleep(0.02)
        put(fleet, A, progress=None, freeze=FreezeInfo(FreezeState.THAWED))
        operation.outcome = Outcome(OutcomeKind.TIMEOUT, "thawed 2 of 2", settled=True)

    if len(operation.calls) == 1:
        threading.Thread(target=end, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
