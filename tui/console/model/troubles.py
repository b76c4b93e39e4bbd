"""Which VMs somebody should look at, where they stand, and how to get from one to the next."""

from __future__ import annotations

from collections.abc import Callable

from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.shared.trouble import needs_attention

IndexOf = Callable[[VmId], int | None]


class Troubles:
    """The VMs in trouble, kept as they change.

    Args:
        index_of: in which row a VM stands, None if it isn't shown.
    """

    def __init__(self, index_of: IndexOf) -> None:
        self._index_of = index_of
        self._found: set[VmId] = set()

    def put(self, state: VmState) -> None:
        """Take over what a VM is now."""
        if needs_attention(state):
            self._found.add(state.id)
        else:
            self._found.discard(state.id)

    def drop(self, vm_id: VmId) -> None:
        """Forget a VM."""
        self._found.discard(vm_id)

    def __len__(self) -> int:
        return len(self._found)

    def outside(self, first: int, count: int) -> tuple[int, int]:
        """Return how many stand above and below some rows.

        Args:
            first: the first row that is seen.
            count: how many are seen.
        """
        rows = self._rows()
        return sum(row < first for row in rows), sum(row >= first + count for row in rows)

    def next_row(self, row: int, direction: int) -> int | None:
        """Return the next row in trouble below (1) or above (-1) one, round and round."""
        rows = sorted(self._rows(), key=lambda each: each * direction)
        beyond = [each for each in rows if (each - row) * direction > 0]
        return next(iter(beyond or rows), None)

    def _rows(self) -> list[int]:
        found = (self._index_of(vm_id) for vm_id in self._found)
        return [row for row in found if row is not None]
