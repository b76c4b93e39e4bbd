"""A watcher over a real guest: what it finds, and how little the guest notices of it (P5)."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator

import pytest

from agentclient.backends.explicit import ExplicitBackend
from agentclient.fleet.watcher import Watcher
from agentclient.model.events import EventKind
from agentclient.model.explanation.by_hand import by_hand
from agentclient.model.explanation.entry import Hand
from agentclient.model.explanation.present import present
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, RunState
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, all_read, assert_certified, bytes_read
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until


@pytest.fixture
def watcher(operator: Operator) -> Iterator[Watcher]:
    """A watcher over the shared guest that has not started."""
    it = watcher_of(operator)
    yield it
    it.stop()


def watcher_of(operator: Operator, agent_interval_s: float = 15.0) -> Watcher:
    """A watcher over an operator's guest that looks at its port five times a second."""
    return Watcher(
        operator.fleet,
        operator.accesses,
        [ExplicitBackend([operator.vm])],
        port_interval_s=0.2,
        agent_interval_s=agent_interval_s,
    )


def state(operator: Operator) -> VmState:
    """What is known now."""
    return operator.fleet.get(operator.vm.id)


def wait_agent(operator: Operator, wanted: AgentState, timeout: float = PATIENCE_S) -> VmState:
    """Wait until the fleet shows an agent's state; seconds."""
    wait_until(lambda: state(operator).agent.state is wanted, timeout, f"the agent to be {wanted}")
    return state(operator)


def host_ends(guest: Guest) -> list[str]:
    """What the lab's monitor shows of the host's ends of the agent's channel and the monitor."""
    wanted = (str(guest.agent_socket), str(guest.monitor_socket))
    names = [str(device["filename"]) for device in guest.qmp("query-chardev")]
    return [name for name in names if any(path in name for path in wanted)]


def assert_nothing_open(guest: Guest) -> None:
    """Assert that nobody is connected to the agent's channel or the product's monitor."""
    wait_until(
        lambda: all(end.startswith("disconnected:") for end in host_ends(guest)),
        PATIENCE_S,
        "the sockets to be free",
    )
    assert len(host_ends(guest)) == 2


def test_a_visit_finds_everything(calm: Guest, operator: Operator, watcher: Watcher) -> None:
    watcher.visit_all(PATIENCE_S)
    now = state(operator)
    assert (now.agent.state, now.agent.how) == (AgentState.ALIVE, KnownBy.REPLY)
    assert now.run_state is RunState.RUNNING
    assert now.agent.version is not None
    assert now.agent.rtt_s is not None
    assert now.freeze.state is FreezeState.THAWED
    assert {(one.mountpoint, one.kind) for one in now.file_systems} >= {
        ("/mnt/a", "ext4"),
        ("/mnt/b", "ext4"),
        ("/mnt/efi", "vfat"),
    }
    assert now.trouble is None
    assert_nothing_open(calm)


def test_visits_leave_nothing_in_the_guest(
    calm: Guest, operator: Operator, watcher: Watcher
) -> None:
    watcher.visit_all(PATIENCE_S)  # the first one to an agent asks a little more
    log, hooks, pid = calm.agent_log(), calm.hook_log(), calm.agent_pid()
    for _ in range(5):
        before = all_read(calm)
        watcher.visit_all(PATIENCE_S)
        assert bytes_read(calm) != before, "the agent was asked"
        assert_nothing_open(calm)
    assert calm.agent_log() == log
    assert (calm.hook_log(), calm.agent_pid()) == (hooks, pid)


def test_between_its_turns_the_agent_is_left_alone(calm: Guest, operator: Operator) -> None:
    watcher = watcher_of(operator, agent_interval_s=60.0)
    watcher.start()
    wait_agent(operator, AgentState.ALIVE)
    assert_nothing_open(calm)
    before = all_read(calm)
    time.sleep(1.5)  # some seven looks at its port
    assert bytes_read(calm) == before
    watcher.stop()
    assert_nothing_open(calm)


def test_an_agent_that_dies_and_comes_back(calm: Guest, operator: Operator) -> None:
    watcher = watcher_of(operator, agent_interval_s=600.0)
    watcher.start()
    wait_agent(operator, AgentState.ALIVE)
    calm.kill_agent()
    closed = wait_agent(operator, AgentState.CLOSED)
    assert closed.agent.how is KnownBy.PORT
    assert closed.run_state is RunState.RUNNING
    calm.start_agent()
    # It is asked as soon as its port has opened, long before its turn.
    back = wait_agent(operator, AgentState.ALIVE)
    assert back.agent.how is KnownBy.REPLY
    watcher.stop()


def test_an_agent_that_hangs(calm: Guest, operator: Operator, watcher: Watcher) -> None:
    calm.stop_agent()
    watcher.visit_all(PATIENCE_S)
    assert (state(operator).agent.state, state(operator).agent.how) == (
        AgentState.SILENT,
        KnownBy.DEADLINE,
    )
    assert_nothing_open(calm)
    calm.continue_agent()
    watcher.visit_all(PATIENCE_S)
    assert state(operator).agent.state is AgentState.ALIVE


def test_an_agent_that_talks_to_somebody_else(
    calm: Guest, operator: Operator, watcher: Watcher
) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        watcher.visit_all(PATIENCE_S)
        assert (state(operator).agent.state, state(operator).agent.how) == (
            AgentState.BUSY,
            KnownBy.CLIENT,
        )
        assert f"(pid {os.getpid()})" in str(state(operator).agent.detail)
        before = all_read(calm)
        assert somebody.buffer == b""
    time.sleep(0.4)
    assert bytes_read(calm) == before, "nothing waited behind the other client"
    watcher.visit_all(PATIENCE_S)
    assert state(operator).agent.state is AgentState.ALIVE


def test_a_port_that_is_open_and_not_asked_yet(boot: Boot) -> None:
    guest = boot(name="locked", mounts=("a",))
    with Operator(guest, locked_by="backup") as operator:
        watcher = watcher_of(operator)
        before = all_read(guest)
        watcher.visit_all(PATIENCE_S)
        # A locked VM is its manager's: its agent is not asked.
        assert (state(operator).agent.state, state(operator).agent.how) == (
            AgentState.OPEN,
            KnownBy.PORT,
        )
        assert bytes_read(guest) == before
        guest.kill_qemu()
        watcher.visit_all(PATIENCE_S)
        watcher.stop()
        assert state(operator).run_state is RunState.GONE
        assert state(operator).agent.state is AgentState.CLOSED


def test_a_vm_with_a_freeze_is_not_visited_through_its_agent(
    calm: Guest, operator: Operator
) -> None:
    watcher = watcher_of(operator, agent_interval_s=0.3)
    watcher.start()
    wait_agent(operator, AgentState.ALIVE)
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    before = all_read(calm)
    time.sleep(0.8)
    assert bytes_read(calm) == before
    held = state(operator)
    assert (held.freeze.state, held.freeze.foreign) == (FreezeState.FROZEN, False)
    running.operation.end_hold()
    assert_certified(running.outcome())
    wait_until(lambda: bytes_read(calm) > before, PATIENCE_S, "the visits to go on")
    watcher.stop()
    assert state(operator).freeze.state is FreezeState.THAWED
    assert_nothing_open(calm)
    calm.assert_thawed()


def test_a_paused_vm_is_not_asked(calm: Guest, operator: Operator, watcher: Watcher) -> None:
    watcher.visit_all(PATIENCE_S)
    calm.pause()
    watcher.visit_all(PATIENCE_S)
    paused = state(operator)
    assert paused.run_state is RunState.PAUSED
    assert paused.agent.state is AgentState.ALIVE, "the last known: it was not asked"
    calm.resume()


def test_without_a_monitor_the_agent_alone_is_asked(calm: Guest) -> None:
    with Operator(calm, monitor=False) as operator:
        watcher = watcher_of(operator)
        watcher.visit_all(PATIENCE_S)
        watcher.stop()
        now = state(operator)
    assert (now.agent.state, now.agent.how) == (AgentState.ALIVE, KnownBy.REPLY)
    assert now.run_state is RunState.UNKNOWN
    assert now.trouble is None
    assert_nothing_open(calm)


def test_a_person_who_looks_is_told_all_and_disturbs_nothing(
    calm: Guest, operator: Operator, watcher: Watcher
) -> None:
    watcher.visit_all(PATIENCE_S)
    log, hooks = calm.agent_log(), calm.hook_log()
    report = operator.operations.inspect(operator.vm).result(PATIENCE_S)
    assert report.problem is None
    assert report.version == state(operator).agent.version
    assert {"guest-fsfreeze-freeze", "guest-fsfreeze-thaw"} <= report.enabled <= report.known
    mounted = {one.mountpoint: one for one in report.file_systems}
    full = mounted["/mnt/a"]
    assert full.total is not None
    assert full.used is not None
    assert 0 < full.used <= full.total
    assert any(disk.bus == "virtio" for disk in full.disks)
    assert report.system or report.not_told
    assert (calm.agent_log(), calm.hook_log()) == (log, hooks)
    assert_nothing_open(calm)


def test_by_hand_it_is_as_the_explanation_says(
    calm: Guest, operator: Operator, watcher: Watcher
) -> None:
    def asked(hand: Hand) -> object:
        """What is answered last if the lines of a command are sent where it sends them."""
        (one,) = by_hand([hand], operator.vm)
        words = shlex.split(one.command)
        lines, path = words[2 : words.index("|")], words[-1].removeprefix("UNIX-CONNECT:")
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE_S)
            channel.connect(re.sub(r"\\(.)", r"\1", path))
            channel.sendall("".join(f"{line}\n" for line in lines).encode())
            with channel.makefile() as answers:
                returned = (told for told in map(json.loads, answers) if "return" in told)
                return [told["return"] for told in itertools.islice(returned, len(lines))][-1]

    assert asked(Hand.STATUS) == "thawed"
    assert asked(Hand.FREEZE) == 2
    watcher.visit_all(PATIENCE_S)
    found = present(state(operator))
    assert found[0].explanation.word == "foreign"
    assert Hand.THAW in found[0].explanation.by_hand
    assert asked(Hand.THAW) == 2
    running = asked(Hand.RUN_STATE)
    assert isinstance(running, dict)
    assert running["status"] == "running"
