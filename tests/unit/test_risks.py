"""Why a freeze would be refused, or risky, before anybody asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.access.self_check import own_uuid
from agentclient.freeze.risks import risks, why_not
from agentclient.model.outcome import FileSystem
from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, RunState
from agentclient.model.vm import AgentChannel, Vm, VmId

ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY)
HEALTHY = VmState(
    Vm(VmId("qemu", "db"), AgentChannel(Path("/run/db.qga"))),
    run_state=RunState.RUNNING,
    agent=ALIVE,
    freeze=FreezeInfo(FreezeState.THAWED),
)


def test_nothing_speaks_against_a_healthy_vm() -> None:
    assert why_not(HEALTHY) is None
    assert risks(HEALTHY) == ()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (HEALTHY._replace(run_state=RunState.PAUSED), "paused"),
        (HEALTHY._replace(freeze=FreezeInfo(FreezeState.FROZEN)), "frozen already"),
        (HEALTHY._replace(agent=ALIVE._replace(state=AgentState.CLOSED)), "agent is closed"),
        (HEALTHY._replace(agent=ALIVE._replace(state=AgentState.NONE)), "agent is none"),
        (HEALTHY._replace(vm=HEALTHY.vm._replace(locked_by="backup")), "locked by backup"),
        (HEALTHY._replace(vm=HEALTHY.vm._replace(freeze_disabled="freeze-fs=0")), "freeze-fs=0"),
    ],
)
def test_each_refusal_is_said_before(state: VmState, words: str) -> None:
    assert words in str(why_not(state))


@pytest.mark.parametrize(
    ("file_system", "words"),
    [
        (FileSystem("loop0", "/snap/core", "squashfs"), "loop device"),
        (FileSystem("/dev/loop7", "/mnt/image", "ext4"), "loop device"),
        (FileSystem("nas:/export", "/srv/nas", "nfs4"), "network file system"),
    ],
)
def test_each_risk_is_named_with_its_file_system(file_system: FileSystem, words: str) -> None:
    (risk,) = risks(HEALTHY._replace(file_systems=(FileSystem("vda1", "/", "ext4"), file_system)))
    assert words in risk
    assert file_system.mountpoint in risk


@pytest.mark.parametrize(
    ("written", "uuid"),
    [
        ("4C4C4544-0042-3510-8052-B2C04F4A4E32\n", "4c4c4544-0042-3510-8052-b2c04f4a4e32"),
        ("00000000-0000-0000-0000-000000000000\n", None),
        ("", None),
    ],
)
def test_our_own_uuid_is_as_the_firmware_tells_it(
    tmp_path: Path, written: str, uuid: str | None
) -> None:
    firmware = tmp_path / "product_uuid"
    firmware.write_text(written)
    assert own_uuid(firmware) == uuid


def test_a_machine_without_one_is_nobody(tmp_path: Path) -> None:
    assert own_uuid(tmp_path / "missing") is None
