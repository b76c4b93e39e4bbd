"""Which VMs are marked, and the range that grows while Shift is held or is clicked."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.model.vm import VmId


class Marks:
    """A set of VMs, and the VM from which the next range begins.

    A range that is made larger and smaller again takes back its own marks, and leaves those that
    were there before it alone. It holds exactly what stood between its ends when it was stretched:
    rows that come in between later are not marked until somebody sees them there.
    """

    def __init__(self) -> None:
        self._marked: set[VmId] = set()
        self._before: set[VmId] | None = None  # the marks without the range that is growing
        self.anchor: VmId | None = None

    @property
    def all(self) -> frozenset[VmId]:
        """The marked VMs."""
        return frozenset(self._marked)

    @property
    def growing(self) -> bool:
        """Whether the next stretch goes on with a range."""
        return self._before is not None

    def __len__(self) -> int:
        return len(self._marked)

    def __contains__(self, vm_id: object) -> bool:
        return vm_id in self._marked

    def toggle(self, vm_id: VmId) -> None:
        """Mark a VM, or take its mark away; the next range begins at it."""
        self._marked ^= {vm_id}
        self.anchor = vm_id
        self._before = None

    def add(self, vm_ids: Iterable[VmId]) -> None:
        """Mark these VMs as well."""
        self._marked.update(vm_ids)
        self._before = None

    def begin(self, anchor: VmId) -> None:
        """Begin a range at a VM."""
        self.anchor = anchor
        self._before = set(self._marked)

    def stretch(self, between: Iterable[VmId]) -> None:
        """Let the range consist of these VMs, and of no others that it had before."""
        before = self._before if self._before is not None else set(self._marked)
        self._before = before
        self._marked = before | set(between)

    def end(self) -> None:
        """Let the next range be another one."""
        self._before = None

    def drop(self, vm_id: VmId) -> None:
        """Forget a VM that is no more."""
        self._marked.discard(vm_id)
        if self._before is not None:
            self._before.discard(vm_id)
        if self.anchor == vm_id:
            self.anchor, self._before = None, None

    def clear(self) -> None:
        """Take all marks away."""
        self._marked = set()
        self.anchor, self._before = None, None
