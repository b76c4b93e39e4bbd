"""What runs under libvirt's daemons, and daemons that hang, die, and come back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.engine import Engine
from agentclient.model.errors import BadInput
from agentclient.model.events import EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    OutcomeKind,
    Refusal,
    RunState,
)
from tests.guests.command import ROOT, ended, holders_of
from tests.guests.freezing import in_the_hook
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd, start_bare
from tests.guests.lab.shell import wait_until
from tests.guests.lab.sshd import HOST, Sshd
from tests.guests.libvirt_copying import domains_alone
from tests.guests.libvirt_operator import DomainOperator

# What an operator may notice at all, and a loaded machine still keeps.


@pytest.fixture
def engine(libvirtd: Libvirtd, tmp_path: Path) -> Iterator[Engine]:
    """Frostwatch, which watches one daemon's domains."""
    with domains_alone(libvirtd.uri, tmp_path) as engine:
        yield engine


@pytest.fixture
def operator(calm_domain: DomainGuest) -> Iterator[DomainOperator]:
    """Somebody with frostwatch and the module's guest."""
    with DomainOperator(calm_domain) as somebody:
        yield somebody


def state_of(engine: Engine, name: str) -> VmState | None:
    """What is known of a domain that runs; None if it is not there."""
    found = [one for one in engine.states() if one.vm.title == name and one.vm.source == "libvirt"]
    return found[0] if found and found[0].present else None


def until(engine: Engine, name: str, holds: Callable[[VmState | None], bool], what: str) -> None:
    wait_until(lambda: holds(state_of(engine, name)), PATIENCE_S, what)


def test_domains_come_and_go_while_they_are_watched(engine: Engine, libvirtd: Libvirtd) -> None:
    engine.watch()
    start_bare(libvirtd, "web1", define=True)
    until(engine, "web1", lambda one: one is not None, "the new domain")
    until(engine, "web1", lambda one: one is not None and one.run_state is RunState.PAUSED, "pause")
    state = state_of(engine, "web1")
    assert state is not None
    assert (str(state.id), state.agent.state) == ("libvirt:web1", AgentState.NONE)
    first = state.vm.generation
    assert engine.fleet.find(state.vm.uuid or "").id == state.id
    rows = [one for one in engine.states() if one.vm.name.startswith("web1")]
    assert len(rows) == 1, "its process is the same row"
    libvirtd.virsh("destroy", "web1")
    until(engine, "web1", lambda one: one is None, "it to be gone")
    libvirtd.virsh("start", "web1", "--paused")
    until(engine, "web1", lambda one: one is not None, "it to be back")
    again = state_of(engine, "web1")
    assert again is not None
    assert again.vm.generation != first, "it is another start of it"
    libvirtd.virsh("destroy", "web1")
    libvirtd.virsh("domrename", "web1", "web2")
    libvirtd.virsh("start", "web2", "--paused")
    until(engine, "web2", lambda one: one is not None, "it under its new name")
    assert engine.watcher.problems == ()
    libvirtd.virsh("destroy", "web2")
    libvirtd.virsh("undefine", "web2")


def test_its_agent_is_seen_without_asking_and_asked_as_others_are(
    engine: Engine, calm_domain: DomainGuest
) -> None:
    engine.watch()
    alive = AgentState.ALIVE
    until(engine, "db1", lambda one: one is not None and one.agent.state is alive, "its answer")
    state = state_of(engine, "db1")
    assert state is not None
    assert state.freeze.state is FreezeState.THAWED
    assert {one.mountpoint for one in state.file_systems} >= {"/mnt/a", "/mnt/b", "/mnt/efi"}
    calm_domain.daemon.virsh("domfsfreeze", "db1")
    engine.watcher.visit_soon(state.id)
    until(engine, "db1", lambda one: one is not None and one.freeze.foreign, "the freeze of others")
    calm_domain.daemon.virsh("domfsthaw", "db1")
    calm_domain.kill_agent()
    closed = AgentState.CLOSED
    until(engine, "db1", lambda one: one is not None and one.agent.state is closed, "its end")


def test_whose_command_keeps_an_agent_is_seen_by_its_client(
    engine: Engine, calm_domain: DomainGuest
) -> None:
    engine.watch()
    alive, busy = AgentState.ALIVE, AgentState.BUSY
    until(engine, "db1", lambda one: one is not None and one.agent.state is alive, "its answer")
    state = state_of(engine, "db1")
    assert state is not None
    calm_domain.hanging_hook()
    with calm_domain.daemon.start_virsh("domfsfreeze", "db1") as other:
        wait_until(lambda: calm_domain.hook_log()[-1:] == ["freeze"], PATIENCE_S, "their hook")
        engine.watcher.visit_soon(state.id)
        seen = f"by its looks virsh domfsfreeze (pid {other.pid})"
        until(
            engine,
            "db1",
            lambda one: one is not None and (one.agent.state, one.agent.detail) == (busy, seen),
            "who keeps it",
        )
        outcome = engine.freeze(state.vm).wait(PATIENCE_S)
        assert isinstance(outcome, Outcome)
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
        assert seen in outcome.reason
        calm_domain.clear_hook()
        other.wait(PATIENCE_S)
    until(engine, "db1", lambda one: one is not None and one.agent.state is alive, "its answer")


@pytest.mark.soak
def test_whose_command_keeps_an_agent_is_told_when_libvirt_tells_it(
    engine: Engine, calm_domain: DomainGuest
) -> None:
    """It takes libvirt half a minute; until then the agent is silent."""
    engine.watch()
    alive, busy = AgentState.ALIVE, AgentState.BUSY
    until(engine, "db1", lambda one: one is not None and one.agent.state is alive, "its answer")
    state = state_of(engine, "db1")
    assert state is not None
    calm_domain.hanging_hook()
    with calm_domain.daemon.start_virsh("domfsfreeze", "db1") as other:
        wait_until(lambda: calm_domain.hook_log()[-1:] == ["freeze"], PATIENCE_S, "their hook")
        engine.watcher.visit_soon(state.id)

        def is_told(one: VmState | None) -> bool:
            known = None if one is None else (one.agent.state, one.agent.detail)
            return known == (busy, "another caller's freeze (domfsfreeze)")

        until(engine, "db1", is_told, "libvirt's own word")
        told = state_of(engine, "db1")
        assert told is not None
        outcome = engine.freeze(told.vm).wait(PATIENCE_S)
        assert isinstance(outcome, Outcome)
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
        assert "domfsfreeze" in outcome.reason
        calm_domain.clear_hook()
        other.wait(PATIENCE_S)
    until(engine, "db1", lambda one: one is not None and one.agent.state is alive, "its answer")


def test_a_daemon_that_hangs_is_told_and_its_domains_stay(
    engine: Engine, libvirtd: Libvirtd, calm_domain: DomainGuest
) -> None:
    engine.watch()
    until(engine, "db1", lambda one: one is not None, "the domain")
    libvirtd.kill(signal.SIGSTOP)
    try:
        wait_until(lambda: bool(engine.watcher.problems), PATIENCE_S, "the daemon to be told")
        (problem,) = engine.watcher.problems
        assert "has not answered since" in problem
        assert "its VMs are shown as they were seen last" in problem
        began = time.monotonic()
        engine.look()
        assert time.monotonic() - began < PATIENCE_S
        until(engine, "db1", lambda one: one is not None and bool(one.trouble), "its row's trouble")
    finally:
        libvirtd.kill(signal.SIGCONT)
    wait_until(lambda: engine.watcher.problems == (), PATIENCE_S, "it to be well again")
    until(engine, "db1", lambda one: one is not None and one.trouble is None, "its row to be well")


def test_a_daemon_that_dies_is_told_and_watched_again_when_it_is_back(
    engine: Engine, libvirtd: Libvirtd, calm_domain: DomainGuest
) -> None:
    engine.watch()
    running = RunState.RUNNING
    until(engine, "db1", lambda one: one is not None and one.run_state is running, "the domain")
    before = state_of(engine, "db1")
    libvirtd.kill()
    wait_until(lambda: bool(engine.watcher.problems), PATIENCE_S, "the daemon to be told")
    assert state_of(engine, "db1") is not None
    libvirtd.start_again()
    wait_until(lambda: engine.watcher.problems == (), PATIENCE_S, "it to be back")
    until(engine, "db1", lambda one: one is not None and one.run_state is running, "the domain")
    after = state_of(engine, "db1")
    assert before is not None
    assert after is not None
    assert after.vm.identity == before.vm.identity, "it is the same start"


def test_a_daemon_that_dies_under_a_pending_freeze_loses_it_and_the_guest_is_thawed(
    operator: DomainOperator, calm_domain: DomainGuest
) -> None:
    running = in_the_hook(calm_domain, operator)
    calm_domain.daemon.kill()
    verdict = running.verdict()
    assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.CHANNEL_BROKEN)
    calm_domain.daemon.start_again()
    calm_domain.release_hook()
    outcome = running.outcome()
    assert isinstance(outcome, Outcome)
    assert outcome.settled, running.texts
    calm_domain.assert_thawed()


def test_a_daemon_that_dies_while_a_freeze_is_held_costs_the_certificate_and_no_thaw(
    operator: DomainOperator, calm_domain: DomainGuest
) -> None:
    running = operator.freeze(hold_s=1.0)
    running.wait_event(EventKind.HELD)
    calm_domain.daemon.kill()
    calm_domain.daemon.start_again()
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True), running.texts
    calm_domain.assert_thawed()


def test_a_daemon_that_hangs_while_a_freeze_is_held_thaws_once_it_goes_on(
    operator: DomainOperator, calm_domain: DomainGuest
) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm_domain.daemon.kill(signal.SIGSTOP)
    try:
        running.operation.end_hold()
        running.wait_event(EventKind.THAW_SENT)
        assert calm_domain.frozen_mounts() == {"a", "b"}
    finally:
        calm_domain.daemon.kill(signal.SIGCONT)
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True), running.texts
    calm_domain.assert_thawed()


def test_a_domain_that_is_destroyed_under_a_freeze_is_gone(
    libvirtd: Libvirtd, calm_domain: DomainGuest
) -> None:
    from tests.guests.lab import boot_domain  # noqa: PLC0415 - one test has a guest of its own

    with boot_domain(libvirtd, name="db9", mounts=("a",)) as guest, DomainOperator(guest) as one:
        running = in_the_hook(guest, one, 60.0)
        libvirtd.virsh("destroy", "db9")
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.VM_GONE), running.texts
        assert outcome.settled


# -- on another host, by ssh: see test_soak_libvirt_far.py ---------------------------------------


def test_on_another_host_it_is_frozen_and_thawed_also_by_a_link_that_was_cut(
    calm_domain: DomainGuest, sshd: Sshd
) -> None:
    with DomainOperator(calm_domain, sshd.uri()) as operator:
        assert str(operator.vm.id) == f"libvirt:{HOST}/db1"
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        assert calm_domain.frozen_mounts() == {"a", "b"}
        sshd.kill_sessions()
        running.operation.cancel()
        outcome = running.outcome()
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True), running.texts
        calm_domain.assert_thawed()


# -- the command line ------------------------------------------------------------------------------


def frostwatch(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui.main", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("event", ["held", "sent"])
def test_whatever_ends_the_console_the_guest_is_thawed(
    libvirtd: Libvirtd, calm_domain: DomainGuest, event: str
) -> None:
    calm_domain.slow_hook(1.0 if event == "sent" else 0.0)
    # Another worker of the tests may have a guest of that name.
    command = ("-c", libvirtd.uri, "freeze", "libvirt:db1", "--hold", "100", "--json")
    with frostwatch(*command) as console:
        assert console.stdout is not None
        told = []
        for line in console.stdout:
            told.append(line)
            if f'"event": "{event}"' in line:
                break
        else:
            said = console.stderr.read() if console.stderr is not None else ""
            pytest.fail(f"it ended without that event: {told} {said}")
        if event == "sent":
            wait_until(lambda: calm_domain.hook_log()[-1:] == ["freeze"], PATIENCE_S, "the hook")
        (holder,) = holders_of(console.pid)
        console.kill()
    wait_until(lambda: calm_domain.hook_log()[-1:] == ["thaw"], PATIENCE_S, "the holder's thaw")
    wait_until(lambda: calm_domain.frozen_mounts() == set(), PATIENCE_S, "the guest to be thawed")
    wait_until(lambda: not Path(f"/proc/{holder}/cmdline").exists(), PATIENCE_S, "the holder's end")


def test_what_can_not_be_reached_by_name_is_one_sentence_and_two() -> None:
    for uri in ("qemu:///session?socket=/nowhere/at-all", "qemu+tcp://127.0.0.1:1/system"):
        code, told, said = ended(frostwatch("-c", uri, "list", "--json"))
        assert (code, told) == (2, [])
        assert said.startswith(f"frostwatch: --connect {uri}: ")
        assert len(said.strip().splitlines()) == 1


def test_a_daemon_that_hangs_is_one_sentence_and_two(libvirtd: Libvirtd) -> None:
    libvirtd.kill(signal.SIGSTOP)
    try:
        with (
            Engine(connect=[libvirtd.uri]) as engine,
            pytest.raises(BadInput, match="not answered"),
        ):
            engine.look()
    finally:
        libvirtd.kill(signal.SIGCONT)
