"""Which QEMU of this host has taken a guest that migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.access import local_access
from agentclient.access.access_pool import AccessPool, open_local
from agentclient.access.guest_access import GuestAccess
from agentclient.access.monitor import Monitor
from agentclient.backends.base import Backends
from agentclient.backends.explicit import ExplicitBackend
from agentclient.backends.qemu.migration import target_among
from agentclient.model.vm import AgentChannel, MonitorChannel, Process, Vm, VmId
from tests.unit.fake_proc import FakeProc

UUID = "8d5c1f5e-3a52-4f0c-9d8e-0b6c6f1f7a11"
SOURCE = open_local(Vm(VmId("qemu", "db"), AgentChannel(Path("/run/a")), process=Process(10, 1000)))


def vm(pid: int) -> Vm:
    agent, monitor = AgentChannel(Path(f"/run/{pid}.qga")), MonitorChannel(Path(f"/run/{pid}.qmp"))
    return Vm(VmId("qemu", f"db#{pid}"), agent, monitor, process=Process(pid, 1000))


def test_it_has_the_uuid_and_was_started_to_take_a_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(10, ["qemu", "-incoming", "unix:/x"])  # it came here so itself
    proc.add(11, ["qemu"])  # a clone
    proc.add(12, ["qemu", "-incoming", "unix:/x"])  # another one's target
    proc.add(13, ["qemu", "-incoming", "defer"])
    uuids = {10: UUID, 11: UUID, 12: "another", 13: UUID}

    def uuid_of(monitor: Monitor | None) -> str | None:
        assert monitor is not None
        assert monitor.process is not None
        return uuids[monitor.process.pid]

    monkeypatch.setattr(local_access, "uuid_of", uuid_of)
    vms = [vm(pid) for pid in uuids]
    found = target_among(vms, SOURCE, UUID, proc.path)
    assert found == vm(13)
    assert open_local(vm(13)).where == "it runs on this host now, as qemu:db#13 (pid 13)"
    assert target_among(vms[:3], SOURCE, UUID, proc.path) is None
    assert target_among([vm(13)._replace(agent=None)], SOURCE, UUID, proc.path) is None


class Taking(ExplicitBackend):
    """A backend to whose VM every other one migrates."""

    name = "other"

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        return vm(13)._replace(id=VmId("other", "db")) if uuid == UUID else None


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not-listed"])
def test_whoever_has_opened_a_vm_knows_the_backend_that_has_taken_it(*, listed: bool) -> None:
    named, other = ExplicitBackend([]), Taking([])
    backends = Backends([named, other]) if listed else Backends([named], others=[other])
    assert backends.listed == ((named, other) if listed else (named,))
    access = AccessPool(backends).of(vm(10)._replace(id=VmId("socket", "db")))
    taken = access.successor(UUID)
    assert taken is not None
    assert taken.vm.id == VmId("other", "db")
    assert taken.successor(UUID) is not None, "it may migrate on"
    assert access.successor("another") is None
    assert access.successor(None) is None, "nobody knows what to look for"


def test_a_vm_that_nobody_has_opened_has_no_successor() -> None:
    assert SOURCE.successor(UUID) is None
