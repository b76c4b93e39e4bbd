"""An exchange of requests and replies on a channel, as steps, independent of how they are run.

Steps are a generator: it yields the bytes to write next (maybe none) and is sent those that came.
An operation's thread runs one exchange and waits between its steps (`run`); the poller runs those
of a thousand VMs at once (`agentclient.access.multiplexer`). Both run the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from agentclient.access.cancel import Cancellation
from agentclient.access.stream import Channel, StreamEnded, wait_readable

T = TypeVar("T")
Steps = Generator[bytes, bytes, T]


@dataclass(frozen=True, slots=True)
class Exchange(Generic[T]):
    """Steps that are ready to be run, their channel and their deadline.

    Attributes:
        channel: where the bytes go to and come from; the steps close it.
        steps: the generator; `StreamEnded` and `TimeoutError` are thrown into them.
        deadline: time of the monotonic clock by which they must have ended.
    """

    channel: Channel
    steps: Steps[T]
    deadline: float


def releasing(lock: Lock, steps: Steps[T]) -> Steps[T]:
    """Return steps that do the same, and release `lock` however they end."""
    try:
        return (yield from steps)
    finally:
        lock.release()


def run(
    steps: Steps[T], channel: Channel, deadline: float, cancellation: Cancellation | None = None
) -> T:
    """Run all steps on a channel, and wait for the replies; blocking.

    Args:
        steps: the generator.
        channel: where the bytes go to and come from.
        deadline: time of the monotonic clock by which they must have ended.
        cancellation: ends the wait early.

    Returns:
        What the steps return.

    Raises:
        Cancelled: the cancellation was set.
        Exception: whatever the steps raise.
    """
    try:
        data = next(steps)
        while True:
            data = _step(steps, data, channel, deadline, cancellation)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _step(
    steps: Steps[T],
    data: bytes,
    channel: Channel,
    deadline: float,
    cancellation: Cancellation | None,
) -> bytes:
    try:
        if data:
            channel.send(data, deadline)
        # The clock is read as well: bytes that come without end must not prolong the exchange.
        if time.monotonic() >= deadline or not wait_readable(channel, deadline, cancellation):
            raise TimeoutError("no answer in time")
        came = channel.receive()
    except (StreamEnded, TimeoutError) as error:
        return steps.throw(error)
    return steps.send(came)
