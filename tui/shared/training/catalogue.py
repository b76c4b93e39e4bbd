"""Which scenarios there are, by name."""

from __future__ import annotations

from typing import Final

from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from tui.shared.training.foreign import FOREIGN
from tui.shared.training.half_frozen import HALF_FROZEN
from tui.shared.training.hung import HUNG
from tui.shared.training.lost import LOST
from tui.shared.training.scenario import Scenario

SCENARIOS: Final = {one.name: one for one in (LOST, HALF_FROZEN, FOREIGN, HUNG)}


def scenario(name: str) -> Scenario:
    """Return the scenario of a name.

    Raises:
        BadInput: there is none; the sentence names similar ones, and all.
    """
    found = SCENARIOS.get(name)
    if found is None:
        alike = did_you_mean(name, SCENARIOS)
        known = ", ".join(SCENARIOS)
        raise BadInput(f"no scenario is called {printable(name)!r}{alike}; there are: {known}")
    return found
