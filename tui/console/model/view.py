"""Which VMs are shown, in which order, which one is under the cursor and which are marked.

Everything is kept by the VM's identity; an index is only ever a way to say where it stands now.
A VM's words (see `agentclient.fleet.visible_state`) are those of the last drain, by which it was
counted and sorted. Its clocks and figures are looked up when somebody shows it or acts on it: in a
fleet in which everything is being frozen they change in thousands of rows that nobody sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from agentclient.fleet.store import FleetChange
from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.console.model.filter import Filter
from tui.console.model.longest_frozen import LongestFrozen
from tui.console.model.marks import Marks
from tui.console.model.order import Key, Order, by_name
from tui.console.model.tally import Tag, Tally
from tui.console.model.troubles import Troubles
from tui.shared.clocks import Clock, Moment
from tui.shared.fit import shown_cells

StateChange = tuple[VmState | None, VmState]

_KEY = attrgetter("key")


class _Entry:
    """What is kept about one VM, so that a change of it costs the same in any fleet.

    Attributes:
        state: as it was drained; its words hold, its figures are old.
        key: what it is compared by.
        name_key: the key's last part, which never changes.
        matches: whether the filter lets it through.
        row: where it stands, -1 if it isn't shown.
        moves: whether it has to be put where it belongs.
    """

    __slots__ = ("key", "matches", "moves", "name_key", "row", "state")

    def __init__(self, state: VmState, key: Key, name_key: Key) -> None:
        self.state = state
        self.key = key
        self.name_key = name_key
        self.matches = False
        self.row = -1
        self.moves = False


class FleetView:
    """The fleet as the operator looks at it.

    Args:
        peek: returns a VM's state with its figures as of now, in the words that were drained last;
            None if the VM isn't known.
        moment: returns the time, on which a filter may depend.
    """

    def __init__(
        self,
        peek: Callable[[VmId], VmState | None],
        moment: Callable[[], Moment] | None = None,
    ) -> None:
        self._peek = peek
        self._moment = moment or Clock().moment
        self.order = next(iter(Order))
        self.backwards = False
        self.filter = Filter()
        self.tally = Tally()
        self.marks = Marks()
        self.troubles = Troubles(self.index_of)
        self.longest_name = 0  # of all that were here, in cells
        self._longest = LongestFrozen()
        self._entries: dict[VmId, _Entry] = {}
        self._rows: list[_Entry] = []
        self._moving: list[_Entry] = []
        self._wanted: VmId | None = None  # the VM that the operator went to
        self._cursor: VmId | None = None  # it, or a neighbour while a filter hides it
        self._at = 0
        self._untouched = True

    # -- what is there ---------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[VmId]:
        """The VMs that are shown, from top to bottom."""
        return [entry.state.id for entry in self._rows]

    @property
    def shown(self) -> int:
        """The number of VMs that are shown."""
        return len(self._rows)

    @property
    def total(self) -> int:
        """The number of VMs, shown or not."""
        return len(self._entries)

    def at(self, row: int) -> VmState | None:
        """Return the VM that stands in a row, None where there is none."""
        return self._look(self._rows[row]) if 0 <= row < len(self._rows) else None

    def state(self, vm_id: VmId) -> VmState | None:
        """Return what is known about a VM, None if it has gone."""
        entry = self._entries.get(vm_id)
        return self._look(entry) if entry is not None else None

    def states(self) -> tuple[VmState, ...]:
        """Return what is known about all VMs, shown or not."""
        return tuple(map(self._look, self._entries.values()))

    def index_of(self, vm_id: VmId) -> int | None:
        """Return the row in which a VM stands now, None if it isn't shown."""
        entry = self._entries.get(vm_id)
        return entry.row if entry is not None and entry.row >= 0 else None

    def longest_frozen(self, moment: Moment) -> VmState | None:
        """Return the VM that has been frozen longest, shown or not."""
        vm_id = self._longest.find(moment)
        return self.state(vm_id) if vm_id is not None else None

    def _look(self, entry: _Entry) -> VmState:
        """Return what is known about a VM now, in the words that were drained."""
        now = self._peek(entry.state.id)
        return now if now is not None else entry.state

    @property
    def hint(self) -> str:
        """What may be wrong with the filter, in a few words; empty if nothing is."""
        return self.filter.hint(found=bool(self._rows) or not self._entries)

    @property
    def frozen(self) -> int:
        """The number of VMs that may be frozen now, whoever is at work on them."""
        return len(self._longest)

    @property
    def frozen_words(self) -> Counter[str]:
        """How many of them are *frozen*; in how many others have a command *pending*, or *lost*."""
        return self._longest.words

    @property
    def waits(self) -> bool:
        """Whether any answer is waited for, so that there are clocks to show."""
        return self.tally[Tag.FREEZING] > 0

    # -- what changes ----------------------------------------------------------------------

    def apply(self, change: FleetChange, *, settle: bool = True) -> list[StateChange]:
        """Take over what changed in the fleet.

        Args:
            change: whose words changed, and what was forgotten, since the last time.
            settle: whether rows may move now; if not, they move with the next change or `settle`.

        Returns:
            Before and after of those VMs.
        """
        # Removed first: a VM that came back is in both lists, and it is there.
        gone = [entry for vm_id in change.removed if (entry := self._forget(vm_id)) is not None]
        if any(entry.row >= 0 for entry in gone):
            # A row without a VM must not stay, whatever may move.
            self._rows = [entry for entry in self._rows if self._has(entry)]
            self._number_rows()
        news = [self._put(state) for state in change.changed]
        if settle:
            self.settle()
        return news

    def settle(self) -> bool:
        """Put every row where it belongs; return whether any had to move."""
        if not self._moving:
            return False
        before = self._rows
        # Those that stay are in order already, and Python's sort merges two runs.
        rows = [entry for entry in before if not entry.moves]
        rows += sorted((one for one in self._moving if self._is_shown(one)), key=_KEY)
        rows.sort(key=_KEY, reverse=self.backwards)
        for entry in self._moving:
            entry.moves, entry.row = False, -1
        self._moving = []
        self._rows = rows
        self._number_rows()
        moved = before != rows
        if moved:
            self.marks.end()
        return moved

    def sort_by(self, order: Order, *, backwards: bool = False) -> None:
        """Sort by something else, or the other way round."""
        self.order, self.backwards = order, backwards
        for entry in self._entries.values():
            entry.key = (*order.rank(entry.state), *entry.name_key)
            self._will_move(entry)
        self.settle()

    def filter_by(self, wanted: Filter) -> None:
        """Show what `wanted` matches, and nothing else."""
        self.filter = wanted
        self._filter_again(self._moment())
        self.settle()

    def pass_time(self) -> None:
        """Note whose place depends on the time or on figures, and has changed; see `settle`."""
        if self.filter.ages:
            self._filter_again(self._moment())
        if self.order.by_figures:
            for entry in self._entries.values():
                if entry.state.progress is not None:
                    self._sort_again(entry, self._look(entry))

    def _filter_again(self, moment: Moment) -> None:
        for entry in self._entries.values():
            matches = self.filter.matches(entry.state, moment)
            if matches != entry.matches:
                entry.matches = matches
                self._will_move(entry)

    def _sort_again(self, entry: _Entry, state: VmState) -> None:
        key = (*self.order.rank(state), *entry.name_key)
        if key != entry.key:
            entry.key = key
            self._will_move(entry)

    def _put(self, state: VmState) -> StateChange:
        entry = self._entries.get(state.id)
        before = entry.state if entry is not None else None
        if entry is None:
            entry = _Entry(state, (), by_name(state.id))
            self._entries[state.id] = entry
            self.longest_name = max(self.longest_name, shown_cells(state.vm.name))
        entry.state = state
        self.tally.put(state)
        self._longest.put(state)
        self.troubles.put(state)
        self._place(entry)
        return (before, state)

    def _place(self, entry: _Entry) -> None:
        """Note what has become of a VM's key and of whether it is shown."""
        self._sort_again(entry, entry.state)
        matches = not self.filter.text or self.filter.matches(entry.state, self._moment())
        if matches != entry.matches:
            entry.matches = matches
            self._will_move(entry)

    def _will_move(self, entry: _Entry) -> None:
        if not entry.moves:
            entry.moves = True
            self._moving.append(entry)

    def _forget(self, vm_id: VmId) -> _Entry | None:
        entry = self._entries.pop(vm_id, None)
        if entry is not None:
            self.tally.drop(vm_id)
            self._longest.drop(vm_id)
            self.troubles.drop(vm_id)
            self.marks.drop(vm_id)
        return entry

    def _has(self, entry: _Entry) -> bool:
        return self._entries.get(entry.state.id) is entry

    def _is_shown(self, entry: _Entry) -> bool:
        return entry.matches and self._has(entry)

    def _number_rows(self) -> None:
        for row, entry in enumerate(self._rows):
            entry.row = row
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
        state = self.at(self._nearest(row))
        if state is not None:
            self.go_to(state.id)

    def go_to(self, vm_id: VmId) -> None:
        """Put the cursor on a VM that is shown."""
        self.marks.end()
        self._move_to(vm_id)

    def _move_to(self, vm_id: VmId) -> None:
        row = self.index_of(vm_id)
        if row is not None:
            self._wanted = self._cursor = vm_id
            self._at = row
            self._untouched = False

    def _nearest(self, row: int) -> int:
        return min(max(row, 0), len(self._rows) - 1)

    def _place_cursor(self) -> None:
        """Keep the cursor on its VM; without it, on the one that took its place.

        A cursor that nobody has moved yet is nobody's: it stays on top, where the trouble is, when
        the first visits of a thousand VMs sort them.
        """
        if self._untouched:
            self._wanted = self._cursor = None
            self._at = 0
        if self._wanted is not None and self._wanted not in self._entries:
            self._wanted = None
        if self._wanted is not None and self.index_of(self._wanted) is not None:
            self._cursor = self._wanted
        elif self._cursor is None or self.index_of(self._cursor) is None:
            instead = self.at(self._nearest(self._at))
            self._cursor = instead.id if instead is not None else None
        if self._cursor is not None:
            self._at = self.index_of(self._cursor) or 0
            self._wanted = self._wanted or self._cursor

    # -- marks -----------------------------------------------------------------------------

    @property
    def hidden_marks(self) -> int:
        """The number of marked VMs that the filter hides."""
        return sum(not self._entries[vm_id].matches for vm_id in self.marks.all)

    def toggle_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        self.claim_cursor()
        if self._cursor is not None:
            self.marks.toggle(self._cursor)

    def mark_shown(self) -> None:
        """Mark all VMs that are shown."""
        self.marks.add(self.rows)

    def mark_to(self, vm_id: VmId) -> None:
        """Mark what stands between the last mark and a VM, and go there."""
        anchor = self.marks.anchor
        if anchor is None or self.index_of(anchor) is None:
            anchor = self._cursor or vm_id
        if not self.marks.growing:
            self.marks.begin(anchor)
        self._stretch(anchor, vm_id)

    def extend_marks(self, rows: int) -> None:
        """Move the cursor by some rows, and mark what stands between its first place and it."""
        if self._cursor is None:
            return
        if not self.marks.growing:
            self.marks.begin(self._cursor)
        target = self.at(self._nearest(self._at + rows))
        anchor = self.marks.anchor
        if target is not None and anchor is not None:
            self._stretch(anchor, target.id)

    def _stretch(self, anchor: VmId, target: VmId) -> None:
        ends = (self.index_of(anchor), self.index_of(target))
        if None not in ends:
            first, last = sorted(row for row in ends if row is not None)
            self.marks.stretch(entry.state.id for entry in self._rows[first : last + 1])
            self._move_to(target)

    def claim_cursor(self) -> None:
        """The operator acts on the VM under the cursor: it is the one that was meant (P6).

        Without this a cursor that a filter has moved goes back to where it was, and the next key
        would hit another VM.
        """
        if self._cursor is not None:
            self._wanted = self._cursor
            self._untouched = False

    def chosen(self) -> tuple[VmState, ...]:
        """Return the VMs that an action means: the marked ones, or the one under the cursor."""
        self.claim_cursor()
        return tuple(map(self._look, sorted(self._chosen(), key=_KEY)))

    def _chosen(self) -> Iterator[_Entry]:
        wanted = self.marks.all or ({self._cursor} if self._cursor is not None else set())
        for vm_id in wanted:
            entry = self._entries.get(vm_id)
            if entry is not None:
                yield entry
