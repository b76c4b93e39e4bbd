"""What the pure machines have in common, so that one loop can drive each of them.

A machine takes what has happened and returns *effects*: what its driver is to do now. It has no
clock, no thread and no I/O. Each time is in seconds of the monotonic clock.
"""

from __future__ import annotations

from typing import Protocol

from agentclient.freeze.effects import Effect
from agentclient.model.request import Extension, Instruction
from agentclient.model.snapshot import MonitorView
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

    def on_stream_ended(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """Take that the channel broke: nothing more will come through it.

        Args:
            now: the time.
            text: why, as far as it is known.
            gone: whether the VM has gone with it; None if that is not known.
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

    def on_instruction(self, now: float, instruction: Instruction | Extension) -> list[Effect]:
        """Do what the operator asks."""

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
