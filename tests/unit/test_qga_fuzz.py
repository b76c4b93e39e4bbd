"""The wire under inputs that nobody thought of."""

from __future__ import annotations

import json
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agentclient.protocol.qga import AgentWire, NotSynced
from agentclient.protocol.qga_events import Dropped, Failure, PassedOver, Reply, Synced, WireEvent
from tests.unit.test_qga import new_wire

SCALARS: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, 2, 101, 102, 2**64, 1.5, "frozen", "", "\x1b", [], {}]
)
IDS: st.SearchStrategy[object] = st.sampled_from(
    ["fw64.2", "fw64.3", "fw64.4", "fw64.9", "fw65.2", "fw64.", 2, None, [], {}]
)
KEYS = st.sampled_from(["return", "error", "id", "class", "desc", "x"])
ERRORS = st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, max_size=3))
MESSAGES = st.fixed_dictionaries(
    {}, optional={"return": SCALARS, "error": ERRORS, "id": IDS, "x": SCALARS}
).map(lambda body: json.dumps(body).encode())
SYNCS = st.integers(100, 106).map(lambda one: b'\xff{"return": %d}\n' % one)
JUNK = st.sampled_from(
    [
        b"",
        b"\n",
        b"\xff",
        b"\r\n",
        b"{",
        b'"',
        b"x" * 300,
        b"[" * 9,
        b"]" * 9,
        b"\x80",
        b'{"return"',
    ]
)
PIECES = st.one_of(
    SYNCS, MESSAGES.map(lambda one: one + b"\n"), MESSAGES, JUNK, st.binary(max_size=8)
)
STREAMS = st.lists(PIECES, max_size=12).map(b"".join)
ASKS = st.sampled_from(["sync", "request", "tagged", "untagged"])


def ask(wire: AgentWire, how: str, ticket: int) -> bool:
    """Write something; False if the wire refused to."""
    if how == "sync":
        wire.sync(ticket)
        return True
    try:
        wire.request(ticket, "guest-info", tag={"tagged": True, "untagged": False}.get(how))
    except NotSynced:
        assert not wire.owned
        return False
    return True


def in_a_state(asks: list[str]) -> AgentWire:
    """A wire that was synchronised first, unless nothing is asked, and then asked `asks`."""
    wire = new_wire(max_line=250)
    if asks:
        wire.sync(1)
        wire.feed(b'\xff{"return": 101}\n')
    for ticket, how in enumerate(asks, 2):
        ask(wire, how, ticket)
    return wire


@given(st.lists(ASKS, max_size=4), STREAMS)
def test_one_byte_at_a_time_means_the_same(asks: list[str], stream: bytes) -> None:
    whole, bytewise = in_a_state(asks), in_a_state(asks)
    events = [event for byte in stream for event in bytewise.feed(bytes([byte]))]
    assert events == whole.feed(stream)
    assert (bytewise.waiting, bytewise.owned, bytewise.tags) == (
        whole.waiting,
        whole.owned,
        whole.tags,
    )


@given(st.lists(ASKS, max_size=4), STREAMS, st.data())
def test_pieces_of_any_size_mean_the_same(
    asks: list[str], stream: bytes, data: st.DataObject
) -> None:
    whole, pieces = in_a_state(asks), in_a_state(asks)
    events: list[WireEvent] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        events += pieces.feed(stream[at : at + size])
        at += size
    assert events == whole.feed(stream)


@given(st.lists(ASKS, max_size=3), st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(asks: list[str], stream: bytes) -> None:
    wire = in_a_state(asks)
    for event in wire.feed(stream):
        assert isinstance(event, Reply | Failure | Synced | PassedOver | Dropped)


@given(st.lists(st.one_of(ASKS, PIECES), max_size=30))
def test_each_ticket_is_answered_once_at_the_most_and_in_order(steps: list[str | bytes]) -> None:
    wire = new_wire(max_line=250)
    syncs: set[int] = set()
    asked: set[int] = set()
    answered: Counter[int] = Counter()
    passed: Counter[int] = Counter()
    for ticket, step in enumerate(steps, 1):
        if isinstance(step, str):
            owned = wire.owned
            if ask(wire, step, ticket):
                asked.add(ticket)
                assert owned or step == "sync"
            if step == "sync":
                syncs.add(ticket)
            continue
        for event in wire.feed(step):
            match event:
                case Synced(number):
                    assert number in syncs
                    assert wire.owned
                    answered[number] += 1
                case Reply(number) | Failure(number):
                    assert number in asked - syncs
                    assert wire.owned
                    answered[number] += 1
                case PassedOver(number):
                    assert not answered[number]
                    passed[number] += 1
                case Dropped(text):
                    assert text.isprintable()
    assert list(wire.waiting) == sorted(wire.waiting)
    assert set(wire.waiting) == asked - set(answered) - set(passed)
    assert all(times == 1 for times in [*answered.values(), *passed.values()])


@given(STREAMS)
def test_nothing_but_our_own_syncs_answer_makes_the_channel_ours(stream: bytes) -> None:
    wire = new_wire(max_line=250)
    wire.sync(1)
    events = wire.feed(stream)
    if not any(isinstance(event, Synced) for event in events):
        assert not wire.owned
        assert all(isinstance(event, Dropped) for event in events)
    else:
        assert re.search(rb'\xff[^\xff\n]*"return": 101\b', stream)
