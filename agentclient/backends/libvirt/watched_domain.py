"""What is known of one start of a domain, from its daemon's lists and events. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentclient.backends.libvirt.domain_xml import Channel
from agentclient.backends.libvirt.ends import Birth, birth_of_reason
from agentclient.model.job import QemuJob
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState

_RUNNING, _BLOCKED, _PAUSED, _SHUTDOWN, _SHUT_OFF, _CRASHED, _ASLEEP = range(1, 8)
# Not *shut down* nor *off*: a QEMU whose guest has migrated ends as well, and is both for a moment.
# That a guest has shut down is told by an event, and so is its end (P9).
_STATES: Final = {
    _RUNNING: RunState.RUNNING,
    _BLOCKED: RunState.RUNNING,
    _PAUSED: RunState.PAUSED,
    _CRASHED: RunState.PANICKED,
    _ASLEEP: RunState.SUSPENDED,
}
_SHUTTING_DOWN: Final = 8  # virDomainPausedReason
# Why a domain is paused, where that makes another state of it.
_PAUSED_STATES: Final = {
    2: RunState.MIGRATING,
    5: RunState.IO_ERROR,
    _SHUTTING_DOWN: RunState.UNKNOWN,
    10: RunState.PANICKED,
}


def run_state_of(state: int, reason: int) -> RunState:
    """Return the run state for a state of libvirt's (virDomainState) and its reason."""
    if state == _PAUSED:
        return _PAUSED_STATES.get(reason, RunState.PAUSED)
    return _STATES.get(state, RunState.UNKNOWN)


@dataclass(slots=True)
class WatchedDomain:
    """One start of a domain; its daemon's lock is held by whoever changes it.

    Attributes:
        uuid: the machine's UUID.
        name: the domain's name.
        number: libvirt's number of this start.
        generation: the word that tells this start from others.
        channel: the agent's channel; None if it has none.
        run_state: what it is doing.
        port_open: whether an agent is there; None if that isn't known.
        openings: moves with each opening and closing of the port that was told.
        resets: counts its resets.
        powered_off: its guest has shut down, as was told, and does not run again yet.
        written_bytes: what it has written to its disks; None if that isn't known.
        birth: which guest it has begun with; None if that isn't known.
        looked_at: when libvirt was last asked about it (monotonic clock).
        problem: why its channel isn't known; None if it is.
        copies: what frostwatches do with its disks.
    """

    uuid: str
    name: str
    number: int
    generation: str
    channel: Channel | None = None
    run_state: RunState = RunState.UNKNOWN
    port_open: bool | None = None
    openings: int = 0
    resets: int = 0
    powered_off: bool = False
    written_bytes: int | None = None
    birth: Birth | None = None
    looked_at: float = 0.0
    problem: str | None = None
    copies: tuple[QemuJob, ...] = ()

    @property
    def view(self) -> MonitorView:
        """What is known of it, as what a look has shown."""
        return MonitorView(
            RunState.SHUTDOWN if self.powered_off else self.run_state,
            self.port_open,
            openings=self.openings,
            resets=self.resets,
            written_bytes=self.written_bytes,
            problem=self.problem,
            block_jobs=self.copies,
        )

    def take_statistics(self, figures: Mapping[str, object], now: float) -> None:
        """Take what libvirt has told of it.

        Args:
            figures: the statistics, as libvirt calls them.
            now: the monotonic clock.
        """
        state, reason = figures.get("state.state"), figures.get("state.reason")
        if isinstance(state, int):
            self.run_state = run_state_of(state, reason if isinstance(reason, int) else 0)
            if state == _RUNNING:
                self.powered_off = False  # it was started anew by its own QEMU
                self.birth = self.birth or birth_of_reason(reason)
        self.written_bytes = _written(figures)
        self.looked_at = now

    def take_channel(self, channel: Channel | None) -> None:
        """Take what its XML says of its agent, after a time without events."""
        self.channel, self.problem = channel, None
        if channel is not None and channel.connected is not self.port_open:
            if self.port_open is not None:
                self.openings += 1
            self.port_open = channel.connected

    def take_port(self, *, is_open: bool) -> None:
        """Take an event of the port; *open* once more is a restart (protocol §1.5)."""
        self.port_open = is_open
        self.openings += 1


def _written(figures: Mapping[str, object]) -> int | None:
    """Return the bytes that a domain has written to all of its disks; None if that isn't told."""
    count = figures.get("block.count")
    if not isinstance(count, int):
        return None
    each = [figures.get(f"block.{number}.wr.bytes") for number in range(count)]
    # An empty drive has no figures, and writes nothing.
    told = [one for one in each if isinstance(one, int)]
    return None if each and not told else sum(told)
