"""The protocol's facts, one by one, as a drill's guest keeps them (protocol §1 to §3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentclient.backends.drill.guest import OPENINGS_AT_BOOT, DrillGuest
from agentclient.backends.drill.qmp_monitor import RING, MonitorSession
from agentclient.backends.drill.troubles import BOOT_S, HUGE_BYTES, Trouble
from tests.unit.drill_virtual import AGENT, DEVICE, ask, drill_guest

FREEZE, THAW, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"


def line(command: str, **more: object) -> bytes:
    return json.dumps({"execute": command, **more}).encode() + b"\n"


def served(trouble: Trouble = Trouble.FAST) -> DrillGuest:
    guest = drill_guest(trouble)
    guest.client_came(0.0)
    return guest


def answers(guest: DrillGuest, now: float, *lines: bytes) -> list[Any]:
    """Write, wait until `now`, and return what was answered."""
    guest.receive(now - 1.0, b"".join(lines))
    guest.advance(now)
    return [json.loads(one) for one in guest.take_output().replace(b"\xff", b"").splitlines()]


def chardev(guest: DrillGuest, now: float) -> dict[str, Any]:
    (value,) = ask(guest, now, ("query-chardev", {}))
    return dict(value[0])


def queue(guest: DrillGuest, now: float, number: int) -> dict[str, int]:
    (value,) = ask(guest, now, ("x-query-virtio-queue-status", {"path": DEVICE, "queue": number}))
    return dict(value)


def reads(guest: DrillGuest, now: float) -> int:
    given = {"path": DEVICE, "queue": 4, "index": 0}
    (value,) = ask(guest, now, ("x-query-virtio-queue-element", given))
    return int(value["avail"]["idx"]) - RING


# -- the wire -----------------------------------------------------------------------------------


def test_a_sync_carries_the_sentinel_and_its_leading_one_gives_an_error_line() -> None:
    guest = served()
    guest.receive(0.0, b"\xff" + line("guest-sync-delimited", arguments={"id": 7}))
    error, reply = guest.take_output().splitlines()
    assert "JSON parse error" in json.loads(error)["error"]["desc"]
    assert reply == b'\xff{"return": 7}'


def test_half_a_command_ruins_the_next_but_for_a_sentinel() -> None:
    guest = served()
    (error,) = answers(guest, 1.0, b'{"execute": "guest-i', line(STATUS))
    assert "error" in error
    error, status = answers(guest, 2.0, b'{"execute": "guest-i\xff', line(STATUS))
    assert "error" in error
    assert status == {"return": "thawed"}


@pytest.mark.parametrize("tag", ["a", 1, 1.5, None, ["x"], {"y": 1}])
def test_ids_are_echoed_whatever_they_are(tag: object) -> None:
    assert answers(served(), 1.0, line(STATUS, id=tag)) == [{"return": "thawed", "id": tag}]


def test_sync_ids_end_at_63_bits() -> None:
    (error,) = answers(served(), 1.0, line("guest-sync", arguments={"id": 2**63}))
    assert "error" in error


@pytest.mark.parametrize("text", [b"[]", b"{}", b"null", b"[" * 100_000, b"{", b'{"execute": [1]}'])
def test_nonsense_is_answered_with_an_error(text: bytes) -> None:
    (error,) = answers(served(), 1.0, text + b"\n")
    assert "error" in error


# -- freezing -----------------------------------------------------------------------------------


def test_one_thing_after_the_other() -> None:
    guest = served(Trouble.SLOW_HOOK)
    guest.receive(0.0, line(FREEZE) + line("guest-ping") + line(THAW))
    guest.advance(25.0)
    assert guest.take_output() == b""
    guest.advance(26.0)
    replies = [json.loads(one) for one in guest.take_output().splitlines()]
    assert replies == [{"return": 2}, {"return": {}}, {"return": 2}]


def test_while_frozen_only_a_few_commands_are_allowed() -> None:
    guest = served()
    assert answers(guest, 2.0, line(FREEZE)) == [{"return": 2}]
    refused = ("guest-get-fsinfo", "guest-get-osinfo", FREEZE, "guest-fsfreeze-freeze-list")
    for command in refused:
        (error,) = answers(guest, 4.0, line(command))
        assert error["error"]["class"] == "CommandNotFound"
    allowed = ("guest-ping", "guest-info", STATUS)
    for command in allowed:
        assert "return" in answers(guest, 6.0, line(command))[0]
    (info,) = answers(guest, 7.0, line("guest-info"))
    enabled = {c["name"] for c in info["return"]["supported_commands"] if c["enabled"]}
    assert enabled == {
        "guest-ping", "guest-info", "guest-sync", "guest-sync-delimited", STATUS, THAW,
    }  # fmt: skip
    assert answers(guest, 9.0, line(THAW)) == [{"return": 2}]
    assert "return" in answers(guest, 11.0, line("guest-get-fsinfo"))[0]


@pytest.mark.parametrize(
    ("mounts", "count"),
    [(["/"], 1), (["/", "/nowhere"], 1), (["/nowhere"], 0), (["/boot/efi"], 0), ([], 0)],
)
def test_a_list_freezes_what_it_names_and_ignores_the_rest(mounts: list[str], count: int) -> None:
    guest = served(Trouble.NOT_COVERED)
    command = line("guest-fsfreeze-freeze-list", arguments={"mountpoints": mounts})
    assert answers(guest, 2.0, command, line(THAW)) == [{"return": count}, {"return": count}]


def test_a_killed_agent_leaves_the_flag_and_what_it_had_frozen() -> None:
    guest = served(Trouble.HALF_FROZEN)
    guest.receive(0.0, line(FREEZE) + line(STATUS) + line(THAW))
    guest.advance(5.0)
    assert (guest.alive, guest.flag, set(guest.disks.frozen)) == (False, True, {"vdb1"})
    assert guest.take_output() == b""
    # What it had not read runs on the next one, since the client has stayed.
    guest.advance(7.0)
    replies = [json.loads(one) for one in guest.take_output().splitlines()]
    assert replies == [{"return": "frozen"}, {"return": 1}]


def test_what_waits_at_a_closed_port_goes_with_its_client() -> None:
    guest = served(Trouble.HALF_FROZEN)
    guest.receive(0.0, line(FREEZE))
    guest.advance(5.0)
    guest.receive(5.0, line(THAW))
    guest.client_left(5.1)
    guest.client_came(5.2)
    guest.advance(10.0)
    assert guest.take_output() == b""
    assert guest.disks.frozen == {"vdb1"}


def test_a_dead_clients_freeze_runs_and_its_reply_waits_for_the_next_client() -> None:
    guest = served()
    guest.receive(0.0, line(FREEZE) + line(THAW))
    guest.client_left(0.0)
    guest.advance(60.0)
    assert guest.disks.frozen == {"vda1", "vdb1"}, "the agent is stuck with its reply"
    guest.client_came(61.0)
    assert guest.take_output() == b'{"return": 2}\n'
    guest.advance(62.0)
    assert guest.take_output() == b'{"return": 2}\n'
    assert guest.disks.frozen == set()


def test_a_stopped_agent_reads_nothing_and_keeps_nothing() -> None:
    guest = served(Trouble.SILENT)
    guest.receive(0.0, line(STATUS) * 1000)
    guest.advance(1000.0)
    assert guest.take_output() == b""
    assert (guest.alive, guest.reads) == (True, 0)


def test_a_huge_reply_is_one_line() -> None:
    guest = served(Trouble.HUGE)
    guest.receive(0.0, line("guest-get-fsinfo"))
    data = guest.take_output()
    assert len(data) > HUGE_BYTES
    assert data.count(b"\n") == 1


# -- the monitor --------------------------------------------------------------------------------


def test_the_monitor_shows_both_ends() -> None:
    guest = drill_guest(Trouble.LOST)
    seen = chardev(guest, 0.0)
    assert (seen["frontend-open"], seen["filename"]) == (
        True,
        f"disconnected:unix:{AGENT},server=on",
    )
    guest.client_came(1.0)
    guest.receive(1.0, line(FREEZE))
    assert chardev(guest, 2.0)["filename"] == f"unix:{AGENT},server=on"
    assert chardev(guest, 5.0)["frontend-open"] is False
    assert chardev(guest, 40.0)["frontend-open"] is True


def test_somebody_else_is_seen_and_never_leaves() -> None:
    guest = drill_guest(Trouble.BUSY)
    assert not guest.accepts
    assert not chardev(guest, 1000.0)["filename"].startswith("disconnected:")


def test_the_queues_count_openings_and_reads_and_fall_at_a_reset() -> None:
    guest = served(Trouble.RESPAWNED)
    assert queue(guest, 0.0, 3)["used-idx"] == OPENINGS_AT_BOOT
    assert reads(guest, 0.0) == 0
    guest.receive(1.0, line(FREEZE))
    assert reads(guest, 1.0) == 1
    assert queue(guest, 10.0, 3)["used-idx"] == OPENINGS_AT_BOOT + 2
    other = served(Trouble.RESET)
    other.receive(1.0, line(FREEZE))
    assert queue(other, 5.0, 3)["used-idx"] == 0
    assert queue(other, 30.0, 3)["used-idx"] == OPENINGS_AT_BOOT


def test_written_bytes_stand_still_while_frozen() -> None:
    guest = served()

    def written(now: float) -> int:
        (value,) = ask(guest, now, ("query-blockstats", {}))
        return int(value[0]["stats"]["wr_bytes"])

    assert written(10.0) > written(0.0)
    guest.receive(10.0, line(FREEZE))
    frozen_at = written(11.0)
    assert written(100.0) == frozen_at
    guest.receive(100.0, line(THAW))
    assert written(110.0) > frozen_at


def test_sysrq_thaws_the_disks_and_leaves_the_agent_its_belief() -> None:
    guest = drill_guest(Trouble.FOREIGN)
    assert guest.disks.frozen
    before = guest.disks.written(5.0)
    assert press(guest, 5.0, "alt", "sysrq", "j") == {}
    assert not guest.disks.frozen
    assert guest.disks.written(5.0) > before
    guest.client_came(5.0)
    guest.receive(5.0, line(STATUS))
    assert b"frozen" in guest.take_output()


def test_other_keys_thaw_nothing() -> None:
    guest = drill_guest(Trouble.FOREIGN)
    for keys in (("alt", "sysrq", "h"), ("j",), ()):
        assert press(guest, 1.0, *keys) == {}
    assert guest.disks.frozen


def test_a_reset_leaves_nothing_frozen_and_a_stopped_agent_starts_anew() -> None:
    guest = drill_guest(Trouble.FOREIGN)
    stopped = served(Trouble.SILENT)
    for one in (guest, stopped):
        assert ask(one, 10.0, ("system_reset", {})) == [{}]
        assert not one.disks.frozen
        assert chardev(one, 10.0)["frontend-open"] is False
        assert queue(one, 10.0, 3)["used-idx"] == 0
        assert chardev(one, 11.0 + BOOT_S)["frontend-open"] is True
    stopped.receive(30.0, line(STATUS))
    assert b"thawed" in stopped.take_output()


def press(guest: DrillGuest, now: float, *keys: str) -> object:
    pressed = [{"type": "qcode", "data": key} for key in keys]
    (answer,) = ask(guest, now, ("send-key", {"keys": pressed}))
    return answer


def test_the_monitor_wants_its_capabilities_first_and_knows_what_it_knows() -> None:
    session = MonitorSession(drill_guest(Trouble.FAST), AGENT)
    early = json.loads(session.receive(0.0, b'{"execute": "query-status", "id": 1}\n'))
    assert (early["error"]["class"], early["id"]) == ("CommandNotFound", 1)
    assert session.receive(0.0, b'{"execute": "qmp_cap') == b""
    assert json.loads(session.receive(0.0, b'abilities", "id": 2}\n')) == {"return": {}, "id": 2}
    for text in (b"nonsense\n", b"[]\n", b"[" * 100_000 + b"\n", b'{"execute": ["x"]}\n'):
        assert "error" in json.loads(session.receive(0.0, text))


def test_the_main_loop_becomes_an_object_with_limits() -> None:
    path = "/objects/main"
    none, _, (loop,), least, _, more = ask(
        drill_guest(Trouble.FAST),
        0.0,
        ("qom-list", {"path": "/objects"}),
        ("object-add", {"qom-type": "main-loop", "id": "main"}),
        ("qom-list", {"path": "/objects"}),
        ("qom-get", {"path": path, "property": "thread-pool-min"}),
        ("qom-set", {"path": path, "property": "thread-pool-min", "value": 24}),
        ("qom-get", {"path": path, "property": "thread-pool-min"}),
    )
    assert (none, loop) == ([], {"name": "main", "type": "child<main-loop>"})
    assert (least, more) == (0, 24)


def test_the_port_is_found_in_the_object_tree() -> None:
    anon, named = "/machine/peripheral-anon", "/machine/peripheral"
    guest = drill_guest(Trouble.FAST)
    ports, none, label, bus = ask(
        guest,
        0.0,
        ("qom-list", {"path": anon}),
        ("qom-list", {"path": named}),
        ("qom-get", {"path": f"{anon}/device[1]", "property": "chardev"}),
        ("qom-get", {"path": f"{anon}/device[1]", "property": "parent_bus"}),
    )
    assert [one["type"] for one in ports] == ["child<virtserialport>"]
    assert (none, label) == ([], "qga0")
    assert bus.startswith(DEVICE)
