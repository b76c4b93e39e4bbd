"""The search of this host for who has taken a VM that migrated: what it survives."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agentclient.access import local_access
from agentclient.access.monitor import Monitor
from agentclient.backends.qemu import backend as backend_module
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.backends.qemu.migration import target_among
from agentclient.model.errors import FrostwatchError
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Process, Vm, VmId
from tests.unit.fake_proc import FakeProc
from tests.unit.frozen_vm import FrozenVm, frozen_vm

UUID = "8d5c1f5e-3a52-4f0c-9d8e-0b6c6f1f7a11"


def vm(pid: int) -> Vm:
    return Vm(
        VmId("qemu", f"db#{pid}"),
        AgentChannel(Path(f"/run/{pid}.qga")),
        MonitorChannel(Path(f"/run/{pid}.qmp")),
        Process(pid, 1000),
    )


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


@pytest.mark.parametrize("option", ["-incoming", "--incoming"])
def test_both_ways_of_writing_the_option_are_known(
    left: FrozenVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(11, ["qemu", "-name", "incoming"])
    proc.add(12, ["qemu", option, "defer"])
    monkeypatch.setattr(local_access, "uuid_of", lambda _: UUID)
    assert target_among([vm(11), vm(12)], left.access(), UUID, proc.path) == vm(12)


def test_a_process_that_ends_meanwhile_is_passed_over(
    left: FrozenVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(12, ["qemu", "-incoming", "defer"])
    monkeypatch.setattr(local_access, "uuid_of", lambda _: UUID)
    unknown = vm(13)._replace(process=None)
    assert target_among([vm(11), unknown, vm(12)], left.access(), UUID, proc.path) == vm(12)


def test_one_whose_uuid_cannot_be_told_is_not_taken_for_it(
    left: FrozenVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thaw would hit whoever it is (P10)."""
    proc = FakeProc(tmp_path / "proc")
    proc.add(12, ["qemu", "-incoming", "defer"])
    asked: list[Monitor | None] = []
    monkeypatch.setattr(local_access, "uuid_of", lambda monitor: asked.append(monitor))
    assert target_among([vm(12)], left.access(), UUID, proc.path) is None
    assert len(asked) == 1


def test_a_host_whose_processes_cannot_be_listed_has_no_target(
    left: FrozenVm, tmp_path: Path
) -> None:
    backend = QemuBackend(tmp_path / "no-proc", tmp_path / "pve")
    with pytest.raises(FrostwatchError):
        backend.list_vms()
    assert backend.successor(left.access(), UUID) is None


def test_the_search_leaves_the_list_that_is_shown_alone(
    left: FrozenVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = FakeProc(tmp_path / "proc")
    argv = ["qemu", "-name", "db", "-uuid", UUID, "-incoming", "defer"]
    sockets = ["-chardev", "socket,id=qga0,path=/run/db.qga,server=on,wait=off"]
    proc.add(
        12, [*argv, *sockets, "-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]
    )
    monkeypatch.setattr(local_access, "uuid_of", lambda _: UUID)
    backend = backend_module.QemuBackend(proc.path, tmp_path / "pve")
    found = backend.successor(left.access(), UUID)
    assert found is not None
    assert found.process == Process(12, 1000)
    assert backend.notes() == ()
    assert backend.successor(left.access(), UUID) == found, "looked for anew each time"


def test_proxmoxs_configuration_that_hangs_keeps_one_thread_however_often_it_is_searched(
    left: FrozenVm, tmp_path: Path
) -> None:
    proc, folder = FakeProc(tmp_path / "proc"), tmp_path / "pve" / "qemu-server"
    proc.add(12, ["kvm", "-id", "101", "-name", "db", "-uuid", UUID])
    folder.mkdir(parents=True)
    os.mkfifo(folder / "101.conf")  # whoever opens it waits
    backend = QemuBackend(proc.path, tmp_path / "pve")
    try:
        (listed,) = backend.list_vms()
        assert listed.freeze_disabled is not None
        assert "a read hangs" in listed.freeze_disabled
        for _ in range(3):
            assert backend.successor(left.access(), UUID) is None
        assert len([one for one in threading.enumerate() if one.name == "proxmox"]) == 1
    finally:
        while [one for one in threading.enumerate() if one.name == "proxmox"]:
            with suppress(OSError):  # nobody reads it any more
                os.close(os.open(folder / "101.conf", os.O_WRONLY | os.O_NONBLOCK))
            time.sleep(0.01)


@pytest.mark.parametrize(("state", "found"), [(RunState.RUNNING, []), (RunState.MIGRATED, [1])])
def test_a_guest_of_another_host_comes_here_only_if_it_was_seen_to_leave(
    left: FrozenVm, monkeypatch: pytest.MonkeyPatch, state: RunState, found: list[int]
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(backend_module, "target_among", lambda *_: asked.append(1))
    of = left.access()
    monkeypatch.setattr(of, "vm", vm(11)._replace(id=VmId("libvirt", "db", "far")))
    monkeypatch.setattr(of, "observe", lambda: MonitorView(state))
    assert QemuBackend().successor(of, UUID) is None
    assert asked == found
