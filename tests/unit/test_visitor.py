"""Many talks by turns, on socket pairs; nobody waits for anybody."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from agentclient.access.exchange import Steps, Talk
from agentclient.access.multiplexer import Visitor
from agentclient.access.stream import StreamEnded, UnixChannel

SOON_S = 0.2


class Peer:
    """The other end of a talk's channel."""

    def __init__(self) -> None:
        ours, self.end = socket.socketpair()
        self.channel = UnixChannel(ours)
        self.results: list[object] = []
        self.errors: list[Exception] = []

    def talk(self, steps: Steps[str], seconds: float = 5.0) -> Talk[str]:
        return Talk(self.channel, steps, time.monotonic() + seconds)

    def begin(self, visitor: Visitor, steps: Steps[str], seconds: float = 5.0) -> None:
        visitor.begin(self.talk(steps, seconds), self.results.append, self.errors.append)

    def close(self) -> None:
        self.end.close()
        self.channel.close()


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    made = Visitor()
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


def turn(visitor: Visitor, seconds: float = SOON_S) -> None:
    visitor.turn(time.monotonic() + seconds)


def test_a_talk_is_taken_to_its_end(visitor: Visitor, peer: Callable[[], Peer]) -> None:
    one = peer()
    one.begin(visitor, greet("you"))
    assert one.end.recv(100) == b"hello you\n"
    assert visitor.in_flight == 1
    one.end.send(b"good ")
    turn(visitor)
    assert one.results == []
    one.end.send(b"day\n")
    turn(visitor)
    assert one.results == ["good day"]
    assert visitor.in_flight == 0


def test_who_is_silent_delays_nobody(visitor: Visitor, peer: Callable[[], Peer]) -> None:
    silent, talkative = peer(), peer()
    silent.begin(visitor, greet("a"))
    talkative.begin(visitor, greet("b"))
    talkative.end.send(b"yes\n")
    began = time.monotonic()
    turn(visitor, 5.0)
    assert time.monotonic() - began < SOON_S
    assert talkative.results == ["yes"]
    assert visitor.in_flight == 1


def test_the_deadline_is_thrown_into_the_steps(visitor: Visitor, peer: Callable[[], Peer]) -> None:
    def patient() -> Steps[str]:
        try:
            yield b""
        except TimeoutError:
            return "gave up"
        return "heard"

    one = peer()
    one.begin(visitor, patient(), 0.05)
    turn(visitor, 5.0)
    assert one.results == ["gave up"]


def test_steps_that_do_not_end_at_their_deadline_are_ended(
    visitor: Visitor, peer: Callable[[], Peer]
) -> None:
    def stubborn() -> Steps[str]:
        while True:
            try:
                yield b""
            except TimeoutError:
                continue

    one = peer()
    one.begin(visitor, stubborn(), 0.05)
    turn(visitor, 5.0)
    assert [type(error) for error in one.errors] == [TimeoutError]
    assert visitor.in_flight == 0


def test_the_end_of_the_stream_is_thrown_into_the_steps(
    visitor: Visitor, peer: Callable[[], Peer]
) -> None:
    def listen() -> Steps[str]:
        try:
            yield b""
        except StreamEnded:
            return "left"
        return "heard"

    one = peer()
    one.begin(visitor, listen())
    one.end.close()
    turn(visitor)
    assert one.results == ["left"]


def test_who_does_not_read_is_not_waited_for(visitor: Visitor, peer: Callable[[], Peer]) -> None:
    def flood() -> Steps[str]:
        try:
            while True:
                yield b"x" * 1_000_000
        except TimeoutError as error:
            return str(error)

    one = peer()
    began = time.monotonic()
    one.begin(visitor, flood())
    assert time.monotonic() - began < 1.0
    assert one.results == ["the other side does not take our bytes"]


def test_a_bug_in_one_talk_is_that_talks_alone(visitor: Visitor, peer: Callable[[], Peer]) -> None:
    def broken() -> Steps[str]:
        yield b""
        raise RuntimeError("bug")

    bad, good, worse = peer(), peer(), peer()
    bad.begin(visitor, broken())
    good.begin(visitor, greet("you"))
    boom = RuntimeError("the result can't be taken")

    def refuse(_: str) -> None:
        raise boom

    visitor.begin(worse.talk(greet("me")), refuse, worse.errors.append)
    for one in (bad, good, worse):
        one.end.send(b"hi\n")
    for _ in range(3):
        turn(visitor)
    assert [str(error) for error in bad.errors] == ["bug"]
    assert good.results == ["hi"]
    assert worse.errors == [boom]
    assert visitor.in_flight == 0


def test_a_talk_can_be_followed_by_another_at_once(
    visitor: Visitor, peer: Callable[[], Peer]
) -> None:
    first, second = peer(), peer()
    visitor.begin(
        first.talk(greet("one")),
        lambda _: second.begin(visitor, greet("two")),
        first.errors.append,
    )
    first.end.send(b"done\n")
    second.end.send(b"well\n")
    turn(visitor)
    turn(visitor)
    assert second.results == ["well"]


def test_waking_ends_a_turn_early(visitor: Visitor) -> None:
    visitor.wake()
    began = time.monotonic()
    turn(visitor, 5.0)
    assert time.monotonic() - began < SOON_S
    began = time.monotonic()
    turn(visitor, 0.05)
    assert time.monotonic() - began >= 0.05, "one wake is one early end"


def test_closing_ends_all_talks_and_runs_what_they_must_do(peer: Callable[[], Peer]) -> None:
    ended = []

    def careful() -> Steps[str]:
        try:
            yield b""
        finally:
            ended.append(True)
        return ""

    visitor, one = Visitor(), peer()
    one.begin(visitor, careful())
    visitor.close()
    visitor.wake()  # a thread that did not know
    assert ended == [True]
    assert (one.results, one.errors) == ([], [])


class Stale(UnixChannel):
    """A held session's channel that another thread closes just after we have asked its number."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._number = connected.fileno()

    def fileno(self) -> int:
        return self._number


def test_a_session_that_another_thread_closes_ends_nothing_but_itself(visitor: Visitor) -> None:
    ours, theirs = socket.socketpair()
    channel = Stale(ours)
    results: list[str] = []
    errors: list[Exception] = []

    def steps() -> Steps[str]:
        yield b""
        channel.close()
        return "done"

    with theirs:
        talk = Talk(channel, steps(), time.monotonic() + 5.0)
        visitor.begin(talk, results.append, errors.append)
        theirs.sendall(b"x")
        visitor.turn(time.monotonic() + 1.0)
    assert (results, errors, visitor.in_flight) == (["done"], [], 0)
