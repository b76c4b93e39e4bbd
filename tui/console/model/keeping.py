"""Which windows a console can leave to their holders when it is left itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentclient.fleet.store import Fleet
from agentclient.model.states import Phase
from tui.console.ports import OperationPort


def can_be_kept(fleet: Fleet, operations: Iterable[OperationPort]) -> Iterator[OperationPort]:
    """Yield the operations that hold a window which is not that of a copy.

    Args:
        fleet: where the progress of each is.
        operations: what is in flight.
    """
    for operation in operations:
        try:
            state = fleet.get(operation.vm.id)
        except KeyError:
            continue
        held = state.progress is not None and state.progress.phase is Phase.HELD
        if operation.kind == "freeze" and held and state.job is None:
            yield operation
