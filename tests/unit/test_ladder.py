"""Which rungs make sense for a VM, and why not."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.guest_inputs import Inputs, Serial
from agentclient.model.rescue import Means, RescueTimes, Rung, Step
from agentclient.model.snapshot import (
    AgentHealth,
    FreezeInfo,
    HeldBy,
    MonitorView,
    Progress,
    VmState,
)
from agentclient.model.states import AgentState, FreezeState, Phase, RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from agentclient.operations.rescue.ladder import (
    NO_CONNECTION,
    LadderFacts,
    Offer,
    ladder,
    next_offer,
)

VM = Vm(VmId("qemu", "db1"), AgentChannel(Path("/x.qga")), MonitorChannel(Path("/x.qmp")))
FREE = Serial("serial0", "disconnected:unix:/x.serial0,server=on")
CLOSED = MonitorView(RunState.RUNNING, port_open=False, client=False)
OPEN = CLOSED._replace(port_open=True)
SILENT = AgentHealth(AgentState.SILENT)
ALIVE = AgentHealth(AgentState.ALIVE)
TITLES = ["connect", "thaw", "wait", "sysrq by key", "sysrq at serial0", "reset"]


def known(
    view: MonitorView = CLOSED,
    agent: AgentHealth | None = None,
    freeze: FreezeState | None = FreezeState.FROZEN,
    vm: Vm = VM,
    **more: Any,
) -> LadderFacts:
    state = VmState(vm, agent=agent or AgentHealth(), freeze=FreezeInfo(freeze))
    return LadderFacts(state, view, more.pop("inputs", Inputs(True, (FREE,))), **more)


def sensible(of: LadderFacts) -> list[str]:
    return [one.title for one in ladder(of) if one.sensible]


def offer(of: LadderFacts, title: str) -> Offer:
    return next(one for one in ladder(of) if one.title == title)


def test_the_rungs_stand_in_the_order_of_their_risk() -> None:
    assert [one.title for one in ladder(known())] == TITLES
    for one in ladder(known()):
        assert one.does.endswith(".")
        assert one.risk.endswith(".")


def test_a_dead_agent_is_waited_for_first() -> None:
    assert sensible(known()) == TITLES[2:]
    assert "port closed" in str(offer(known(), "connect").why_not)
    assert not offer(known(), "thaw").possible


def test_an_agent_that_may_be_there_is_asked_first() -> None:
    there = known(OPEN)
    assert sensible(there) == ["connect", "thaw"]
    assert offer(there, "reset").possible, "a person may know more"
    assert sensible(known(OPEN, ALIVE)) == ["connect", "thaw"]


def test_after_a_thaw_in_vain_everything_is_open() -> None:
    assert sensible(known(OPEN, ALIVE, tried=frozenset({Rung.THAW}))) == TITLES


def test_a_silent_agent_is_not_sent_a_thaw_but_waited_for() -> None:
    assert sensible(known(OPEN, SILENT)) == ["connect", *TITLES[2:]]
    assert offer(known(OPEN, SILENT), "thaw").possible


def test_what_is_thawed_needs_no_rescue() -> None:
    thawed = known(OPEN, ALIVE, FreezeState.THAWED)
    assert sensible(thawed) == []
    assert next_offer(ladder(thawed)) is None


def test_it_is_not_known_whether_it_is_frozen() -> None:
    assert sensible(known(freeze=None)) == TITLES[2:]


def test_a_port_that_cannot_be_seen_may_be_open() -> None:
    assert sensible(known(OPEN._replace(port_open=None))) == ["connect", "thaw"]


def test_another_client_keeps_us_from_the_channel_alone() -> None:
    busy = known(OPEN._replace(client=True))
    assert sensible(busy) == TITLES[3:]
    assert "somebody else holds the agent's channel" in str(offer(busy, "wait").why_not)


def test_what_another_frostwatch_holds_is_waited_for_and_what_hangs_there_is_not() -> None:
    at = datetime(2026, 3, 1, 17, 20, 0, tzinfo=UTC)
    held = HeldBy(1316, "root", FreezeState.FROZEN, at, at + timedelta(seconds=355), 1320)
    busy = known(OPEN._replace(client=True))
    busy = replace(busy, state=busy.state._replace(held_by=held))
    assert sensible(busy) == []
    assert all(
        "frozen by root (pid 1316) until 17:25:55" in str(one.why_not) for one in ladder(busy)
    )
    assert "It is frozen by root (pid 1316)" in offer(busy, "sysrq by key").risk
    hangs = held._replace(state=FreezeState.FREEZING)
    assert sensible(replace(busy, state=busy.state._replace(held_by=hangs))) == TITLES[3:]
    left = held._replace(ended=True)
    assert sensible(replace(busy, state=busy.state._replace(held_by=left))) == TITLES[3:]
    kept = left._replace(kept=True)
    assert sensible(replace(busy, state=busy.state._replace(held_by=kept))) == []


@pytest.mark.parametrize(
    ("view", "word", "left"),
    [
        (CLOSED._replace(run_state=RunState.PAUSED), "resume the VM", ["reset"]),
        (CLOSED._replace(run_state=RunState.SUSPENDED), "wake it up", ["reset"]),
        (CLOSED._replace(run_state=RunState.PANICKED), "nothing in it answers", ["reset"]),
        (CLOSED._replace(run_state=RunState.MIGRATING), "migrating", []),
        (MonitorView(RunState.GONE, gone=True), "does not run", []),
    ],
)
def test_what_the_vm_does_rules_rungs_out(view: MonitorView, word: str, left: list[str]) -> None:
    of = known(view)
    assert [one.title for one in ladder(of) if one.possible] == left
    assert word in str(offer(of, "wait").why_not)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"read_only": "read-only"}, "read-only"),
        ({"in_flight": "freeze"}, "a freeze of this VM is in"),
    ],
)
def test_some_things_rule_out_everything(more: dict[str, Any], word: str) -> None:
    for one in ladder(known(**more)):
        assert not one.possible
        assert word in str(one.why_not)


def test_who_is_at_work_on_it_is_a_risk_of_all_but_the_first_rung() -> None:
    locked = known(vm=VM._replace(locked_by="backup"))
    held = known()
    held = replace(held, state=held.state._replace(held_by=HeldBy(1316, "root")))
    for of, word in ((locked, "(backup)"), (held, "root (pid 1316)")):
        risks = {one.title: one.risk for one in ladder(of)}
        assert [title for title in TITLES if word in risks[title]] == TITLES[1:]
    assert not any("It is" in one.risk or "at work" in one.risk for one in ladder(known()))


def test_what_keeps_the_first_rung_from_connecting_rules_out_that_one_alone() -> None:
    of = known(OPEN, no_connection="it is called")
    assert offer(of, "connect").why_not == "it is called"
    assert offer(of, "thaw").why_not is None
    assert "it is called" not in str(offer(of, "wait").why_not)


def test_a_key_is_pressed_and_a_break_sent_to_a_port() -> None:
    of = known()
    assert "keyboard" in offer(of, "sysrq by key").does
    assert "serial console" in offer(of, "sysrq at serial0").does
    assert ladder(of, RescueTimes(thaw_s=77.0))[1].does.endswith("at most 1 min 17 s.")


def test_only_a_freeze_that_is_prepared_is_called_so() -> None:
    preparing = in_flight(Phase.PENDING, sent_at=None)
    assert "was not sent yet" in str(offer(preparing, "sysrq by key").why_not)
    assert "was not sent yet" not in str(offer(preparing, "thaw").why_not)
    thawing = replace(preparing, in_flight="thaw")
    assert "was not sent yet" not in str(offer(thawing, "sysrq by key").why_not)


@pytest.mark.parametrize("why", [None, "several VMs share it"])
def test_why_there_is_no_monitor_is_said(why: str | None) -> None:
    of = known(vm=VM._replace(monitor=None, no_monitor=why), has_monitor=False)
    assert offer(of, "sysrq by key").why_not == (why or "it has no monitor")


def in_flight(phase: Phase, *, waited_s: float = math.inf, **more: Any) -> LadderFacts:
    progress = Progress("freeze", phase, "the agent", 0.0, **({"sent_at": 1.0} | more))
    of = known(OPEN._replace(client=True), in_flight="freeze", waited_s=waited_s)
    return replace(of, state=of.state._replace(progress=progress))


def test_who_has_stopped_waiting_is_not_told_to_stop_waiting() -> None:
    of = in_flight(Phase.THAWING, cancelled=True)
    for title in TITLES[:3]:
        assert not offer(of, title).possible
        assert "queued behind the freeze already" in str(offer(of, title).why_not)


def test_what_needs_no_agent_can_be_done_while_a_freeze_hangs_or_is_lost() -> None:
    for hung in (
        in_flight(Phase.PENDING, waited_s=11.0),
        in_flight(Phase.BLOCKED, waited_s=11.0),
        in_flight(Phase.THAWING),
        in_flight(Phase.AT_RISK),
        in_flight(Phase.THAWING, cancelled=True),
        replace(in_flight(Phase.THAWING), in_flight="thaw"),
    ):
        assert sensible(hung) == TITLES[3:]
    soon = in_flight(Phase.PENDING, waited_s=4.0)
    assert sensible(soon) == []
    assert [one.title for one in ladder(soon) if one.possible] == TITLES[3:]
    assert "may answer yet" in str(offer(soon, "reset").why_not)


def test_what_is_not_sent_or_well_held_is_stopped_or_thawed_first() -> None:
    for well in (in_flight(Phase.HELD), in_flight(Phase.PREPARING, sent_at=None)):
        assert not any(one.possible for one in ladder(well))
    other = replace(in_flight(Phase.THAWING), in_flight="rescue")
    assert not any(one.possible for one in ladder(other))


def test_without_an_agents_channel_or_a_monitor() -> None:
    without = known(vm=VM._replace(agent=None))
    assert sensible(without) == TITLES[3:]
    libvirt = known(vm=VM._replace(agent=None, out_of_reach="libvirt owns it"))
    assert "libvirt owns it" in str(offer(libvirt, "thaw").why_not)
    blind = known(MonitorView(problem="no monitor"), SILENT, inputs=Inputs(), has_monitor=False)
    assert sensible(blind) == ["connect", "wait"]


def test_sysrq_needs_a_keyboard_or_a_console_that_can_be_told() -> None:
    assert offer(known(inputs=Inputs(None)), "sysrq by key").sensible, "it can't be seen"
    none = known(inputs=Inputs(False))
    assert "no keyboard" in str(offer(none, "sysrq by key").why_not)
    assert "no serial port" in str(offer(none, "sysrq by serial").why_not)
    several = Inputs(True, (FREE, Serial("serial1", "pty:/dev/pts/3")))
    for title in ("sysrq at serial0", "sysrq at serial1"):
        unnamed = offer(known(inputs=several), title)
        assert "can't be told" in str(unnamed.why_not)
        assert unnamed.possible, "a person may know it"
    named = offer(known(inputs=several, serial="serial1"), "sysrq at serial1")
    assert (named.sensible, named.step.serial) == (True, "serial1")
    wrong = offer(known(inputs=several, serial="qga0"), "sysrq at qga0")
    assert "is no serial port" in str(wrong.why_not)


def test_a_manager_at_work_is_part_of_the_risk() -> None:
    locked = known(vm=VM._replace(locked_by="backup"))
    assert "at work on it (backup)" in offer(locked, "reset").risk


def test_the_next_rung_is_the_lowest_that_was_not_taken() -> None:
    offers = ladder(known())
    first = next_offer(offers)
    assert first is not None
    assert first.step == Step(Rung.WAIT)
    second = next_offer(offers, {Rung.WAIT})
    assert second is not None
    assert second.step == Step(Rung.SYSRQ, Means.KEY)
    assert next_offer(offers, set(Rung)) is None


def test_the_bounds_are_said() -> None:
    wait = ladder(known(), RescueTimes(wait_s=90))[2]
    assert "up to 1 min 30 s" in wait.does


def test_where_a_hypervisor_has_the_channel_and_sends_no_break_that_is_said() -> None:
    why = "libvirt sends no break to a serial port"
    facts = replace(known(inputs=Inputs(no_break=why)), no_connection=NO_CONNECTION)
    found = {one.title: one for one in ladder(facts)}
    assert (found["connect"].possible, found["connect"].why_not) == (False, NO_CONNECTION)
    assert (found["sysrq by serial"].possible, found["sysrq by serial"].why_not) == (False, why)
    assert found["sysrq by key"].possible
    assert found["reset"].possible
