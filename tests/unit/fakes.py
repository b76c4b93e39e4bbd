"""Guests, monitors and a clock that exist in memory alone: the tests that use them never wait."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from agentclient.access.agent_session import StreamSession
from agentclient.access.agent_steps import AgentLink
from agentclient.access.cancel import Cancellation
from agentclient.access.stream import ConnectFailed, HasDescriptor, StreamEnded
from agentclient.freeze.effects import ReportEvent
from agentclient.model.errors import Cancelled
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.snapshot import AgentHealth, Progress
from agentclient.model.states import FreezeState, RunState
from agentclient.operations.reporter_interface import EndingT


class Clock:
    """A monotonic clock that moves only when somebody waits for it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Make `modules` read this clock, and wait on `FakeChannel`s by it."""
        for module in modules:
            if hasattr(module, "time"):
                monkeypatch.setattr(module, "time", self)
            if hasattr(module, "wait_readable"):
                monkeypatch.setattr(module, "wait_readable", self.wait_readable)

    def wait_readable(
        self, waited_for: HasDescriptor, deadline: float, cancellation: Cancellation | None = None
    ) -> bool:
        # A session is waited for by its connection.
        link = waited_for.session if isinstance(waited_for, AgentLink) else waited_for
        channel = link.channel if isinstance(link, StreamSession) else link
        assert isinstance(channel, FakeChannel)
        if cancellation is not None and cancellation.is_set:
            raise Cancelled("cancelled")
        at = channel.next_at
        if at is None or at > max(deadline, self.now):
            self.now = max(deadline, self.now)
            return False
        self.now = max(self.now, at)
        return True


class Ended:
    """Stands in a channel for its end."""


ENDED = Ended()
Answer = bytes | Ended | tuple[float, bytes | Ended]


class FakeChannel:
    """A byte stream to somebody who answers each piece that is written."""

    def __init__(self, clock: Clock, answer: Callable[[bytes], Iterable[Answer]]) -> None:
        self.clock = clock
        self.written = b""
        self.closed = 0
        self.send_error: Exception | None = None
        self._answer = answer
        self._arriving: deque[tuple[float, bytes | Ended]] = deque()

    @property
    def next_at(self) -> float | None:
        return self._arriving[0][0] if self._arriving else None

    def arrive(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            delay, data = answer if isinstance(answer, tuple) else (0.0, answer)
            after = self._arriving[-1][0] if self._arriving else self.clock.now
            self._arriving.append((max(after, self.clock.now) + delay, data))

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes, deadline: float) -> None:
        assert not self.closed
        assert deadline > self.clock.now
        if self.send_error is not None:
            raise self.send_error
        self.written += data
        self.arrive(self._answer(data))

    def receive(self) -> bytes:
        if not self._arriving or self._arriving[0][0] > self.clock.now:
            return b""
        _, data = self._arriving.popleft()
        if isinstance(data, Ended):
            raise StreamEnded("the other side has closed the connection")
        return data

    def close(self) -> None:
        self.closed += 1

    @property
    def lines(self) -> list[dict[str, object]]:
        """What was written, without the sentinels."""
        return [json.loads(line) for line in self.written.replace(b"\xff", b"").splitlines()]

    @property
    def commands(self) -> list[object]:
        return [line["execute"] for line in self.lines]


@dataclass
class FakeEndpoint:
    """Gives channels to `answer`, or fails; a sequence of failures is used up first."""

    clock: Clock
    answer: Callable[[bytes], Iterable[Answer]]
    failures: list[ConnectFailed] = field(default_factory=list)
    greeting: Iterable[Answer] = ()
    channels: list[FakeChannel] = field(default_factory=list)

    def connect(self) -> FakeChannel:
        if self.failures:
            raise self.failures.pop(0)
        channel = FakeChannel(self.clock, self.answer)
        channel.arrive(self.greeting)
        self.channels.append(channel)
        return channel


@dataclass(frozen=True)
class Error:
    """A command's error, of an agent or of a monitor."""

    desc: str = "no reason"
    error_class: str = "GenericError"


@dataclass(frozen=True)
class Raw:
    """Bytes in the place of an answer; none at all for silence."""

    data: bytes = b""
    delay_s: float = 0.0


@dataclass
class FakeAgent:
    """A guest agent: syncs, echoes ids or refuses them, and answers from a table."""

    answers: dict[str, object] = field(default_factory=dict)
    takes_ids: bool = True
    silent: bool = False

    def __call__(self, data: bytes) -> Iterable[Answer]:
        if self.silent:
            return
        for part in data.splitlines():
            if part.startswith(b"\xff"):
                yield line({"error": {"class": "GenericError", "desc": "JSON parse error"}})
            yield from self._one(json.loads(part.lstrip(b"\xff")))

    def _one(self, body: Mapping[str, object]) -> Iterable[Answer]:
        command = str(body["execute"])
        arguments = body.get("arguments")
        if command == "guest-sync-delimited" and command not in self.answers:
            assert isinstance(arguments, dict)
            yield b"\xff" + line({"return": arguments["id"]})
            return
        if "id" in body and not self.takes_ids:
            yield failed("QMP input member 'id' is unexpected")
            return
        value = self.answers.get(command, Error("not found", "CommandNotFound"))
        value = value(arguments) if callable(value) else value
        if isinstance(value, Raw):
            yield (value.delay_s, value.data)
            return
        echo = {"id": body["id"]} if "id" in body else {}
        if isinstance(value, Error):
            yield line({"error": {"class": value.error_class, "desc": value.desc}, **echo})
        else:
            yield line({"return": value, **echo})


@dataclass
class FakeQemu:
    """A monitor that answers from a table of values, errors and functions of the arguments."""

    answers: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, object]] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)

    def __call__(self, data: bytes) -> Iterable[Answer]:
        for part in data.splitlines():
            body = json.loads(part)
            command, arguments = body["execute"], body.get("arguments")
            self.asked.append((command, arguments))
            default: object = {} if command == "qmp_capabilities" else Error("?", "CommandNotFound")
            value = self.answers.get(command, default)
            value = value(arguments) if callable(value) else value
            while self.events:
                yield self.events.pop(0)
            if isinstance(value, Raw):
                yield (value.delay_s, value.data)
            elif isinstance(value, Ended):
                yield value
            elif isinstance(value, Error):
                error = {"class": value.error_class, "desc": value.desc}
                yield line({"error": error, "id": body["id"]})
            else:
                yield line({"return": value, "id": body["id"]})


GREETING = b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 5}}}}\r\n'


def monitor_endpoint(clock: Clock, qemu: FakeQemu) -> FakeEndpoint:
    return FakeEndpoint(clock, qemu, greeting=(GREETING,))


def line(body: object) -> bytes:
    return json.dumps(body).encode() + b"\n"


def failed(desc: str, error_class: str = "GenericError") -> bytes:
    return line({"error": {"class": error_class, "desc": desc}})


@dataclass
class FakeReporter:
    """Remembers what it was told."""

    told: list[ReportEvent] = field(default_factory=list)
    health: list[AgentHealth] = field(default_factory=list)
    states: list[tuple[FreezeState | None, bool]] = field(default_factory=list)
    listed: list[tuple[FileSystem, ...]] = field(default_factory=list)
    run_states: list[RunState] = field(default_factory=list)
    revised: list[tuple[Outcome, Outcome]] = field(default_factory=list)

    def event(self, report: ReportEvent) -> None:
        self.told.append(report)

    def progress(self, progress: Progress | None) -> None:
        raise AssertionError("nothing is in flight yet")

    def file_systems(self, found: tuple[FileSystem, ...]) -> None:
        self.listed.append(found)

    def agent(self, health: AgentHealth) -> None:
        self.health.append(health)

    def frozen(self, state: FreezeState | None, *, foreign: bool) -> None:
        self.states.append((state, foreign))

    def run_state(self, state: RunState) -> None:
        self.run_states.append(state)

    def port(self, *, is_open: bool) -> None:
        raise AssertionError("nothing is in flight yet")

    def with_meaning(self, outcome: EndingT, *, final: bool = True) -> EndingT:
        return outcome

    def revise(self, before: Outcome, after: Outcome) -> Outcome:
        self.revised.append((before, after))
        return after

    def ended(self, outcome: EndingT) -> EndingT:
        return outcome
