"""What it costs to watch channels that others hold, next to the same fleet with none held."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from agentclient.backends.drill.troubles import Trouble
from agentclient.fleet.store import Fleet
from agentclient.model.states import AgentState
from tests.benchmarks.effort import amount
from tests.benchmarks.test_watcher import cpu_share, watched
from tests.drilled import drill_of
from tests.guests.lab.shell import wait_until

Record = Callable[[str, object], None]

SECONDS = amount(10.0, 3.0)
VMS, HELD = 1000, 100
# A held channel may be looked at 8 times as often, and a tenth of them are held.
MOST_TIMES = 2.5


def _share(held: int) -> float:
    """Return how much of a core it takes to watch a thousand VMs, of which so many are held."""
    troubles: Mapping[str, Trouble] = {
        f"vm{n}": Trouble.BUSY if n < held else Trouble.FAST for n in range(VMS)
    }
    with drill_of(troubles) as drill, watched(drill.vms, 2.0) as fleet:
        wait_until(lambda: _seen(fleet) == held, 60.0, "all that are held")
        share = cpu_share(SECONDS)
        assert sum(state.agent.state is AgentState.BUSY for state in fleet.states()) == held
    return share


def _seen(fleet: Fleet) -> int:
    return sum(state.others is not None for state in fleet.states())


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
