"""What it costs to watch channels that others hold, next to the same fleet with none held."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from agentclient.backends.drill.troubles import Trouble
from agentclient.fleet.store import Fleet
from agentclient.model.states import AgentState, OthersState
from tests.benchmarks.effort import amount
from tests.benchmarks.test_watcher import cpu_share, watched
from tests.drilled import drill_of
from tests.guests.lab.shell import wait_until

Record = Callable[[str, object], None]

SECONDS = amount(10.0, 3.0)
VMS, HELD = 1000, 100
# A held channel may be looked at 8 times as often, and a tenth of them are held.
MOST_TIMES = 2.5
# A pending one is, and its guest's writes are looked at every second.
MOST_TIMES_PENDING = 3.5
# Who finds its channel taken, by us say, comes again after a minute.
PATIENCE_S = 180.0


def _share(held: int, trouble: Trouble = Trouble.BUSY) -> float:
    """Return how much of a core it takes to watch a thousand VMs, of which so many are held."""
    troubles: Mapping[str, Trouble] = {
        f"vm{n}": trouble if n < held else Trouble.FAST for n in range(VMS)
    }
    wanted = OthersState.PENDING if trouble is Trouble.BACKUP_STUCK else None
    with drill_of(troubles) as drill, watched(drill.vms, 2.0) as fleet:
        wait_until(lambda: _seen(fleet, wanted) == held, PATIENCE_S, "all that are held")
        share = cpu_share(SECONDS)
        assert _seen(fleet, wanted) == held
        assert sum(state.agent.state is AgentState.BUSY for state in fleet.states()) == held
    return share


def _seen(fleet: Fleet, wanted: OthersState | None) -> int:
    found = [state.others.state for state in fleet.states() if state.others is not None]
    return sum(wanted in (None, state) for state in found)


@pytest.mark.figures
def test_a_hundred_of_a_thousand_channels_are_held_or_all(record_property: Record) -> None:
    """At the default intervals; all are held where libvirt manages the VMs."""
    none, some, every = _share(0), _share(HELD), _share(VMS)
    record_property("cpu_percent", round(some, 1))
    record_property("to_none_held", round(some / none, 2))
    record_property("all_to_none_held", round(every / none, 2))
    print(
        f"{VMS} VMs: {none:.1f} % of a core; {HELD} of them held by others {some:.1f} %,"
        f" all of them {every:.1f} %"
    )
    assert some < MOST_TIMES * none
    assert every < MOST_TIMES * none


@pytest.mark.figures
def test_a_command_is_pending_in_a_hundred_of_a_thousand(record_property: Record) -> None:
    """As with a hundred backups that are stuck: four looks a second at each."""
    none, pending = _share(0), _share(HELD, Trouble.BACKUP_STUCK)
    record_property("cpu_percent", round(pending, 1))
    record_property("to_none_held", round(pending / none, 2))
    print(
        f"{VMS} VMs: {none:.1f} % of a core; {HELD} of them with a command of others pending"
        f" {pending:.1f} %"
    )
    assert pending < MOST_TIMES_PENDING * none
