"""What a guest may say, and what becomes of it (P7)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from agentclient import agent as agent_module
from agentclient.errors import ProtocolViolation
from agentclient.vm import FileSystem
from tests.unit.fakes import Clock
from tests.unit.test_agent import CALLS, Guest


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, agent_module)
    return made


WRONG: list[Any] = [None, True, 1.5, "x", [], {}, [[]], "frozen\n", {"return": 2}]


@pytest.mark.parametrize("value", [*WRONG, -(2**70)])
def test_an_answer_of_the_wrong_type_is_a_violation_or_harmless(clock: Clock, value: Any) -> None:
    for command, call in CALLS:
        guest = Guest(clock)
        guest.answers[command] = value
        with suppress(ProtocolViolation):
            call(guest.agent)


@pytest.mark.parametrize("value", [None, True, 2.0, "2", [2], {}])
def test_a_count_is_an_integer(clock: Clock, value: Any) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze=value, guest_fsfreeze_thaw=value)
    with pytest.raises(ProtocolViolation):
        guest.agent.fsfreeze_freeze()
    with pytest.raises(ProtocolViolation):
        guest.agent.fsfreeze_thaw()


@pytest.mark.parametrize("value", [None, "FROZEN", "freezing", "", 1, ["frozen"], {"frozen": 1}])
def test_a_status_is_frozen_or_thawed(clock: Clock, value: Any) -> None:
    with pytest.raises(ProtocolViolation):
        Guest(clock, guest_fsfreeze_status=value).agent.fsfreeze_status()


def test_freezing_a_list_names_the_mount_points(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze_list=1)
    assert guest.agent.fsfreeze_freeze_list(("/", "/data")) == 1
    assert guest.channel.lines[-1]["arguments"] == {"mountpoints": ["/", "/data"]}


def test_file_systems_are_read_and_made_safe(clock: Clock) -> None:
    listed = [
        {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [{}]},
        {"name": "\x1bv", "mountpoint": "/\u202e", "type": ["x"]},
        {"name": "n" * 500, "mountpoint": "m" * 500, "type": "t" * 500},
        {},
        None,
    ]
    first, evil, long, empty, none = Guest(clock, guest_get_fsinfo=listed).agent.fsinfo()
    assert first == FileSystem("vda1", "/", "ext4")
    assert evil == FileSystem("\\x1bv", "/\\u202e", "['x']")
    assert (len(long.device), len(long.mountpoint), len(long.kind)) == (120, 240, 40)
    assert empty == none == FileSystem("?", "?", "?")


def test_not_more_file_systems_than_a_guest_can_have(clock: Clock) -> None:
    assert len(Guest(clock, guest_get_fsinfo=[{}] * 5000).agent.fsinfo()) == 4096


def test_info_is_read_as_far_as_it_can_be(clock: Clock) -> None:
    commands = [
        {"name": "a", "enabled": True},
        {"name": "b", "enabled": False},
        {"name": "c", "enabled": "true"},
        {"name": 5, "enabled": True},
        {"enabled": True},
        "junk",
    ]
    answer = {"version": "7.2\x1b" + "0" * 100, "supported_commands": commands}
    info = Guest(clock, guest_info=answer).agent.info()
    assert (info.enabled, info.known) == (frozenset("a"), frozenset("abc"))
    assert info.version.startswith("7.2\\x1b0")
    assert len(info.version) == 40
    empty = Guest(clock, guest_info={"supported_commands": 5}).agent.info()
    assert (empty.version, empty.known) == ("unknown", frozenset())


def test_osinfo_is_safe_to_show(clock: Clock) -> None:
    answer = {"name": "Debian\x1b", "x\u202e": 5, "n": None}
    assert Guest(clock, guest_get_osinfo=answer).agent.osinfo() == {
        "name": "Debian\\x1b",
        "x\\u202e": "5",
        "n": "None",
    }


def test_osinfo_is_bounded(clock: Clock) -> None:
    ((key, value),) = Guest(clock, guest_get_osinfo={"k" * 99: "v" * 999}).agent.osinfo().items()
    assert (len(key), len(value)) == (60, 200)
