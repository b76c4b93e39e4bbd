"""Surprising facts about the agent's channel, seen on a real guest.

Simulated agents have to behave the same; they name these tests. The client is a naive one on
purpose, see `lab/raw.py`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.guests.freezing import all_read, bytes_read
from tests.guests.lab import PATIENCE_S, Guest, LabError, RawClient, Silence
from tests.guests.lab.raw import command, half_command, leave
from tests.guests.lab.shell import wait_until

FREEZE = command("guest-fsfreeze-freeze")


def queue(guest: Guest, number: int) -> dict[str, Any]:
    """A queue of the virtio-serial controller, as QEMU's monitor shows it."""
    path = "/machine/peripheral/vser/virtio-backend"
    status = guest.qmp("x-query-virtio-queue-status", path=path, queue=number)
    assert isinstance(status, dict)
    return status


def cpu_seconds(guest: Guest) -> float:
    """CPU time that the guest's agent has used."""
    fields = guest.shell("cat /proc/$(pidof qemu-ga)/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_fact_second_client_stays_silent(calm: Guest, client: RawClient) -> None:
    with RawClient(calm.agent_socket) as second, RawClient(calm.agent_socket):
        second.send_command("guest-ping")
        with pytest.raises(Silence):
            second.read_line(0.5)
        with pytest.raises(BlockingIOError):
            RawClient(calm.agent_socket)
        client.close()
        assert second.read_reply() == {"return": {}}


def test_fact_monitor_shows_both_ends(calm: Guest) -> None:
    def ends() -> tuple[bool, bool]:
        device = next(d for d in calm.qmp("query-chardev") if d["label"] == "qga0")
        return device["frontend-open"], device["filename"].startswith("disconnected:")

    assert ends() == (True, True)
    with RawClient(calm.agent_socket) as client:
        client.sync()
        assert ends() == (True, False)
        calm.kill_agent()
        calm.wait_agent(is_open=False)
        assert ends() == (False, False)
    wait_until(lambda: ends() == (False, True), PATIENCE_S, "the client to leave")


def test_fact_queued_freeze_runs_after_client_left(calm: Guest, client: RawClient) -> None:
    leave(calm.agent_socket, FREEZE)
    time.sleep(0.3)
    assert calm.frozen_mounts() == set()
    client.close()
    wait_until(
        lambda: calm.frozen_mounts() == {"a", "b"}, PATIENCE_S, "the freeze without an owner"
    )


def test_fact_agent_spins_while_nobody_takes_its_reply(calm: Guest, client: RawClient) -> None:
    calm.held_hook()
    client.send(FREEZE)
    wait_until(lambda: calm.hook_log()[-1:] == ["freeze"], PATIENCE_S, "the hook")
    client.close()
    calm.release_hook()
    wait_until(lambda: calm.frozen_mounts() == {"a", "b"}, PATIENCE_S, "the freeze")
    before = cpu_seconds(calm)
    time.sleep(1.0)
    spun = cpu_seconds(calm) - before
    assert spun > 0.4
    with RawClient(calm.agent_socket) as rescuer:
        rescuer.sync()
        before = cpu_seconds(calm)
        time.sleep(1.0)
        assert cpu_seconds(calm) - before < spun / 4
        assert rescuer.thaw() == 2


def test_fact_freeze_to_a_closed_port_runs_on_the_next_agent(calm: Guest) -> None:
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    with RawClient(calm.agent_socket) as client:
        client.send(FREEZE)
        time.sleep(0.3)
        calm.start_agent()
        assert client.read_reply() == {"return": 2}
        assert client.thaw() == 2


def test_fact_freeze_to_a_closed_port_is_dropped_with_its_client(calm: Guest) -> None:
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    leave(calm.agent_socket, FREEZE)
    calm.start_agent()
    with RawClient(calm.agent_socket) as client:
        client.sync()
        assert client.status() == "thawed"


def test_fact_leading_ff_gives_one_error_line(client: RawClient) -> None:
    skipped = client.sync()
    assert len(skipped) == 1
    assert b"JSON parse error" in skipped[0]


def test_fact_half_command_ruins_the_next_without_ff(calm: Guest) -> None:
    leave(calm.agent_socket, half_command())
    with RawClient(calm.agent_socket) as victim:
        assert "error" in victim.ask("guest-sync", {"id": 7})
    leave(calm.agent_socket, half_command())
    with RawClient(calm.agent_socket) as careful:
        careful.sync()
        assert careful.status() == "thawed"


def test_fact_stale_sync_reply_carries_ff_too(calm: Guest, client: RawClient) -> None:
    client.send(b"\xff" + command("guest-sync-delimited", id=41))
    client.send(b"\xff" + command("guest-sync-delimited", id=42))
    lines = [client.read_line() for _ in range(4)]
    assert [line for line in lines if line.startswith(b"\xff")] == [
        b'\xff{"return": 41}',
        b'\xff{"return": 42}',
    ]


def test_fact_ids_are_echoed(client: RawClient) -> None:
    for key in (1, "two", [3], {"four": None}, None, True):
        client.send_command("guest-ping", id=key)
        assert client.read_reply() == {"return": {}, "id": key}


def test_fact_sync_ids_end_at_63_bits(client: RawClient) -> None:
    assert client.call("guest-sync", {"id": 2**63 - 1}) == 2**63 - 1
    assert "error" in client.ask("guest-sync", {"id": 2**63})


def test_fact_port_closes_on_kill(calm: Guest, client: RawClient) -> None:
    seen = len(calm.events)
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    assert calm.wait_event("VSERPORT_CHANGE", after=seen)["data"] == {
        "id": "channel0",
        "open": False,
    }
    with pytest.raises(Silence):
        client.read_line(0.3)
    calm.start_agent()
    client.sync()


def test_fact_no_port_event_without_an_id(boot: Boot) -> None:
    guest = boot(name="no-id", mounts=("a",))
    guest.kill_agent()
    guest.wait_agent(is_open=False)
    with pytest.raises(LabError):
        guest.wait_event("VSERPORT_CHANGE", timeout=0.5)


def test_fact_restart_moves_used_idx(calm: Guest) -> None:
    calm.set_respawn(0)
    before, deaths = queue(calm, 3)["used-idx"], calm.agent_deaths()
    for n in range(1, 6):
        calm.kill_agent()
        died = partial(_has_died, calm, deaths + n)
        wait_until(died, PATIENCE_S, "its end")
        calm.wait_agent()
        assert queue(calm, 3)["used-idx"] == before + 2 * n


def test_fact_reading_moves_avail_idx(calm: Guest, client: RawClient) -> None:
    calm.stop_agent()
    before = all_read(calm)
    client.send_command("guest-ping")
    time.sleep(0.5)
    assert bytes_read(calm) == before
    calm.continue_agent()
    client.read_reply()
    assert bytes_read(calm) > before


def test_fact_reset_closes_port_and_keeps_socket(calm: Guest, client: RawClient) -> None:
    assert client.freeze() == 2
    calm.reset(wait=False)
    assert calm.agent_open() is False
    assert queue(calm, 3)["used-idx"] == 0
    calm.wait_reset()
    client.sync()
    assert client.status() == "thawed"
    assert calm.hook_log() == []


def test_fact_pause_keeps_port_open(calm: Guest, client: RawClient) -> None:
    calm.pause()
    client.send_command("guest-ping")
    time.sleep(0.3)
    assert calm.agent_open() is True
    calm.resume()
    assert client.read_reply() == {"return": {}}


def test_fact_panic_leaves_port_open(boot: Boot) -> None:
    guest = boot(name="panics", mounts=("a",))
    guest.panic()
    time.sleep(1.0)
    assert guest.agent_open() is True
    assert guest.status() == "running"


def test_fact_pvpanic_tells_of_a_panic(boot: Boot) -> None:
    guest = boot(name="tells", mounts=("a",), pvpanic=True)
    guest.panic()
    assert guest.agent_open() is True
    assert guest.status() == "guest-panicked"


def _has_died(guest: Guest, times: int) -> bool:
    return guest.agent_deaths() == times
