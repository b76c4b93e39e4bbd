"""The lab tests itself: guests boot, and every fault is what its name says."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.guests.conftest import Boot
from tests.guests.lab import (
    PATIENCE_S,
    BootOptions,
    Guest,
    LabError,
    Options,
    RawClient,
    ShellError,
    image,
    saved,
)
from tests.guests.lab.shell import wait_until
from tests.processes import killed_on_failure

ROOT = Path(__file__).parents[2]


def test_options_and_their_type_name_the_same() -> None:
    assert set(BootOptions.__annotations__) == {f.name for f in dataclasses.fields(Options)}


def test_guest_is_up(calm: Guest) -> None:
    assert calm.name == "guest"
    assert calm.alive
    assert calm.status() == "running"
    assert calm.agent_open() is True
    assert calm.agent_pid()
    assert "-accel" in calm.command_line
    assert Path(f"/proc/{calm.qemu_pid}").exists()
    kinds = dict.fromkeys(("/mnt/a", "/mnt/b"), "ext4") | {"/mnt/efi": "vfat"}
    mounts = [line.split()[1:3] for line in calm.shell("cat /proc/mounts").splitlines()]
    assert {where: kind for where, kind in mounts if where in kinds} == kinds
    calm.assert_thawed()


def test_a_guest_that_goes_on_from_a_saved_state_is_as_one_that_booted(boot: Boot) -> None:
    first, later = boot(port_id="channel0", fresh=True), boot(port_id="channel0")
    assert (first.booted, later.booted) == (True, False)
    for guest in (first, later):
        told = [event["event"] for event in guest.events]
        assert told == ["VSERPORT_CHANGE"]
        assert guest.qmp("query-migrate") == {}
        assert guest.hook_log() == []
        assert guest.agent_deaths() == 0
        assert abs(float(guest.shell("date +%s")) - time.time()) < 2.5
        with RawClient(guest.agent_socket) as client:
            assert len(client.sync()) == 1
            assert (client.freeze(), client.thaw()) == (2, 2)
        guest.assert_thawed()
    assert _words(first) == _words(later)
    assert _known(first) == _known(later)


def _words(guest: Guest) -> list[str]:
    """QEMU's command line, without the places of this guest's own files."""
    return [word.replace(str(guest.directory), "") for word in guest.command_line]


def _known(guest: Guest) -> list[object]:
    """What the monitor and the guest's shell know, and the same guests have in common."""
    controller = "/machine/peripheral/vser/virtio-backend"
    queues = [
        guest.qmp("x-query-virtio-queue-status", path=controller, queue=number)
        for number in range(3, 6)
    ]
    indexes = [{name: it for name, it in each.items() if "idx" in name} for each in queues]
    chardevs = guest.qmp("query-chardev")
    open_ones = {device["label"]: device["frontend-open"] for device in chardevs}
    blocks = [sorted(device["device"] for device in guest.qmp("query-block"))]
    look = "cat /proc/mounts /proc/swaps; ls /run/lab /run/qga | grep -v output; lsmod | sort"
    return [indexes, open_ones, blocks, guest.qmp("query-pci"), guest.shell(look)]


def test_a_state_that_can_not_be_loaded_is_made_anew(boot: Boot, tmp_path: Path) -> None:
    options = Options(mounts=("a",))
    place = saved.place(options, image.ensure())
    assert place is not None
    boot(mounts=("a",)).close()
    broken = dataclasses.replace(place, directory=tmp_path / "broken")
    shutil.copytree(place.directory, broken.directory)
    (broken.directory / "memory.qcow2").write_bytes(b"torn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "place", lambda *_: broken)
        with pytest.raises(LabError, match="can't go on from"):
            Guest(mounts=("a",))
        assert not broken.exists
        assert not boot(mounts=("a",)).booted
        assert broken.exists


@pytest.mark.parametrize("fresh", [True, False])
def test_a_guests_second_is_a_second(boot: Boot, fresh: bool) -> None:
    def now() -> tuple[float, float, float]:
        before = time.monotonic()
        inside = float(guest.shell("read -r up _ </proc/uptime; echo $up"))
        return before, inside, time.monotonic()

    guest = boot(name="ticks", mounts=("a",), fresh=fresh)
    began = now()
    time.sleep(3.0)
    ended = now()
    # Between the longest and the shortest time that it can have been here.
    passed = ended[1] - began[1]
    assert passed / (ended[2] - began[0]) < 1.1
    assert passed / (ended[0] - began[2]) > 0.9


def test_shell_tells_output_status_and_time(calm: Guest) -> None:
    assert calm.shell("echo one; echo two >&2") == "one\ntwo\n"
    assert calm.shell("printf 'a\nb'\nprintf '\\0\\036\\377'").startswith("a\nb\0\x1e")
    with pytest.raises(ShellError) as failed:
        calm.shell("echo no; exit 3")
    assert (failed.value.code, failed.value.output) == (3, "no\n")
    started = time.monotonic()
    with pytest.raises(ShellError) as late:
        calm.shell("echo begun; sleep 60", timeout=2.0)
    assert (late.value.code, late.value.output) == (124, "begun\n")
    assert time.monotonic() - started < 60
    assert calm.shell("pidof sleep || echo none") == "none\n"


class Lossy:
    """A connection that loses some bytes of what is sent first, as a busy guest does."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.sent: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)
        self._real.sendall(data if len(self.sent) > 1 else data.replace(b"echo wh", b""))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_command_that_is_damaged_on_its_way_is_sent_again(
    calm: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = Lossy(calm._shell._socket)
    monkeypatch.setattr(calm._shell, "_socket", lossy)
    assert calm.shell("echo whole \u00e9") == "whole \u00e9\n"
    assert len(lossy.sent) == 2


def test_shell_takes_and_gives_much(calm: Guest) -> None:
    text = "\n".join(f"line {n} {'x' * 60}" for n in range(200))
    assert calm.shell(f"cat <<'END'\n{text}\nEND") == text + "\n"


def test_a_blocked_command_does_not_block_the_shell(calm: Guest) -> None:
    calm.freeze_inside("a")
    with pytest.raises(ShellError) as blocked:
        calm.shell("echo x >/mnt/a/blocked", timeout=0.5)
    assert blocked.value.code == 124
    assert calm.shell("echo well") == "well\n"
    assert calm.thaw_inside() == ["a"]
    calm.shell("sleep 0.1; rm -f /mnt/a/blocked")


def test_writable_sees_a_frozen_file_system_and_leaves_nothing(calm: Guest) -> None:
    processes = calm.shell("ls -d /proc/[0-9]* | wc -l")
    calm.freeze_inside("b")
    assert calm.frozen_mounts() == {"b"}
    assert calm.writable("a")
    assert not calm.writable("b", timeout=0.3)
    with pytest.raises(AssertionError, match=r"not writable: b$"):
        calm.assert_thawed(timeout=0.3)
    assert calm.shell("ps | grep -c '[d]d if' || true") == "0\n"
    assert calm.thaw_inside("b") == ["b"]
    assert calm.writable("b")
    assert calm.shell("ls /mnt/b | grep written || echo none") == "none\n"
    assert abs(int(processes) - int(calm.shell("ls -d /proc/[0-9]* | wc -l"))) <= 4


def test_write_load_stands_still_while_frozen(calm: Guest) -> None:
    with calm.write_load("a") as load:
        wait_until(lambda: load.written() > 0, PATIENCE_S, "a write")
        calm.freeze_inside("a")
        frozen_at = load.written()
        assert frozen_at > 0
        time.sleep(0.5)
        assert load.written() - frozen_at <= 1
        calm.thaw_inside("a")
        wait_until(lambda: load.written() > frozen_at + 1, PATIENCE_S, "more writes")
    wait_until(lambda: "load" not in calm.shell("ls /mnt/a"), PATIENCE_S, "its end")


def test_hooks(calm: Guest, client: RawClient) -> None:
    before = len(calm.hook_log())
    calm.slow_hook(1.0)
    started = time.monotonic()
    assert client.freeze() == 2
    assert time.monotonic() - started > 1.0
    assert client.thaw() == 2
    calm.failing_hook("the database said 'no'")
    assert "error" in client.ask("guest-fsfreeze-freeze")
    assert client.status() == "thawed"
    calm.hanging_hook()
    client.send_command("guest-fsfreeze-freeze")
    wait_until(lambda: len(calm.hook_log()) == before + 4, PATIENCE_S, "the hook")
    calm.clear_hook()
    assert "error" in client.read_reply()
    assert calm.hook_log()[before:] == ["freeze", "thaw", "freeze", "freeze"]
    assert calm.shell("pidof sleep || echo none") == "none\n"


def test_a_held_hook_ends_when_it_is_released(calm: Guest, client: RawClient) -> None:
    for fails in (False, True):
        calm.held_hook(fails=fails)
        hooks = len(calm.hook_log())
        client.send_command("guest-fsfreeze-freeze")
        wait_until(partial(_more_hooks, calm, hooks), PATIENCE_S, "the hook")
        assert calm.frozen_mounts() == set()
        calm.release_hook()
        assert ("error" in client.read_reply()) is fails
        if not fails:
            assert client.thaw() == 2


def _more_hooks(guest: Guest, before: int) -> bool:
    return len(guest.hook_log()) > before


def test_agent_stops_and_goes_on(calm: Guest, client: RawClient) -> None:
    calm.stop_agent()
    client.send_command("guest-ping")
    time.sleep(0.3)
    assert client.buffer == b""
    assert calm.agent_open() is True
    calm.continue_agent()
    assert client.read_reply() == {"return": {}}


def test_respawn_never_at_once_and_later(calm: Guest) -> None:
    first = calm.agent_pid()
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    time.sleep(0.5)
    assert calm.agent_pid() is None
    with pytest.raises(LabError, match="no agent"):
        calm.kill_agent()
    calm.set_respawn(0)
    calm.wait_agent()
    second = calm.agent_pid()
    assert second not in (None, first)
    deaths = calm.agent_deaths()
    calm.kill_agent()
    calm.wait_agent()
    assert calm.agent_deaths() == deaths + 1
    calm.set_respawn(1.5)
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    started = time.monotonic()
    calm.wait_agent()
    assert time.monotonic() - started > 0.8
    calm.set_respawn(None)
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    calm.start_agent()
    assert calm.agent_pid()


def test_throttled_disk_makes_a_freeze_slow(calm: Guest, client: RawClient) -> None:
    calm.slow_flush(3.0)
    started = time.monotonic()
    assert client.freeze() == 2
    assert 1.5 < time.monotonic() - started < 15
    assert client.thaw() == 2
    calm.throttle(None)
    calm.dirty("b", 3 << 20)
    started = time.monotonic()
    assert client.freeze() == 2
    assert time.monotonic() - started < 2.5
    assert client.thaw() == 2


def test_pause_and_resume(calm: Guest) -> None:
    calm.pause()
    assert calm.status() == "paused"
    calm.resume()
    assert calm.shell("echo well") == "well\n"


def test_suspend_and_wake(calm: Guest, boot: Boot) -> None:
    with pytest.raises(LabError, match="suspendable"):
        calm.suspend()
    guest = boot(suspendable=True, name="sleeps")
    guest.suspend()
    assert guest.status() == "suspended"
    guest.wake()
    assert guest.status() == "running"
    guest.wait_agent()
    with RawClient(guest.agent_socket) as client:
        client.sync()
        assert client.freeze() == 2
        assert client.thaw() == 2
    guest.assert_thawed()


def test_reset_brings_the_same_guest_back(calm: Guest) -> None:
    calm.shell("echo kept >/mnt/a/kept; sync")
    calm.set_respawn(0)
    calm.slow_hook(0.5)
    pid = calm.qemu_pid
    calm.freeze_inside("b")
    calm.reset()
    assert calm.qemu_pid == pid
    assert calm.shell("cat /mnt/a/kept") == "kept\n"
    calm.assert_thawed()
    assert calm.shell("cat /run/lab/respawn /run/lab/hook").splitlines()[0] == "0"
    with RawClient(calm.agent_socket) as client:
        client.sync()
        started = time.monotonic()
        assert client.freeze() == 2
        assert time.monotonic() - started > 0.5
        assert client.thaw() == 2


def test_a_reset_by_somebody_else_is_noticed(calm: Guest) -> None:
    calm.qmp("system_reset")
    assert calm.shell("cut -d. -f1 /proc/uptime", timeout=60.0)
    calm.wait_reset()


def test_isa_serial_agent_without_a_monitor(boot: Boot) -> None:
    guest = boot(agent="isa", monitor=False, mounts=("a",), disk_format="raw", name="old")
    assert not guest.monitor_socket.exists()
    with RawClient(guest.agent_socket) as client:
        client.sync()
        assert client.freeze() == 1
        assert guest.frozen_mounts() == {"a"}
        assert client.thaw() == 1
        # What the product can't see here: the "frontend" of a serial port is always open.
        assert guest.agent_open() is True
        guest.kill_agent()
        guest.wait_agent(is_open=False)
        assert guest.agent_open() is True
    guest.assert_thawed()


def test_swap_extra_port_throttle_and_power_off(boot: Boot) -> None:
    guest = boot(
        swap=True, extra_port=True, throttle=1 << 20, no_shutdown=True, autostart=False, name="all"
    )
    assert "/dev/vdd" in guest.shell("cat /proc/swaps")
    assert "org.example.other" in guest.shell("ls /dev/virtio-ports")
    started = time.monotonic()
    guest.dirty("b", 2 << 20)
    guest.shell("sync", timeout=30.0)
    assert time.monotonic() - started > 1.0
    assert guest.agent_pid() is None
    guest.start_agent()
    with RawClient(guest.agent_socket) as client:
        client.sync()
        client.send_command("guest-shutdown")
        guest.wait_event("SHUTDOWN")
    assert guest.alive
    assert guest.status() == "shutdown"
    directory = guest.directory
    guest.close()
    assert not directory.exists()
    assert not Path(f"/proc/{guest.qemu_pid}").exists()


def test_no_qemu_outlives_a_killed_test_run() -> None:
    code = "from tests.guests.lab import Guest; g = Guest(); print(g.qemu_pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as victim:
        assert victim.stdout is not None
        qemu = int(victim.stdout.readline())
        os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: not _runs(qemu), PATIENCE_S, "QEMU's end")


def test_main_runs_a_command_with_guests_alive() -> None:
    look = "import os, sys, json; print(os.environ['FROSTWATCH_LAB']); print(*sys.argv[1:])"
    lab = [sys.executable, "-m", "tests.guests.lab", "--guests", "2", "--"]
    done = subprocess.run(
        [*lab, sys.executable, "-c", look + "; sys.exit(7)", "{vms}", "a {vms}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    listed, arguments = done.stdout.splitlines()
    vms = [
        f"name={vm['name']},agent={vm['agent']},monitor={vm['monitor']}"
        for vm in json.loads(listed)
    ]
    assert [vm["name"] for vm in json.loads(listed)] == ["db1", "web1"]
    joined = f"--vm {vms[0]} --vm {vms[1]}"
    assert arguments == f"{joined} a {joined}"
    assert "web1: has a vfat" in done.stderr
    assert not any(Path(vm["agent"]).parent.exists() for vm in json.loads(listed))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_main_takes_everything_down_on_a_signal(number: signal.Signals) -> None:
    lab = [sys.executable, "-m", "tests.guests.lab", "--guests", "1"]
    started = subprocess.Popen(lab, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with killed_on_failure(started) as process:
        assert process.stdout is not None
        socket = Path(process.stdout.readline().partition("agent=")[2].partition(",")[0])
        assert socket.exists()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    assert not socket.parent.exists()


def _runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_keeper_has_started_ends_with_whoever_has_asked() -> None:
    daemon = "setsid sh -c 'echo $$ >&2; exec sleep 1000' & exec sleep 1000"
    keeper = ROOT / "tests/guests/lab/keeper.py"
    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-S", str(keeper), "sh", "-c", daemon]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        pids = [int(child.stdout.readline()), int(child.stderr.readline())]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        os.kill(pids[0], signal.SIGKILL)
        child.stdin.write("\n")
        child.stdin.flush()
        pids += [int(child.stdout.readline()), int(child.stderr.readline())]
        child.stdin.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
