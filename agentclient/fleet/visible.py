"""What counts, orders and filters see of a VM: its words, not its clocks and figures.

In a fleet in which hundreds of freezes are pending almost every change is a clock or a figure: no
count and no row's place depends on them. It is found out where a state is written, whose parts the
processor has at hand then; a reader of thousands of VMs would wait for memory.
"""

from __future__ import annotations

from agentclient.model.snapshot import Progress, VmState


def same_face(old: VmState, new: VmState) -> bool:
    """Return whether counts, orders, filters and news take two states of a VM for the same.

    Parts that nobody has replaced are told by their identity, which costs less than a look.
    """
    return (
        (old.agent is new.agent or old.agent.state is new.agent.state)
        and old.run_state is new.run_state
        and (old.freeze is new.freeze or old.freeze == new.freeze)
        and (old.progress is new.progress or _same_phase(old.progress, new.progress))
        and old.last is new.last
        and (old.left is new.left or old.left == new.left)
        and (old.held_by is new.held_by or old.held_by == new.held_by)
        and (old.trouble is new.trouble or old.trouble == new.trouble)
        and (old.vm is new.vm or old.vm == new.vm)
    )


def _same_phase(old: Progress | None, new: Progress | None) -> bool:
    if old is None or new is None:
        return False
    return (
        old.phase is new.phase
        and old.what == new.what
        and old.held_since == new.held_since
        and (old.verdict is new.verdict or old.verdict == new.verdict)
    )
