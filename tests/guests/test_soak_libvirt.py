"""Guests under libvirt: figures, and what virsh and frostwatch say of the same faults."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentclient.engine import Engine
from agentclient.model.events import EventKind
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import Cause, OutcomeKind, Refusal
from tests.guests.command import ROOT, holders_of
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd, boot_domain
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_operator import DomainOperator
from tests.processes import killed_on_failure

pytestmark = pytest.mark.soak

KILLS, CONSOLES, PENDING, AT_ONCE_TRIED, DOMAINS = 20, 40, 8, 20, 300
AT_ONCE, NEVER = 0.0, None
GENEROUS_S = 10.0
RESTS_S = 20.0
REFUSED = (
    "freezes are pending in this daemon of libvirt already, and more would keep thaws waiting; the"
    " freeze was not sent"
)

Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Say a figure on the terminal."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}")

    return say


def await_hook(guest: DomainGuest, hooks: int) -> None:
    """Wait until the guest's hook has been called more often than `hooks` times."""
    wait_until(lambda: len(guest.hook_log()) > hooks, PATIENCE_S, "the hook")


def figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("respawn", [AT_ONCE, NEVER], ids=["at-once", "never"])
def test_how_soon_a_lost_freeze_is_told(
    calm_domain: DomainGuest, respawn: float | None, tell: Tell
) -> None:
    took: list[float] = []
    with DomainOperator(calm_domain) as operator:
        for _ in range(KILLS):
            calm_domain.hanging_hook()
            calm_domain.set_respawn(respawn)
            hooks = len(calm_domain.hook_log())
            running = operator.freeze()
            await_hook(calm_domain, hooks)
            asked = time.monotonic()
            calm_domain.kill_agent()
            took.append(running.wait_event(EventKind.VERDICT).at - asked)
            calm_domain.clear_hook()
            calm_domain.start_agent()
            outcome = running.outcome()
            assert outcome.kind is OutcomeKind.LOST, running.texts
            assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
            assert outcome.settled
            calm_domain.wait_connected()
    tell(f"lost to verdict, {KILLS} kills: {figures(took)}")
    assert max(took) < GENEROUS_S


@pytest.mark.timeout(1200)
def test_how_soon_a_killed_console_is_followed_by_a_thaw(
    libvirtd: Libvirtd, calm_domain: DomainGuest, tell: Tell
) -> None:
    took: list[float] = []
    memory: list[float] = []
    for _ in range(CONSOLES):
        # Others may have a guest of that name on this machine.
        words = ["-c", libvirtd.uri, "freeze", "libvirt:db1", "--hold", "100", "--json"]
        started = subprocess.Popen(
            [sys.executable, "-m", "tui.main", *words],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with killed_on_failure(started) as console:
            assert console.stdout is not None
            assert console.stderr is not None
            held = any('"event": "held"' in line for line in console.stdout)
            assert held, console.stderr.read()
            (holder,) = holders_of(console.pid)
            lines = Path(f"/proc/{holder}/smaps_rollup").read_text().splitlines()
            pss = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            memory.append(pss / 1024)
            killed = time.monotonic()
            console.kill()
        # By the thaw's hook, which the guest runs before its file systems can be written again.
        wait_until(
            lambda: calm_domain.hook_log()[-1:] == ["thaw"], PATIENCE_S, "the thaw", step=0.005
        )
        took.append(time.monotonic() - killed)
        calm_domain.assert_thawed()
    tell(f"console killed to thaw, {CONSOLES} kills: {figures(took)}")
    tell(f"a holder's memory: {max(memory):.1f} MiB")
    assert max(took) < GENEROUS_S


@pytest.fixture
def many(libvirtd: Libvirtd) -> Iterator[list[DomainGuest]]:
    """More guests than may be frozen at once, and one more."""
    guests: list[DomainGuest] = []
    try:
        for number in range(AT_ONCE_TRIED + 1):
            guests.append(boot_domain(libvirtd, name=f"g{number}", mounts=("a",)))
        yield guests
    finally:
        for guest in guests:
            guest.close()


@pytest.mark.timeout(1800)
def test_a_thaw_gets_through_beside_as_many_pending_freezes_as_may_be(
    libvirtd: Libvirtd, many: list[DomainGuest], tmp_path: Path, tell: Tell
) -> None:
    ninth, *others = many
    request = FreezeRequest(schedule=Schedule(hold_s=0.0, thaw_timeout_s=60.0))
    with Engine(connect=[libvirtd.uri], journal=tmp_path / "journal.db") as engine:
        for guest in others:
            guest.hanging_hook()
        vms = [engine.find_one(f"libvirt:{guest.name}") for guest in others]
        operations = [engine.freeze(vm, request) for vm in vms]
        wait_until(
            lambda: len(hooked(others)) == PENDING, 3 * PATIENCE_S, "the freezes that may be"
        )
        libvirtd.virsh("domfsfreeze", ninth.name)
        began = time.monotonic()
        thaw = engine.thaw(engine.find_one(f"libvirt:{ninth.name}"), foreign=True).wait(PATIENCE_S)
        took_s = time.monotonic() - began
        assert isinstance(thaw, ThawOutcome)
        assert (thaw.ok, thaw.thawed) == (True, 1)
        tell(f"a thaw beside {PENDING} pending freezes: {took_s:.3f} s")
        pending = hooked(others)
        words: Counter[str] = Counter()
        for guest, operation in zip(others, operations, strict=True):
            if guest not in pending:
                refused = operation.wait(3 * PATIENCE_S)
                assert isinstance(refused, Outcome)
                assert refused.refusal is Refusal.BUSY, refused
                words[f"{refused.refusal}: {refused.reason}"] += 1
        tell(f"{len(pending)} of {len(others)} pending, the others refused: {words}")
        # Not that their agents are busy: they are free.
        assert list(words) == [f"busy: {PENDING} {REFUSED}"]
        for guest in others:
            guest.clear_hook()
        outcomes = [one.wait(60.0) for one in operations]
    assert all(isinstance(one, Outcome) and one.settled for one in outcomes)
    for guest in many:
        guest.assert_thawed()


def hooked(guests: list[DomainGuest]) -> list[DomainGuest]:
    """Those in which the freeze's hook has been called."""
    return [guest for guest in guests if guest.hook_log()]


@pytest.mark.alone
def test_what_a_host_with_many_domains_costs(
    libvirtd: Libvirtd, tmp_path: Path, tell: Tell
) -> None:
    channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    each = (
        "<domain type='test'><name>vm{0}</name><uuid>{0:08x}-0000-4000-8000-000000000000</uuid>"
        "<memory>8192</memory><os><type>hvm</type></os><devices>{1}</devices></domain>"
    )
    node = tmp_path / "node.xml"
    domains = "".join(each.format(number, channel) for number in range(1, DOMAINS + 1))
    node.write_text(f"<node>{domains}</node>")
    began = time.monotonic()
    with Engine(
        connect=[f"test+unix://{node}?socket={libvirtd.socket}"], journal=tmp_path / "journal.db"
    ) as engine:
        engine.watch()

        def listed() -> int:
            return sum(state.vm.source == "libvirt" for state in engine.states())

        wait_until(lambda: listed() == DOMAINS, PATIENCE_S, "all of them")
        took_s = time.monotonic() - began
        time.sleep(5.0)
        before, clock = time.process_time(), time.monotonic()
        time.sleep(RESTS_S)
        busy = (time.process_time() - before) / (time.monotonic() - clock)
    tell(f"{DOMAINS} domains: {took_s:.2f} s until all are listed, then {busy:.1%} of a core")
    assert busy < 0.5


# -- side by side ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What befalls a freeze.

    Attributes:
        name: what a table calls it.
        hook_s: how long the freeze's hook takes, in seconds; 0 for none.
        act: does it, while the hook runs.
        undo: takes it back.
        respawn: seconds until an ended agent is started again; None for never.
    """

    name: str
    hook_s: float
    act: Callable[[DomainGuest], object]
    undo: Callable[[DomainGuest], object] = lambda _: None
    respawn: float | None = None


def restart_daemon(guest: DomainGuest) -> None:
    guest.daemon.kill()
    guest.daemon.start_again()


FAULTS = (
    Fault("none", 0.0, lambda _: None),
    Fault("a slow hook (8 s)", 8.0, lambda _: None),
    Fault("kill -9 of the agent", 60.0, lambda guest: guest.kill_agent()),
    Fault("the same, started again at once", 60.0, lambda guest: guest.kill_agent(), respawn=0.0),
    Fault("SIGTERM of the agent", 1.5, lambda guest: guest.kill_agent("TERM"), respawn=0.0),
    Fault(
        "SIGSTOP of the agent",
        1.0,
        lambda guest: guest.stop_agent(),
        lambda guest: guest.continue_agent(),
    ),
    Fault("reset", 60.0, lambda guest: guest.qmp("system_reset"), lambda guest: guest.wait_reset()),
    Fault("pause", 2.0, lambda guest: guest.pause(), lambda guest: guest.resume()),
    Fault("the daemon is killed and started", 2.0, restart_daemon),
)
BOUND_S = 12.0


def begins(guest: DomainGuest, fault: Fault) -> int:
    """Set the guest up for a fault; return how often its hook has run."""
    guest.set_respawn(fault.respawn)
    hooks = len(guest.hook_log())
    if fault.hook_s:
        guest.slow_hook(fault.hook_s)
    return hooks


def strikes(guest: DomainGuest, fault: Fault, hooks: int) -> None:
    if fault.hook_s:
        await_hook(guest, hooks)
        fault.act(guest)


def state_inside(guest: DomainGuest, fault: Fault) -> str:
    """What is so in the guest once a fault was taken back and its hook has had its time."""
    fault.undo(guest)
    guest.wait_ready()
    if fault.hook_s:
        time.sleep(min(fault.hook_s, 3.0))
    return "frozen" if guest.frozen_mounts() else "thawed"


def by_virsh(guest: DomainGuest, fault: Fault) -> tuple[str, str]:
    hooks = begins(guest, fault)
    began = time.monotonic()
    with guest.daemon.start_virsh("domfsfreeze", guest.name) as child:
        strikes(guest, fault, hooks)
        try:
            said, complaint = child.communicate(timeout=BOUND_S)
            took = f"after {time.monotonic() - began:.1f} s"
            word = f"{(said + complaint).strip().splitlines()[-1]} ({took})"
        except subprocess.TimeoutExpired:
            child.kill()
            word = f"waits on after {BOUND_S:g} s"
    return word, state_inside(guest, fault)


def by_frostwatch(guest: DomainGuest, fault: Fault) -> tuple[str, str]:
    hooks = begins(guest, fault)
    with DomainOperator(guest) as operator:
        running = operator.freeze(first_timeout_s=BOUND_S, probes=0, thaw_timeout_s=20.0)
        strikes(guest, fault, hooks)
        verdict = running.wait_event(EventKind.VERDICT, timeout=2 * BOUND_S)
        inside = state_inside(guest, fault)
        outcome = running.outcome(4 * PATIENCE_S)
    told = verdict.at - running.began_at
    cause = f" ({outcome.cause})" if outcome.cause else ""
    thawed = "thawed" if not guest.frozen_mounts() else inside
    return f"{outcome.kind}{cause}, told after {told:.1f} s", thawed


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_virsh_and_frostwatch_say(calm_domain: DomainGuest, fault: Fault, tell: Tell) -> None:
    theirs, left = by_virsh(calm_domain, fault)
    calm_domain.calm_down()
    ours, after = by_frostwatch(calm_domain, fault)
    tell(f"| {fault.name} | {theirs}; {left} | {ours}; {after} |")
    if fault.respawn is not None or not fault.hook_s:
        assert after == "thawed"
