"""A rescue: the ladder's rungs, how each is taken, and what it can find.

A rescue is for a guest that is frozen while its agent has ended or is silent. Each rung does less
to the guest than the one above it. A person decides each (P4), but for the first two on a window
that is provably ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentclient.model.outcome import Meaning
from agentclient.model.states import FreezeState
from agentclient.model.vm import VmId


class Rung(StrEnum):
    """The ladder, from its foot."""

    CONNECT = "connect"
    THAW = "thaw"
    WAIT = "wait"
    SYSRQ = "sysrq"
    RESET = "reset"


class Means(StrEnum):
    """How SysRq reaches the guest."""

    KEY = "key"
    SERIAL = "serial"


class RungResult(StrEnum):
    """What a rung found: the closed list."""

    THAWED = "thawed"  # an agent says that nothing is frozen
    WRITES = "writes"  # it wrote nothing before SysRq-J, and writes after it
    RESET = "reset"  # the guest was reset: nothing can be frozen any more
    ANSWERS = "answers"  # an agent answers, and something is frozen
    SILENT = "silent"  # nothing came back in time
    NO_AGENT = "no-agent"  # no agent has opened its port
    UNKNOWN = "unknown"  # it can't be told from outside: look into the guest
    REFUSED = "refused"  # the rung was not taken
    CANCELLED = "cancelled"  # somebody stopped it
    FAILED = "failed"  # QEMU or the agent answered with an error, or frostwatch failed


_DONE: Final = frozenset({RungResult.THAWED, RungResult.WRITES, RungResult.RESET})
BY_ITSELF: Final = frozenset({Rung.CONNECT, Rung.THAW})


@dataclass(frozen=True, slots=True)
class Step:
    """A rung that is to be taken.

    Attributes:
        rung: which one.
        means: how SysRq is sent, by key unless it is said; None for the other rungs.
        serial: the label of the guest's console; None for the only serial port.
        name: the VM's name as a person has typed it; without it nothing is reset.
    """

    rung: Rung
    means: Means | None = None
    serial: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.rung is Rung.SYSRQ and self.means is None:
            object.__setattr__(self, "means", Means.KEY)

    @property
    def bypasses_agent(self) -> bool:
        """Whether it needs neither the agent nor its channel, which another client may hold."""
        return self.rung in (Rung.SYSRQ, Rung.RESET)


@dataclass(frozen=True, slots=True)
class RescueTimes:
    """How long the rungs take at the most, in seconds.

    Attributes:
        hold_s: how long *connect* holds the connection before it asks anything.
        thaw_s: the thaw's own bound.
        wait_s: how long an agent is waited for.
        before_s: how long writes are watched before SysRq, and `after_s` after it.
        agent_s: how long an agent is waited for behind SysRq, and its thaw.
        boot_s: how long a guest may take until its agent is back after a reset.
    """

    hold_s: float = 1.0
    thaw_s: float = 60.0
    wait_s: float = 600.0
    before_s: float = 1.5
    after_s: float = 3.0
    agent_s: float = 15.0
    boot_s: float = 180.0


@dataclass(frozen=True, slots=True)
class RescueOutcome:
    """What one rung found.

    Attributes:
        vm: the VM's identity.
        rung: which one was taken.
        found: what it found, in one word.
        means: how SysRq was sent; None for the other rungs.
        state: the guest's file systems after it; None if that isn't known.
        thawed: the thaw's count, where one was acknowledged.
        reason: one sentence for a person.
        seconds: how long it took.
        next: what a person should do now; None if nothing.
        meaning: what it means; None until `agentclient.model.meaning` has added it.
    """

    vm: VmId
    rung: Rung
    means: Means | None
    found: RungResult
    state: FreezeState | None
    thawed: int | None
    reason: str
    seconds: float
    next: str | None = None
    meaning: Meaning | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is frozen any more, as far as evidence goes."""
        return self.found in _DONE

    @property
    def refused(self) -> bool:
        """Whether the rung was not taken."""
        return self.found is RungResult.REFUSED
