"""Makes one system call after the other fail, as SQLite's own tests do.

A first run without a fault counts the calls that the code under test makes; then each of them fails
in turn, in a run of its own:

    calls = Injector(CALLS, ours)
    with calls:
        run()
    for point in calls.points():
        with Injector(CALLS, ours, point):
            run()
"""

from __future__ import annotations

import errno
import io
import os
import random
import select
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Self

Make = Callable[[], BaseException]
Scope = Callable[[FrameType], bool]

_PACKAGE: Final = os.sep + "agentclient" + os.sep
_DRILL: Final = _PACKAGE + "backends" + os.sep + "drill" + os.sep


def os_error(number: int) -> Make:
    """Return a function that makes the OSError of this number."""
    return lambda: OSError(number, os.strerror(number))


def no_thread() -> BaseException:
    """Return what a thread's start raises where the system has none left."""
    return RuntimeError("can't start new thread")


@dataclass(frozen=True)
class Call:
    """One kind of call, and how it may fail.

    Attributes:
        name: what it is called in reports.
        owner: the module or class that has it.
        attribute: its name there.
        failures: each way to fail is tried at each occurrence.
    """

    name: str
    owner: Any
    attribute: str
    failures: tuple[Make, ...]


def call(name: str, owner: Any, attribute: str, *failures: int | Make) -> Call:
    """Return a kind of call; a number means the OSError of that number."""
    made = tuple(os_error(one) if isinstance(one, int) else one for one in failures)
    return Call(name, owner, attribute, made)


@dataclass(frozen=True)
class Point:
    """One occurrence of one call, and how it fails there.

    Attributes:
        occurrence: counted from 1.
        failure: which of the call's ways to fail.
        lasts: so many occurrences fail, one after the other.
    """

    call: str
    occurrence: int
    failure: int = 0
    lasts: int = 1

    def __str__(self) -> str:
        more = f" and {self.lasts - 1} more" if self.lasts > 1 else ""
        return f"{self.call} #{self.occurrence}{more}, failure {self.failure}"


FOR_EVER: Final = 1 << 30

# No EINTR: Python itself calls again (PEP 475), and its callers never see it.
CALLS: Final = (
    call("socket", socket.socket, "__init__", errno.EMFILE, errno.ENOBUFS),
    call("socketpair", socket, "socketpair", errno.EMFILE),
    call("connect", socket.socket, "connect", errno.EAGAIN, errno.ECONNREFUSED, errno.ENOENT),
    call("send", socket.socket, "send", errno.EPIPE, errno.EAGAIN, errno.ENOBUFS),
    call("sendmsg", socket.socket, "sendmsg", errno.EPIPE, errno.EAGAIN, errno.ETOOMANYREFS),
    call("recv", socket.socket, "recv", errno.ECONNRESET, errno.EAGAIN, errno.ENOMEM),
    call("recvmsg", socket.socket, "recvmsg", errno.ECONNRESET, errno.EAGAIN, errno.ENOMEM),
    call("popen", subprocess, "Popen", errno.EMFILE, errno.EAGAIN, errno.ENOMEM),
    call("thread", threading.Thread, "start", no_thread, MemoryError),
    call("open", io, "open", errno.EMFILE),
    call("os.open", os, "open", errno.EMFILE),
    call("pidfd_open", os, "pidfd_open", errno.EMFILE, errno.ESRCH),
    call("eventfd", os, "eventfd", errno.EMFILE),
    call("poll", select, "poll", errno.ENOMEM),
    call("epoll", select, "epoll", errno.EMFILE),
)


def ours(frame: FrameType) -> bool:
    """Return whether a call comes from agentclient, and not from a guest that it simulates."""
    found: FrameType | None = frame
    while found is not None:
        name = found.f_code.co_filename
        if _PACKAGE in name:
            return _DRILL not in name
        found = found.f_back
    return False


class Injector:
    """Counts calls, and lets one of them fail; while it is entered. Thread-safe.

    Args:
        calls: which kinds of calls.
        scope: is given the caller's frame; only what it accepts is counted.
        point: what fails; None for nothing.
        seen: is called with the name of each call, as it is made.

    Attributes:
        counts: how often each was called.
        reached: the point was reached.
    """

    def __init__(
        self,
        calls: Sequence[Call] = CALLS,
        scope: Scope = ours,
        point: Point | None = None,
        seen: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.reached = False
        self._calls = calls
        self._scope = scope
        self._point = point
        self._seen = seen
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        for one in self._calls:
            self._patch(one)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while self._undo:
            self._undo.pop()()

    def points(self, *, lasts: int = 1) -> list[Point]:
        """Return every way to fail of every call that was counted, in a fixed order."""
        return [
            Point(one.name, occurrence, failure, lasts)
            for one in self._calls
            for occurrence in range(1, self.counts[one.name] + 1)
            for failure in range(len(one.failures))
        ]

    def _patch(self, one: Call) -> None:
        own = one.attribute in vars(one.owner)
        real = getattr(one.owner, one.attribute)

        def instead(*arguments: Any, **named: Any) -> Any:
            try:
                failure = self._failure(one, sys._getframe(1))
                if failure is not None:
                    raise failure
                return real(*arguments, **named)
            finally:
                del arguments, named  # a traceback would keep what they hold

        def undo() -> None:
            if own:
                setattr(one.owner, one.attribute, real)
            else:
                delattr(one.owner, one.attribute)

        setattr(one.owner, one.attribute, instead)
        self._undo.append(undo)

    def _failure(self, one: Call, frame: FrameType) -> BaseException | None:
        if not self._scope(frame):
            return None
        with self._lock:
            self.counts[one.name] += 1
            occurrence = self.counts[one.name]
        self._seen(one.name)
        point = self._point
        if point is None or point.call != one.name:
            return None
        if not point.occurrence <= occurrence < point.occurrence + point.lasts:
            return None
        self.reached = True
        return one.failures[point.failure]()


def sample(points: Iterable[Point], most: int, seed: int = 1) -> list[Point]:
    """Return so many points, spread over all kinds of calls; the same ones each time."""
    by_call: dict[str, list[Point]] = {}
    for point in points:
        by_call.setdefault(point.call, []).append(point)
    dice = random.Random(seed)
    for group in by_call.values():
        dice.shuffle(group)
    chosen: list[Point] = []
    while len(chosen) < most and any(by_call.values()):
        for group in by_call.values():
            if group and len(chosen) < most:
                chosen.append(group.pop())
    return chosen
