"""What it costs to watch channels that others hold, next to the same fleet with none held."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentclient.backends.drill.troubles import Trouble
from agentclient.model.states import AgentState
from tests.benchmarks.effort import amount
from tests.benchmarks.test_watcher import cpu_share, watched
from tests.drilled import drill_of

Record = Callable[[str, object], None]

SECONDS = amount(10.0, 3.0)
VMS, HELD = 1000, 100
# A held channel may be looked at 8 times as often, and a tenth of them are held.
MOST_TIMES = 2.5


def _share(held: Trouble) -> float:
    """Return how much of a core it takes to watch a thousand VMs, of some of which that is so."""
    troubles: Mapping[str, Trouble] = {
        f"vm{n}": held if n < HELD else Trouble.FAST for n in range(VMS)
    }
    with drill_of(troubles) as drill, watched(drill.vms, 2.0) as fleet:
        share = cpu_share(SECONDS)
        busy = sum(state.agent.state is AgentState.BUSY for state in fleet.states())
        named = sum(state.others is not None for state in fleet.states())
    assert busy == named == (0 if held is Trouble.FAST else HELD)
    return share


def test_a_hundred_of_a_thousand_channels_are_held(record_property: Record) -> None:
    """At the default intervals; each held channel is looked at up to four times a second."""
    none, some = _share(Trouble.FAST), _share(Trouble.BUSY)
    record_property("cpu_percent", round(some, 1))
    record_property("to_none_held", round(some / none, 2))
    print(f"{VMS} VMs: {none:.1f} % of a core, {HELD} of them held by others {some:.1f} %")
    assert some < MOST_TIMES * none
