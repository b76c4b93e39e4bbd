"""An exchange of requests and replies on a channel, as steps, independent of how they are run.

Steps are a generator: it yields what to send next (maybe nothing) and is sent what has come: for a
monitor both are bytes, for an agent requests and events (`agentclient.access.agent_steps`).
An operation's thread runs one exchange and waits between its steps (`run`); the poller runs those
of a thousand VMs at once (`agentclient.access.multiplexer`). Both run the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Generic, Protocol, TypeVar

from agentclient.access.cancel import Cancellation
from agentclient.access.stream import StreamEnded, wait_readable

WATCH_EVERY_S: Final = 1.0

T = TypeVar("T")
OutT = TypeVar("OutT")
InT = TypeVar("InT")
_OutT_contra = TypeVar("_OutT_contra", contravariant=True)
_InT_co = TypeVar("_InT_co", covariant=True)
Steps = Generator[bytes, bytes, T]


class Link(Protocol[_OutT_contra, _InT_co]):
    """What carries an exchange: a `Channel` carries bytes, an `AgentLink` requests and events."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""

    def send(self, data: _OutT_contra, deadline: float) -> None:
        """Send what the steps have yielded.

        Args:
            data: what to send.
            deadline: time of the monotonic clock by which it must have been sent.

        Raises:
            StreamEnded: the other side has gone.
            TimeoutError: the other side does not take it.
        """

    def receive(self) -> _InT_co:
        """Return what has come, without waiting.

        Raises:
            StreamEnded: the other side has gone; nothing more will come.
        """

    def close(self) -> None:
        """End it; doing it again changes nothing."""


class NoAnswer(TimeoutError):
    """The deadline of an exchange has passed; what has been sent may still be answered."""

    def __init__(self) -> None:
        super().__init__("no answer in time")


@dataclass(frozen=True, slots=True)
class Exchange(Generic[T]):
    """Steps that are ready to be run, their channel and their deadline.

    Attributes:
        channel: carries what the steps send and receive; the steps close it.
        steps: the generator; `StreamEnded` and `TimeoutError` are thrown into them.
        deadline: time of the monotonic clock by which they must have ended.
    """

    channel: Link[Any, Any]
    steps: Generator[Any, Any, T]
    deadline: float


def releasing(lock: Lock, steps: Steps[T]) -> Steps[T]:
    """Return steps that do the same, and release `lock` however they end."""
    try:
        return (yield from steps)
    finally:
        lock.release()


def run(
    steps: Generator[OutT | None, InT, T],
    channel: Link[OutT, InT],
    deadline: float,
    cancellation: Cancellation | None = None,
    watch: Callable[[], None] = lambda: None,
) -> T:
    """Run all steps on a channel, and wait for the replies; blocking.

    Args:
        steps: the generator.
        channel: carries what they send and receive.
        deadline: time of the monotonic clock by which they must have ended.
        cancellation: ends the wait early.
        watch: is called each second of a wait; an exception that it raises ends the wait.

    Returns:
        What the steps return.

    Raises:
        Cancelled: the cancellation was set.
        Exception: whatever the steps, or `watch`, raise.
    """

    def wait() -> None:
        # The clock is read as well: what comes without end must not prolong the exchange.
        while (now := time.monotonic()) < deadline:
            if wait_readable(channel, min(deadline, now + WATCH_EVERY_S), cancellation):
                return
            if time.monotonic() < deadline:
                watch()
        raise NoAnswer

    try:
        data = next(steps)
        while True:
            data = _step(steps, data, channel, deadline, wait)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _step(
    steps: Generator[OutT | None, InT, T],
    data: OutT | None,
    channel: Link[OutT, InT],
    deadline: float,
    wait: Callable[[], None],
) -> OutT | None:
    try:
        if data:
            channel.send(data, deadline)
        wait()
        came = channel.receive()
    except (StreamEnded, TimeoutError) as error:
        return steps.throw(error)
    return steps.send(came)
