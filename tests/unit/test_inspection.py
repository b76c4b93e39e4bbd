"""What an agent is asked for a person who looks at its VM: politely, briefly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access.guest_access import CHANNEL_WAIT_S
from agentclient.fleet.store import Fleet
from agentclient.model.guest_report import GuestDisk, GuestReport, MountedFileSystem
from agentclient.model.policy import VmPolicy
from agentclient.model.snapshot import FreezeInfo, HeldBy, Progress, VmState
from agentclient.model.states import FreezeState, Phase
from agentclient.model.text import printable
from agentclient.operations import inspection
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.inspection import INSPECTION_S, inspect, why_not_asked
from agentclient.protocol.qga_details import mounted, system
from tests.unit.fakes import Error, FakeReporter
from tests.unit.frozen_vm import VM, FrozenVm, frozen_vm

OS = {"pretty-name": "Debian GNU/Linux 12", "kernel-release": "6.1"}
FULL = {
    "name": "vda1", "mountpoint": "/", "type": "ext4", "used-bytes": 5, "total-bytes": 10,
    "disk": [
        {
            "bus-type": "virtio", "dev": "/dev/vda1", "serial": "root",
            "pci-controller": {"domain": 0, "bus": 0, "slot": 4, "function": 0},
        }
    ],
}  # fmt: skip


class Looked:
    """A VM that a person looks at."""

    def __init__(self, vm: FrozenVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vm = vm
        vm.clock.install(monkeypatch, inspection)
        vm.frozen, vm.flag = 0, False
        vm.agent.answers |= {"guest-get-fsinfo": [FULL], "guest-get-osinfo": OS}
        self.fleet = Fleet()
        self.fleet.set_vms("qemu", [VM])
        self.context = OperationContext(
            VM, vm.access(), FakeReporter(), Control(), fleet=self.fleet
        )

    def put(self, **changes: Any) -> None:
        self.fleet.update(VM.id, lambda state: state._replace(**changes))

    def inspect(self) -> GuestReport:
        report = inspect(self.context)
        assert not self.context.access.channel_lock.locked()
        return report


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(frozen_vm(monkeypatch), monkeypatch)


def test_it_tells_system_commands_and_file_systems(looked: Looked) -> None:
    report = looked.inspect()
    assert report.problem is None
    assert report.version == "7.2.0"
    assert report.system == OS
    assert report.file_systems == (
        MountedFileSystem(
            "vda1", "/", "ext4", 5, 10,
            (GuestDisk("virtio", "/dev/vda1", "root", "0000:00:04.0"),),
        ),
    )  # fmt: skip
    assert looked.vm.said[1:] == [
        "guest-fsfreeze-status",
        "guest-info",
        "guest-get-osinfo",
        "guest-get-fsinfo",
    ], "and nothing that is kept in a guest's log, or changes anything"


def test_a_part_that_it_may_not_tell_is_missing_and_named(looked: Looked) -> None:
    looked.vm.agent.answers["guest-get-osinfo"] = Error("it is disabled")
    report = looked.inspect()
    assert report.problem is None
    assert report.not_told == {"guest-get-osinfo": "it is disabled"}
    assert report.file_systems


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"progress": Progress("freeze", Phase.PENDING, "it", 0.0)}, "a freeze is in flight"),
        ({"freeze": FreezeInfo(FreezeState.FROZEN, foreign=True)}, "it is frozen"),
        ({"held_by": HeldBy(7, "root")}, "it is taken by root (pid 7)"),
        ({"vm": VM._replace(locked_by="backup")}, "it is locked by backup"),
        ({"vm": VM._replace(policy=VmPolicy(read_only="not this one"))}, "not this one"),
        ({"vm": VM._replace(agent=None)}, "no agent's channel"),
        ({"vm": VM._replace(agent=None, out_of_reach="libvirt has it")}, "libvirt has it"),
    ],
)
def test_where_something_speaks_against_it_no_byte_is_sent(
    looked: Looked, changes: dict[str, Any], why: str
) -> None:
    looked.put(**changes)
    report = looked.inspect()
    assert report.problem is not None
    assert why in report.problem
    assert looked.vm.said == []


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ({"agent_runs": False}, "port is closed"),
        ({"status": "paused"}, "the VM is paused"),
        ({"other_client": True}, "another client"),
    ],
)
def test_what_the_monitor_shows_is_looked_at_before(
    looked: Looked, truth: dict[str, Any], why: str
) -> None:
    for name, value in truth.items():
        setattr(looked.vm, name, value)
    report = looked.inspect()
    assert report.problem is not None
    assert why in report.problem
    assert looked.vm.said == []


def test_a_channel_that_is_in_use_is_not_waited_for(looked: Looked) -> None:
    with looked.context.access.channel_lock:
        assert "something else" in (inspect(looked.context).problem or "")
    assert looked.vm.said == []


def test_an_agent_that_ended_when_it_was_asked_is_left_alone(looked: Looked) -> None:
    looked.context.access.fragile = True
    assert "has ended when it was asked" in (looked.inspect().problem or "")
    assert looked.vm.said == []


def test_a_guest_that_says_frozen_is_asked_no_more(looked: Looked) -> None:
    looked.vm.frozen, looked.vm.flag = 2, True
    assert "it is frozen" in (looked.inspect().problem or "")
    assert looked.vm.said[1:] == ["guest-fsfreeze-status"]


def test_an_agent_that_hangs_is_left_before_a_freeze_would_give_up(looked: Looked) -> None:
    looked.vm.agent_hears = False
    before = looked.vm.clock.monotonic()
    assert looked.inspect().problem is not None
    assert looked.vm.clock.monotonic() - before < CHANNEL_WAIT_S
    assert INSPECTION_S + 1.0 < CHANNEL_WAIT_S


def test_a_freeze_that_is_begun_meanwhile_gets_the_channel(looked: Looked) -> None:
    def begins(_: object) -> object:
        looked.put(progress=Progress("freeze", Phase.PREPARING, "its turn", 0.0))
        return {"version": "7.2.0", "supported_commands": []}

    looked.vm.agent.answers["guest-info"] = begins
    assert "comes first" in (looked.inspect().problem or "")
    assert looked.vm.said[-1] == "guest-info"


def test_why_nothing_is_asked_is_told_without_asking() -> None:
    assert why_not_asked(VmState(VM)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("name", "mountpoint", "type", "used-bytes", "disk"), JSON)
    | {"total-bytes": st.integers(), "disk": st.lists(st.fixed_dictionaries({}, optional={
        "bus-type": JSON, "dev": JSON, "serial": JSON, "pci-controller": JSON, "bus": JSON,
    }))},
)  # fmt: skip


def _is_safe(text: str) -> bool:
    """Whether nothing in a text has to be shown as something else."""
    return printable(text, 1000) == text


@given(st.lists(ENTRY | JSON) | JSON)
def test_whatever_a_guest_answers_is_read_or_left_out(value: object) -> None:
    for one in mounted(value) or ():
        assert one.used is None or one.used >= 0
        assert all(_is_safe(text) for text in (one.device, one.mountpoint, one.kind))
    for key, text in (system(value) or {}).items():
        assert _is_safe(key)
        assert text.isprintable()


def test_a_report_is_of_a_moment() -> None:
    assert GuestReport(datetime(2026, 1, 1, tzinfo=UTC)).file_systems == ()
