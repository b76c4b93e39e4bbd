"""Which VMs are shown, in which order, which one is under the cursor and which are marked.

Everything is kept by the VM's identity; an index is only ever a way to say where it stands now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentclient.fleet import FleetChange
from agentclient.vm import VmId, VmState
from tui.console.model.filter import Filter
from tui.console.model.order import Key, Order
from tui.console.model.tally import Tally


class FleetView:
    """The fleet as the operator looks at it."""

    def __init__(self) -> None:
        self.order = Order.NAME
        self.filter = Filter()
        self.tally = Tally()
        self._states: dict[VmId, VmState] = {}
        self._keys: dict[VmId, Key] = {}
        self._matching: set[VmId] = set()
        self._rows: list[VmId] = []
        self._index: dict[VmId, int] = {}
        self._marked: set[VmId] = set()
        self._wanted: VmId | None = None  # the VM that the operator went to
        self._cursor: VmId | None = None  # it, or a neighbour while a filter hides it
        self._at = 0
        self._stale = False

    # -- what is there ---------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[VmId]:
        """The VMs that are shown, from top to bottom."""
        return self._rows

    @property
    def total(self) -> int:
        """The number of VMs, shown or not."""
        return len(self._states)

    def state(self, vm_id: VmId) -> VmState | None:
        """Return what is known about a VM, None if it has gone."""
        return self._states.get(vm_id)

    def index_of(self, vm_id: VmId) -> int | None:
        """Return the row in which a VM stands now, None if it isn't shown."""
        return self._index.get(vm_id)

    # -- what changes ----------------------------------------------------------------------

    def apply(self, change: FleetChange, *, settle: bool = True) -> None:
        """Take over what changed in the fleet.

        Args:
            change: what was written and forgotten since the last time.
            settle: whether rows may move now; if not, they move with the next change or `settle`.
        """
        # Removed first: a VM that came back is in both lists, and it is there.
        for vm_id in change.removed:
            self._forget(vm_id)
        for state in change.changed:
            self._put(state)
        if settle:
            self.settle()

    def settle(self) -> bool:
        """Put every row where it belongs; return whether any had to move."""
        if not self._stale:
            return False
        self._stale = False
        before = self._rows
        self._rows = sorted(self._matching, key=self._keys.__getitem__)
        self._reindex()
        return before != self._rows

    def sort_by(self, order: Order) -> None:
        """Sort by something else."""
        self.order = order
        self._keys = {vm_id: order.key(state) for vm_id, state in self._states.items()}
        self._stale = True
        self.settle()

    def filter_by(self, wanted: Filter) -> None:
        """Show what `wanted` matches, and nothing else."""
        self.filter = wanted
        self._matching = {vm for vm, state in self._states.items() if wanted.matches(state)}
        self._stale = True
        self.settle()

    def _put(self, state: VmState) -> None:
        vm_id = state.id
        self._states[vm_id] = state
        self.tally.put(state)
        key = self.order.key(state)
        if self._keys.get(vm_id) != key:
            self._keys[vm_id] = key
            self._stale = True
        if self.filter.matches(state) != (vm_id in self._matching):
            self._matching ^= {vm_id}
            self._stale = True

    def _forget(self, vm_id: VmId) -> None:
        if self._states.pop(vm_id, None) is None:
            return
        self.tally.drop(vm_id)
        self._keys.pop(vm_id, None)
        self._matching.discard(vm_id)
        self._marked.discard(vm_id)
        if vm_id in self._index:
            # A row without a VM must not stay, whatever may move.
            self._rows.remove(vm_id)
            self._reindex()

    def _reindex(self) -> None:
        self._index = {vm_id: row for row, vm_id in enumerate(self._rows)}
        self._place_cursor()

    # -- the cursor ------------------------------------------------------------------------

    @property
    def cursor(self) -> VmId | None:
        """The VM under the cursor, None if nothing is shown."""
        return self._cursor

    @property
    def cursor_row(self) -> int:
        """The row of the cursor; 0 if nothing is shown."""
        return self._at

    def go_to_row(self, row: int) -> None:
        """Put the cursor on the VM that stands in `row`, or the nearest there is."""
        if self._rows:
            self.go_to(self._rows[min(max(row, 0), len(self._rows) - 1)])

    def go_to(self, vm_id: VmId) -> None:
        """Put the cursor on a VM that is shown."""
        if vm_id in self._index:
            self._wanted = self._cursor = vm_id
            self._at = self._index[vm_id]

    def _place_cursor(self) -> None:
        """Keep the cursor on its VM; without it, on the one that took its place."""
        if self._wanted is not None and self._wanted not in self._states:
            self._wanted = None
        if self._wanted in self._index:
            self._cursor = self._wanted
        elif self._cursor not in self._index:
            self._cursor = self._rows[min(self._at, len(self._rows) - 1)] if self._rows else None
        if self._cursor is not None:
            self._at = self._index[self._cursor]
            self._wanted = self._wanted or self._cursor

    # -- marks -----------------------------------------------------------------------------

    @property
    def marked(self) -> frozenset[VmId]:
        """The marked VMs, also those that the filter hides."""
        return frozenset(self._marked)

    def is_marked(self, vm_id: VmId) -> bool:
        """Return whether a VM is marked."""
        return vm_id in self._marked

    def toggle_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        if self._cursor is not None:
            self._marked ^= {self._cursor}

    def mark(self, vm_ids: Iterable[VmId]) -> None:
        """Mark these VMs as well."""
        self._marked.update(vm_id for vm_id in vm_ids if vm_id in self._states)

    def clear_marks(self) -> None:
        """Take all marks away."""
        self._marked.clear()

    def chosen(self) -> tuple[VmState, ...]:
        """Return the VMs that an action means: the marked ones, or the one under the cursor."""
        wanted = self._marked or ({self._cursor} if self._cursor is not None else set())
        chosen = [self._states[vm_id] for vm_id in wanted if vm_id in self._states]
        return tuple(sorted(chosen, key=lambda state: self._keys[state.id]))
