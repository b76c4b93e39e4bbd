"""Logs: a ring for each VM, one bound for all, and what falls out first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.logs import Logs
from agentclient.model.states import Level
from agentclient.model.vm import VmId

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
SHORT = 300  # more bytes than a line with a few letters takes


def vm(name: str) -> VmId:
    return VmId("qemu", name)


def texts(logs: Logs, name: str) -> list[str]:
    return [line.text for line in logs.since(vm(name))]


def test_a_vm_that_talks_much_does_not_drown_the_others() -> None:
    logs = Logs(lines=5)
    logs.add(vm("quiet"), AT, Level.INFO, "the one thing")
    for number in range(1000):
        logs.add(vm("noisy"), AT, Level.INFO, str(number))
    assert texts(logs, "quiet") == ["the one thing"]
    assert texts(logs, "noisy") == ["995", "996", "997", "998", "999"]


def test_the_oldest_of_all_fall_out_where_there_are_too_many() -> None:
    logs = Logs(total_bytes=4 * SHORT)
    for number in range(6):
        logs.add(vm(str(number)), AT, Level.INFO, "x")
    assert [texts(logs, str(number)) for number in range(6)] == [[], [], ["x"], ["x"], ["x"], ["x"]]


def test_a_log_that_has_fallen_out_goes_on_counting() -> None:
    logs = Logs(total_bytes=SHORT)
    logs.add(vm("a"), AT, Level.INFO, "first")
    logs.add(vm("b"), AT, Level.INFO, "other")
    assert texts(logs, "a") == []
    logs.add(vm("a"), AT, Level.INFO, "second")
    assert [(line.number, line.text) for line in logs.since(vm("a"), 1)] == [(2, "second")]


def test_long_lines_take_the_room_of_many() -> None:
    logs = Logs(total_bytes=20 * SHORT)
    for _ in range(10):
        logs.add(vm("a"), AT, Level.INFO, "short")
    logs.add(vm("b"), AT, Level.INFO, "\u2744" * 4000)
    assert texts(logs, "b") == ["\u2744" * 4000]
    assert len(texts(logs, "a")) == 0


def test_equal_time_zones_are_kept_once() -> None:
    logs = Logs()
    for _ in range(2):
        logs.add(vm("a"), AT.replace(tzinfo=timezone(timedelta(hours=2))), Level.INFO, "x")
    first, second = logs.since(vm("a"))
    assert first.at.tzinfo is second.at.tzinfo


adding = st.tuples(st.sampled_from("abc"), st.text(max_size=30))
forgetting = st.tuples(st.sampled_from("abc"), st.none())


@given(st.lists(adding | forgetting, max_size=80), st.integers(1, 6), st.integers(1, 12))
def test_whatever_comes_the_newest_are_there_and_the_bounds_hold(
    course: list[tuple[str, str | None]], lines: int, lines_in_all: int
) -> None:
    """Against a model that sorts out anew, each time, what should be left."""
    room = lines_in_all * SHORT
    logs = Logs(lines=lines, total_bytes=room)
    model: list[tuple[str, str]] = []
    for name, text in course:
        if text is None:
            logs.forget(vm(name))
            model = [one for one in model if one[0] != name]
            continue
        logs.add(vm(name), AT, Level.INFO, text)
        model.append((name, text))
        own = [one for one in model if one[0] == name]
        if len(own) > lines:
            model.remove(own[0])
        kept = {each: texts(logs, each) for each in "abc"}
        count = sum(map(len, kept.values()))
        assert 1 <= count <= len(model)
        model = model[len(model) - count :]
        assert kept == {each: [one[1] for one in model if one[0] == each] for each in "abc"}
    assert logs._bytes <= max(room, 1000)
    assert len(logs._queue) <= 2 * sum(len(texts(logs, each)) for each in "abc") + 2
