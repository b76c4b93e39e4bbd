"""Runs the blocking calls of visits in threads, with a bound on the threads of each lane.

A call may never return: its visit ends at the timeout all the same, but its thread counts until it
returns. So a backend that hangs uses no more threads than its bound, and none of another backend.
Where all threads of a lane hang, those that wait for one time out as well. A VM whose call hangs
gets no further one: it never takes more than one thread from the other VMs of its lane.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from agentclient.model.errors import NO_THREAD, why_no_thread

T = TypeVar("T")
MOST_AT_ONCE: Final = 16


@dataclass(slots=True, eq=False)
class _Call:
    """A call that was requested.

    Attributes:
        until: when it times out, by the monotonic clock; infinite while it waits for a thread that
            will be free.
        over: `done` or `failed` was called.
    """

    lane: str
    about: Hashable
    make: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    timeout_s: float
    until: float = float("inf")
    over: bool = field(default=False)


class Calls:
    """The blocking calls of all backends. One thread alone uses this object.

    Args:
        wake: ends that thread's wait; is called from any thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._came: deque[tuple[_Call, object, Exception | None]] = deque()
        self._waiting: dict[str, deque[_Call]] = {}
        self._made: dict[str, int] = {}
        self._hung: dict[str, int] = {}  # those that were made, and are over before they returned
        self._hanging: set[tuple[str, Hashable]] = set()  # whose they are
        self._calls: list[_Call] = []

    @property
    def in_flight(self) -> int:
        """The number of calls that were requested and whose end was not delivered."""
        return len(self._calls)

    @property
    def next_at(self) -> float:
        """When the next call times out, by the monotonic clock; infinite if none is running."""
        return min((one.until for one in self._calls), default=float("inf"))

    def begin(
        self,
        lane: str,
        make: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
        timeout_s: float,
        *,
        about: Hashable,
    ) -> None:
        """Make a call in a thread, as soon as its lane has a free one.

        Args:
            lane: what it shares its threads with: a backend, or one of a backend's sources.
            make: makes the call, in the thread.
            done: `deliver` calls it with the result.
            failed: `deliver` calls it with the exception, or with a `TimeoutError`.
            timeout_s: how long the call may take, in seconds from its start; and how long it waits
                for a thread while all of its lane hang.
            about: the VM that it is about.

        Raises:
            TimeoutError: an earlier call about this VM hangs.
        """
        if (lane, about) in self._hanging:
            raise TimeoutError("an earlier call about it has not returned: it hangs")
        call = _Call(lane, about, make, done, failed, timeout_s)
        if self._hangs(lane):
            call.until = time.monotonic() + timeout_s
        self._calls.append(call)
        self._waiting.setdefault(lane, deque()).append(call)
        self._start(lane)

    def deliver(self) -> None:
        """Deliver the results of calls that have ended, and time out those that are late."""
        while self._came:
            call, result, error = self._came.popleft()
            self._made[call.lane] -= 1
            if call.over:
                self._returned(call)
            self._start(call.lane)
            if not call.over:
                self._end(call, result, error)
        now = time.monotonic()
        for call in [one for one in self._calls if one.until <= now]:
            self._time_out(call)

    def close(self) -> None:
        """Forget all calls; each thread ends when its call returns."""
        self._calls.clear()
        self._waiting.clear()

    def _hangs(self, lane: str) -> bool:
        return self._hung.get(lane, 0) >= MOST_AT_ONCE

    def _time_out(self, call: _Call) -> None:
        waiting = self._waiting.get(call.lane, deque())
        if call in waiting:
            waiting.remove(call)
            text = f"its source hangs: {MOST_AT_ONCE} calls to it have not returned"
        else:
            text = f"its source has not answered within {call.timeout_s:g} s"
            self._hung[call.lane] = self._hung.get(call.lane, 0) + 1
            self._hanging.add((call.lane, call.about))
            if self._hangs(call.lane):
                for one in waiting:
                    one.until = time.monotonic() + one.timeout_s
        self._end(call, None, TimeoutError(text))

    def _returned(self, call: _Call) -> None:
        """Note that one has returned that had timed out: its thread is free for the next."""
        self._hung[call.lane] -= 1
        self._hanging.discard((call.lane, call.about))
        for one in self._waiting.get(call.lane, ()):
            one.until = float("inf")

    def _start(self, lane: str) -> None:
        waiting = self._waiting.get(lane, ())
        while waiting and self._made.get(lane, 0) < MOST_AT_ONCE:
            call = waiting.popleft()
            call.until = time.monotonic() + call.timeout_s
            self._made[lane] = self._made.get(lane, 0) + 1
            thread = threading.Thread(
                target=self._make, args=(call,), name=f"call of {lane}", daemon=True
            )
            try:
                thread.start()
            except NO_THREAD as error:
                problem = RuntimeError(f"there is no thread for it: {why_no_thread(error)}")
                self._came.append((call, None, problem))
                self._wake()

    def _make(self, call: _Call) -> None:
        try:
            result, error = call.make(), None
        except Exception as problem:  # noqa: BLE001 - P8: any error is this call's alone
            result, error = None, problem
        self._came.append((call, result, error))
        self._wake()

    def _end(self, call: _Call, result: object, error: Exception | None) -> None:
        call.over = True
        self._calls.remove(call)
        if error is not None:
            call.failed(error)
            return
        try:
            call.done(result)
        except Exception as problem:  # noqa: BLE001 - P8, as above
            call.failed(problem)
