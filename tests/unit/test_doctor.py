"""The doctor: what it concludes from a state, and what it tells a person to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.backends.base import LIBVIRT, Abilities
from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.fleet.discovery import Discovery
from agentclient.fleet.doctor import (
    Finding,
    FindingLevel,
    about,
    check_channels,
    check_platform,
    check_source,
    check_state,
    check_user,
    examine,
    worst,
)
from agentclient.fleet.findings import AGENT_STATES, RUN_STATES
from agentclient.model.errors import FrostwatchError
from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, RunState, Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from tests.unit import command_lines
from tests.unit.fake_proc import FakeProc, make_socket

WEB = Vm(
    VmId("qemu", "web"),
    agent=AgentChannel(Path("/nowhere/qga"), "qga0", Transport.VIRTIO_SERIAL),
    monitor=MonitorChannel(Path("/nowhere/qmp")),
)
ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, rtt_s=0.0034, version="7.2")
HEALTHY = VmState(WEB, run_state=RunState.RUNNING, agent=ALIVE)


def said(findings: list[Finding], word: str) -> Finding:
    """Return the one finding that says `word`."""
    (found,) = [one for one in findings if word in one.text]
    return found


def test_a_healthy_vm_has_nothing_but_good_findings() -> None:
    findings = check_state(HEALTHY)
    assert worst(findings) is FindingLevel.OK
    assert {one.subject for one in findings} == {"qemu:web"}
    assert said(findings, "the agent answers").text == "the agent answers in 3 ms (version 7.2)"


def test_every_state_has_its_words() -> None:
    assert set(AGENT_STATES) == set(AgentState)
    assert set(RUN_STATES) == set(RunState) - {RunState.RUNNING, RunState.UNKNOWN}
    assert [level.value for level in FindingLevel] == ["ok", "warning", "problem"]


@pytest.mark.parametrize(
    ("state", "level", "advice"),
    [
        (AgentState.OPEN, FindingLevel.OK, None),
        (AgentState.CLOSED, FindingLevel.PROBLEM, "systemctl start qemu-guest-agent"),
        (AgentState.SILENT, FindingLevel.PROBLEM, "restart it there"),
        (AgentState.BUSY, FindingLevel.WARNING, "ss -xp"),
        (AgentState.NONE, FindingLevel.WARNING, "qm set VMID --agent"),
        (AgentState.UNKNOWN, FindingLevel.WARNING, "its sockets"),
    ],
)
def test_each_state_of_an_agent_has_a_level_and_an_advice(
    state: AgentState, level: FindingLevel, advice: str | None
) -> None:
    health = AgentHealth(state, detail="held by pid 9")
    finding = check_state(HEALTHY._replace(agent=health))[0]
    assert finding.level is level
    assert finding.text.endswith(": held by pid 9")
    assert (finding.advice is None) if advice is None else (advice in str(finding.advice))


@pytest.mark.parametrize("state", [state for state in RunState if state in RUN_STATES])
def test_a_vm_that_does_not_run_is_told_of(state: RunState) -> None:
    finding = check_state(HEALTHY._replace(run_state=state))[0]
    assert finding.level is not FindingLevel.OK
    assert finding.advice


def test_a_vm_that_is_not_listed_any_more() -> None:
    finding = check_state(HEALTHY._replace(present=False))[0]
    assert finding.level is FindingLevel.PROBLEM
    assert "does not list it" in finding.text


def test_a_foreign_freeze_is_a_problem_with_the_command_that_ends_it() -> None:
    vm = WEB._replace(id=VmId("qemu", "my web"))
    since = datetime(2025, 3, 1, 12, 30, tzinfo=UTC)
    state = HEALTHY._replace(vm=vm, freeze=FreezeInfo(FreezeState.FROZEN, since, foreign=True))
    finding = said(check_state(state), "not provably")
    assert finding.level is FindingLevel.PROBLEM
    assert "2025-03-01 12:30:00" in finding.text
    assert finding.advice is not None
    assert "breaks its window" in finding.advice
    assert finding.advice.endswith("frostwatch thaw --foreign 'qemu:my web'")


def test_a_freeze_of_our_own_is_no_problem() -> None:
    frozen = HEALTHY._replace(freeze=FreezeInfo(FreezeState.FROZEN))
    assert said(check_state(frozen), "by this console").level is FindingLevel.WARNING
    thawed = HEALTHY._replace(freeze=FreezeInfo(FreezeState.THAWED))
    assert worst(check_state(thawed)) is FindingLevel.OK


def test_lock_and_switch_are_told_of() -> None:
    vm = WEB._replace(locked_by="backup", freeze_disabled="agent: freeze-fs=0")
    findings = check_state(HEALTHY._replace(vm=vm))
    assert "qm unlock" in str(said(findings, "locked it: backup").advice)
    assert said(findings, "freezes are refused: agent: freeze-fs=0").advice


def test_libvirts_vm_is_said_once_and_not_called_agentless() -> None:
    vm = Vm(VmId("qemu", "db"), out_of_reach=LIBVIRT, freeze_disabled=LIBVIRT)
    (finding,) = check_state(VmState(vm, agent=AgentHealth(AgentState.NONE)))
    assert finding.text == LIBVIRT
    assert finding.level is FindingLevel.WARNING


def test_without_a_monitor_it_says_what_is_missing() -> None:
    finding = said(check_state(HEALTHY._replace(vm=WEB._replace(monitor=None))), "no monitor")
    assert finding.level is FindingLevel.WARNING
    assert "-qmp unix:" in str(finding.advice)


def test_trouble_is_told_and_made_safe() -> None:
    finding = said(check_state(HEALTHY._replace(trouble="no\x1b[2Jreply")), "reply")
    assert finding.text == "no\\x1b[2Jreply"


def test_platform_and_user() -> None:
    assert worst(check_platform((3, 11), "linux")) is FindingLevel.OK
    assert worst(check_platform((3, 10), "linux")) is FindingLevel.PROBLEM
    assert worst(check_platform((3, 12), "darwin")) is FindingLevel.PROBLEM
    assert worst(check_user(0)) is FindingLevel.OK
    assert worst(check_user(1000)) is FindingLevel.WARNING


def test_sockets_that_are_there_and_that_are_not(tmp_path: Path) -> None:
    agent = make_socket(tmp_path / "qga")
    vm = parse_vm_spec(f"name=web,agent={agent},monitor={tmp_path / 'qmp'}")
    good, bad = check_channels(vm)
    assert (good.level, good.subject) == (FindingLevel.OK, "socket:web")
    assert bad.level is FindingLevel.WARNING
    assert "does not exist" in bad.text
    assert bad.advice


class BrokenSource(ExplicitBackend):
    def list_vms(self) -> list[Vm]:
        raise FrostwatchError("can't list the processes in /proc: gone")


def test_a_source_that_fails_is_one_problem() -> None:
    (finding,) = check_source(Discovery(BrokenSource([])))
    assert finding == Finding(
        "source socket", FindingLevel.PROBLEM, "can't list the processes in /proc: gone"
    )


def test_an_empty_source_says_what_to_do() -> None:
    (finding,) = check_source(Discovery(ExplicitBackend([])))
    assert finding.level is FindingLevel.WARNING
    assert "--vm" in str(finding.advice)


def test_a_source_says_what_it_found_and_could_not_see(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(70, command_lines.BY_HAND)
    proc.add(71, ["qemu", "-name", "x", "-readconfig", "/etc/x\x1b"])
    found, noted = check_source(Discovery(QemuBackend(proc.path, tmp_path)))
    assert found.level is FindingLevel.OK
    assert found.text.startswith("2 VMs found")
    assert "port state" in found.text
    assert (noted.subject, noted.level) == ("qemu:x", FindingLevel.WARNING)
    assert noted.text.isprintable()


def test_what_is_a_row_of_another_source_has_its_findings_there(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(41, command_lines.LIBVIRT_9)
    processes = Discovery(QemuBackend(proc.path, tmp_path / "pve"))
    (vm,) = processes.backend.list_vms()
    row = VmState(Vm(VmId("libvirt", vm.name), uuid=vm.domain, by_call=True))
    assert LIBVIRT in str(examine([processes], [VmState(vm)]))
    assert LIBVIRT not in str(examine([processes], [row]))


def test_the_whole_examination(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(70, command_lines.LIBVIRT_9)
    source = QemuBackend(proc.path, tmp_path)
    states = [VmState(vm) for vm in source.list_vms()]
    findings = examine([Discovery(source)], [*states, HEALTHY])
    assert {one.subject for one in findings} >= {"python", "platform", "user", "source qemu"}
    # The source and the VM's state both say it; a person reads it once.
    assert [one.text for one in about(findings, VmId("qemu", "db"))] == [LIBVIRT]
    assert said(list(about(findings, WEB.id)), "the agent answers")
    assert worst(findings) is FindingLevel.PROBLEM


def test_nothing_is_ok() -> None:
    assert worst([]) is FindingLevel.OK
    assert Abilities(False, False, False, False, False) == Abilities(*[False] * 5)
