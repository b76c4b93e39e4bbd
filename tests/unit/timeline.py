"""A clock on which things happen at their time, and waits that end when something has come."""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable, Iterable
from types import ModuleType

import pytest

from agentclient.access.cancel import Cancellation
from agentclient.access.stream import HasDescriptor
from agentclient.model.errors import Cancelled
from tests.unit.fakes import Clock, Ended, FakeChannel, FakeEndpoint

# No process has so many open files: asked for such a one, the kernel knows nothing of it.
_NO_DESCRIPTOR = 1 << 30


class Timeline(Clock):
    """A monotonic clock with a diary: waiting moves it, and what is due meanwhile happens."""

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__(now)
        self.channels: dict[int, NumberedChannel] = {}
        self.refuses_to_wait = False
        self._numbers = itertools.count(_NO_DESCRIPTOR)
        self._diary: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Make `modules` read this clock, and wait by it."""
        super().install(monkeypatch, *modules)
        for module in modules:
            if hasattr(module, "select"):
                monkeypatch.setattr(module, "select", self)
            if hasattr(module, "wait_any"):
                monkeypatch.setattr(module, "wait_any", self.wait_any)

    # -- what a test does -----------------------------------------------------------------

    def at(self, seconds: float, do: Callable[[], object]) -> None:
        """Have something happen so many seconds from now, as soon as somebody waits for it."""
        heapq.heappush(self._diary, (self.now + seconds, next(self._order), do))

    def jump(self, seconds: float) -> None:
        """Let time pass in which this process does not run: what is due happens late."""
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self._pass_until(self.now + seconds)

    # -- what waits -----------------------------------------------------------------------

    def wait_readable(
        self, waited_for: HasDescriptor, deadline: float, cancellation: Cancellation | None = None
    ) -> bool:
        channel = self.channels[waited_for.fileno()]

        def stopped() -> bool:
            return cancellation is not None and cancellation.is_set

        self._wait(deadline, lambda: stopped() or channel.has_come, [channel])
        if stopped():
            raise Cancelled("cancelled")
        return channel.has_come

    def wait_any(
        self, fds: Iterable[int], timeout_s: float, events: int = select.POLLIN
    ) -> set[int]:
        waited_for = list(fds)
        ours = [self.channels[fd] for fd in waited_for if fd in self.channels]
        real = [fd for fd in waited_for if 0 <= fd < _NO_DESCRIPTOR]

        def ready() -> set[int]:
            if events & select.POLLIN:
                return {one.number for one in ours if one.has_come} | _readable(real)
            return {one.number for one in ours if one.has_come and one.is_over}

        self._wait(self.now + timeout_s, lambda: bool(ready()), ours)
        return ready()

    # -- the `select` module, as far as it is used --------------------------------------------

    POLLIN, EPOLLIN = select.POLLIN, select.EPOLLIN

    def poll(self) -> _Poll:
        """Return what waits as `select.poll` does, by this clock."""
        return _Poll(self)

    def epoll(self) -> _Epoll:
        """Return what waits as `select.epoll` does, by this clock."""
        return _Epoll(self)

    # -- inside ---------------------------------------------------------------------------

    def number(self, channel: NumberedChannel) -> int:
        """Return a number for a channel that is no descriptor of this process's."""
        number = next(self._numbers)
        self.channels[number] = channel
        return number

    def is_closed(self, number: int) -> bool:
        """Return whether the channel with this number was closed here."""
        return number in self.channels and bool(self.channels[number].closed)

    def _wait(
        self, until: float, ready: Callable[[], bool], channels: Iterable[NumberedChannel]
    ) -> None:
        self._pass_until(self.now)
        while not ready() and self.now < until:
            coming = [one.next_at for one in channels if one.next_at is not None]
            diary = [self._diary[0][0]] if self._diary else []
            self._pass_until(min([until, *coming, *diary]))

    def _pass_until(self, at: float) -> None:
        while self._diary and self._diary[0][0] <= at:
            due, _, do = heapq.heappop(self._diary)
            self.now = max(self.now, due)
            do()
        self.now = max(self.now, at)


class _Poll:
    def __init__(self, clock: Timeline) -> None:
        self._clock = clock
        self._fds: list[int] = []

    def register(self, fd: int, events: int) -> None:
        assert events == select.POLLIN
        self._fds.append(fd)

    def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
        if self._clock.refuses_to_wait:
            raise OSError(22, "Invalid argument")
        ready = self._clock.wait_any(self._fds, timeout_ms / 1000)
        return [(fd, select.POLLIN) for fd in ready]


class _Epoll:
    """What waits for those that have been registered, and are still open."""

    def __init__(self, clock: Timeline) -> None:
        self._clock = clock
        self._fds: set[int] = set()

    def register(self, fd: int, events: int) -> None:
        assert events == select.EPOLLIN
        assert fd not in self._fds, "registered twice"
        self._fds.add(fd)

    def unregister(self, fd: int) -> None:
        self._fds.remove(fd)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        closed = {fd for fd in self._fds if self._clock.is_closed(fd)}
        self._fds -= closed
        return [(fd, select.EPOLLIN) for fd in self._clock.wait_any(self._fds, timeout_s)]

    def close(self) -> None:
        self._fds.clear()


class NumberedChannel(FakeChannel):
    """A byte stream that can be waited for together with others."""

    def __init__(self, clock: Timeline, endpoint: NumberedEndpoint) -> None:
        super().__init__(clock, endpoint.answer)
        self.number = clock.number(self)
        self.written_at: list[float] = []

    @property
    def has_come(self) -> bool:
        """Whether something can be read now."""
        return self.next_at is not None and self.next_at <= self.clock.now

    @property
    def is_over(self) -> bool:
        """Whether its end is what can be read next."""
        return bool(self._arriving) and isinstance(self._arriving[0][1], Ended)

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def send(self, data: bytes, deadline: float) -> None:
        at_once = deadline == 0.0  # what is not taken then is not waited for
        super().send(data, self.clock.now + 1.0 if at_once else deadline)
        self.written_at.append(self.clock.now)


class NumberedEndpoint(FakeEndpoint):
    """Gives channels that can be waited for together."""

    @property
    def numbered(self) -> list[NumberedChannel]:
        """The channels that it has given."""
        return [one for one in self.channels if isinstance(one, NumberedChannel)]

    def connect(self) -> NumberedChannel:
        if self.failures:
            raise self.failures.pop(0)
        assert isinstance(self.clock, Timeline)
        channel = NumberedChannel(self.clock, self)
        channel.arrive(self.greeting)
        self.channels.append(channel)
        return channel


def _readable(fds: list[int]) -> set[int]:
    """Return which descriptors of this process are readable now; waits for none."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(0)}
