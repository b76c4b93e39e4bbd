"""Ways out of a freeze that need no real guest: each ends with somebody who thaws, or a word."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.access.agent_probe import probe_exchange
from agentclient.access.exchange import run as take_steps
from agentclient.access.stream import UnixEndpoint
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.holder.client import HolderClient
from agentclient.holder.main import Holder
from agentclient.holder.messages import ConsoleMessage, HolderMessage, receive, send
from agentclient.holder.process import HolderProcess, NoHolder
from agentclient.model.outcome import Outcome
from agentclient.model.states import FreezeState, OutcomeKind, Refusal
from tests.faults.patience import wait_for_holders
from tests.faults.simulated import Simulated
from tests.faults.test_holder_faults import Run

pytestmark = pytest.mark.usefixtures("patient")

PATIENCE_S = 60.0
HOOK_S = 2.5


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Simulated]:
    with Simulated(tmp_path) as guest:
        yield guest


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Simulated]:
    with Simulated(tmp_path, HOOK_S) as guest:
        yield guest


def freeze(guest: Simulated, holder: HolderClient, hold_s: float = 0.1) -> Outcome:
    run = Run(guest, holder=holder)
    run.begin(hold_s)
    return run.outcome()


def is_free(guest: Simulated) -> bool:
    """Whether the guest's channel serves whoever comes now."""
    assert guest.vm.agent is not None
    exchange = probe_exchange(
        UnixEndpoint(guest.vm.agent.path).connect(), first=False, timeout_s=2.0
    )
    return (
        take_steps(exchange.steps, exchange.channel, exchange.deadline).frozen is FreezeState.THAWED
    )


def await_freeze(run: Run) -> None:
    """Wait until the agent runs the freeze: what a holder has not passed on dies with it."""
    run.sent.wait(PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while not run.guest.works:
        assert time.monotonic() < until, "no freeze has come"
        time.sleep(0.01)


def await_thaw(guest: Simulated) -> None:
    until = time.monotonic() + PATIENCE_S
    while guest.frozen:
        assert time.monotonic() < until, "left frozen"
        time.sleep(0.01)


def test_a_holder_that_is_slow_when_it_is_armed_is_replaced(
    guest: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = HolderClient()
    assert freeze(guest, holder).certified
    first = holder.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    start = HolderClient._started

    def started(client: HolderClient) -> HolderProcess:
        # The one that is stopped is not waited for any longer, and the next one is.
        wait_for_holders(monkeypatch, 2.0 if client.pid == first else 60.0)
        return start(client)

    monkeypatch.setattr(HolderClient, "_started", started)
    wait_for_holders(monkeypatch, 2.0)
    outcome = freeze(guest, holder)
    assert outcome.certified
    assert holder.pid != first
    holder.close()
    assert is_free(guest), "no holder has parked on it"


def test_one_thread_that_does_not_start_costs_one_freeze(
    guest: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = HolderClient()

    def no_thread(_: HolderProcess) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(HolderProcess, "start_listening", no_thread)
        outcome = freeze(guest, holder)
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.HOLDER)
    assert "thread" in outcome.reason
    assert is_free(guest)
    assert freeze(guest, holder).certified


def test_a_new_channel_is_armed_again_before_its_thaw_is_answered(
    guest: Simulated,
) -> None:
    """The console goes on with another connection; killed then, it leaves the guest to a holder."""
    holder = HolderClient()
    run = Run(guest, holder=holder)
    run.begin(30.0)
    run.held.wait(PATIENCE_S)
    guest.stop()
    guest.drop_client()
    time.sleep(1.5)
    assert guest.frozen
    holder.close()  # as its death would
    guest.go_on()
    await_thaw(guest)


def test_a_freeze_that_was_left_to_its_holder_is_thawed_and_told(slow: Simulated) -> None:
    run = Run(slow)
    run.begin(0.1)
    run.sent.wait(PATIENCE_S)
    run.operation.give_up()
    outcome = run.outcome()
    assert not outcome.settled
    assert outcome.holder == run.holder.pid
    assert outcome.meaning is not None
    assert str(run.holder.pid) in outcome.meaning.guest
    run.await_text("after we had left")
    await_thaw(slow)


def test_nobody_stands_by_is_said_loudly(slow: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(slow)
    run.begin(0.1)
    await_freeze(run)

    def none(*_: object) -> HolderProcess:
        raise NoHolder("none can be had")

    monkeypatch.setattr("agentclient.holder.client.started", none)
    assert run.holder.pid is not None
    os.kill(run.holder.pid, signal.SIGKILL)
    run.await_text("nobody would thaw")
    run.operation.give_up()
    outcome = run.outcome()
    assert (outcome.settled, outcome.holder) == (False, None), run.texts
    assert any("NOBODY STANDS BY" in text and "frostwatch thaw" in text for text in run.texts)
    await_thaw_by_hand(slow)


def await_thaw_by_hand(guest: Simulated) -> None:
    """Do what was said: thaw it from another console."""
    run = Run(guest)
    run.begin(0.1)
    run.outcome()
    time.sleep(HOOK_S)


def test_what_is_not_acknowledged_ends_the_holder(
    guest: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = HolderClient()
    assert freeze(guest, holder).certified
    process = holder._holder
    assert process is not None
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    wait_for_holders(monkeypatch, 2.0)
    asked = time.monotonic()
    with pytest.raises(NoHolder, match="was ended"):
        process.ask({"do": ConsoleMessage.HELLO})
    assert time.monotonic() - asked < PATIENCE_S
    assert process.pid is None


def test_what_a_holder_does_not_know_it_does_not_acknowledge() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        holder = Holder(theirs, os.getpid())
        for number, body in enumerate(
            [
                {"do": ConsoleMessage.INTENT, "key": "x"},
                {"do": "dance"},
                {"do": ConsoleMessage.ARM, "key": "y"},
                {},
            ]
        ):
            send(ours, {**body, "number": number})
            holder._turn()
            message = receive(ours)
            assert message is not None
            assert message[0]["say"] == HolderMessage.ACK
            assert message[0]["done"] is False
            assert message[0]["why"]


def test_a_bug_in_the_middle_is_followed_by_a_thaw(
    guest: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(FreezeProcedure, "on_tick", bug)
    outcome = freeze(guest, HolderClient(), hold_s=5.0)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, True)
    assert "a bug of ours" in outcome.reason
    assert not guest.frozen


def test_a_bug_in_that_thaw_leaves_it_to_the_holder(
    guest: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(FreezeProcedure, "on_tick", bug)
    monkeypatch.setattr("agentclient.operations.driver.Driver.thaw", bug)
    holder = HolderClient()
    outcome = freeze(guest, holder, hold_s=5.0)
    assert (outcome.kind, outcome.settled, outcome.holder) == (
        OutcomeKind.FAILED,
        False,
        holder.pid,
    )
    await_thaw(guest)


def test_where_no_holder_can_be_had_it_is_tried_again(
    slow: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclient.holder.standby.AGAIN_S", 0.2)
    run = Run(slow)
    run.begin(0.1)
    await_freeze(run)
    assert run.holder.pid is not None

    def none(*_: object) -> HolderProcess:
        raise NoHolder("none can be had")

    with monkeypatch.context() as patch:
        patch.setattr("agentclient.holder.client.started", none)
        os.kill(run.holder.pid, signal.SIGKILL)
        run.await_text("nobody would thaw")
    run.await_text("stands by again")
    run.holder.close()
    run.outcome()
    await_thaw(slow)


def test_a_holder_that_dies_in_its_own_thaw_leaves_it_to_the_console(slow: Simulated) -> None:
    run = Run(slow)
    run.begin(0.1)
    await_freeze(run)
    holder = run.holder.pid
    assert holder is not None
    os.kill(holder, signal.SIGTERM)  # it takes over, and waits for the freeze
    time.sleep(0.7)
    os.kill(holder, signal.SIGKILL)
    outcome = run.outcome()
    assert outcome.settled, run.texts
    assert not slow.frozen


def test_a_holder_that_dies_with_what_was_left_to_it_is_replaced(slow: Simulated) -> None:
    run = Run(slow)
    run.begin(0.1)
    await_freeze(run)
    run.operation.give_up()
    outcome = run.outcome()
    assert outcome.holder is not None
    os.kill(outcome.holder, signal.SIGKILL)
    run.await_text("another one")
    run.await_text("after we had left")
    await_thaw(slow)
