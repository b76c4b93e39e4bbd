"""Real QEMU processes, found in the real ``/proc``."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.backends.base import merge
from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.fleet.doctor import FindingLevel, check_channels, worst
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest


def find(pid: int, source: QemuBackend | None = None) -> Vm:
    """Return the VM of one process; other guests may run beside it."""
    vms = (source or QemuBackend()).list_vms()
    (vm,) = [one for one in vms if one.process is not None and one.process.pid == pid]
    return vm


@pytest.fixture(scope="module")
def shared(module_boot: Boot) -> Guest:
    """A guest that the tests only look at."""
    return module_boot(name="db[/]1")


def test_a_guest_is_found_with_its_sockets(shared: Guest) -> None:
    guest = shared
    vm = find(guest.qemu_pid)
    assert vm.name.removesuffix(f"#{guest.qemu_pid}") == "db[/]1"
    assert vm.agent == AgentChannel(guest.agent_socket, "qga0", Transport.VIRTIO_SERIAL)
    assert vm.monitor == MonitorChannel(guest.monitor_socket)
    assert vm.freeze_disabled is None
    assert worst(check_channels(vm)) is FindingLevel.OK


def test_a_monitor_given_by_mon_is_found(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "frostwatch.qmp"
    extra = ["-chardev", f"socket,id=second,path={path},server=on,wait=off"]
    guest = boot(name="by-mon", extra=[*extra, "-mon", "chardev=second,mode=control"])
    assert find(guest.qemu_pid).monitor == MonitorChannel(path)


def test_an_agent_on_a_serial_port_is_found(boot: Boot) -> None:
    guest = boot(name="isa", agent="isa")
    agent = find(guest.qemu_pid).agent
    assert agent == AgentChannel(guest.agent_socket, "qga0", Transport.ISA_SERIAL)


def test_an_explicit_vm_is_the_same_as_the_one_found(shared: Guest) -> None:
    guest = shared
    explicit = ExplicitBackend([parse_vm_spec(guest.vm_argument)])
    explicit.check_sockets()
    found, named = merge([QemuBackend().list_vms(), explicit.list_vms()])
    assert guest.qemu_pid not in [vm.process.pid for vm in found if vm.process]
    (vm,) = named
    assert vm.process is not None
    assert vm.process.pid == guest.qemu_pid
    assert vm.agent == AgentChannel(guest.agent_socket, "qga0", Transport.VIRTIO_SERIAL)


def test_a_guest_that_has_gone_is_not_listed(guest: Guest) -> None:
    source = QemuBackend()
    process = find(guest.qemu_pid, source).process
    guest.kill_qemu()
    assert process not in [vm.process for vm in source.list_vms()]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[list[str]]:
    """The command line of a QEMU without a guest: it starts at once and runs nothing."""
    pidfile = tmp_path / "pid"
    program = "qemu-system-x86_64"
    yield [program, "-S", "-M", "q35", "-nodefaults", "-display", "none", "-pidfile", str(pidfile)]
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), 9)


@pytest.mark.usefixtures("shared")  # skips where there is no QEMU
def test_a_daemon_is_one_vm_and_its_relative_socket_is_lost(
    bare: list[str], tmp_path: Path
) -> None:
    more = ["-name", "daemon", "-daemonize", "-qmp", "unix:q,server=on,wait=off"]
    done = subprocess.run([*bare, *more], cwd=tmp_path, check=True, timeout=PATIENCE_S)
    assert done.returncode == 0
    source = QemuBackend()
    vm = find(int((tmp_path / "pid").read_text()), source)
    assert vm.name == "daemon"
    assert vm.monitor is None
    assert any("relative to a folder" in note.text for note in source.notes())


@pytest.mark.usefixtures("shared")
def test_a_relative_socket_is_found_where_the_process_is(bare: list[str], tmp_path: Path) -> None:
    more = ["-name", "here", "-qmp", "unix:q,,1,server=on,wait=off"]
    with subprocess.Popen([*bare, *more], cwd=tmp_path) as process:
        try:
            # QEMU writes its pid file first, and only then makes its channels.
            deadline = time.monotonic() + PATIENCE_S
            while not (tmp_path / "q,1").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert (tmp_path / "q,1").is_socket()
            assert find(process.pid).monitor == MonitorChannel(tmp_path / "q,1")
        finally:
            process.kill()
            (tmp_path / "pid").unlink(missing_ok=True)
