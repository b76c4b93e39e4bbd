"""Which QEMU of this host has taken a guest that migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.access.guest_link import connect
from agentclient.access.monitor import Monitor
from agentclient.backends.qemu import migration
from agentclient.backends.qemu.migration import target_among, where
from agentclient.model.vm import AgentChannel, MonitorChannel, Process, Vm, VmId
from tests.unit.fake_proc import FakeProc

UUID = "8d5c1f5e-3a52-4f0c-9d8e-0b6c6f1f7a11"
SOURCE = connect(Vm(VmId("qemu", "db"), AgentChannel(Path("/run/a")), process=Process(10, 1000)))


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

    monkeypatch.setattr(migration, "uuid_of", uuid_of)
    vms = [vm(pid) for pid in uuids]
    found = target_among(vms, SOURCE, UUID, proc.path)
    assert found == vm(13)
    assert where(vm(13)) == "it runs on this host now, as qemu:db#13 (pid 13)"
    assert target_among(vms[:3], SOURCE, UUID, proc.path) is None
    assert target_among([vm(13)._replace(agent=None)], SOURCE, UUID, proc.path) is None
