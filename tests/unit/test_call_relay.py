"""The packets by which a console lets its holder make the calls."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access.call_relay import MOST_BYTES, CallRelay, carry_out, told, told_end
from agentclient.access.call_session import CallSession, CallState, NotSent
from agentclient.access.stream import StreamEnded, UnixChannel
from agentclient.model.states import Cause
from agentclient.protocol.qga_commands import FREEZE, STATUS
from agentclient.protocol.qga_events import Dropped, Failure, PassedOver, Reply, Synced, WireEvent
from tests.unit.memory_backend import MemoryCalls, MemoryGuest

WAIT_S = 60.0


class Ends:
    """A relay, and the holder's end of its channel."""

    def __init__(self) -> None:
        ours, self.holder = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.relay = CallRelay(UnixChannel(ours), {FREEZE: 60.0})

    def said(self) -> bytes:
        return self.holder.recv(65536)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.holder.close()
    ends.relay.close()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)
)
tickets = st.integers(0, 2**40)
events = st.one_of(
    st.builds(Reply, tickets, values),
    st.builds(Failure, tickets, st.text(max_size=80), st.text()),
    st.builds(Synced, tickets),
    st.builds(PassedOver, tickets),
)


@given(events)
def test_an_event_comes_as_it_was_told(event: WireEvent) -> None:
    ends = Ends()
    ends.holder.send(told(event))
    assert ends.relay.receive() == [event]
    assert ends.relay.receive() == []
    ends.holder.close()
    ends.relay.close()


def nested(depth: int) -> object:
    """A value of lists in lists."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", ["x" * MOST_BYTES, "\N{SNOWMAN}" * MOST_BYTES, {1, 2}, nested(2000)]
)
def test_a_reply_that_fits_no_packet_is_a_failure(ends: Ends, value: object) -> None:
    packet = told(Reply(3, value))
    assert len(packet) < MOST_BYTES
    ends.holder.send(packet)
    (event,) = ends.relay.receive()
    assert isinstance(event, Failure)
    assert event.ticket == 3


def test_words_without_an_end_are_cut(ends: Ends) -> None:
    for packet in (
        told(Failure(1, "\N{SNOWMAN}" * 1000, "\N{PILE OF POO}" * MOST_BYTES)),
        told_end(StreamEnded("\N{PILE OF POO}" * MOST_BYTES)),
    ):
        assert len(packet) <= MOST_BYTES


def test_what_answers_no_request_is_not_passed_on() -> None:
    with pytest.raises(ValueError, match="noise"):
        told(Dropped("noise"))


def test_an_end_has_its_cause_and_comes_behind_the_answers(ends: Ends) -> None:
    ends.holder.send(told(Reply(1, 2)))
    ends.holder.send(told_end(StreamEnded("the agent has gone", Cause.AGENT_GONE)))
    assert ends.relay.receive() == [Reply(1, 2)]
    with pytest.raises(StreamEnded, match="the agent has gone") as problem:
        ends.relay.receive()
    assert problem.value.cause is Cause.AGENT_GONE
    assert not ends.relay.lost, "the holder is there"
    ends.holder.send(told_end(NotSent("held by a backup")))
    with pytest.raises(NotSent, match="held by a backup"):
        ends.relay.receive()
    ends.holder.close()
    with pytest.raises(StreamEnded):
        ends.relay.receive()
    assert ends.relay.lost


@pytest.mark.parametrize("packet", [b"{", b"[]", b"\xff", b'{"reply": "x"}', b"[" * 2000])
def test_a_packet_that_cannot_be_read_ends_it(ends: Ends, packet: bytes) -> None:
    ends.holder.send(packet)
    with pytest.raises(StreamEnded):
        ends.relay.receive()


def test_requests_are_carried_out_as_they_were_asked(ends: Ends) -> None:
    guest = MemoryGuest("db1")
    session = CallSession(MemoryCalls(guest, guest.vm.generation), CallState())
    assert carry_out(session, ends.said()) is None, "the bound of a freeze"
    ends.relay.ask(4, FREEZE, None, time.monotonic() + WAIT_S)
    assert carry_out(session, ends.said()) == (4, FREEZE)
    until = time.monotonic() + WAIT_S
    while not (came := session.receive()):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert came == [Reply(4, 2)]
    ends.relay.sync(5, time.monotonic() + WAIT_S)
    assert carry_out(session, ends.said()) == (5, "")
    while not (came := session.receive()):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert came == [Synced(5)]
    assert guest.called == [FREEZE, STATUS]
    assert carry_out(session, b"{") is None
    session.close()
