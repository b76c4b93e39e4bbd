"""What stands in the place of freezes and thaws in a replay: it begins none, whoever asks."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Final, NoReturn

from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.model.errors import FrostwatchError
from agentclient.model.guest_report import GuestReport
from agentclient.model.outcome import ExtendOutcome
from agentclient.model.vm import Vm, VmId
from agentclient.operations.rescue.ladder import Offer
from agentclient.replay.player import Replay
from tui.console.ports import OperationPort

NOTHING_DONE: Final = "nothing can be done in a replay: what it shows is over"


class NoOperations:
    """Refuses every operation; tells of a VM's past what the incident has of it.

    Args:
        replay: what is played.
    """

    freezes_at_once = 0

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def prepare(self) -> object:
        """Return None: there is nothing to prepare."""
        return None

    def freeze(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise FrostwatchError(NOTHING_DONE)

    def thaw(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise FrostwatchError(NOTHING_DONE)

    def attach(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise FrostwatchError(NOTHING_DONE)

    def rescue(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise FrostwatchError(NOTHING_DONE)

    def extend_elsewhere(self, *_: Any, **__: Any) -> Future[ExtendOutcome]:
        """Refuse."""
        return _refused()

    def ladder(self, *_: Any, **__: Any) -> Future[tuple[Offer, ...]]:
        """Refuse."""
        return _refused()

    def inspect(self, _: Vm) -> Future[GuestReport]:
        """Refuse: the guest of then can't be asked."""
        return _refused()

    def history(self, vm: Vm, limit: int = 50) -> Future[VmHistory | None]:
        """Return the windows of a VM that are over at the moment that is shown."""
        found: Future[VmHistory | None] = Future()
        rows = self._replay.windows_over(vm.id)
        found.set_result(VmHistory(tuple(rows[:limit]), Figures(0)))
        return found

    def active(self) -> tuple[OperationPort, ...]:
        """Return nothing."""
        return ()

    def on(self, _: VmId) -> OperationPort | None:
        """Return None."""
        return None

    def cancel_all(self) -> None:
        """Do nothing."""

    def stop(self, _: float) -> bool:
        """Return True: nothing is in flight."""
        return True


def _refused() -> Future[Any]:
    refused: Future[Any] = Future()
    refused.set_exception(FrostwatchError(NOTHING_DONE))
    return refused
