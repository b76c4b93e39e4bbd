"""The rescue ladder on real guests: what each rung does, says and finds."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from agentclient.access.guest_inputs import find_inputs
from agentclient.access.host.socket_clients import clients
from agentclient.model.events import EventKind
from agentclient.model.rescue import Means, RescueTimes, Rung, RungResult, Step
from agentclient.model.states import AgentState, FreezeState
from agentclient.operations.rescue.ladder import Offer, next_offer
from tests.guests.command import Frostwatch, ended
from tests.guests.conftest import Boot
from tests.guests.freezing import Bounds, Operator, agent_cpu_s
from tests.guests.lab import PATIENCE_S, Guest, LabError, RawClient
from tests.guests.lab.raw import command, leave
from tests.guests.lab.shell import wait_until

ALLOWED, DEBIAN = 1, 438
SPINS, SPINS_WITHIN_S = 3, 20.0
BY_KEY = Step(Rung.SYSRQ, Means.KEY)
BY_SERIAL = Step(Rung.SYSRQ, Means.SERIAL, "console")
QUICK: Bounds = {"before_s": 0.6, "after_s": 1.5, "agent_s": 1.0}
# So long a busy guest may take until it writes again.
SEEN: Bounds = {**QUICK, "after_s": 3.0}


def allow_sysrq(guest: Guest, value: int) -> None:
    guest.shell(f"echo {value} >/proc/sys/kernel/sysrq")


def freeze_and_kill(guest: Guest) -> None:
    """Somebody freezes everything; then the agent is killed, and stays dead."""
    with RawClient(guest.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2
    guest.kill_agent()
    guest.wait_agent(is_open=False)
    assert guest.frozen_mounts() == {"a", "b"}


def spin(guest: Guest) -> None:
    """Somebody leaves a slow freeze, so that the agent spins on its answer.

    Whoever else looks at this machine's VMs just then takes the answer: then once more.
    """
    guest.slow_hook(0.5)
    seen = []
    for _ in range(SPINS):
        leave(guest.agent_socket, command("guest-fsfreeze-freeze"))
        wait_until(lambda: guest.frozen_mounts() == {"a", "b"}, PATIENCE_S, "that freeze")
        with suppress(LabError):
            wait_until(lambda: agent_cpu_s(guest, 1.0) > 0.5, SPINS_WITHIN_S, "the agent to spin")
            return
        seen.append((clients(guest.agent_socket), guest.agent_pid(), guest.agent_open()))
        with RawClient(guest.agent_socket) as somebody:
            somebody.sync()
            somebody.thaw()
    raise LabError(f"the agent does not spin; its clients, process and port were {seen}")


def offers(operator: Operator, *tried: Rung) -> dict[str, Offer]:
    found = operator.operations.ladder(operator.vm, tried=frozenset(tried)).result(PATIENCE_S)
    return {one.title: one for one in found}


@pytest.fixture
def dead(calm: Guest) -> Iterator[Guest]:
    """The shared guest, frozen, without an agent."""
    freeze_and_kill(calm)
    yield calm
    allow_sysrq(calm, DEBIAN)


# -- connect and thaw --------------------------------------------------------------------------


def test_connecting_alone_releases_an_agent_that_spins(calm: Guest, operator: Operator) -> None:
    spin(calm)
    running = operator.rescue(Rung.CONNECT, hold_s=10.0)
    outcome = running.rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.ANSWERS, False)
    assert outcome.state is FreezeState.FROZEN
    assert outcome.next is not None
    assert outcome.next.endswith("--rung thaw")
    assert 'an answer was waiting for somebody to take it: {"return": 2}' in running.texts
    wait_until(lambda: agent_cpu_s(calm, 1.0) < 0.2, PATIENCE_S, "the agent to rest")
    assert calm.frozen_mounts() == {"a", "b"}, "connecting must not thaw"
    thaw = operator.rescue(Rung.THAW).rescue_outcome()
    assert (thaw.found, thaw.ok, thaw.thawed) == (RungResult.THAWED, True, 2)
    calm.assert_thawed()


def test_connecting_to_a_thawed_guest_finds_it_thawed(calm: Guest, operator: Operator) -> None:
    outcome = operator.rescue(Rung.CONNECT, hold_s=0.2).rescue_outcome()
    assert (outcome.found, outcome.state, outcome.next) == (
        RungResult.THAWED, FreezeState.THAWED, None
    )  # fmt: skip
    assert not offers(operator)["thaw"].sensible


def test_a_silent_agent_is_found_silent_and_waited_for(calm: Guest, operator: Operator) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        somebody.freeze()
    calm.stop_agent()
    outcome = operator.rescue(Rung.CONNECT, hold_s=0.2).rescue_outcome()
    assert outcome.found is RungResult.SILENT
    assert operator.fleet.get(operator.vm.id).agent.state is AgentState.SILENT
    after = offers(operator, Rung.CONNECT)
    chosen = next_offer(after.values(), {Rung.CONNECT})
    assert chosen is not None
    assert chosen.step.rung is Rung.WAIT
    waiting = operator.rescue(Rung.WAIT)
    waiting.wait_progress(lambda progress: progress.what == "thaw")
    time.sleep(0.5)
    calm.continue_agent()
    outcome = waiting.rescue_outcome()
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    calm.assert_thawed()


def test_a_thaw_has_a_bound_of_its_own(calm: Guest, operator: Operator) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        somebody.freeze()
    calm.stop_agent()
    outcome = operator.rescue(Rung.THAW, thaw_s=1.5).rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.SILENT, False)
    assert 1.0 < outcome.seconds < RescueTimes().thaw_s - 10.0
    assert outcome.next is not None
    assert outcome.next.endswith("--rung wait")
    calm.continue_agent()
    assert operator.rescue(Rung.THAW).rescue_outcome().ok
    calm.assert_thawed()


def test_nothing_is_climbed_without_a_person(dead: Guest, operator: Operator) -> None:
    for step in (Step(Rung.WAIT), BY_KEY, Step(Rung.RESET, name=dead.name), Step(Rung.THAW)):
        outcome = operator.rescue(step, person=False).rescue_outcome()
        assert outcome.found is RungResult.REFUSED
    assert dead.frozen_mounts() == {"a", "b"}
    dead.start_agent()
    assert operator.rescue(Rung.THAW).rescue_outcome().thawed == 2


def test_a_window_of_ours_is_thawed_without_a_person(calm: Guest, operator: Operator) -> None:
    freeze = operator.freeze(hold_s=100.0)
    freeze.wait_event(EventKind.HELD)
    busy = operator.rescue(Rung.THAW).operation.wait(PATIENCE_S)
    assert busy is not None
    assert "a freeze of this VM is in flight" in busy.reason
    calm.stop_agent()
    freeze.operation.end_hold()
    freeze.wait_event(EventKind.THAW_SENT)
    # Not by the thaw's bound, which is the holder's as well: an agent has to be back within that.
    freeze.operation.give_up()
    assert not freeze.outcome().settled
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    assert calm.frozen_mounts() == {"a", "b"}
    calm.start_agent()
    # Its holder has stayed, and thaws it as soon as an agent is there; no rung comes before that.
    calm.assert_thawed()
    outcome = operator.rescue(Rung.CONNECT, person=False, hold_s=0.2).rescue_outcome()
    assert outcome.found is RungResult.THAWED
    assert calm.hook_log()[-2:] == ["freeze", "thaw"]


def test_a_channel_that_somebody_holds_is_left_alone(calm: Guest, operator: Operator) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        somebody.freeze()
        for rung in (Rung.CONNECT, Rung.THAW, Rung.WAIT):
            assert "somebody else holds" in str(offers(operator)[rung].why_not)
            assert operator.rescue(rung).rescue_outcome().found is RungResult.REFUSED
        assert somebody.thaw() == 2
    calm.assert_thawed()


# -- wait --------------------------------------------------------------------------------------


def test_an_agent_that_returns_is_thawed(dead: Guest, operator: Operator) -> None:
    found = offers(operator)
    assert "port closed" in str(found["connect"].why_not)
    chosen = next_offer(found.values())
    assert chosen is not None
    assert chosen.step.rung is Rung.WAIT
    running = operator.rescue(Rung.WAIT)
    running.wait_progress(lambda progress: "an agent to come back" in progress.waiting_for)
    with RawClient(dead.agent_socket):
        pass  # the channel is not held while nobody can answer
    time.sleep(0.5)
    dead.start_agent()
    outcome = running.rescue_outcome()
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    dead.assert_thawed()


def test_waiting_ends_by_itself_and_when_it_is_stopped(dead: Guest, operator: Operator) -> None:
    outcome = operator.rescue(Rung.WAIT, wait_s=1.0).rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.NO_AGENT, False), outcome
    assert 0.9 < outcome.seconds < PATIENCE_S
    running = operator.rescue(Rung.WAIT)
    running.wait_progress(lambda progress: progress.what == "rescue")
    running.operation.cancel()
    assert running.rescue_outcome().found is RungResult.CANCELLED
    dead.start_agent()
    assert operator.rescue(Rung.THAW).rescue_outcome().thawed == 2
    dead.assert_thawed()


# -- SysRq -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [BY_KEY, BY_SERIAL], ids=["key", "serial"])
def test_sysrq_is_seen_by_its_writes(dead: Guest, operator: Operator, step: Step) -> None:
    allow_sysrq(dead, ALLOWED)
    with dead.write_load("b") as load:
        time.sleep(0.3)
        assert load.written() == 0
        outcome = operator.rescue(step, **SEEN).rescue_outcome()
        assert (outcome.found, outcome.ok) == (RungResult.WRITES, True)
        assert load.written() > 0
    assert outcome.next is not None
    assert outcome.next.endswith("--rung wait")
    dead.assert_thawed()
    # The agent's flag is still set; nothing was left to thaw.
    dead.start_agent()
    assert operator.rescue(Rung.WAIT).rescue_outcome().thawed == 0
    with RawClient(dead.agent_socket) as client:
        client.sync()
        assert client.status() == "thawed"


@pytest.mark.parametrize("step", [BY_KEY, BY_SERIAL], ids=["key", "serial"])
def test_sysrq_is_seen_on_an_idle_guest_too(dead: Guest, operator: Operator, step: Step) -> None:
    """Nobody writes, but ext4 itself writes its superblock when it is thawed."""
    allow_sysrq(dead, ALLOWED)
    outcome = operator.rescue(step, **SEEN).rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.WRITES, True)
    dead.assert_thawed()


def test_an_idle_guest_without_sysrq_has_to_be_looked_into(dead: Guest, operator: Operator) -> None:
    outcome = operator.rescue(BY_KEY, **QUICK).rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.UNKNOWN, False)
    assert "Look into the guest" in outcome.reason
    assert outcome.next is not None
    assert outcome.next.endswith("--rung reset")
    assert dead.frozen_mounts() == {"a", "b"}
    dead.start_agent()
    assert operator.rescue(Rung.THAW).rescue_outcome().thawed == 2
    dead.assert_thawed()


@pytest.mark.parametrize("step", [BY_KEY, BY_SERIAL], ids=["key", "serial"])
def test_sysrq_that_is_not_allowed_does_nothing(
    dead: Guest, operator: Operator, step: Step
) -> None:
    allow_sysrq(dead, DEBIAN)
    with dead.write_load("b"):
        outcome = operator.rescue(step, **QUICK).rescue_outcome()
        assert (outcome.found, outcome.ok) == (RungResult.UNKNOWN, False)
        assert "kernel.sysrq may not allow it" in outcome.reason
        assert dead.frozen_mounts() == {"a", "b"}
        dead.start_agent()
        assert operator.rescue(Rung.THAW).rescue_outcome().thawed == 2
        dead.assert_thawed()


def test_a_thaw_follows_sysrq_as_soon_as_an_agent_answers(dead: Guest, operator: Operator) -> None:
    allow_sysrq(dead, ALLOWED)
    running = operator.rescue(BY_KEY, before_s=0.5, after_s=0.5)
    running.wait_event(EventKind.NOTE, "was pressed")
    running.wait_progress(lambda progress: "an agent to come back" in progress.waiting_for)
    dead.start_agent()
    outcome = running.rescue_outcome()
    assert (outcome.found, outcome.thawed, outcome.state) == (
        RungResult.THAWED, 0, FreezeState.THAWED
    )  # fmt: skip
    assert "nothing that was still frozen" in outcome.reason
    dead.assert_thawed()


def test_the_thaw_behind_tells_that_sysrq_did_nothing(dead: Guest, operator: Operator) -> None:
    running = operator.rescue(BY_KEY, before_s=0.5, after_s=0.5)
    running.wait_event(EventKind.NOTE, "was pressed")
    dead.start_agent()
    outcome = running.rescue_outcome()
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    assert "SysRq had done nothing" in outcome.reason
    dead.assert_thawed()


def test_writes_from_before_prove_nothing(calm: Guest, operator: Operator) -> None:
    """One file system is frozen, the other one writes all the time."""
    calm.freeze_inside("a")
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    with calm.write_load("b"):
        outcome = operator.rescue(BY_KEY, **(QUICK | {"before_s": 2.0})).rescue_outcome()
        assert outcome.found is RungResult.UNKNOWN
        assert "it wrote before it, too" in outcome.reason
    calm.thaw_inside()


def test_the_console_is_never_guessed(dead: Guest, operator: Operator) -> None:
    by_serial = Step(Rung.SYSRQ, Means.SERIAL)
    outcome = operator.rescue(by_serial).rescue_outcome()
    assert outcome.found is RungResult.REFUSED
    assert "which of its serial ports is meant" in outcome.reason
    for title in ("sysrq at console", "sysrq at shell"):
        assert not offers(operator)[title].sensible
    for label, why in (
        ("qga0", "is no serial port"),
        ("compat_monitor0", "is no serial port"),
        ("nonsense", "is no serial port"),
        ("shell", "somebody else is at the serial port"),
    ):
        outcome = operator.rescue(Step(Rung.SYSRQ, Means.SERIAL, label)).rescue_outcome()
        assert outcome.found is RungResult.REFUSED
        assert why in outcome.reason


def test_a_console_behind_a_terminal_and_no_keyboard(boot: Boot) -> None:
    guest = boot(name="headless", keyboard=False, console="pty")
    with Operator(guest) as operator:
        freeze_and_kill(guest)
        allow_sysrq(guest, ALLOWED)
        monitor = operator.accesses.of(operator.vm).monitor
        assert monitor is not None
        assert find_inputs(monitor, operator.vm).keyboard is False
        refused = operator.rescue(BY_KEY).rescue_outcome()
        assert (refused.found, "no keyboard" in refused.reason) == (RungResult.REFUSED, True)
        with guest.write_load("a"):
            outcome = operator.rescue(BY_SERIAL, **SEEN).rescue_outcome()
        assert outcome.found is RungResult.WRITES
        guest.assert_thawed()


# -- the command line --------------------------------------------------------------------------


def test_rung_by_rung_on_the_command_line(dead: Guest) -> None:
    allow_sysrq(dead, ALLOWED)
    frostwatch = Frostwatch(dead)
    try:
        code, told, err = frostwatch.run("rescue", dead.name)
        assert (code, "--rung takes one rung" in err) == (1, True)
        assert {one["rung"]: one["sensible"] for one in told if one["by"] != "serial"} == {
            "connect": False, "thaw": False, "wait": True, "sysrq": True, "reset": True
        }  # fmt: skip
        code, _, err = frostwatch.run("rescue", dead.name, "--rung", "sysrq")
        assert (code, "--yes" in err) == (2, True)
        assert dead.frozen_mounts() == {"a", "b"}, "the ladder alone does nothing"
        serial = ("--serial", "console", "--yes")
        code, told, _ = frostwatch.run("rescue", dead.name, "--rung", "sysrq", *serial)
        assert (code, told[0]["event"], told[-1]["found"]) == (0, "rung", "writes")
        dead.assert_thawed()
        dead.start_agent()
        code, told, _ = frostwatch.run("rescue", dead.name, "--rung", "connect", "--yes")
        assert (code, told[-1]["found"]) == (1, "answers")
        code, told, _ = frostwatch.run("rescue", dead.name, "--rung", "thaw", "--yes")
        assert (code, told[-1]["found"], told[-1]["thawed"]) == (0, "thawed", 0)
    finally:
        frostwatch.close()


def test_a_signal_ends_the_waiting(dead: Guest) -> None:
    frostwatch = Frostwatch(dead)
    try:
        child = frostwatch.start("rescue", dead.name, "--rung", "wait", "--yes", "--json")
        assert child.stdout is not None
        assert '"rung"' in child.stdout.readline()
        time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        code, told, err = ended(child)
        assert (code, told[-1]["found"]) == (1, "cancelled")
        assert "what it has done stays done" in err
    finally:
        frostwatch.close()
    assert dead.frozen_mounts() == {"a", "b"}
    dead.start_agent()


# -- reset -------------------------------------------------------------------------------------


def test_a_reset_needs_the_name_and_leaves_nothing_frozen(dead: Guest, operator: Operator) -> None:
    assert operator.rescue(Rung.RESET).rescue_outcome().found is RungResult.REFUSED
    wrong = Step(Rung.RESET, name="another")
    assert operator.rescue(wrong).rescue_outcome().found is RungResult.REFUSED
    running = operator.rescue(Step(Rung.RESET, name=dead.name))
    outcome = running.rescue_outcome()
    dead.wait_reset()
    assert (outcome.found, outcome.ok, outcome.next) == (RungResult.RESET, True, None)
    assert "an agent opened its port" in outcome.reason
    assert "it is running" in outcome.reason
    assert EventKind.PORT in running.kinds
    dead.assert_thawed()
    assert dead.hook_log() == [], "nothing was frozen, so that no hook may run"


def test_a_reset_of_a_paused_vm_says_that_it_stays_paused(calm: Guest, operator: Operator) -> None:
    calm.pause()
    outcome = operator.rescue(Step(Rung.RESET, name=calm.name)).rescue_outcome()
    assert (outcome.found, outcome.next) == (RungResult.RESET, "resume the VM")
    calm.resume()
    calm.wait_reset()
    calm.assert_thawed()


def test_a_panicked_guest_is_reset_and_has_to_be_resumed(boot: Boot) -> None:
    guest = boot(name="panics", pvpanic=True)
    with Operator(guest) as operator:
        guest.panic()
        found = offers(operator)
        assert [one.title for one in found.values() if one.possible] == ["reset"]
        outcome = operator.rescue(Step(Rung.RESET, name=guest.name)).rescue_outcome()
        assert (outcome.found, outcome.next) == (RungResult.RESET, "resume the VM")
        guest.resume()
        guest.wait_reset()
        guest.assert_thawed()
