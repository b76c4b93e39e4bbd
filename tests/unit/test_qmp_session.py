"""A QMP session with a fake QEMU, in virtual time."""

from __future__ import annotations

import pytest

from agentclient.access import exchange as steps
from agentclient.access.exchange import run
from agentclient.access.qmp_session import Ask, MonitorError, QmpSession
from agentclient.protocol.qmp import QmpEvent, QmpFailure, QmpReply
from tests.unit.fakes import (
    ENDED,
    GREETING,
    Answer,
    Clock,
    FakeEndpoint,
    FakeQemu,
    Raw,
    line,
    monitor_endpoint,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, steps)
    return made


class Session:
    """A session whose steps are taken at once."""

    def __init__(self, endpoint: FakeEndpoint, deadline: float) -> None:
        self.session = QmpSession(endpoint.connect())
        run(self.session.greet(), self.session.channel, deadline)

    def ask(self, asks: list[Ask], deadline: float) -> list[QmpReply | QmpFailure]:
        return run(self.session.ask(asks), self.session.channel, deadline)

    def take_events(self) -> list[QmpEvent]:
        return self.session.take_events()


def event(name: str, **data: object) -> bytes:
    return line({"event": name, "data": data})


def test_a_session_negotiates_and_asks(clock: Clock) -> None:
    qemu = FakeQemu({"query-status": {"status": "running"}})
    session = Session(monitor_endpoint(clock, qemu), clock.now + 1)
    answers = session.ask([Ask("query-status"), Ask("none", {"a": 1})], clock.now + 1)
    assert answers == [QmpReply(2, {"status": "running"}), QmpFailure(3, "CommandNotFound", "?")]
    assert qemu.asked == [("qmp_capabilities", None), ("query-status", None), ("none", {"a": 1})]


def test_a_monitor_that_does_not_greet_is_busy_and_nothing_is_written(clock: Clock) -> None:
    endpoint = FakeEndpoint(clock, FakeQemu())
    started = clock.now
    with pytest.raises(MonitorError, match="another client holds it") as caught:
        Session(endpoint, clock.now + 0.5)
    assert caught.value.ungreeted
    assert clock.now - started == 0.5
    assert endpoint.channels[0].written == b""


def test_what_comes_before_the_greeting_is_passed_over(clock: Clock) -> None:
    endpoint = FakeEndpoint(clock, FakeQemu(), greeting=(event("STOP"), (0.2, GREETING)))
    session = Session(endpoint, clock.now + 0.5)
    assert session.take_events() == [QmpEvent("STOP", {})]


@pytest.mark.parametrize("first", [ENDED, b"no json\n", b"[]\n"])
def test_a_monitor_that_breaks_while_greeting(clock: Clock, first: bytes) -> None:
    endpoint = FakeEndpoint(clock, FakeQemu(), greeting=(first,))
    with pytest.raises(MonitorError, match="session broke") as caught:
        Session(endpoint, clock.now + 1)
    assert not caught.value.ungreeted


def test_many_commands_go_in_few_writes_of_what_qemu_queues(clock: Clock) -> None:
    writes: list[int] = []
    qemu = FakeQemu({"x": 0})

    def answer(data: bytes) -> list[Answer]:
        writes.append(data.count(b"\n"))
        return list(qemu(data))

    endpoint = FakeEndpoint(clock, answer, greeting=(GREETING,))
    session = Session(endpoint, clock.now + 1)
    answers = session.ask([Ask("x")] * 15, clock.now + 1)
    assert [answer.ticket for answer in answers] == list(range(2, 17))
    assert writes == [7, 6, 3]  # the negotiation goes out with the first


def test_answers_are_given_in_the_order_of_the_questions(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu({"a": Raw(), "b": Raw()}))
    session = Session(endpoint, clock.now + 1)
    endpoint.channels[0].arrive([line({"return": "B", "id": 3}), line({"return": "A", "id": 2})])
    assert session.ask([Ask("a"), Ask("b")], clock.now + 1) == [QmpReply(2, "A"), QmpReply(3, "B")]


def test_a_late_answer_to_an_earlier_question_is_not_taken(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu({"a": Raw(), "b": "B"}))
    session = Session(endpoint, clock.now + 1)
    with pytest.raises(MonitorError, match="did not answer a in time"):
        session.ask([Ask("a")], clock.now + 0.5)
    endpoint.channels[0].arrive([line({"return": "late", "id": 2})])
    assert session.ask([Ask("b")], clock.now + 1) == [QmpReply(3, "B")]


def test_a_monitor_that_ends_or_talks_nonsense_is_trouble(clock: Clock) -> None:
    for answer in (ENDED, Raw(b"nonsense\n")):
        session = Session(monitor_endpoint(clock, FakeQemu({"a": answer})), clock.now + 1)
        with pytest.raises(MonitorError, match="session broke"):
            session.ask([Ask("a")], clock.now + 1)


def test_a_monitor_that_does_not_take_our_bytes_is_trouble(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu())
    session = Session(endpoint, clock.now + 1)
    endpoint.channels[0].send_error = TimeoutError("full")
    with pytest.raises(MonitorError, match="full"):
        session.ask([Ask("a")], clock.now + 1)


def test_events_are_kept_until_they_are_taken(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu({"a": 1}, events=[event("RESET"), event("STOP")]))
    session = Session(endpoint, clock.now + 1)
    session.ask([Ask("a")], clock.now + 1)
    endpoint.channels[0].arrive([event("RESUME")])
    assert [one.name for one in session.take_events()] == ["RESET", "STOP", "RESUME"]
    assert session.take_events() == []


def test_not_more_events_are_kept_than_can_matter(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu())
    session = Session(endpoint, clock.now + 1)
    endpoint.channels[0].arrive([b"".join(event(f"E{number}") for number in range(1000))])
    names = [one.name for one in session.take_events()]
    assert len(names) == 256
    assert names[-1] == "E999"


def test_the_end_of_a_held_session_shows_when_its_events_are_taken(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu())
    session = Session(endpoint, clock.now + 1)
    endpoint.channels[0].arrive([ENDED])
    with pytest.raises(MonitorError):
        session.take_events()
