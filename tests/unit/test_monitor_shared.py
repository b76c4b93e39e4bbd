"""One monitor for all who need it: who waits, who goes away, and whose process it is (P5, P9)."""

from __future__ import annotations

import threading

import pytest

from agentclient.access import monitor as monitor_module
from agentclient.access.exchange import run
from agentclient.access.monitor import DEFAULT_VISIT_S, LATE_S, Monitor
from agentclient.access.presence import Server
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.access.stream import Channel, ConnectFailed, ConnectProblem
from agentclient.model.states import RunState
from agentclient.model.vm import Process
from tests.unit.fakes import ENDED, Raw
from tests.unit.frozen_vm import VM, FrozenVm, frozen_vm

NO_DESCRIPTOR = ConnectFailed(ConnectProblem.NO_DESCRIPTOR, "no descriptor is left for it")


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def monitor_of(vm: FrozenVm, *, ours: bool = False, process: Process | None = None) -> Monitor:
    return Monitor(vm.monitor, VM.agent, ours=ours, process=process)


# -- one look at a time --------------------------------------------------------------------------


def test_a_look_that_is_begun_is_taken_by_somebody_else(vm: FrozenVm) -> None:
    monitor = monitor_of(vm)
    exchange = monitor.begin(0.3)
    assert exchange is not None
    assert exchange.deadline == pytest.approx(vm.clock.now + 0.3)
    assert monitor.begin() is None, "somebody is looking just now"
    view = run(exchange.steps, exchange.channel, exchange.deadline)
    assert (view.run_state, view.port_open, view.client) == (RunState.RUNNING, True, False)
    assert view.written_bytes is None, "only what a visit needs"
    assert monitor.begin() is not None


def test_a_full_look_shows_what_a_freeze_needs(vm: FrozenVm) -> None:
    exchange = monitor_of(vm).begin(full=True)
    assert exchange is not None
    view = run(exchange.steps, exchange.channel, exchange.deadline)
    assert (view.openings, view.reads, view.written_bytes) == (3, 7, 1000)


def test_a_look_that_could_not_begin_keeps_nobody_out(vm: FrozenVm) -> None:
    monitor = monitor_of(vm)
    vm.monitor.failures = [NO_DESCRIPTOR, NO_DESCRIPTOR]
    with pytest.raises(ConnectFailed):
        monitor.begin()
    assert monitor.look().problem == "monitor: no descriptor is left for it"
    assert monitor.look().run_state is RunState.RUNNING


def test_a_look_that_is_dropped_leaves_no_socket_open(vm: FrozenVm) -> None:
    monitor = monitor_of(vm)
    exchange = monitor.begin()
    assert exchange is not None
    next(exchange.steps)
    exchange.steps.close()
    assert [one.closed for one in vm.monitor.channels] == [1]
    assert monitor.look().run_state is RunState.RUNNING


@pytest.mark.parametrize("traffic", [False, True])
def test_who_closes_a_monitor_waits_for_no_look(vm: FrozenVm, traffic: bool) -> None:
    """The watcher's thread closes a VM's monitor, and takes the steps of the looks as well."""
    monitor = monitor_of(vm, ours=True)
    exchange = monitor.begin(traffic=traffic)
    assert exchange is not None
    closing = threading.Thread(target=monitor.close, daemon=True)
    closing.start()
    closing.join(60.0)
    assert not closing.is_alive()
    view = run(exchange.steps, exchange.channel, exchange.deadline)
    assert view.run_state is RunState.RUNNING
    assert [one.closed for one in vm.monitor.channels] == [1]
    monitor.look()
    assert monitor.event_fd() is not None, "the next session is held again"


# -- what is asked by name -----------------------------------------------------------------------


def test_who_asks_is_told_what_went_wrong(vm: FrozenVm) -> None:
    monitor = monitor_of(vm)
    vm.monitor.failures = [NO_DESCRIPTOR]
    with pytest.raises(MonitorError, match="no descriptor is left for it"):
        monitor.ask([Ask("system_reset")])
    assert vm.resets == 0


@pytest.mark.parametrize("answer", [Raw(), ENDED])
@pytest.mark.parametrize("ours", [True, False])
def test_a_session_that_did_not_answer_is_not_used_again(
    vm: FrozenVm, answer: object, ours: bool
) -> None:
    """A late answer would be taken for the next one's."""
    monitor = monitor_of(vm, ours=ours)
    vm.qemu.answers["query-uuid"] = answer
    with pytest.raises(MonitorError):
        monitor.ask([Ask("query-uuid")], 0.5)
    assert [one.closed for one in vm.monitor.channels] == [1]
    assert monitor.look().run_state is RunState.RUNNING
    assert len(vm.monitor.channels) == 2


def test_no_one_waits_longer_than_is_said(vm: FrozenVm) -> None:
    vm.qemu.answers["query-uuid"] = Raw()
    began = vm.clock.now
    with pytest.raises(MonitorError):
        monitor_of(vm).ask([Ask("query-uuid")])
    assert vm.clock.now - began == pytest.approx(DEFAULT_VISIT_S)


# -- a session of our own that is late -----------------------------------------------------------


def test_a_late_session_is_kept_until_it_has_been_late_for_long(vm: FrozenVm) -> None:
    monitor = monitor_of(vm, ours=True)
    monitor.look()
    vm.qemu.answers["query-status"] = Raw()
    began = vm.clock.now
    while monitor.event_fd() is not None:
        assert monitor.look().problem is not None
    assert LATE_S <= vm.clock.now - began <= LATE_S + 1.0
    assert [one.closed for one in vm.monitor.channels] == [1]


def test_a_session_that_answers_again_is_late_no_more(vm: FrozenVm) -> None:
    monitor = monitor_of(vm, ours=True)
    monitor.look()
    good, silent = vm.qemu.answers["query-status"], Raw()
    for _ in range(3):
        vm.qemu.answers["query-status"] = silent
        vm.clock.sleep(LATE_S - 1.0)
        monitor.look()
        vm.qemu.answers["query-status"] = good
        assert monitor.look().run_state is RunState.RUNNING
    assert len(vm.monitor.channels) == 1


def test_a_monitor_that_is_not_ours_is_never_kept(vm: FrozenVm) -> None:
    monitor = monitor_of(vm)
    vm.qemu.answers["query-status"] = Raw()
    monitor.look()
    assert monitor.event_fd() is None
    assert [one.closed for one in vm.monitor.channels] == [1]
    monitor.close()


# -- whose process it is -------------------------------------------------------------------------


def test_a_known_process_is_not_asked_for(vm: FrozenVm, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(_: Channel) -> Server:
        raise AssertionError("its source knows it")

    monkeypatch.setattr(monitor_module, "server_of", asked)
    monitor = monitor_of(vm, process=Process(70, 1))
    monitor.look()
    assert monitor.process == Process(70, 1)


@pytest.mark.parametrize(("gone", "now"), [(None, 70), (False, 70), (True, 71)])
def test_who_answered_first_is_meant_until_it_has_ended(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch, gone: bool | None, now: int
) -> None:
    servers = iter((Process(70, 1), Process(71, 1)))
    monkeypatch.setattr(monitor_module, "server_of", lambda _: Server(next(servers)))
    monitor = monitor_of(vm)
    assert monitor.process is None
    monitor.look()
    vm.gone = gone
    monitor.look()
    assert monitor.process == Process(now, 1)


@pytest.mark.parametrize("gone", [None, False, True])
def test_a_broken_look_says_of_the_vm_only_what_its_process_does(
    vm: FrozenVm, gone: bool | None
) -> None:
    monitor = monitor_of(vm)
    vm.gone = gone
    vm.qemu.answers["query-status"] = ENDED
    view = monitor.look()
    assert view.gone is gone
    assert view.run_state is (RunState.GONE if gone else RunState.UNKNOWN)
    assert view.resets is None
