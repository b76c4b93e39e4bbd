"""QMP's wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.protocol.qmp import (
    DEFAULT_MAX_LINE,
    Greeting,
    QmpEvent,
    QmpFailure,
    QmpMessage,
    QmpReply,
    QmpViolation,
    QmpWire,
    qmp_command,
)
from tests.unit.fakes import GREETING, line


def fed(data: bytes) -> list[QmpMessage]:
    return QmpWire().feed(data)


def test_a_command_is_one_line_with_its_ticket() -> None:
    assert qmp_command(3, "query-status") == b'{"execute":"query-status","id":3}\n'
    written = qmp_command(4, "qom-list", {"path": "/x\n"})
    assert written.count(b"\n") == 1
    assert json.loads(written) == {"execute": "qom-list", "id": 4, "arguments": {"path": "/x\n"}}


def test_what_a_monitor_says() -> None:
    stream = (
        GREETING
        + line({"return": {}, "id": 1})
        + b"\r\n\n"
        + line({"event": "RESET", "data": {"guest": True}, "timestamp": {}})
        + line({"event": "STOP"})
        + line({"error": {"class": "CommandNotFound", "desc": "no"}, "id": 2})
        + line({"return": [1], "id": 3})
    )
    assert fed(stream) == [
        Greeting((7, 2, 5)),
        QmpReply(1, {}),
        QmpEvent("RESET", {"guest": True}),
        QmpEvent("STOP", {}),
        QmpFailure(2, "CommandNotFound", "no"),
        QmpReply(3, [1]),
    ]


def test_answers_to_nobody_are_left_out() -> None:
    strays: list[object] = [{"return": 1}, {"return": 1, "id": "x"}, {"error": {}, "id": None}, {}]
    for stray in strays:
        assert fed(line(stray)) == []


@pytest.mark.parametrize(
    "version",
    [
        None,
        5,
        [],
        {},
        {"version": 5},
        {"version": {"qemu": []}},
        {"version": {"qemu": {"major": "x", "minor": 0, "micro": 0}}},
        {"version": {"qemu": {"major": None, "minor": 0, "micro": 0}}},
    ],
)
def test_a_greeting_of_an_unreadable_version_greets(version: object) -> None:
    assert fed(line({"QMP": version})) == [Greeting((0, 0, 0))]


def test_a_version_beyond_all_numbers_greets_too() -> None:
    body = b'{"QMP": {"version": {"qemu": {"major": 1e999, "minor": 0, "micro": 0}}}}\n'
    assert fed(body) == [Greeting((0, 0, 0))]


@pytest.mark.parametrize(
    "junk",
    [
        b"x\n",
        b"[]\n",
        b"5\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b'{"id": 1}\n',
        b'{"id":1,"error":"x"}\n',
    ],
)
def test_what_is_no_qmp_is_a_violation(junk: bytes) -> None:
    with pytest.raises(QmpViolation):
        fed(junk)


def test_a_line_has_a_limit() -> None:
    assert DEFAULT_MAX_LINE == 16 * 1024 * 1024
    wire = QmpWire(max_line=100)
    assert wire.feed(b"x" * 100) == []
    with pytest.raises(QmpViolation, match="100 bytes"):
        wire.feed(b"x")


def test_events_of_strange_data_have_none() -> None:
    assert fed(line({"event": 5, "data": [1]})) == [QmpEvent("5", {})]


@given(st.data())
def test_pieces_mean_the_same_as_the_whole(data: st.DataObject) -> None:
    stream = GREETING + line({"return": "ünï", "id": 1}) + line({"event": "STOP"})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    wire = QmpWire()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message for piece in pieces for message in wire.feed(piece)] == fed(stream)


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([GREETING, b'{"id":1}', b"\n"]))))
def test_arbitrary_bytes_are_messages_or_a_violation(pieces: list[bytes]) -> None:
    wire = QmpWire()
    try:
        for piece in pieces:
            for message in wire.feed(piece):
                assert isinstance(message, Greeting | QmpReply | QmpFailure | QmpEvent)
    except QmpViolation:
        pass
