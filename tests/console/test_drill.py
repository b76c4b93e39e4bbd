"""Every behaviour of the drill, frozen through the console by real keys, to its right verdict.

All at once, in one console: real sockets, the real watcher and operations, and guests whose own
time runs fast.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from textual.pilot import Pilot

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backends
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.plan import plan
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import PLAYED, Trouble
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.others_freeze import OthersFreeze, doer, others_freeze
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    EvidenceResult,
    FreezeState,
    OutcomeKind,
    Refusal,
)
from tests.console.console_session import LARGE, SMALL
from tests.console.idle import patch_idle_wait
from tests.drilled import Ready, drill_of
from tui.console.app import FrostwatchApp
from tui.console.widgets.status import DRILL, DrillLine
from tui.shared.glyphs import Signs

SPEED = 10.0
PATIENCE_S = 60.0


@dataclass
class Console:
    """A person in front of a drill."""

    app: FrostwatchApp
    pilot: Pilot[Any]
    fleet: Fleet

    async def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"in vain:\n{self.screen}"
            await self.pilot.pause(0.05)

    async def choose(self, name: str) -> None:
        """Put the cursor on a VM, as a person who knows its name."""
        await self.pilot.press("escape", "slash")
        await self.pilot.press(*[_KEYS.get(key, key) for key in name])
        await self.pilot.press("enter")
        await self.until(lambda: self.app.view.cursor == self.state(name).id)

    async def freeze(self, name: str) -> None:
        """Choose, ask, confirm."""
        await self.choose(name)
        await self.pilot.press("f")
        await self.until(lambda: name in self.screen and self.dialog == "FreezeDialog")
        await self.pilot.press("enter")
        await self.until(lambda: not self.dialog)

    def state(self, name: str) -> VmState:
        return self.fleet.find(name)

    @property
    def dialog(self) -> str:
        name = type(self.app.screen).__name__
        return name if name.endswith("Dialog") else ""

    @property
    def screen(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)


_KEYS = {"-": "minus", "[": "left_square_bracket", "/": "slash", "]": "right_square_bracket"}


@asynccontextmanager
async def sitting(
    drill: Drill, size: tuple[int, int] = LARGE, signs: Signs | None = None
) -> AsyncIterator[Console]:
    """Open the console on a drill, as `frostwatch --drill` does."""
    with drill:
        backend = DrillBackend(drill)
        fleet, accesses = Fleet(), AccessPool(Backends([backend]))
        watcher = Watcher(fleet, accesses, [backend], port_interval_s=0.5)
        operations = Ready(fleet, accesses)
        app = FrostwatchApp(
            fleet, operations, watcher, read_only=False, interval_s=15.0, signs=signs, drill=True
        )
        try:
            watcher.list_first()  # the console starts it
            async with app.run_test(size=size) as pilot:
                console = Console(app, pilot, fleet)
                await console.until(lambda: len(app.view.rows) == len(drill.guests))
                yield console
        finally:
            operations.stop(2.0)
            watcher.stop()
            accesses.close()


# -- what comes of each freeze ------------------------------------------------------------------


@dataclass
class Played:
    """What was seen of the freeze of each guest."""

    before: dict[str, VmState] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    thaw: str = ""


@pytest.fixture(scope="module")
def played() -> Played:
    """Freeze all of them in one console."""
    with pytest.MonkeyPatch.context() as patch:
        patch_idle_wait(patch)  # as for each test here
        return asyncio.run(play())


async def play() -> Played:
    names = {name_of(trouble): trouble for trouble in PLAYED}
    result = Played()
    async with sitting(drill_of(names, speed=SPEED)) as console:
        known = (AgentState.ALIVE, AgentState.SILENT, AgentState.BUSY)
        await console.until(lambda: all(s.agent.state in known for s in console.fleet.states()))
        stuck, left = name_of(Trouble.BACKUP_STUCK), name_of(Trouble.BACKUP_LEFT)
        await console.until(lambda: others_freeze(console.state(stuck)) is OthersFreeze.PENDING)
        await console.until(lambda: "vzdump" in str(doer(console.state(stuck))))
        await console.until(lambda: console.state(left).freeze.foreign)
        result.before = {name: console.state(name) for name in names}
        for name in names:
            await console.freeze(name)
        await console.until(lambda: all(console.state(name).last for name in names))
        for name in names:
            await console.choose(name)
            await console.pilot.pause(0.3)
            result.details[name] = console.screen
            result.logs[name] = log_of(console, name)
            last = console.state(name).last
            assert last is not None
            result.outcomes[name] = last
        await console.choose(name_of(Trouble.FOREIGN))
        await console.pilot.press("t")
        await console.until(lambda: console.dialog == "ThawDialog")
        await console.pilot.press("tab", "enter")
        foreign = name_of(Trouble.FOREIGN)
        await console.until(lambda: console.state(foreign).freeze.state is FreezeState.THAWED)
        result.thaw = log_of(console, foreign)
    return result


def log_of(console: Console, name: str) -> str:
    return "\n".join(line.text for line in console.fleet.log_since(console.state(name).id))


def name_of(trouble: Trouble) -> str:
    return "db[/]1" if trouble is Trouble.HOSTILE else f"vm-{trouble}"


def evidence(outcome: Outcome) -> dict[str, EvidenceResult]:
    return {str(piece.name): piece.result for piece in outcome.evidence}


@pytest.mark.parametrize("trouble", [Trouble.FAST, Trouble.SLOW_FLUSH, Trouble.SLOW_HOOK])
def test_it_is_certified(played: Played, trouble: Trouble) -> None:
    outcome = played.outcomes[name_of(trouble)]
    assert (outcome.kind, outcome.certified, outcome.settled) == (OutcomeKind.VERIFIED, True, True)
    assert (outcome.frozen, outcome.thawed, outcome.coverage) == (2, 2, "2 of 2")
    assert "certified" in played.details[name_of(trouble)]


def test_slow_ones_take_their_time(played: Played) -> None:
    assert played.outcomes[name_of(Trouble.SLOW_HOOK)].seconds > 25 / SPEED
    assert played.outcomes[name_of(Trouble.SLOW_FLUSH)].seconds > 40 / SPEED


def test_what_is_not_covered_is_named(played: Played) -> None:
    outcome = played.outcomes[name_of(Trouble.NOT_COVERED)]
    assert (outcome.kind, outcome.certified) == (OutcomeKind.VERIFIED, True)
    assert (outcome.frozen, outcome.coverage) == (2, "2 of 3")
    assert [one.mountpoint for one in outcome.not_covered] == ["/boot/efi"]
    assert "/boot/efi" in played.details[name_of(Trouble.NOT_COVERED)]


def test_a_lost_freeze_has_its_cause_and_is_thawed_by_the_next_agent(played: Played) -> None:
    name = name_of(Trouble.LOST)
    outcome = played.outcomes[name]
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert evidence(outcome)["port"] is EvidenceResult.AGAINST
    log = played.logs[name]
    assert "no answer will come (agent-gone)" in log
    assert log.index("no answer will come") < log.index("an agent is there again")
    # It was known at once: the agent itself was gone for 30 s of the guest's time.
    assert outcome.seconds > 30 / SPEED


def test_a_restart_at_once_is_seen_all_the_same(played: Played) -> None:
    outcome = played.outcomes[name_of(Trouble.RESPAWNED)]
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)


def test_a_reset_is_perhaps_the_cause(played: Played) -> None:
    outcome = played.outcomes[name_of(Trouble.RESET)]
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.UNKNOWN)
    assert "perhaps with its whole guest" in outcome.reason
    assert (outcome.thawed, outcome.settled) == (0, True)


def test_half_frozen_is_partial_whatever_the_next_agent_says(played: Played) -> None:
    outcome = played.outcomes[name_of(Trouble.HALF_FROZEN)]
    assert outcome.kind is OutcomeKind.PARTIAL
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 1, True)
    assert "says frozen" in outcome.reason


@pytest.mark.parametrize(
    ("trouble", "refusal", "before", "words"),
    [
        (Trouble.SILENT, Refusal.SILENT, AgentState.SILENT, "not answered"),
        (Trouble.BUSY, Refusal.BUSY, AgentState.BUSY, "another client"),
        (Trouble.FOREIGN, Refusal.ALREADY_FROZEN, AgentState.ALIVE, "foreign"),
        (Trouble.BACKUP_STUCK, Refusal.BUSY, AgentState.BUSY, "another client"),
        (Trouble.BACKUP_LOST, Refusal.BUSY, AgentState.BUSY, "another client"),
        (Trouble.BACKUP_LEFT, Refusal.ALREADY_FROZEN, AgentState.ALIVE, "foreign"),
    ],
)
def test_it_is_refused_and_says_why(
    played: Played, trouble: Trouble, refusal: Refusal, before: AgentState, words: str
) -> None:
    outcome = played.outcomes[name_of(trouble)]
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, refusal)
    assert words in outcome.reason
    assert played.before[name_of(trouble)].agent.state is before
    assert "freeze sent" not in played.logs[name_of(trouble)]


def test_a_foreign_freeze_is_marked_and_thawed_by_a_person_alone(played: Played) -> None:
    before = played.before[name_of(Trouble.FOREIGN)].freeze
    assert (before.state, before.foreign) == (FreezeState.FROZEN, True)
    assert "thawed 2 file systems" in played.thaw


def test_what_others_do_is_told_by_its_word_and_whose_it_is(played: Played) -> None:
    stuck = played.before[name_of(Trouble.BACKUP_STUCK)]
    left = played.before[name_of(Trouble.BACKUP_LEFT)]
    assert others_freeze(stuck) is OthersFreeze.PENDING
    assert others_freeze(left) is OthersFreeze.FROZEN
    others = doer(stuck)
    assert others is not None
    assert others.by is not None
    assert others.by.in_full.startswith("Proxmox's vzdump 101 (pid ")
    assert "Proxmox's vzdump 101" in played.details[name_of(Trouble.BACKUP_STUCK)]


def test_a_failing_hook_is_an_error_and_is_thawed(played: Played) -> None:
    outcome = played.outcomes[name_of(Trouble.FAILING_HOOK)]
    assert outcome.kind is OutcomeKind.FAILED
    assert "hook has failed with status 1" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)


def test_hostile_words_are_shown_as_they_are(played: Played) -> None:
    outcome = played.outcomes["db[/]1"]
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, True)
    assert "\\x1b[2J" in outcome.reason
    assert "\\x1b[2J" in played.details["db[/]1"]
    assert "\x1b" not in played.details["db[/]1"]


def test_every_behaviour_was_played(played: Played) -> None:
    assert set(played.outcomes) == {name_of(trouble) for trouble in PLAYED}


# -- the line that says so ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
async def test_a_line_across_the_top_says_that_it_is_a_drill(
    size: tuple[int, int], ascii_only: bool
) -> None:
    async with sitting(Drill(plan(13)), size, Signs(ascii=ascii_only)) as console:
        top, second, *_ = console.screen.splitlines()
        assert top == DRILL.ljust(size[0])
        assert "13 VMs" in second
        assert top.isascii()
        strip = console.app.screen._compositor.render_strips()[0]
        assert all(segment.style and segment.style.reverse for segment in strip)


async def test_the_real_console_has_no_such_line() -> None:
    app = FrostwatchApp(Fleet(), Ready(Fleet(), AccessPool()), None, read_only=False, interval_s=15)
    async with app.run_test(size=SMALL):
        assert not app.query(DrillLine)


async def test_guests_that_end_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentclient.fleet.watcher.SOURCES_EVERY_S", 0.2)
    drill = drill_of({"vm-a": Trouble.FAST})
    async with sitting(drill, SMALL) as console:
        drill.stop()
        await console.until(lambda: "a process of the drill has ended" in console.screen)
