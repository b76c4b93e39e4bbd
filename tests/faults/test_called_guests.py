"""A guest that is reached by calls: whatever ends its console, a holder process thaws it (P4)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.call_session import AgentGone, CallTimedOut
from agentclient.access.guest_access import ThawRecipe
from agentclient.engine import Engine
from agentclient.holder.client import HolderClient
from agentclient.holder.process import NoHolder
from agentclient.model.outcome import ThawOutcome
from agentclient.model.states import FreezeState
from tests.faults.served_memory import ServedBackend, ServedCalls, ask
from tests.guests.command import ROOT, await_armed, ended, holders_of, kill_holder_and_console
from tests.unit.memory_backend import MemoryGuest

pytestmark = pytest.mark.usefixtures("patient")

PATIENCE_S = 60.0
# A thaw at the end of a hold of 60 s would come later.
THAWED_S = 30.0
KILLS = 4
FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


class Site:
    """A server with one guest, and frostwatch on it, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cloud"
        self.journal = folder / "journal.db"
        self._started: list[subprocess.Popen[str]] = []
        self.server = self.serve()

    def serve(self) -> subprocess.Popen[str]:
        module = "tests.faults.served_memory"
        server = self._start(sys.executable, "-m", module, str(self.path), "db1")
        until_true(lambda: self.path.exists() and self.answers)
        return server

    def _start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "FROSTWATCH_JOURNAL": str(self.journal), **variables}
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(child)
        return child

    @property
    def answers(self) -> bool:
        try:
            return bool(self.guest)
        except (AgentGone, CallTimedOut):
            return False

    @property
    def guest(self) -> dict[str, Any]:
        found: dict[str, Any] = ask(str(self.path), PATIENCE_S, do="get", guest="db1")
        return found

    def set(self, **fields: object) -> None:
        ask(str(self.path), PATIENCE_S, do="set", guest="db1", fields=fields)

    def frostwatch(self, *arguments: str) -> subprocess.Popen[str]:
        module = "tests.faults.run_served"
        return self._start(sys.executable, "-m", module, str(self.path), *arguments)

    def freeze(self, *arguments: str) -> subprocess.Popen[str]:
        return self.frostwatch("freeze", "db1", "--json", *arguments)

    def stops_at(self, event: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a freeze that stops itself soon after an event, however slow we are."""
        module = "tests.faults.run_served"
        words = (str(self.path), "freeze", "db1", "--json", *arguments)
        return self._start(sys.executable, "-m", module, *words, STOPS_AT=event)

    def freeze_until(self, event: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a freeze, and return when it has told an event."""
        child = self.freeze(*arguments)
        assert child.stdout is not None
        said = []
        for line in child.stdout:
            said.append(line)
            if json.loads(line)["event"] == event:
                return child
        raise AssertionError(f"it ended without {event}: {said}")

    def close(self) -> None:
        for child in self._started:
            with child:
                child.kill()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def until_true(found: Callable[[], object], within_s: float = PATIENCE_S) -> float:
    """Wait for something; return when it was not so for the last time (monotonic seconds)."""
    began = not_yet = time.monotonic()
    while not found():
        assert time.monotonic() - began < within_s, "it has not come"
        time.sleep(0.005)
        not_yet = time.monotonic()
    return not_yet


def test_it_is_frozen_held_thawed_and_certified_through_the_holder(site: Site) -> None:
    code, told, _ = ended(site.freeze("--hold", "0.3"))
    outcome = told[-1]
    assert (code, outcome["outcome"], outcome["certified"]) == (0, "verified", True)
    called = site.guest["called"]
    assert called.count(FREEZE) == called.count(THAW) == 1


def await_end_of(holder: int) -> None:
    until_true(lambda: not Path(f"/proc/{holder}/cmdline").read_bytes())


def thawed(site: Site) -> bool:
    return not site.guest["frozen"]


def test_a_killed_console_is_followed_by_a_thaw(site: Site) -> None:
    for _ in range(KILLS):
        console = site.freeze_until("held", "--hold", "60")
        (holder,) = holders_of(console.pid)
        assert site.guest["frozen"]
        console.kill()
        until_true(lambda: thawed(site), THAWED_S)
        await_end_of(holder)
    _, told, _ = ended(site.frostwatch("history", "db1", "--json"))
    windows = [window for window in told if window.get("kind") == "freeze"]
    assert [window["settled"] for window in windows] == [True] * KILLS
    assert "taken over by the holder: the console has gone" in str(windows[0]["events"])


def test_a_console_killed_while_its_call_is_pending(site: Site) -> None:
    site.set(freeze_s=1.0)
    console = site.freeze_until("sent", "--hold", "60")
    (holder,) = holders_of(console.pid)
    until_true(lambda: FREEZE in site.guest["called"])
    console.kill()
    until_true(lambda: THAW in site.guest["called"], THAWED_S)
    until_true(lambda: thawed(site), THAWED_S)
    await_end_of(holder)


def test_a_stopped_console_is_taken_over_at_the_holds_end(site: Site) -> None:
    console = site.stops_at("held", "--hold", "1")
    frozen_at = until_true(lambda: site.guest["frozen"])
    until_true(lambda: thawed(site))
    assert time.monotonic() - frozen_at > 1.0
    os.kill(console.pid, signal.SIGCONT)
    code, told, _ = ended(console)
    assert code == 0, "the hold was over"
    assert "the console is stopped, and the hold is over" in str(told)
    assert (told[-1]["thawed"], told[-1]["certified"]) == (2, False)
    assert site.guest["called"].count(THAW) == 1


def test_a_console_stopped_while_its_call_is_pending(site: Site) -> None:
    site.set(freeze_s=1.0)
    bounds = ("--first-timeout", "3", "--probes", "0", "--hold", "1")
    console = site.stops_at("sent", *bounds)
    frozen_at = until_true(lambda: site.guest["frozen"])
    until_true(lambda: thawed(site))
    assert time.monotonic() - frozen_at > 1.0, "the hold counts from the answer"
    os.kill(console.pid, signal.SIGCONT)
    _, told, _ = ended(console)
    assert (told[-1]["settled"], told[-1]["certified"]) == (True, False)


def test_a_console_that_leaves_in_a_hurry_leaves_it_to_the_holder(site: Site) -> None:
    site.set(freeze_s=5.0)
    console = site.freeze_until("sent", "--hold", "60")
    (holder,) = holders_of(console.pid)
    until_true(lambda: FREEZE in site.guest["called"])
    for _ in range(10):  # those that it hears at once are one request
        console.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            console.wait(0.5)
            break
    _, told, _ = ended(console)
    assert told[-1]["settled"] is False
    until_true(lambda: THAW in site.guest["called"] and thawed(site))
    await_end_of(holder)


def test_a_server_that_comes_back_later_is_called_again(site: Site) -> None:
    console = site.freeze_until("held", "--hold", "60")
    (holder,) = holders_of(console.pid)
    site.server.kill()
    console.kill()
    time.sleep(1.5)
    site.serve()
    until_true(lambda: thawed(site), THAWED_S)
    await_end_of(holder)


def test_a_thaw_that_hangs_keeps_the_holder_until_it_has_run(site: Site) -> None:
    console = site.freeze_until("held", "--hold", "60")
    (holder,) = holders_of(console.pid)
    os.kill(site.server.pid, signal.SIGSTOP)
    console.kill()
    time.sleep(1.0)
    assert Path(f"/proc/{holder}/cmdline").read_bytes(), "it does not leave a frozen guest"
    os.kill(site.server.pid, signal.SIGCONT)
    until_true(lambda: thawed(site), THAWED_S)
    await_end_of(holder)


def test_a_server_that_dies_under_a_pending_freeze_is_a_lost_one_and_thawed(site: Site) -> None:
    site.set(freeze_s=60.0)
    console = site.freeze_until("sent", "--hold", "60")
    until_true(lambda: FREEZE in site.guest["called"])
    site.server.kill()
    time.sleep(0.5)
    site.serve()
    _, told, _ = ended(console)
    outcome = told[-1]
    assert (outcome["outcome"], outcome["cause"]) == ("lost", "channel-broken")
    assert outcome["settled"] is True
    assert thawed(site)


@pytest.mark.parametrize(("freeze_s", "event"), [(0.0, "held"), (1.0, "sent")])
def test_a_killed_holder_is_noticed_and_the_guest_thawed(
    site: Site, freeze_s: float, event: str
) -> None:
    site.set(freeze_s=freeze_s)
    console = site.freeze_until(event, "--hold", "60")
    (holder,) = holders_of(console.pid)
    until_true(lambda: FREEZE in site.guest["called"])
    os.kill(holder, signal.SIGKILL)
    _, told, _ = ended(console)
    assert told[-1]["settled"] is True
    assert thawed(site)
    assert "nobody would thaw" not in str(told), "another holder has reached it"


def test_a_console_killed_after_its_first_holder_is_followed_by_the_second(site: Site) -> None:
    site.set(freeze_s=1.5)
    console = site.freeze_until("sent", "--hold", "60")
    (holder,) = holders_of(console.pid)
    until_true(lambda: FREEZE in site.guest["called"])
    os.kill(holder, signal.SIGKILL)
    until_true(lambda: set(holders_of(console.pid)) - {holder})
    (second,) = set(holders_of(console.pid)) - {holder}
    await_armed(second, MemoryGuest("db1").vm)
    console.kill()
    until_true(lambda: THAW in site.guest["called"])
    until_true(lambda: thawed(site))
    await_end_of(second)


# -- what a holder can't reach is not frozen ---------------------------------------------------


@pytest.fixture
def holder() -> Iterator[HolderClient]:
    client = HolderClient()
    yield client
    client.close()


def recipe(site: Site) -> ThawRecipe:
    return ServedCalls(str(site.path), "db1", 1).thaw_recipe(MemoryGuest("db1").vm)


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ("no.such.module:calls", "No module named 'no'"),
        ("tests.faults.served_memory:nothing", "nothing"),
        ("cloud", "cloud"),
    ],
)
def test_a_recipe_that_leads_nowhere_is_refused(
    site: Site, holder: HolderClient, means: str, words: str
) -> None:
    with pytest.raises(NoHolder, match=words) as problem:
        holder.arm_by(recipe(site)._replace(means=means), 5.0)
    assert "can't reach the guest" in str(problem.value)
    assert holder.pid is not None, "it stands by for others"
    holder.arm_by(recipe(site), 5.0)


def test_a_guest_whose_server_is_away_is_refused_with_the_reason(
    site: Site, holder: HolderClient
) -> None:
    site.server.kill()
    site.server.wait()
    with pytest.raises(NoHolder, match="the hypervisor is away"):
        holder.arm_by(recipe(site), 5.0)


def test_a_holder_that_does_not_reach_the_guest_is_waited_for_with_a_bound(
    site: Site, holder: HolderClient
) -> None:
    os.kill(site.server.pid, signal.SIGSTOP)
    with pytest.raises(NoHolder, match=r"has not reached the guest within 0\.5 s"):
        holder.arm_by(recipe(site), 5.0, connect_s=0.5)
    began = time.monotonic()
    with pytest.raises(NoHolder, match="cancelled"):
        holder.arm_by(recipe(site), 5.0, connect_s=90.0, cancelled=lambda: True)
    assert time.monotonic() - began < PATIENCE_S
    os.kill(site.server.pid, signal.SIGCONT)


def test_what_a_holder_by_calls_costs(site: Site, holder: HolderClient) -> None:
    holder.arm_by(recipe(site), 5.0)
    pid = holder.pid
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    pss_kib = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    print(f"a holder by calls: {pss_kib / 1024:.1f} MiB")
    assert pss_kib < 30 * 1024
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for _ in range(20):
        holder.disarm(holder.arm_by(recipe(site), 5.0))
    assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= descriptors + 1


# -- both are dead -----------------------------------------------------------------------------


def test_what_console_and_holder_have_left_is_found_proven_and_thawed(site: Site) -> None:
    console = site.freeze_until("held", "--hold", "60")
    kill_holder_and_console(console.pid)
    time.sleep(0.5)
    assert site.guest["frozen"]
    _, told, _ = ended(site.frostwatch("list", "--json"))
    (vm,) = told
    assert (vm["freeze"]["state"], vm["freeze"]["foreign"]) == ("frozen", False)
    assert vm["freeze"]["left_by"]["pid"] == console.pid
    code, told, _ = ended(site.frostwatch("thaw", "db1", "--json"))
    assert (code, told[-1]["thawed"]) == (0, 2), "no --foreign is needed"
    assert thawed(site)
    _, told, _ = ended(site.frostwatch("history", "db1", "--json"))
    windows = [window for window in told if window.get("kind") in ("freeze", "thaw")]
    assert [window["settled"] for window in windows] == [True, True]


@pytest.mark.parametrize(("freeze_s", "event"), [(0.0, "held"), (1.0, "sent")])
def test_an_engine_finds_it_proves_it_ours_and_settles_it(
    site: Site, freeze_s: float, event: str
) -> None:
    site.set(freeze_s=freeze_s)
    console = site.freeze_until(event, "--hold", "60")
    until_true(lambda: FREEZE in site.guest["called"])
    kill_holder_and_console(console.pid)
    until_true(lambda: site.guest["frozen"])
    with Engine(backends=[ServedBackend(site.path)], journal=site.journal) as engine:
        vm = engine.find_one("db1")
        engine.visit()
        state = engine.fleet.get(vm.id)
        assert state.left_by is not None
        assert (state.freeze.state, state.freeze.foreign) == (FreezeState.FROZEN, False)
        outcome = engine.thaw(vm).wait(PATIENCE_S)
        assert isinstance(outcome, ThawOutcome)
        assert (outcome.ok, outcome.thawed) == (True, 2)
        engine.visit()
        assert engine.fleet.get(vm.id).left_by is None
        past = engine.history(vm).result(PATIENCE_S)
        assert past is not None
        assert [row.settled for row in past.windows] == [True, True]


def test_a_guest_that_was_started_anew_is_not_ours_any_more(site: Site) -> None:
    console = site.freeze_until("held", "--hold", "60")
    kill_holder_and_console(console.pid)
    time.sleep(0.2)
    site.set(start=2)  # and somebody else has frozen it
    with Engine(backends=[ServedBackend(site.path)], journal=site.journal) as engine:
        vm = engine.find_one("db1")
        engine.visit()
        state = engine.fleet.get(vm.id)
        assert (state.left_by, state.freeze.foreign) == (None, True)
        outcome = engine.thaw(vm).wait(PATIENCE_S)
        assert isinstance(outcome, ThawOutcome)
        assert outcome.refused
    assert site.guest["frozen"]
