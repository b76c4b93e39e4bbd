"""The commands that a person is told to run next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentclient.model import next_command as commands
from agentclient.model import next_step
from agentclient.model.outcome import Outcome
from agentclient.model.states import Cause, OutcomeKind, Stuck, Transport
from agentclient.model.vm import AgentChannel, FarHost, MonitorChannel, Vm, VmId

WEB = Vm(VmId("qemu", "web1"))
DRILL = Vm(VmId("drill", "web1"))
FAR = Vm(VmId("libvirt", "web1"), far=FarHost("hall-a", "qemu+ssh://hall-a/system", "virsh …"))

EACH: list[tuple[Callable[[Vm], str], str, str]] = [
    (commands.freeze_command, "freeze qemu:web1", "f in"),
    (commands.thaw_command, "thaw qemu:web1", "t in"),
    (lambda vm: commands.thaw_command(vm, foreign=True), "thaw --foreign qemu:web1", "t in"),
    (lambda vm: commands.thaw_commands([vm]), "thaw --foreign qemu:web1", "t in"),
    (commands.extend_command, "extend --by 60 qemu:web1", "e in"),
    (commands.ladder_command, "rescue qemu:web1", "R in"),
    (commands.doctor_command, "doctor qemu:web1", "the log in"),
    (commands.clear_command, "jobs --clear qemu:web1", "c in"),
    (lambda vm: commands.rescue_command(vm, "wait"), "rescue qemu:web1 --rung wait", "R in"),
    (
        lambda vm: commands.copy_command([vm], ["backup"], ["--to", "/b"]),
        "backup qemu:web1 --to /b",
        "c in",
    ),
]


@pytest.mark.parametrize(("command", "words", "key"), EACH)
def test_each_is_a_command_and_in_a_drill_a_key(
    command: Callable[[Vm], str], words: str, key: str
) -> None:
    assert command(WEB) == f"frostwatch {words}"
    assert command(DRILL).startswith(f"{key} the drill's console")


def test_no_command_is_looked_for_in_a_drill() -> None:
    assert commands.command_in(commands.freeze_command(DRILL), DRILL) is None
    assert commands.command_in("then: frostwatch freeze drill:web1", DRILL) is None


def test_where_nobody_would_thaw_it_one_insists() -> None:
    insists = "frostwatch freeze -c qemu+ssh://hall-a/system --remote-hold libvirt:web1"
    assert commands.freeze_command(FAR) == insists


@pytest.mark.parametrize(
    ("agent", "monitor", "spec"),
    [
        (AgentChannel(Path("/a,b")), None, "name=web1,agent=/a,,b"),
        (
            AgentChannel(Path("/a"), transport=Transport.ISA_SERIAL),
            MonitorChannel(Path("/m")),
            "name=web1,agent=/a,transport=isa-serial,monitor=/m",
        ),
        (None, MonitorChannel(Path("/m")), "name=web1,monitor=/m"),
        (None, None, "name=web1,agent=PATH"),
    ],
)
def test_one_that_was_named_is_named_again(
    agent: AgentChannel | None, monitor: MonitorChannel | None, spec: str
) -> None:
    vm = Vm(VmId("socket", "web1"), agent=agent, monitor=monitor)
    assert commands.thaw_command(vm) == f"frostwatch thaw --vm {spec} socket:web1"


def test_only_an_agent_that_libvirt_may_miss_is_restarted() -> None:
    assert commands.start_word(FAR._replace(by_call=True)) == "restart"
    assert commands.start_word(WEB) == commands.start_word(None) == "start"


@pytest.mark.parametrize("holder", [None, 4711])
@pytest.mark.parametrize(
    ("source", "cause", "stuck", "restarted"),
    [
        ("libvirt", Cause.AGENT_RESTARTED, Stuck.SILENT, True),
        ("libvirt", Cause.AGENT_RESTARTED, None, True),
        ("libvirt", Cause.AGENT_RESTARTED, Stuck.STILL_FROZEN, False),
        ("libvirt", Cause.AGENT_GONE, Stuck.SILENT, False),
        ("libvirt", None, Stuck.SILENT, False),
        ("qemu", Cause.AGENT_RESTARTED, Stuck.SILENT, False),
    ],
)
def test_an_agent_whose_restart_libvirt_may_have_missed_is_restarted_once_more(
    source: str, cause: Cause | None, stuck: Stuck | None, restarted: bool, holder: int | None
) -> None:
    vm = Vm(VmId(source, "db1"), by_call=source == "libvirt")
    lost = Outcome(OutcomeKind.LOST, "x", None, cause, settled=False, stuck=stuck, holder=holder)
    step = str(next_step.next_step(lost, vm, lost.kind))
    assert step.startswith("restart the agent in the guest, ") == restarted
