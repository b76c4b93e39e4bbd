"""The visits to a fleet (P5): what each says to whom, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentclient.access.agent_probe import AGENT_VISIT_S
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.fleet.timetable import RELEASED_AGAIN_S
from agentclient.model.snapshot import FreezeInfo, LeftBy
from agentclient.model.states import AgentState, FreezeState, Level, RunState
from agentclient.protocol.qga_commands import SYNC
from tests.unit.fakes import Raw
from tests.unit.frozen_vm import VM, FrozenVm
from tests.unit.polled_fleet import BUSY, STARTED, PolledFleet, polled
from tests.unit.timeline import NumberedChannel

STATUS, INFO, LIST = "guest-fsfreeze-status", "guest-info", "guest-get-fsinfo"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[PolledFleet]:
    made = polled(monkeypatch)
    yield made
    made.poller.close()
    assert made.open == [], "outside a freeze no socket stays open"
    assert not any(access.channel_lock.locked() for access in made.accesses.made.values())


@pytest.fixture
def vm(fleet: PolledFleet) -> FrozenVm:
    return fleet.vms[VM.id]


# -- a visit -------------------------------------------------------------------------------------


def test_the_first_visit_finds_everything_and_leaves_no_socket_open(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    fleet.run(1.0)
    state = fleet.state()
    assert (state.run_state, state.agent.state) == (RunState.RUNNING, AgentState.ALIVE)
    assert state.freeze == FreezeInfo(FreezeState.THAWED, state.agent.seen_at)
    assert (state.agent.version, len(state.file_systems)) == ("7.2.0", 1)
    assert state.trouble is None
    assert vm.said == [SYNC, STATUS, INFO, LIST]
    assert fleet.open == []
    assert fleet.log() == ["agent alive (reply)"]


def test_later_visits_are_a_sync_and_a_status(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(120.0)
    assert vm.said[4:6] == [SYNC, STATUS]
    assert set(vm.said[4:]) == {SYNC, STATUS}, "no ping: the guest logs each"
    assert fleet.looks() == pytest.approx(60, abs=2)
    assert fleet.questions() == pytest.approx(8, abs=1)
    assert fleet.log() == ["agent alive (reply)"], "nothing new is nothing to tell"


def test_a_visit_goes_to_the_monitor_first(fleet: PolledFleet, vm: FrozenVm) -> None:
    vm.agent_leaves()
    fleet.run(60.0)
    assert fleet.questions() == 0, "nobody is there: nothing is left for who comes later"
    assert fleet.state().agent.state is AgentState.CLOSED


def test_an_agent_that_has_opened_its_port_is_asked_at_once(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    vm.agent_leaves()
    fleet.run(1.0)
    vm.agent_comes()
    fleet.run(2.1)
    assert fleet.state().agent.state is AgentState.ALIVE
    assert fleet.questions() == 1


def test_somebody_who_wants_to_know_is_told_at_once(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(1.0)
    vm.flag, vm.frozen = True, 2
    fleet.wanted.append(VM.id)
    fleet.run(0.2)
    assert fleet.state().freeze.state is FreezeState.FROZEN
    assert fleet.questions() == 2


# -- somebody else's freeze ----------------------------------------------------------------------


def test_a_foreign_freeze_is_told_once(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(1.0)
    vm.flag, vm.frozen = True, 2
    fleet.run(60.0)
    assert fleet.state().freeze.foreign
    (line,) = [text for text in fleet.log() if "foreign" in text]
    assert line.startswith("a foreign freeze was found: the guest is frozen")
    assert vm.frozen == 2, "a person decides (P4)"


def test_what_a_dead_frostwatch_has_left_is_told_once_and_asked_often(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    left = LeftBy(3, 77, "root", STARTED)
    fleet.update(lambda state: state._replace(left=left))
    vm.flag, vm.frozen = True, 2
    fleet.run(31.0)
    assert fleet.log().count(f"the guest was {left}") == 1
    assert fleet.questions() == pytest.approx(10, abs=2), "every 3 s (protocol §3.5)"
    assert fleet.recovery.answers[0][1].left_by == left


def test_the_journal_is_told_of_each_answer(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(1.0)
    ((before, after),) = fleet.recovery.answers
    assert (before.agent.state, after.agent.state) == (AgentState.OPEN, AgentState.ALIVE)
    vm.agent_leaves()
    fleet.run(30.0)
    assert len(fleet.recovery.answers) == 1, "a look is no answer"


# -- who is served besides us --------------------------------------------------------------------


def test_who_comes_is_seen_soon_where_the_kernel_tells_it(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(3.0)
    vm.kernel_tells = vm.other_client = True
    looks = fleet.looks()
    fleet.run(0.6)
    assert fleet.state().agent.state is AgentState.BUSY
    assert fleet.questions() == 1
    vm.other_client = False
    fleet.run(1.0)
    vm.other_client = True  # the same again
    fleet.run(0.6)
    assert fleet.state().agent.state is AgentState.BUSY
    assert fleet.looks() > looks


def test_our_own_question_is_not_taken_for_theirs(fleet: PolledFleet, vm: FrozenVm) -> None:
    vm.agent_hears = False
    fleet.run(0.6)
    assert vm.agent_runs
    vm.kernel_tells = vm.other_client = True  # seen while our own question waits
    fleet.run(0.5)
    assert fleet.state().agent.state is not AgentState.BUSY
    fleet.run(1.1)
    assert fleet.state().agent.state is AgentState.BUSY
    assert fleet.looks() <= 8


def test_who_comes_right_behind_another_one_and_our_own_question_is_seen_soon(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    fleet.run(3.0)
    vm.kernel_tells = vm.other_client = True
    fleet.run(3.0)
    vm.agent_hears, vm.other_client = False, False
    fleet.run(0.5)  # our own question, as soon as it has left
    vm.other_client = True
    fleet.run(1.6)
    assert fleet.state().agent.state is AgentState.BUSY


def test_a_vm_that_can_not_be_seen_is_not_looked_at_for_that(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    vm.qemu.answers["query-status"] = Raw()
    fleet.run(30.0)
    looks = fleet.looks()
    vm.kernel_tells = vm.other_client = True
    fleet.run(0.6)
    assert fleet.looks() - looks <= 1


def test_nobody_is_connected_behind_another_client(fleet: PolledFleet, vm: FrozenVm) -> None:
    vm.other_client = True
    fleet.run(60.0)
    assert fleet.questions() == 0
    state = fleet.state()
    assert (state.agent.state, state.agent.detail) == (AgentState.BUSY, "held by qm (pid 99)")
    assert state.freeze.state is None
    assert len(fleet.asked_who) == 1, "the same one holds it still"


def test_a_look_that_shows_nothing_is_no_proof_that_the_other_client_has_left(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    """A monitor that is late, on a busy host: to connect would be to wait behind that client."""
    vm.other_client = True
    fleet.run(5.0)
    seen, vm.qemu.answers["query-status"] = vm.qemu.answers["query-status"], Raw()
    fleet.run(20.0)
    assert (fleet.questions(), fleet.state().agent.state) == (0, AgentState.BUSY)
    vm.other_client, vm.qemu.answers["query-status"] = False, seen
    fleet.run(40.0)
    assert fleet.state().agent.state is AgentState.ALIVE


def test_a_monitor_that_stays_unseen_ends_what_it_has_shown(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    vm.other_client = True
    fleet.run(5.0)
    vm.other_client, vm.qemu.answers["query-status"] = False, Raw()
    fleet.run(120.0)
    assert fleet.state().agent.state is AgentState.ALIVE


def test_who_can_not_be_named_is_asked_for_no_more_often_than_all_of_proc_stands(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    fleet.who = ()
    vm.other_client = True
    fleet.run(1.0)
    assert fleet.state().agent.detail == "held, and nobody can tell by whom"


def test_when_the_other_client_leaves_the_agent_is_asked_at_once(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    """A freeze that it has left in the channel may have run (protocol §1.2)."""
    fleet.run(1.0)
    vm.other_client = True
    fleet.run(2.1)
    asked = fleet.questions()
    vm.other_client, vm.flag = False, True
    fleet.run(2.1)
    assert fleet.questions() == asked + 1
    assert fleet.state().freeze.state is FreezeState.FROZEN


def test_one_who_comes_and_goes_is_given_room(fleet: PolledFleet, vm: FrozenVm) -> None:
    """Proxmox's client connects anew for each command: we are not between each two of them."""
    fleet.poller._timetable.pace(VM.id, 0.1, 60.0)
    fleet.run(3.0)
    asked = fleet.questions()
    for _ in range(20):
        vm.other_client = True
        fleet.run(0.3)
        vm.other_client = False
        fleet.run(0.3)
    assert asked + 3 <= fleet.questions() <= asked + 12 / RELEASED_AGAIN_S + 1


def test_a_freeze_in_flight_has_its_vm_to_itself(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(1.0)
    looks, asked = fleet.looks(), fleet.questions()
    fleet.update(lambda state: state._replace(progress=BUSY))
    fleet.run(30.0)
    assert (fleet.looks(), fleet.questions()) == (looks, asked)
    fleet.update(lambda state: state._replace(progress=None))
    fleet.run(2.1)
    assert fleet.questions() == asked + 1, "what it has left is asked for at once"


def test_a_channel_that_we_talk_on_ourselves_is_left_alone(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    access = fleet.accesses.of(VM)
    with access.channel_lock:
        fleet.run(20.0)
        assert fleet.questions() == 0
        assert access.channel_lock.locked()
    fleet.run(3.0)
    assert fleet.state().agent.state is AgentState.ALIVE


def test_a_monitor_that_is_just_looked_at_is_left_alone(fleet: PolledFleet) -> None:
    monitor = fleet.accesses.of(VM).monitor
    assert monitor is not None
    exchange = monitor.begin()
    assert exchange is not None
    fleet.run(5.0)
    assert fleet.looks() == 1, "one session for each monitor, shared by whoever needs it"
    exchange.steps.close()
    monitor._lock.release()
    fleet.run(5.0)
    assert fleet.state().agent.state is AgentState.ALIVE


def test_a_locked_vm_is_looked_at_and_not_asked(fleet: PolledFleet) -> None:
    locked = VM._replace(locked_by="backup")
    fleet.update(lambda state: state._replace(vm=locked))
    fleet.run(60.0)
    assert fleet.questions() == 0
    assert fleet.looks() > 20
    assert fleet.state().agent.state is AgentState.OPEN


# -- who does not answer -------------------------------------------------------------------------


def test_a_silent_agent_is_told_and_asked_less_and_less_often(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    vm.agent_hears = False
    fleet.run(AGENT_VISIT_S + 0.1)
    assert fleet.state().agent.state is AgentState.SILENT
    assert fleet.state().agent.detail is None, "no other client is served: that would be seen"
    assert fleet.log() == ["agent silent (deadline)"]
    fleet.run(600.0)
    assert 4 <= fleet.questions() <= 8
    assert fleet.accesses.made[VM.id].plain, "perhaps it does not stand the 0xFF"
    lines = fleet.fleet.log_since(VM.id)
    assert [line.level for line in lines] == [Level.WARNING]


def test_an_agent_that_goes_on_is_asked_as_often_as_before(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    vm.agent_hears = False
    fleet.run(5.0)
    vm.agent_goes_on()
    fleet.run(31.0)
    assert fleet.state().agent.state is AgentState.ALIVE
    asked = fleet.questions()
    fleet.run(60.0)
    assert fleet.questions() - asked == pytest.approx(4, abs=1)


def test_an_agent_that_ends_when_it_is_asked_is_asked_rarely(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    def end(_: object) -> object:
        vm.agent_leaves()
        return Raw()

    vm.agent.answers[SYNC] = end
    fleet.run(5.0)
    access = fleet.accesses.made[VM.id]
    assert access.fragile
    del vm.agent.answers[SYNC]
    vm.agent_comes()
    fleet.run(10.0)
    asked = fleet.questions()
    assert fleet.state().agent.state is AgentState.ALIVE
    fleet.run(100.0)
    assert fleet.questions() == asked, "not before 120 s have passed"
    fleet.run(30.0)
    assert fleet.questions() == asked + 1


def test_an_agent_that_answers_nonsense_is_alive(fleet: PolledFleet, vm: FrozenVm) -> None:
    vm.agent.answers[STATUS] = {"\x1b": 1}
    fleet.run(1.0)
    state = fleet.state()
    assert (state.agent.state, state.freeze.state) == (AgentState.ALIVE, None)
    assert state.agent.detail is not None
    assert "\x1b" not in state.agent.detail


@pytest.mark.parametrize("gone", [None, True])
def test_a_channel_that_cannot_be_opened_is_told(
    fleet: PolledFleet, vm: FrozenVm, monkeypatch: pytest.MonkeyPatch, gone: bool | None
) -> None:
    def refuse() -> NumberedChannel:
        vm.gone = gone  # only now, since one that has ended is not asked
        raise ConnectFailed(ConnectProblem.REFUSED, "nobody listens")

    monkeypatch.setattr(vm.channel, "connect", refuse)
    fleet.run(0.5)
    state = fleet.state()
    assert state.agent.state is (AgentState.CLOSED if gone else AgentState.UNKNOWN)
    assert state.run_state is (RunState.GONE if gone else RunState.RUNNING)
    assert state.trouble == "agent's channel: nobody listens"


# -- what can't be looked at ---------------------------------------------------------------------


def test_without_a_monitor_the_agent_alone_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = VM._replace(monitor=None)
    fleet = polled(monkeypatch, [alone])
    fleet.run(60.0)
    assert fleet.state().agent.state is AgentState.ALIVE
    assert fleet.state().trouble is None, "it has none, which is no trouble"
    assert fleet.questions() == pytest.approx(4, abs=1)
    fleet.vms[VM.id].agent_hears = False
    fleet.run(20.0)
    assert "perhaps another client is served" in str(fleet.state().agent.detail)
    fleet.poller.close()


def test_a_monitor_that_was_named_and_is_not_used_is_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = polled(monkeypatch, [VM._replace(monitor=None, no_monitor="it is another VM's")])
    fleet.run(3.0)
    assert fleet.state().trouble == "it is another VM's"
    assert fleet.state().agent.state is AgentState.ALIVE
    fleet.poller.close()


def test_a_doubtful_monitor_is_not_asked(fleet: PolledFleet, vm: FrozenVm) -> None:
    access = fleet.accesses.of(VM)
    access._doubt = "whose monitor it is"
    fleet.run(3.0)
    assert fleet.looks() == 0
    assert fleet.state().trouble == "whose monitor it is"
    assert fleet.state().agent.state is AgentState.ALIVE, "its agent answers"


def test_a_monitor_that_is_away_is_looked_at_less_often_and_the_agent_is_asked_still(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    failed = ConnectFailed(ConnectProblem.REFUSED, "nobody listens on the socket")
    vm.monitor.failures = [failed] * 1000
    fleet.run(60.0)
    tried = 1000 - len(vm.monitor.failures)
    assert 3 <= tried <= 8, "each failure doubles the wait, to at most 16 times"
    assert fleet.state().trouble == "monitor: nobody listens on the socket"
    assert fleet.state().agent.state is AgentState.ALIVE
    vm.monitor.failures.clear()
    fleet.run(33.0)
    assert fleet.state().trouble is None


def test_a_monitor_that_is_late_once_changes_nothing(fleet: PolledFleet, vm: FrozenVm) -> None:
    fleet.run(5.0)
    vm.qemu.answers["query-status"] = Raw()
    seen = set()
    while not (view := fleet.state()).trouble:
        seen.add(view.run_state)
        fleet.run(0.1)
    late = fleet.looks()
    assert seen == {RunState.RUNNING}
    assert fleet.state().run_state is RunState.UNKNOWN, "it was late twice in a row"
    assert fleet.clock.now < 1000.0 + 5.0 + 3 * 2.0, "which an interval tells"
    fleet.run(10.0)
    assert fleet.looks() > late


def test_a_monitor_that_is_late_now_and_then_stays_as_it_was(
    fleet: PolledFleet, vm: FrozenVm
) -> None:
    fleet.run(5.0)
    answer = vm.qemu.answers["query-status"]
    for _ in range(5):
        vm.qemu.answers["query-status"] = Raw()
        fleet.run(2.0)
        vm.qemu.answers["query-status"] = answer
        fleet.run(2.0)
        assert (fleet.state().run_state, fleet.state().trouble) == (RunState.RUNNING, None)
    assert fleet.log() == ["agent alive (reply)"]
