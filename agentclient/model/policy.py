"""What the operator has set for one VM, and what is so where nobody has set anything.

These numbers stand here and nowhere else: the schedule of a freeze, the settings and the options
take them from here.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class VmPolicy(NamedTuple):
    """How one VM is treated; all times in seconds.

    Attributes:
        hold_s: how long its window is held, where a freeze does not say otherwise.
        maximum_hold_s: a longer hold is refused.
        first_timeout_s: how long a freeze alone is waited for.
        probe_timeout_s: how long each status probe behind it is waited for.
        probes: how many probes are sent at the most.
        thaw_timeout_s: how long a thaw is waited for, once the agent is free to run it.
        agent_interval_s: between two questions to its agent.
        monitor_interval_s: between two looks at its monitor.
        read_only: why nothing is sent to it, as a clause; None if something may be, or if nothing
            is sent to any VM.
        never_ask: why its agent is never connected to, as a clause; None if it may be.
        never_taint: why nothing is done that taints its domain, as a clause; None if it may be, or
            if it is no domain of libvirt's.
    """

    hold_s: float = 0.0
    maximum_hold_s: float = 120.0
    first_timeout_s: float = 600.0
    probe_timeout_s: float = 600.0
    probes: int = 5
    thaw_timeout_s: float = 180.0
    agent_interval_s: float = 15.0
    monitor_interval_s: float = 2.0
    read_only: str | None = None
    never_ask: str | None = None
    never_taint: str | None = None


DEFAULT_POLICY: Final = VmPolicy()
