"""What the console begins once its first screen is there."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.console.driving import seated
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of
from tui.console import memory


class Unprepared(FakeOperations):
    def prepare(self) -> None:
        raise OSError(24, "Too many open files")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """As the command line begins it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("operations", [FakeOperations, Unprepared])
@pytest.mark.usefixtures("uncollected")
async def test_it_watches_and_collects_garbage(operations: type[FakeOperations]) -> None:
    still = StillClock()
    async with seated(
        fleet_of(["a"], still), still, operations=operations(), memory=memory
    ) as seat:
        await seat.until(gc.isenabled)
        assert seat.watcher.started
