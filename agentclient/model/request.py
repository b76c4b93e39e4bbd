"""What an operator asks of a freeze: what to freeze, for how long, and what changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from agentclient.model.errors import BadInput
from agentclient.model.policy import DEFAULT_POLICY, VmPolicy
from agentclient.model.text import plain_path

if TYPE_CHECKING:
    from agentclient.model.timeline import Group

DEFAULT_MAXIMUM_HOLD_S = DEFAULT_POLICY.maximum_hold_s


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a freeze is waited for; all times in seconds (protocol §4).

    A shorter first timeout would queue probes at an agent that is still busy. So the first step is
    as long as the others, and the probes begin after it.

    Attributes:
        first_timeout_s: how long the freeze alone is waited for.
        probe_timeout_s: how long each status probe behind it is waited for.
        probes: how many probes are sent at the most.
        hold_s: how long the window is held after its verdict before it is thawed on its own.
        maximum_hold_s: a longer `hold_s` is refused.
        thaw_timeout_s: how long a thaw is waited for, once the agent is free to run it.
        bridge_s: how much of `hold_s` is for the wait for others that are frozen together with it.
    """

    first_timeout_s: float = DEFAULT_POLICY.first_timeout_s
    probe_timeout_s: float = DEFAULT_POLICY.probe_timeout_s
    probes: int = DEFAULT_POLICY.probes
    hold_s: float = DEFAULT_POLICY.hold_s
    maximum_hold_s: float = DEFAULT_POLICY.maximum_hold_s
    thaw_timeout_s: float = DEFAULT_POLICY.thaw_timeout_s
    bridge_s: float = 0.0

    def __post_init__(self) -> None:
        timeouts = (self.first_timeout_s, self.probe_timeout_s, self.thaw_timeout_s)
        if not all(0 < timeout < inf for timeout in timeouts):  # no wait is for ever (P1)
            raise BadInput("a timeout must be longer than 0 s, and end")
        if self.probes < 0:
            raise BadInput("the number of probes can't be negative")
        if not 0 <= self.hold_s <= self.maximum_hold_s < inf:
            raise BadInput(
                f"a hold of {self.hold_s:g} s is outside of 0 to {self.maximum_hold_s:g} s; "
                "--max-hold sets the most"
            )

    @classmethod
    def of(cls, policy: VmPolicy | None, *, hold_s: float | None = None) -> Schedule:
        """Return the schedule that the operator has set for a VM.

        Args:
            policy: what is set for it; None for what is so where nothing is.
            hold_s: how long the window is held; None for as long as is set.

        Raises:
            BadInput: that is longer than a window of it may be held.
        """
        each = policy or DEFAULT_POLICY
        return cls(
            each.first_timeout_s,
            each.probe_timeout_s,
            each.probes,
            each.hold_s if hold_s is None else hold_s,
            each.maximum_hold_s,
            each.thaw_timeout_s,
        )

    @classmethod
    def together(cls, policies: Iterable[VmPolicy | None]) -> Schedule:
        """Return the one schedule of VMs that are frozen together.

        The longest time of any of them, for each; none is held for longer than it may be.

        Raises:
            BadInput: one is to be held for longer than another one may be.
        """
        each = [policy or DEFAULT_POLICY for policy in policies]
        return cls(
            max(one.first_timeout_s for one in each),
            max(one.probe_timeout_s for one in each),
            max(one.probes for one in each),
            max(one.hold_s for one in each),
            min(one.maximum_hold_s for one in each),
            max(one.thaw_timeout_s for one in each),
        )

    @property
    def steps(self) -> int:
        """The number of steps: the freeze's own timeout and each probe's."""
        return 1 + self.probes

    @property
    def total_s(self) -> float:
        """Seconds after which an unanswered freeze has timed out."""
        return self.first_timeout_s + self.probes * self.probe_timeout_s


@dataclass(frozen=True, slots=True)
class FreezeRequest:
    """What an operator asks for.

    Attributes:
        mounts: the mount points to freeze, as the guest names them; empty for everything.
        strict: full coverage is demanded.
        schedule: how long everything may take.
        long_hold: a person has decided to hold also what can't be held for so long (Windows).
        keep: the window is left to the holder once it is open and verified: it outlives us.
        again: the command that asks for all of it once more; None for the freeze's own.
        group: the group that it belongs to; None if it belongs to none.
        remote_hold: a person has decided to freeze also a VM of another host, where nobody would
            thaw it if the link there were cut.
    """

    mounts: tuple[str, ...] = ()
    strict: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    long_hold: bool = True
    keep: bool = False
    again: str | None = None
    group: Group | None = None
    remote_hold: bool = False

    def __post_init__(self) -> None:
        named = dict.fromkeys(plain_path(path) for path in self.mounts)
        object.__setattr__(self, "mounts", tuple(named))
