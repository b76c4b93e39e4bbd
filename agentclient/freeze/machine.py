"""What the pure machines have in common, so that one loop can drive each of them.

A machine takes what has happened and returns *effects*: what its driver is to do now. It has no
clock, no thread and no I/O. Each time is in seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from agentclient.freeze.effects import Effect
from agentclient.model.instruction import Instructions
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause
from agentclient.protocol.qga_events import WireEvent


class Machine(Protocol):
    """A freeze, a thaw, or both as one, for a driver that reads, looks and waits."""

    @property
    def done(self) -> bool:
        """Whether it has ended: it asks for nothing more."""

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""

    @property
    def watch_every_s(self) -> float:
        """After how many seconds the monitor should be looked at again."""

    @property
    def wants_look(self) -> bool:
        """Whether a conclusion waits for nothing but a look at the monitor."""

    def wants_connection(self, now: float) -> bool:
        """Whether a try to connect is due.

        What comes of it goes to `on_connected` or `on_connect_failed`.
        """

    def start(self, now: float) -> list[Effect]:
        """Begin; called once, before everything else."""

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""

    def on_look(self, now: float, view: MonitorView) -> list[Effect]:
        """Take one look at the monitor."""

    def on_flood(self, now: float, text: str) -> list[Effect]:
        """Take that nothing but noise comes through the channel.

        Args:
            now: the time.
            text: what comes, one clause.
        """

    def on_stream_ended(
        self, now: float, text: str, *, gone: bool | None, cause: Cause = Cause.CHANNEL_BROKEN
    ) -> list[Effect]:
        """Take that the channel broke: nothing more will come through it.

        Args:
            now: the time.
            text: why, as far as it is known.
            gone: whether the VM has gone with it; None if that is not known.
            cause: the cause, where the other side has told it.
        """

    def on_connected(self, now: float) -> list[Effect]:
        """Take that another channel to the same guest was opened."""

    def on_connect_failed(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """Take that no channel could be opened.

        Args:
            now: the time.
            text: why not, one clause.
            gone: whether the VM has gone; None if that is not known.
        """

    def on_instruction(self, now: float, instruction: Instructions) -> list[Effect]:
        """Do what the operator asks."""

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""


@dataclass(slots=True)
class MachineInputs:
    """What one wait of a driver has brought.

    Attributes:
        heard: what came from the agent, in its order.
        view: one look at the monitor; None if there was none.
        instructions: what the operator asks.
        ended: why the channel broke, if it did.
        gone: whether the VM has gone with the channel; None if that is not known.
        cause: why the channel broke, where the other side has told it.
        flood: what comes instead of answers, without an end to be seen; None if nothing.
    """

    heard: list[WireEvent] = field(default_factory=list)
    view: MonitorView | None = None
    instructions: list[Instructions] = field(default_factory=list)
    ended: str | None = None
    gone: bool | None = None
    cause: Cause = Cause.CHANNEL_BROKEN
    flood: str | None = None


class ConnectAttempt(NamedTuple):
    """What came of one try to connect again.

    Attributes:
        gone: whether the VM has gone; None if that is not known.
        why: why it could not be had, one clause.
    """

    connected: bool
    gone: bool | None = None
    why: str = ""


class MachineDriver(Protocol):
    """What drives a machine: it reads, looks, writes, and knows the time."""

    def now(self) -> float:
        """Return the time of the monotonic clock."""

    def perform(self, effects: list[Effect]) -> None:
        """Do what a machine asks."""

    def reconnect(self) -> ConnectAttempt:
        """Try once to open the channel anew after it broke."""


def step(
    machine: Machine,
    inputs: MachineInputs,
    driver: MachineDriver,
    taken: Callable[[], bool] = lambda: False,
) -> None:
    """Hand over to a machine what has happened, in the order of its coming: the one loop's body.

    Answers come before the look that was taken after them, and both before the channel's end.

    Args:
        machine: a freeze, a thaw, or both.
        inputs: what has happened.
        driver: who drives it.
        taken: is asked when the channel has ended, before anything else is concluded from it,
            whether somebody has taken the guest over: what was written since may be theirs.
    """
    for event in inputs.heard:
        driver.perform(machine.on_reply(driver.now(), event))
    if inputs.flood is not None:
        driver.perform(machine.on_flood(driver.now(), inputs.flood))
    if inputs.ended is not None and taken():
        return
    if inputs.view is not None:
        driver.perform(machine.on_look(driver.now(), inputs.view))
    if inputs.ended is not None:
        ended, gone, cause = inputs.ended, inputs.gone, inputs.cause
        driver.perform(machine.on_stream_ended(driver.now(), ended, gone=gone, cause=cause))
    for instruction in inputs.instructions:
        driver.perform(machine.on_instruction(driver.now(), instruction))
    if machine.wants_connection(driver.now()):
        attempt = driver.reconnect()
        driver.perform(
            machine.on_connected(driver.now())
            if attempt.connected
            else machine.on_connect_failed(driver.now(), attempt.why, gone=attempt.gone)
        )
    driver.perform(machine.on_tick(driver.now()))
