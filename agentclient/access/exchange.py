"""An exchange on a channel, written down as steps, so that anybody can take them.

Steps are a generator that yields the bytes to write next (maybe none) and is sent what came. A
freezer's thread takes them one after the other and waits in between (`run`); the watcher takes
those of a thousand VMs by turns (`agentclient.access.multiplexer`). The exchange is written once.
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
    """Steps that are ready to be taken.

    Attributes:
        channel: where the bytes go to and come from; the steps close it.
        steps: what is said; `StreamEnded` and `TimeoutError` are thrown into them.
        deadline: time of the monotonic clock by which they must have ended.
    """

    channel: Channel
    steps: Steps[T]
    deadline: float


def releasing(lock: Lock, steps: Steps[T]) -> Steps[T]:
    """Return the same steps, which release `lock` when they end, in whatever way."""
    try:
        return (yield from steps)
    finally:
        lock.release()


def run(
    steps: Steps[T], channel: Channel, deadline: float, cancellation: Cancellation | None = None
) -> T:
    """Take all steps, and wait for what comes.

    Args:
        steps: what is said.
        channel: where.
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
        # The clock is read as well: somebody who talks without end must not keep us.
        if time.monotonic() >= deadline or not wait_readable(channel, deadline, cancellation):
            raise TimeoutError("no answer in time")
        came = channel.receive()
    except (StreamEnded, TimeoutError) as error:
        return steps.throw(error)
    return steps.send(came)
