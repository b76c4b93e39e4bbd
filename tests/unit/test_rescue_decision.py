"""What is decided before a rung is taken: who may, whether it is the VM that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.access import monitor_proof
from agentclient.access import monitor_proof as monitor_proof_module
from agentclient.access.local_access import LocalAccess
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.events import EventKind, RungBegan
from agentclient.model.outcome import Outcome
from agentclient.model.rescue import Means, Rung, RungResult, Step
from agentclient.model.snapshot import FreezeInfo, Progress, VmState
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase
from agentclient.model.vm import AgentChannel, Peer, Process, Vm
from agentclient.operations.rescue.ladder import Offer
from agentclient.operations.rescue.operation import survey
from tests.unit.frozen_vm import AGENT, MONITOR, VM, FrozenVm, frozen_vm

SYSRQ, RESET = Step(Rung.SYSRQ), Step(Rung.RESET, name="db")
EACH = [Step(rung, name="db") for rung in Rung]
ONE, ANOTHER = Process(70, 1), Process(71, 1)


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def nothing_was_done(vm: FrozenVm) -> bool:
    """Whether neither the guest nor its agent nor QEMU was told to do anything."""
    done = {"send-key", "chardev-send-break", "system_reset"} & set(vm.asked)
    return not vm.said and not done and vm.frozen == 2 and not vm.resets


# -- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", EACH)
def test_without_a_person_nothing_is_done_to_what_is_not_provably_ours(
    vm: FrozenVm, step: Step
) -> None:
    outcome = vm.rescue(step, person=False)
    assert outcome.found is RungResult.REFUSED
    assert outcome.reason == "not taken: a person has to decide it: it isn't provably ours"
    assert nothing_was_done(vm)
    assert vm.qemu.asked == [], "not even looked at"


@pytest.mark.parametrize("step", EACH)
def test_without_a_person_what_is_ours_is_connected_to_and_thawed_and_no_more(
    vm: FrozenVm, step: Step
) -> None:
    outcome = vm.rescue(step, person=False, ours=True)
    assert (outcome.found is RungResult.REFUSED) is (step.rung not in (Rung.CONNECT, Rung.THAW))
    assert outcome.found is not RungResult.REFUSED or nothing_was_done(vm)


@pytest.mark.parametrize("name", [None, "", "d", "DB", "db ", "qemu:db", "other"])
def test_a_reset_needs_the_vms_name_typed_by_a_person(vm: FrozenVm, name: str | None) -> None:
    outcome = vm.rescue(Step(Rung.RESET, name=name))
    assert outcome.reason == "not taken: a reset needs the VM's name, typed by a person"
    assert nothing_was_done(vm)


def test_with_its_name_it_is_reset(vm: FrozenVm) -> None:
    assert vm.rescue(RESET).found is RungResult.RESET
    assert vm.resets == 1


@pytest.mark.parametrize("step", EACH)
def test_read_only_refuses_every_rung(vm: FrozenVm, step: Step) -> None:
    outcome = vm.rescue(step, read_only=True)
    assert outcome.reason == "not taken: frostwatch runs read-only: nothing is sent"
    assert nothing_was_done(vm)


# -- whether it is the VM that was meant ----------------------------------------------------------


@pytest.mark.parametrize("step", EACH)
def test_another_vm_in_its_place_is_left_alone(vm: FrozenVm, step: Step, tmp_path: Path) -> None:
    """A QEMU that was started since has made its sockets anew (P6)."""
    path = tmp_path / "db.qga"
    path.touch()
    meant = VM._replace(agent=AgentChannel(path), sockets=("1:2:3",))
    outcome = vm.rescue(step, meant)
    assert outcome.found is RungResult.REFUSED
    assert "the VM that was meant has gone" in outcome.reason
    assert outcome.next == "look for it in the list"
    assert nothing_was_done(vm)
    assert vm.qemu.asked == []


def test_a_vm_whose_process_has_ended_is_not_the_one_in_its_place(vm: FrozenVm) -> None:
    outcome = vm.rescue(RESET, VM._replace(process=Process(1, 1)))
    assert "the VM that was meant has gone" in outcome.reason
    assert nothing_was_done(vm)


@pytest.mark.parametrize("step", [SYSRQ, RESET])
def test_what_goes_round_the_agent_needs_a_monitor_that_shows_our_connection(
    vm: FrozenVm, step: Step
) -> None:
    """P10: an empty connection is shown by the VM's own monitor, and by no other."""
    outcome = vm.rescue(step)
    assert outcome.found is not RungResult.REFUSED
    first = vm.channel.channels[0]
    assert first.written == b"", "nothing is written on a guess"
    assert {"send-key", "system_reset"} & set(vm.asked)


@pytest.mark.parametrize("step", [SYSRQ, RESET])
def test_a_monitor_that_does_not_show_us_is_another_vms_perhaps(vm: FrozenVm, step: Step) -> None:
    began = vm.clock.now
    vm.qemu.answers["query-chardev"] = [
        {"label": "qga0", "filename": "disconnected:unix:/run/db.qga,server=on"},
        {"label": "serial0", "filename": "disconnected:unix:/run/db.serial0,server=on"},
    ]
    outcome = vm.rescue(step)
    assert outcome.found is RungResult.REFUSED
    assert "it does not show our connection to the agent" in outcome.reason
    assert outcome.next == "name the sockets of one VM: --vm"
    assert nothing_was_done(vm)
    assert vm.clock.now - began < monitor_proof_module.SHOWN_WITHIN_S + 1.0


@pytest.mark.parametrize("step", [SYSRQ, RESET])
def test_where_the_channel_cannot_be_had_nothing_is_proven(vm: FrozenVm, step: Step) -> None:
    vm.channel.failures = [ConnectFailed(ConnectProblem.NO_DESCRIPTOR, "no descriptor is left")]
    outcome = vm.rescue(step)
    assert outcome.found is RungResult.REFUSED
    assert "no descriptor is left" in outcome.reason
    assert nothing_was_done(vm)


@pytest.mark.parametrize("step", [SYSRQ, RESET])
def test_two_processes_at_its_sockets_are_two_vms(
    vm: FrozenVm, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = {AGENT: Peer(ONE, 0), MONITOR: Peer(ANOTHER, 0)}
    monkeypatch.setattr(monitor_proof_module, "find_peer", peers.get)
    outcome = vm.rescue(step)
    assert outcome.found is RungResult.REFUSED
    assert "the monitor is another VM's: pid 71 listens there" in outcome.reason
    assert nothing_was_done(vm)
    assert vm.qemu.asked == [], "whom it belongs to is not looked at either"


def test_one_process_at_both_sockets_is_one_vm(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_proof_module, "find_peer", lambda _: Peer(ONE, 0))
    vm.agent_runs = vm.agent_hears = False
    vm.other_client = True  # which would keep an empty connection from being shown
    assert vm.rescue(SYSRQ).found is not RungResult.REFUSED
    assert "send-key" in vm.asked


def test_a_rung_on_the_agents_channel_needs_no_such_proof(vm: FrozenVm) -> None:
    vm.qemu.answers["query-chardev"] = []
    assert vm.rescue(Step(Rung.CONNECT)).found is RungResult.ANSWERS


# -- which of its ways is meant -------------------------------------------------------------------


def test_which_serial_port_is_meant_has_to_be_said_where_there_are_two(vm: FrozenVm) -> None:
    vm.serials["serial1"] = "disconnected:unix:/run/db.serial1,server=on"
    outcome = vm.rescue(Step(Rung.SYSRQ, Means.SERIAL))
    assert outcome.reason == "not taken: which of its serial ports is meant was not said"
    assert nothing_was_done(vm)
    named = vm.operation(Step(Rung.SYSRQ, Means.SERIAL, "serial0")).run()
    assert named.found is not RungResult.REFUSED


def test_a_rung_that_has_become_impossible_is_refused_with_its_reason(vm: FrozenVm) -> None:
    """The ladder that a person saw may be minutes old."""
    vm.agent_runs = False
    outcome = vm.rescue(Step(Rung.THAW))
    assert outcome.reason == "not taken: no agent runs (port closed)"
    vm.reporter.told.clear()
    assert vm.rescue(Step(Rung.SYSRQ, Means.SERIAL, "serial7")).found is RungResult.REFUSED
    assert nothing_was_done(vm)


@pytest.mark.parametrize("step", EACH)
def test_a_vm_that_has_ended_is_left_alone(vm: FrozenVm, step: Step) -> None:
    vm.gone = True
    outcome = vm.rescue(step)
    assert outcome.reason == "not taken: the VM does not run: nothing in it is frozen"
    assert nothing_was_done(vm)


def test_beside_a_freeze_only_what_needs_no_agent_can_be_done(vm: FrozenVm) -> None:
    sent = Progress("freeze", Phase.PENDING, "x", 0.0, sent_at=1.0)
    state = VmState(VM, progress=sent)
    outcome = vm.rescue(Step(Rung.THAW), state=state, beside="freeze")
    assert outcome.found is RungResult.REFUSED
    assert "a freeze of this VM is in flight" in outcome.reason
    assert nothing_was_done(vm)


# -- what is told ---------------------------------------------------------------------------------


def test_what_it_does_and_its_risk_are_told_before_it_is_done(vm: FrozenVm) -> None:
    vm.rescue(Step(Rung.THAW))
    first, last = vm.reporter.told[0], vm.reporter.told[-1]
    assert (first.kind, first.level) == (EventKind.RUNG, Level.INFO)
    assert first.text.startswith("thaw: Sends the agent an ordinary thaw")
    assert " Risk: Breaks the window of whoever froze it" in first.text
    assert first.details == RungBegan(Rung.THAW, None)
    assert (last.kind, last.level) == (EventKind.OUTCOME, Level.GOOD)
    assert last.text.startswith("thaw: ")


def test_a_refusal_is_told_as_a_warning(vm: FrozenVm) -> None:
    outcome = vm.rescue(SYSRQ, read_only=True)
    first, last = vm.reporter.told
    assert first.details == RungBegan(Rung.SYSRQ, Means.KEY)
    assert (last.level, last.text) == (Level.WARNING, f"sysrq by key: {outcome.reason}")


# -- the ladder that is shown ---------------------------------------------------------------------


def why_not(offers: tuple[Offer, ...]) -> dict[Rung, str | None]:
    return {one.step.rung: one.why_not for one in offers}


def test_the_ladder_is_drawn_without_a_word_to_the_guest(vm: FrozenVm) -> None:
    offers = survey(vm.access(), VmState(VM, freeze=FreezeInfo(FreezeState.FROZEN)))
    assert [one.step.rung for one in offers] == [*list(Rung)[:4], Rung.SYSRQ, Rung.RESET]
    assert nothing_was_done(vm)
    assert vm.channel.channels == []
    assert ("qom-list", {"path": "/machine/unattached"}) in vm.qemu.asked, "keyboards are there"


def test_a_doubtful_monitor_is_not_looked_at_and_says_so(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_proof, "doubt_of", lambda _: "whose monitor it is")
    offers = survey(vm.access(), VmState(VM))
    assert why_not(offers)[Rung.RESET] == "whose monitor it is"
    assert vm.qemu.asked == []
    vm.gone = True
    ended = why_not(survey(vm.access(VM), VmState(VM)))
    assert ended[Rung.CONNECT] == "the VM does not run: nothing in it is frozen"


def test_without_a_monitor_its_rungs_cannot_be_taken(vm: FrozenVm) -> None:
    alone = VM._replace(monitor=None)
    offers = survey(vm.access(alone), VmState(alone))
    assert why_not(offers)[Rung.RESET] == "it has no monitor"
    assert [one.possible for one in offers] == [True, True, True, False, False, False]


def test_the_serial_port_that_a_person_named_is_the_way(vm: FrozenVm) -> None:
    vm.serials["serial1"] = "disconnected:unix:/run/db.serial1,server=on"
    offers = survey(vm.access(), VmState(VM), serial="serial1")
    ways = [one.step.serial for one in offers if one.step.means is Means.SERIAL]
    assert ways == ["serial1"]


def test_rungs_that_were_tried_in_vain_are_not_asked_for_again(vm: FrozenVm) -> None:
    state = VmState(VM, freeze=FreezeInfo(FreezeState.FROZEN))
    first = why_not(survey(vm.access(), state))
    again = why_not(survey(vm.access(), state, tried=frozenset({Rung.THAW})))
    assert first[Rung.RESET] == "an agent may be there: a thaw comes first"
    assert again[Rung.RESET] is None


# -- for how long an agent has owed an answer -----------------------------------------------------

LOST = Outcome(OutcomeKind.LOST, "lost")
# The clock begins at 1000: it is pending for 60 s, and was sent 4 s ago.
PENDING = Progress("freeze", Phase.PENDING, "x", 940.0, sent_at=996.0)


@pytest.mark.parametrize(
    ("progress", "patient"),
    [
        (PENDING, True),
        (PENDING._replace(sent_at=989.0), False),
        (PENDING._replace(cancelled=True), False),
        (PENDING._replace(verdict=LOST), False),
    ],
)
def test_a_freeze_that_was_just_sent_may_be_answered_yet(
    vm: FrozenVm, progress: Progress, patient: bool
) -> None:
    state = VmState(VM, progress=progress)
    why = why_not(survey(vm.access(), state, in_flight="freeze"))[Rung.RESET]
    assert why == ("its agent has had 4 s, and may answer yet" if patient else None)


def test_what_is_no_freeze_is_waited_for_since_it_began(vm: FrozenVm) -> None:
    state = VmState(VM, progress=PENDING._replace(what="thaw", started_at=993.0))
    why = why_not(survey(vm.access(), state, in_flight="thaw"))[Rung.RESET]
    assert why == "its agent has had 7 s, and may answer yet"


def test_links_of_a_vm_without_an_agent(vm: FrozenVm) -> None:
    bare = Vm(VM.id, None, VM.monitor)
    access: LocalAccess = vm.access(bare)
    offers = survey(access, VmState(bare))
    assert why_not(offers)[Rung.THAW] == "no agent channel is configured"
    assert why_not(offers)[Rung.RESET] is None
