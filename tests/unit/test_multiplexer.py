"""Many talks by turns, on socket pairs; nobody waits for anybody."""

from __future__ import annotations

import errno
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from agentclient.access.agent_probe import ProbeResult, probe_exchange
from agentclient.access.exchange import Exchange, Steps, releasing
from agentclient.access.multiplexer import Multiplexer
from agentclient.access.stream import StreamEnded, UnixChannel

# What was sent is there at once, and is waited for however busy the machine is.
PATIENCE_S = 60.0
SOON_S = PATIENCE_S / 2


class Peer:
    """The other end of a talk's channel."""

    def __init__(self) -> None:
        ours, self.end = socket.socketpair()
        self.channel = UnixChannel(ours)
        self.results: list[object] = []
        self.errors: list[Exception] = []

    def exchange(self, steps: Steps[str], seconds: float = 2 * PATIENCE_S) -> Exchange[str]:
        return Exchange(self.channel, steps, time.monotonic() + seconds)

    def begin(
        self, multiplexer: Multiplexer, steps: Steps[str], seconds: float = 2 * PATIENCE_S
    ) -> None:
        multiplexer.begin(self.exchange(steps, seconds), self.results.append, self.errors.append)

    def close(self) -> None:
        self.end.close()
        self.channel.close()


@pytest.fixture
def multiplexer() -> Iterator[Multiplexer]:
    made = Multiplexer()
    yield made
    made.close()


@pytest.fixture
def peer() -> Iterator[Callable[[], Peer]]:
    made: list[Peer] = []

    def make() -> Peer:
        made.append(Peer())
        return made[-1]

    yield make
    for one in made:
        one.close()


def greet(name: str) -> Steps[str]:
    came = yield f"hello {name}\n".encode()
    while not came.endswith(b"\n"):
        came += yield b""
    return came.decode().strip()


def turn(multiplexer: Multiplexer, seconds: float = PATIENCE_S) -> None:
    multiplexer.turn(time.monotonic() + seconds)


def test_an_exchange_is_taken_to_the_end(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    one = peer()
    one.begin(multiplexer, greet("you"))
    assert one.end.recv(100) == b"hello you\n"
    assert multiplexer.in_flight == 1
    one.end.send(b"good ")
    turn(multiplexer)
    assert one.results == []
    one.end.send(b"day\n")
    turn(multiplexer)
    assert one.results == ["good day"]
    assert multiplexer.in_flight == 0


def test_who_is_silent_delays_nobody(multiplexer: Multiplexer, peer: Callable[[], Peer]) -> None:
    silent, talkative = peer(), peer()
    silent.begin(multiplexer, greet("a"))
    talkative.begin(multiplexer, greet("b"))
    talkative.end.send(b"yes\n")
    began = time.monotonic()
    turn(multiplexer)
    assert time.monotonic() - began < SOON_S
    assert talkative.results == ["yes"]
    assert multiplexer.in_flight == 1


def test_the_deadline_is_thrown_into_the_steps(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    def patient() -> Steps[str]:
        try:
            yield b""
        except TimeoutError:
            return "gave up"
        return "heard"

    one = peer()
    one.begin(multiplexer, patient(), 0.05)
    turn(multiplexer)
    assert one.results == ["gave up"]


def test_steps_that_do_not_end_at_their_deadline_are_ended(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    def stubborn() -> Steps[str]:
        while True:
            try:
                yield b""
            except TimeoutError:
                continue

    one = peer()
    one.begin(multiplexer, stubborn(), 0.05)
    turn(multiplexer)
    assert [type(error) for error in one.errors] == [TimeoutError]
    assert multiplexer.in_flight == 0


def test_the_end_of_the_stream_is_thrown_into_the_steps(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    def listen() -> Steps[str]:
        try:
            yield b""
        except StreamEnded:
            return "left"
        return "heard"

    one = peer()
    one.begin(multiplexer, listen())
    one.end.close()
    turn(multiplexer)
    assert one.results == ["left"]


class FullEpoll:
    """An epoll that takes no further descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)

    def register(self, fd: int, events: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_can_not_be_waited_for_breaks_and_releases_its_lock(
    multiplexer: Multiplexer, peer: Callable[[], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is a monitor's or an agent's channel's: a freeze would wait for it for ever."""
    lock, one = threading.Lock(), peer()
    lock.acquire()
    monkeypatch.setattr(multiplexer, "_epoll", FullEpoll())
    one.begin(multiplexer, releasing(lock, greet("you")))
    assert [str(error) for error in one.errors] == [
        "it can't be waited for: No space left on device"
    ]
    assert not lock.locked()
    assert multiplexer.in_flight == 0
    one.end.setblocking(False)
    with pytest.raises(BlockingIOError):
        one.end.recv(100)  # nothing is sent whose answer would not be heard


def test_who_does_not_read_is_not_waited_for(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    def flood() -> Steps[str]:
        try:
            while True:
                yield b"x" * 1_000_000
        except TimeoutError as error:
            return str(error)

    one = peer()
    began = time.monotonic()
    one.begin(multiplexer, flood())
    assert time.monotonic() - began < SOON_S
    assert one.results == ["the other side does not take our bytes"]


def test_a_bug_in_one_exchange_is_that_ones_alone(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    def broken() -> Steps[str]:
        yield b""
        raise RuntimeError("bug")

    bad, good, worse = peer(), peer(), peer()
    bad.begin(multiplexer, broken())
    good.begin(multiplexer, greet("you"))
    boom = RuntimeError("the result can't be taken")

    def refuse(_: str) -> None:
        raise boom

    multiplexer.begin(worse.exchange(greet("me")), refuse, worse.errors.append)
    for one in (bad, good, worse):
        one.end.send(b"hi\n")
    while multiplexer.in_flight:
        turn(multiplexer)
    assert [str(error) for error in bad.errors] == ["bug"]
    assert good.results == ["hi"]
    assert worse.errors == [boom]
    assert multiplexer.in_flight == 0


def test_an_exchange_can_be_followed_by_another_at_once(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    first, second = peer(), peer()
    multiplexer.begin(
        first.exchange(greet("one")),
        lambda _: second.begin(multiplexer, greet("two")),
        first.errors.append,
    )
    first.end.send(b"done\n")
    second.end.send(b"well\n")
    turn(multiplexer)
    turn(multiplexer)
    assert second.results == ["well"]


def test_waking_ends_a_turn_early(multiplexer: Multiplexer) -> None:
    multiplexer.wake()
    began = time.monotonic()
    turn(multiplexer)
    assert time.monotonic() - began < SOON_S
    began = time.monotonic()
    turn(multiplexer, 0.05)
    assert time.monotonic() - began >= 0.05, "one wake is one early end"


def test_closing_ends_all_exchanges_and_runs_what_they_must_do(peer: Callable[[], Peer]) -> None:
    ended = []

    def careful() -> Steps[str]:
        try:
            yield b""
        finally:
            ended.append(True)
        return ""

    multiplexer, one = Multiplexer(), peer()
    one.begin(multiplexer, careful())
    multiplexer.close()
    multiplexer.wake()  # a thread that did not know
    assert ended == [True]
    assert (one.results, one.errors) == ([], [])


class Stale(UnixChannel):
    """A held session's channel that another thread closes just after we have asked its number."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._number = connected.fileno()

    def fileno(self) -> int:
        return self._number


def test_a_session_that_another_thread_closes_ends_nothing_but_itself(
    multiplexer: Multiplexer,
) -> None:
    ours, theirs = socket.socketpair()
    channel = Stale(ours)
    results: list[str] = []
    errors: list[Exception] = []

    def steps() -> Steps[str]:
        yield b""
        channel.close()
        return "done"

    with theirs:
        exchange = Exchange(channel, steps(), time.monotonic() + PATIENCE_S)
        multiplexer.begin(exchange, results.append, errors.append)
        theirs.sendall(b"x")
        turn(multiplexer)
    assert (results, errors, multiplexer.in_flight) == (["done"], [], 0)


def test_a_line_that_does_not_end_ends_a_probe_at_once(
    multiplexer: Multiplexer, peer: Callable[[], Peer]
) -> None:
    """Half a line gives its probe no event; that it is far too long is told all the same."""
    one = peer()
    probe = probe_exchange(one.channel, first=False, timeout_s=2 * PATIENCE_S)
    multiplexer.begin(probe, one.results.append, one.errors.append)
    sync = json.loads(one.end.recv(1000).lstrip(b"\xff"))
    one.end.sendall(b"\xff" + json.dumps({"return": sync["arguments"]["id"]}).encode() + b"\n")
    turn(multiplexer)
    assert b"guest-fsfreeze-status" in one.end.recv(1000)
    one.end.setblocking(False)
    began = time.monotonic()
    while multiplexer.in_flight and time.monotonic() < began + PATIENCE_S:
        with suppress(BlockingIOError, BrokenPipeError):
            one.end.send(b"x" * 65536)
        turn(multiplexer, 0.0)
    (said,) = one.results
    assert isinstance(said, ProbeResult)
    assert "a line of 8" in (said.detail or "")
