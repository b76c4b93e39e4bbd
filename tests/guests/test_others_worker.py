"""A worker like Proxmox's freezes a real guest: what is told of it, of whom, since when, how soon.

The worker is no frostwatch: it connects for each command, and writes a sync and the command in one
piece, so that nothing counts its command until it is answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agentclient.fleet.watch_events import WatchEvent, WatchEventKind
from agentclient.model.json_contract import vm_object
from agentclient.model.others_freeze import Grade, OthersFreeze, others_freeze
from agentclient.model.others_step import others_action
from agentclient.model.states import Cause, FreezeState, OthersState
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until
from tests.guests.others_seen import OthersSeen
from tests.guests.worker import UPID, Worker

K = WatchEventKind
# How soon it is told, test_soak_others.py measures.
HOOK_S = 100.0


@pytest.fixture
def seen(calm: Guest) -> Iterator[OthersSeen]:
    with OthersSeen(calm) as made:
        yield made


@pytest.fixture
def worker(calm: Guest) -> Iterator[Worker]:
    with Worker(calm.agent_socket) as made:
        yield made


def is_by(event: WatchEvent, worker: Worker) -> bool:
    """Whether it is told whose it is."""
    by = event.by
    return by is not None and (by.pid, by.task, by.user) == (worker.pid, UPID, "root")


def pending(seen: OthersSeen, worker: Worker, sent: float) -> WatchEvent:
    """Wait until its freeze is told to be pending; check who, since when, and how soon."""
    at, event = seen.wait(K.OTHERS_PENDING)
    print(f"sent to pending: {at - sent:.2f} s")
    assert is_by(event, worker)
    assert (event.grade, "vzdump" in event.how) == (Grade.LIKELY, True)
    assert event.since is not None
    assert (event.at - event.since).total_seconds() > 0.9, "it counts from a second on"
    return event


def lost(seen: OthersSeen, worker: Worker, when: float, *causes: Cause) -> None:
    """Wait until its freeze is told to be lost; check who, why, and how soon."""
    at, event = seen.wait(K.OTHERS_LOST)
    print(f"to lost: {at - when:.2f} s ({event.cause})")
    assert is_by(event, worker)
    assert event.cause in causes
    assert f"pvesh delete /nodes/lab/tasks/{UPID}" in event.text


def freeze_is_answered_and_left(
    seen: OthersSeen, worker: Worker, at_least_s: float, held: Guest | None = None
) -> None:
    """See its freeze answered, the guest frozen by it, and thawed by it again.

    Args:
        seen: watches the guest.
        worker: freezes it.
        at_least_s: how long that takes.
        held: the guest, if its hook is held until the freeze is seen to be pending.
    """
    sent = worker.freeze()
    pending(seen, worker, sent)
    if held is not None:
        held.release_hook()
    answered = seen.wait(K.OTHERS_ANSWERED, at_least_s + PATIENCE_S).event
    assert worker.says() == ["answer", "2"]
    assert is_by(answered, worker)
    assert answered.since is not None
    assert (answered.at - answered.since).total_seconds() > at_least_s - 3.0
    found = seen.wait(K.OTHERS_FROZEN).event
    assert is_by(found, worker)
    assert (found.grade, found.how) == (Grade.CERTAIN, "the agent")
    assert seen.state.freeze.foreign
    assert worker.thaw() == ["answer", "2"]
    assert is_by(seen.wait(K.OTHERS_THAWED).event, worker)
    assert seen.rest == []


def test_a_workers_freeze_is_pending_and_answered(
    calm: Guest, seen: OthersSeen, worker: Worker
) -> None:
    calm.held_hook()
    freeze_is_answered_and_left(seen, worker, 1.0, held=calm)


@pytest.mark.soak
def test_a_workers_freeze_with_a_slow_hook(calm: Guest, seen: OthersSeen, worker: Worker) -> None:
    calm.slow_hook(20.0)
    freeze_is_answered_and_left(seen, worker, 20.0)


@pytest.mark.soak
def test_a_workers_freeze_that_flushes_a_slow_disk(
    calm: Guest, seen: OthersSeen, worker: Worker
) -> None:
    calm.slow_flush(12.0)
    freeze_is_answered_and_left(seen, worker, 6.0)


def test_probes_that_are_queued_behind_a_freeze_make_it_certain(
    calm: Guest, seen: OthersSeen
) -> None:
    calm.held_hook()
    with Worker(calm.agent_socket, first_s=4.0, probe_s=PATIENCE_S) as worker:
        event = pending(seen, worker, worker.freeze())
        assert "as far as can be told" in event.text
        assert worker.says() == ["probe"]
        until = time.monotonic() + PATIENCE_S
        while (others := seen.state.others) is None or not others.certain:
            assert time.monotonic() < until, others
            time.sleep(0.02)
        assert others.state is OthersState.PENDING
        assert others.since == event.since
        calm.release_hook()
        assert is_by(seen.wait(K.OTHERS_ANSWERED).event, worker)
        said = [worker.says()]
        while said[-1] == ["probe"]:
            said.append(worker.says())
        assert said[-1] == ["answer", "frozen"]
        assert is_by(seen.wait(K.OTHERS_FROZEN).event, worker)
        worker.thaw()
        seen.wait(K.OTHERS_THAWED)
    assert seen.rest == []


@pytest.mark.parametrize("respawn", [0.0, 2.0, None], ids=["at-once", "later", "never"])
def test_an_agent_that_is_killed_has_lost_a_workers_freeze(
    calm: Guest, seen: OthersSeen, worker: Worker, respawn: float | None
) -> None:
    calm.set_respawn(respawn)
    calm.slow_hook(HOOK_S)
    pending(seen, worker, worker.freeze())
    calm.kill_agent()
    lost(seen, worker, time.monotonic(), Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    if respawn is not None:
        wait_until(lambda: cause(seen) is Cause.AGENT_RESTARTED, PATIENCE_S, "the next agent")
    time.sleep(3.0)
    assert seen.state.others is not None
    assert seen.state.others.state is OthersState.LOST  # its client goes on waiting
    restarted = cause(seen) is Cause.AGENT_RESTARTED
    assert restarted is (respawn is not None)
    worker.kill()
    calm.clear_hook()
    if respawn is None:
        stays_lost(calm, seen, worker)
        calm.start_agent()
    wait_free(seen)
    assert not {*seen.rest} & {K.OTHERS_LOST, K.OTHERS_FROZEN}


def stays_lost(guest: Guest, seen: OthersSeen, worker: Worker) -> None:
    """See that it stays known when its client has left, and somebody else comes and goes."""
    wait_until(lambda: not waits(seen), PATIENCE_S, "it is seen that it has left")
    with RawClient(guest.agent_socket):
        time.sleep(3.0)
    time.sleep(3.0)
    by = vm_object(seen.state)["freeze"]["by"]
    assert (by["state"], by["pid"], by["waits"]) == ("lost", worker.pid, False)
    assert others_freeze(seen.state) is OthersFreeze.LOST
    others = seen.state.others
    assert others is not None
    action = others_action(others, seen.state.vm)
    assert action is not None
    assert action.startswith("start its agent, then")


def cause(seen: OthersSeen) -> Cause | None:
    """Return why others' freeze is lost, as far as it is known now."""
    others = seen.state.others
    return None if others is None else others.cause


def waits(seen: OthersSeen) -> bool:
    """Return whether others wait for an answer."""
    others = seen.state.others
    assert others is not None, "what they have lost is forgotten"
    return others.waits


def wait_free(seen: OthersSeen) -> None:
    """Wait until nothing is known of others, and the agent says thawed."""
    until = time.monotonic() + PATIENCE_S
    while seen.state.others is not None or seen.state.freeze.state is not FreezeState.THAWED:
        assert time.monotonic() < until, seen.state
        time.sleep(0.05)


def test_a_reset_has_lost_a_workers_freeze(calm: Guest, seen: OthersSeen, worker: Worker) -> None:
    calm.slow_hook(HOOK_S)
    pending(seen, worker, worker.freeze())
    calm.reset(wait=False)
    # That it was the whole guest, only a monitor that is ours would tell.
    lost(seen, worker, time.monotonic(), Cause.UNKNOWN, Cause.AGENT_GONE)
    calm.clear_hook()
    calm.wait_reset()


def test_a_panic_has_lost_a_workers_freeze(boot: Boot) -> None:
    guest = boot(name="tells", pvpanic=True, mounts=("a",))
    guest.slow_hook(HOOK_S)
    with OthersSeen(guest) as seen, Worker(guest.agent_socket) as worker:
        pending(seen, worker, worker.freeze())
        guest.panic()
        lost(seen, worker, time.monotonic(), Cause.GUEST_PANICKED)


def test_a_worker_that_is_killed_while_its_freeze_is_pending_leaves_the_guest_frozen(
    calm: Guest, seen: OthersSeen, worker: Worker
) -> None:
    calm.held_hook()
    pending(seen, worker, worker.freeze())
    when = worker.kill()
    at, event = seen.wait(K.OTHERS_LOST)
    print(f"killed to left: {at - when:.2f} s")
    assert is_by(event, worker)
    assert "left with a command pending" in event.text
    assert seen.others is OthersState.LEFT
    calm.release_hook()
    assert is_by(seen.wait(K.OTHERS_FROZEN).event, worker)
    assert seen.state.others is None
    with RawClient(calm.agent_socket) as client:
        client.sync()
        client.thaw()
    assert is_by(seen.wait(K.OTHERS_THAWED).event, worker)


def test_a_client_that_is_gone_while_the_guest_is_frozen_is_named(
    calm: Guest, seen: OthersSeen, worker: Worker
) -> None:
    worker.freeze()
    assert worker.says() == ["answer", "2"]
    worker.kill()
    # It came and went between two looks, perhaps: then who it was has not been seen.
    event = seen.wait(K.OTHERS_FROZEN).event
    assert event.by is None or is_by(event, worker)


def test_who_is_killed_after_the_thaw_leaves_nothing(
    calm: Guest, seen: OthersSeen, worker: Worker
) -> None:
    calm.held_hook()
    freeze_is_answered_and_left(seen, worker, 1.0, held=calm)
    worker.kill()
    time.sleep(2.5)
    wait_free(seen)
    assert seen.rest == []
