"""The injector counts what it should, and puts everything back."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agentclient.access.self_check import own_uuid
from agentclient.access.stream import UnixChannel
from tests.faults.inject import CALLS, Injector, Point, sample
from tests.faults.simulated import Simulated


def exchange() -> bytes:
    left, right = socket.socketpair()
    with left, right:
        UnixChannel(left).send(b"word", 1.0)
        return UnixChannel(right).receive()


def test_calls_of_ours_are_counted_and_others_are_not() -> None:
    with Injector() as calls:
        assert exchange() == b"word"
    assert calls.counts == {"send": 1, "recv": 1}, "the pair itself is this test's"
    assert {point.call for point in calls.points()} == {"send", "recv"}


def test_calls_of_a_simulated_guest_are_not_counted(tmp_path: Path) -> None:
    with Simulated(tmp_path) as guest, Injector() as calls:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "agent"))
            client.sendall(b'{"execute": "guest-ping"}\n')
            assert b"return" in client.recv(100)
        assert not guest.frozen
    assert calls.counts == {}


def test_each_point_fails_once_and_everything_is_put_back(tmp_path: Path) -> None:
    before = [vars(one.owner).get(one.attribute) for one in CALLS]
    (file := tmp_path / "uuid").write_text("4711\n")
    with Injector(point=Point("open", 1)) as calls:
        assert own_uuid(file) is None
        assert own_uuid(file) == "4711"
    assert calls.reached
    assert [vars(one.owner).get(one.attribute) for one in CALLS] == before


def test_a_failure_is_what_it_was_asked_to_be() -> None:
    with Injector(point=Point("recv", 1, failure=2)), pytest.raises(Exception, match="memory"):
        exchange()


def test_a_sample_has_something_of_each_kind() -> None:
    points = [Point(name, number) for name in ("a", "b") for number in range(1, 10)]
    assert {point.call for point in sample(points, 2)} == {"a", "b"}
    assert sample(points, 5) == sample(points, 5)
    assert len(sample(points, 100)) == len(points)
