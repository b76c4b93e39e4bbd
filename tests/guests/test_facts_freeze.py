"""Surprising facts about freezing through a guest agent, seen on a real guest.

Simulated agents have to behave the same; they name these tests. The client is a naive one on
purpose, see `lab/raw.py`.
"""

from __future__ import annotations

import time

import pytest

from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest, LabError, RawClient, Silence
from tests.guests.lab.raw import command
from tests.guests.lab.shell import wait_until

FREEZE = command("guest-fsfreeze-freeze")


def test_fact_vfat_is_skipped_silently(calm: Guest, client: RawClient) -> None:
    kinds = {disk["type"] for disk in client.call("guest-get-fsinfo")}
    assert kinds == {"ext4", "vfat"}
    assert client.freeze() == 2
    assert client.status() == "frozen"
    assert calm.writable("efi")
    assert client.thaw() == 2


def test_fact_frozen_refuses_other_commands(client: RawClient) -> None:
    assert client.freeze() == 2
    for name in ("guest-get-fsinfo", "guest-get-osinfo", "guest-fsfreeze-freeze"):
        assert client.ask(name)["error"]["class"] == "CommandNotFound"
    for name in ("guest-ping", "guest-info", "guest-fsfreeze-status"):
        assert "return" in client.ask(name)
    assert client.thaw() == 2


def test_fact_unknown_mounts_are_ignored(client: RawClient) -> None:
    mounts = {"mountpoints": ["/mnt/a", "/mnt/nowhere"]}
    assert client.call("guest-fsfreeze-freeze-list", mounts) == 1
    assert client.thaw() == 1
    mounts = {"mountpoints": ["/mnt/nowhere"]}
    assert client.call("guest-fsfreeze-freeze-list", mounts) == 0


def test_fact_thaw_counts_what_was_frozen(calm: Guest, client: RawClient) -> None:
    assert client.freeze() == 2
    assert calm.thaw_inside("a") == ["a"]
    assert client.status() == "frozen"
    assert client.thaw() == 1


def test_fact_equal_counts_prove_nothing(calm: Guest, client: RawClient) -> None:
    assert client.freeze() == 2
    calm.thaw_inside("a")
    assert calm.writable("a")
    calm.freeze_inside("a")
    assert client.thaw() == 2


def test_fact_failed_hook_gets_no_thaw_hook(calm: Guest, client: RawClient) -> None:
    before = len(calm.hook_log())
    calm.failing_hook("no")
    assert "error" in client.ask("guest-fsfreeze-freeze")
    assert client.status() == "thawed"
    assert calm.hook_log()[before:] == ["freeze"]
    assert client.thaw() == 0
    assert calm.hook_log()[before:] == ["freeze", "thaw"]


def test_fact_failing_thaw_hook_errs_though_thawed(calm: Guest, client: RawClient) -> None:
    calm.failing_hook("no", moment="thaw")
    assert client.freeze() == 2
    assert "error" in client.ask("guest-fsfreeze-thaw")
    assert client.status() == "thawed"
    calm.assert_thawed()


def test_fact_commands_queue_behind_a_freeze(calm: Guest, client: RawClient) -> None:
    calm.held_hook()
    client.send(FREEZE + command("guest-ping") + command("guest-fsfreeze-thaw"))
    with pytest.raises(Silence):
        client.read_line(0.5)
    calm.release_hook()
    assert [client.read_reply() for _ in range(3)] == [{"return": 2}, {"return": {}}, {"return": 2}]
    calm.assert_thawed()


def test_fact_kill_while_frozen_stays_frozen(calm: Guest, client: RawClient) -> None:
    assert client.freeze() == 2
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    assert calm.frozen_mounts() == {"a", "b"}
    calm.start_agent()
    client.sync()
    assert client.status() == "frozen"
    assert client.thaw() == 2


def test_fact_half_frozen_says_frozen(calm: Guest, client: RawClient) -> None:
    calm.slow_flush(24.0, rate=1 << 18)
    client.send(FREEZE)
    calm.kill_half_way()
    assert calm.frozen_mounts() == {"b"}
    assert calm.writable("a")
    calm.start_agent()
    client.sync()
    assert client.status() == "frozen"
    assert client.thaw() == 1


def test_fact_kill_inside_fifreeze_leaves_port_open(calm: Guest, client: RawClient) -> None:
    calm.slow_flush(24.0, rate=1 << 18)
    client.send(FREEZE)
    wait_until(lambda: "b" in calm.frozen_mounts(), PATIENCE_S, "the freeze of disk b")
    calm.kill_agent()
    time.sleep(0.5)
    assert calm.agent_open() is True
    calm.throttle(None)
    calm.wait_agent(is_open=False)


def test_fact_sigterm_answers_success_and_thaws(calm: Guest, client: RawClient) -> None:
    calm.held_hook()
    client.send(FREEZE)
    wait_until(lambda: calm.hook_log()[-1:] == ["freeze"], PATIENCE_S, "the hook")
    calm.kill_agent("TERM")
    calm.release_hook()
    assert client.read_reply() == {"return": 2}
    calm.wait_agent(is_open=False)
    calm.assert_thawed()


def test_fact_suspend_closes_port(boot: Boot) -> None:
    guest = boot(name="sleeps", suspendable=True)
    guest.slow_hook(2.5)
    with RawClient(guest.agent_socket) as client:
        client.sync()
        client.send(FREEZE)
        time.sleep(0.3)
        guest.suspend()
        assert guest.agent_open() is False
        guest.wake()
        # The true reply, by the same agent, after the port was closed.
        assert client.read_reply(10.0) == {"return": 2}
        guest.shell("(echo x >/mnt/a/blocked) >/dev/null 2>&1 &")
        # A process that a freeze blocks can't be put to sleep, so the guest can't either.
        with pytest.raises(LabError):
            guest.suspend(timeout=4.0)
        assert client.thaw() == 2


@pytest.mark.parametrize(("sysrq", "thawed"), [("0", False), ("438", False), ("64", True)])
def test_fact_sysrq_j_thaws_if_allowed(
    calm: Guest, client: RawClient, sysrq: str, thawed: bool
) -> None:
    calm.shell(f"echo {sysrq} >/proc/sys/kernel/sysrq")
    assert client.freeze() == 2
    keys = [{"type": "qcode", "data": key} for key in ("alt", "sysrq", "j")]
    assert calm.qmp("send-key", keys=keys) == {}
    time.sleep(0.5)
    assert calm.frozen_mounts() == (set() if thawed else {"a", "b"})
    assert client.status() == "frozen"
    assert client.thaw() == (0 if thawed else 2)


def test_fact_break_and_j_on_the_console_thaw(calm: Guest, client: RawClient) -> None:
    calm.shell("echo 64 >/proc/sys/kernel/sysrq")
    assert client.freeze() == 2
    # Any client of a byte stream will do.
    with RawClient(calm.console_socket) as console:
        calm.qmp("chardev-send-break", id="console")
        console.send(b"j")
        wait_until(lambda: calm.frozen_mounts() == set(), PATIENCE_S, "the kernel's emergency thaw")
    assert client.status() == "frozen"
    assert client.thaw() == 0
