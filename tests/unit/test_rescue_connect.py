"""The rung *connect*: the agent's channel is held without a byte, then it is asked."""

from __future__ import annotations

import pytest

from agentclient.access.agent import SYNC_TIMEOUT_S
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.events import EventKind
from agentclient.model.rescue import Rung, RungResult, Step
from agentclient.model.states import AgentState, FreezeState, KnownBy, Level
from agentclient.protocol.qga_commands import SYNC
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import TIMES, FrozenVm, frozen_vm

CONNECT = Step(Rung.CONNECT)
STATUS = "guest-fsfreeze-status"
THAW_IT = "frostwatch rescue qemu:db --rung thaw"


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def test_it_holds_the_connection_without_a_byte_and_then_asks(vm: FrozenVm) -> None:
    began = vm.clock.now
    outcome = vm.rescue(CONNECT)
    (channel,) = vm.channel.channels
    assert channel.commands == [SYNC, STATUS]
    assert vm.first_byte_at == pytest.approx(began + TIMES.hold_s)
    assert (outcome.found, outcome.state) == (RungResult.ANSWERS, FreezeState.FROZEN)
    assert outcome.next == THAW_IT
    assert outcome.seconds == pytest.approx(TIMES.hold_s)
    assert vm.frozen == 2, "it thaws nothing"
    assert vm.reporter.waits[0].ends_at == pytest.approx(began + TIMES.hold_s)


def test_a_guest_that_is_not_frozen_needs_no_other_rung(vm: FrozenVm) -> None:
    vm.flag, vm.frozen = False, 0
    outcome = vm.rescue(CONNECT)
    assert (outcome.found, outcome.state, outcome.ok) == (
        RungResult.THAWED,
        FreezeState.THAWED,
        True,
    )
    assert outcome.next is None
    assert vm.reporter.states == [(FreezeState.THAWED, False)]
    assert vm.reporter.end.level is Level.GOOD


@pytest.mark.parametrize("ours", [True, False])
def test_a_freeze_that_is_not_provably_ours_is_shown_as_foreign(vm: FrozenVm, ours: bool) -> None:
    vm.rescue(CONNECT, ours=ours)
    assert vm.reporter.states == [(FreezeState.FROZEN, not ours)]
    (health,) = vm.reporter.health
    assert (health.state, health.how, health.rtt_s) == (AgentState.ALIVE, KnownBy.REPLY, 0.0)
    assert vm.reporter.end.level is Level.WARNING


# -- what somebody has left -----------------------------------------------------------------------


def test_an_answer_that_nobody_took_is_told_and_cannot_repaint_the_screen(vm: FrozenVm) -> None:
    vm.channel.greeting = ((0.3, b'{"return": 2}\x1b[2J\r\n'),)
    vm.rescue(CONNECT)
    (note,) = vm.reporter.texts(EventKind.NOTE)
    assert "an answer was waiting for somebody to take it" in note
    assert '{"return": 2}' in note
    assert "\x1b" not in note


def test_an_answer_without_an_end_is_told_in_part(vm: FrozenVm) -> None:
    vm.channel.greeting = ((0.3, b"x" * 60_000),)
    vm.rescue(CONNECT)
    (note,) = vm.reporter.texts(EventKind.NOTE)
    assert len(note) < 300


def test_an_agent_that_reads_what_was_left_is_told(vm: FrozenVm) -> None:
    vm.clock.at(0.4, lambda: setattr(vm, "reads", vm.reads + 1))
    vm.rescue(CONNECT)
    assert vm.reporter.texts(EventKind.NOTE) == ["the agent has read what somebody had left for it"]


@pytest.mark.parametrize("element", [Error("no such command", "CommandNotFound"), {}])
def test_nothing_is_told_where_nothing_was_left_or_seen(vm: FrozenVm, element: object) -> None:
    vm.rescue(CONNECT)
    vm.qemu.answers["x-query-virtio-queue-element"] = element
    vm.clock.at(0.4, lambda: setattr(vm, "reads", vm.reads + 1))
    vm.reporter.told.clear()
    vm.rescue(CONNECT)
    assert vm.reporter.texts(EventKind.NOTE) == []


# -- who does not answer --------------------------------------------------------------------------


def test_an_agent_that_does_not_answer_is_silent_within_its_bound(vm: FrozenVm) -> None:
    vm.agent_hears = False
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.SILENT
    assert outcome.seconds == pytest.approx(TIMES.hold_s + SYNC_TIMEOUT_S)
    assert f"did not answer {SYNC} within 3.0 s" in outcome.reason
    assert outcome.next == THAW_IT
    (health,) = vm.reporter.health
    assert (health.state, health.how) == (AgentState.SILENT, KnownBy.DEADLINE)
    assert vm.said == [SYNC, "guest-sync"], "no more is written to a channel that is not ours"


def test_an_agent_that_goes_on_meanwhile_is_heard(vm: FrozenVm) -> None:
    vm.agent_hears = False
    vm.clock.at(TIMES.hold_s + 1.0, vm.agent_goes_on)
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.ANSWERS
    (health,) = vm.reporter.health
    assert health.rtt_s == pytest.approx(1.0)


def test_an_agent_that_answers_with_an_error_is_heard_and_thawed_next(vm: FrozenVm) -> None:
    vm.agent.answers[STATUS] = Error("b\x1bad")
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.FAILED
    assert "b\\x1bad" in outcome.reason
    assert outcome.next == THAW_IT
    assert vm.reporter.states == [], "nothing is known of the guest"


@pytest.mark.parametrize("answer", [Raw(b"{broken\n"), 5, "melting"])
def test_nonsense_is_no_state(vm: FrozenVm, answer: object) -> None:
    vm.agent.answers[STATUS] = answer
    outcome = vm.rescue(CONNECT)
    assert (outcome.found, outcome.state) == (RungResult.FAILED, None)
    assert vm.reporter.states == []


@pytest.mark.parametrize(
    ("after_s", "word"), [(0.5, "the channel broke"), (TIMES.hold_s + 0.5, "closed the connection")]
)
def test_a_channel_that_breaks_is_told(vm: FrozenVm, after_s: float, word: str) -> None:
    vm.agent_hears = False
    vm.clock.at(after_s, vm.breaks)
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.FAILED
    assert word in outcome.reason


# -- who can't be reached -------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ConnectProblem)
def test_a_channel_that_cannot_be_opened_is_not_asked(
    vm: FrozenVm, problem: ConnectProblem
) -> None:
    vm.channel.failures = [ConnectFailed(problem, "why it is so")]
    outcome = vm.rescue(CONNECT)
    assert (outcome.found, outcome.refused) == (RungResult.REFUSED, True)
    assert outcome.reason == "not taken: the agent's channel can't be opened: why it is so"


def test_a_bug_in_connecting_leaves_the_channel_to_a_thaw(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug() -> None:
        raise ZeroDivisionError("a bug")

    operation = vm.operation(CONNECT)
    monkeypatch.setattr(operation.context.access, "open_agent", bug)
    with pytest.raises(ZeroDivisionError):
        operation.run()
    assert not operation.context.access.channel_lock.locked()


def test_one_command_in_flight_for_each_channel(vm: FrozenVm) -> None:
    operation = vm.operation(CONNECT)
    with operation.context.access.channel_lock:
        outcome = operation.run()
    assert outcome.found is RungResult.REFUSED
    assert outcome.reason == "not taken: frostwatch itself is talking to this agent"
    assert outcome.next == "try again"
    assert vm.channel.channels == []


def test_nobody_is_connected_behind_another_client(vm: FrozenVm) -> None:
    vm.other_client = True
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.REFUSED
    assert "somebody else holds the agent's channel" in outcome.reason
    assert vm.channel.channels == []


def test_an_agent_that_ended_at_a_sentinel_is_sent_none(vm: FrozenVm) -> None:
    operation = vm.operation(CONNECT)
    operation.context.access.plain = True
    operation.run()
    (channel,) = vm.channel.channels
    assert b"\xff" not in channel.written


# -- who stops it, and when -----------------------------------------------------------------------


def test_stopped_before_anything_was_sent(vm: FrozenVm) -> None:
    vm.clock.at(0.45, vm.stop)
    outcome = vm.rescue(CONNECT)
    assert (outcome.found, outcome.reason) == (RungResult.CANCELLED, "stopped: nothing was sent")
    assert outcome.seconds == pytest.approx(0.45), "at once, not at the next step (P1)"
    assert outcome.next == "frostwatch rescue qemu:db --rung connect"
    assert vm.said == []


def test_stopped_while_the_agent_is_asked(vm: FrozenVm) -> None:
    vm.agent_hears = False
    vm.clock.at(TIMES.hold_s + 0.7, vm.stop)
    outcome = vm.rescue(CONNECT)
    assert outcome.found is RungResult.CANCELLED
    assert outcome.reason == "stopped: the agent had not answered"
    assert outcome.seconds == pytest.approx(TIMES.hold_s + 0.7)
    assert vm.reporter.health == [], "an agent that was not waited for is not silent"


def test_a_process_that_was_stopped_for_an_hour_asks_all_the_same(vm: FrozenVm) -> None:
    vm.clock.at(0.25, lambda: vm.clock.jump(3600.0))
    assert vm.rescue(CONNECT).found is RungResult.ANSWERS


def test_taking_it_twice_finds_the_same(vm: FrozenVm) -> None:
    first = vm.rescue(CONNECT)
    vm.reporter.told.clear()
    second = vm.rescue(CONNECT)
    assert (first.found, second.found) == (RungResult.ANSWERS, RungResult.ANSWERS)
    assert len(vm.channel.channels) == 2
