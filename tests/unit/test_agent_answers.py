"""What a guest may say, and what becomes of it (P7)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from agentclient.access import agent as agent_module
from agentclient.access import exchange as exchange_module
from agentclient.model.errors import ProtocolViolation
from agentclient.model.outcome import FileSystem
from agentclient.protocol.qga_details import system
from agentclient.protocol.qga_replies import Disk, disks, file_systems_counted
from tests.unit.fakes import Clock
from tests.unit.test_agent import CALLS, Guest


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, agent_module, exchange_module)
    return made


WRONG: list[Any] = [None, True, 1.5, "x", [], {}, [[]], "frozen\n", {"return": 2}]


@pytest.mark.parametrize("value", [*WRONG, -(2**70)])
def test_an_answer_of_the_wrong_type_is_a_violation_or_harmless(clock: Clock, value: Any) -> None:
    for command, call in CALLS:
        guest = Guest(clock)
        guest.answers[command] = value
        with suppress(ProtocolViolation):
            call(guest.agent)


@pytest.mark.parametrize("value", [None, "FROZEN", "freezing", "", 1, ["frozen"], {"frozen": 1}])
def test_a_status_is_frozen_or_thawed(clock: Clock, value: Any) -> None:
    with pytest.raises(ProtocolViolation):
        Guest(clock, guest_fsfreeze_status=value).agent.probe_status()


def test_a_command_is_sent_with_its_arguments(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze_list=1)
    arguments = {"mountpoints": ["/", "/data"]}
    assert guest.agent.request("guest-fsfreeze-freeze-list", arguments) == 1
    assert guest.channel.lines[-1]["arguments"] == {"mountpoints": ["/", "/data"]}


def test_file_systems_are_read_and_made_safe(clock: Clock) -> None:
    listed = [
        {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [{}]},
        {"name": "\x1bv", "mountpoint": "/\u202e", "type": "t" * 500},
    ]
    found = Guest(clock, guest_get_fsinfo=listed).agent.fsinfo()
    first, evil = found.file_systems
    assert found.problem is None
    assert first == FileSystem("vda1", "/", "ext4")
    assert (evil.device, evil.mountpoint, len(evil.kind)) == ("\\x1bv", "/\\u202e", 40)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        None,
        5,
        [],
        "vda1",
        {"name": "", "mountpoint": "/", "type": "ext4"},
        {"name": None, "mountpoint": "/", "type": "ext4"},
        {"mountpoint": "/", "type": "ext4"},
        {"name": "vdb", "type": "ext4"},
        {"name": "vdb", "mountpoint": ["/"], "type": "ext4"},
        {"name": "vdb", "mountpoint": "/", "type": 5},
        {"name": "vdb", "mountpoint": "/"},
        {"name": "n" * 500, "mountpoint": "/", "type": "ext4"},
        {"name": "vdb", "mountpoint": "m" * 5000, "type": "ext4"},
    ],
)
def test_a_malformed_entry_is_no_device_and_makes_the_list_doubtful(
    clock: Clock, entry: object
) -> None:
    good = {"name": "vda1", "mountpoint": "/", "type": "ext4"}
    found = Guest(clock, guest_get_fsinfo=[entry, good]).agent.fsinfo()
    assert found.file_systems == (FileSystem("vda1", "/", "ext4"),)
    assert found.problem == "1 of the 2 entries of its list can't be read"


def test_a_list_longer_than_a_guest_can_have_is_cut_and_doubtful(clock: Clock) -> None:
    listed = [{"name": f"d{n}", "mountpoint": f"/{n}", "type": "ext4"} for n in range(4097)]
    found = Guest(clock, guest_get_fsinfo=listed).agent.fsinfo()
    assert len(found.file_systems) == 4096
    assert found.problem == "its list has 4097 entries, more than 4096"
    assert Guest(clock, guest_get_fsinfo=listed[:-1]).agent.fsinfo().problem is None


def test_disks_are_read_in_full_or_not_at_all() -> None:
    whole = {"name": "/dev/vda", "partition": False, "dependencies": []}
    part = {"name": "/dev/vda1", "partition": True, "dependencies": ["/dev/vda"]}
    assert disks([whole, part]) == (
        Disk("/dev/vda", False, ()),
        Disk("/dev/vda1", True, ("/dev/vda",)),
    )
    wrong: list[Any] = [None, {}, 5, [whole, {}], [None], [{**whole, "dependencies": 5}]]
    for value in [*wrong, [whole] * 5000]:
        assert disks(value) is None


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


def test_what_a_system_tells_of_itself_is_safe_to_show_and_bounded() -> None:
    answer = {"name": "Debian\x1b", "x\u202e": 5, "n": None}
    assert system(answer) == {"name": "Debian\\x1b", "x\\u202e": "5", "n": "None"}
    ((key, value),) = (system({"k" * 99: "v" * 999}) or {}).items()
    assert (len(key), len(value)) == (60, 200)


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_a_count_of_file_systems(value: int) -> None:
    assert file_systems_counted(value) == value


@pytest.mark.parametrize("value", [None, True, -1, 1.0, "2", [1], {}, 2**31, 10**400])
def test_what_no_agent_counts_is_no_count(value: object) -> None:
    """One of 400 digits would stand in each outcome, and make every line of the history as wide."""
    assert file_systems_counted(value) is None
