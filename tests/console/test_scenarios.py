"""The drill's scenarios, played through by keys alone: in the right way, and in a wrong one.

Real sockets, the real watcher and operations, and simulated guests whose own time runs fast.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from textual.pilot import Pilot

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backends
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.processes import Drill
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState
from tests.console.console_session import SMALL
from tests.drilled import Ready
from tui.console.training.app import TrainingApp
from tui.console.training.watch import Notebook
from tui.console.widgets.status import DRILL
from tui.shared.glyphs import Signs
from tui.shared.training.catalogue import SCENARIOS
from tui.shared.training.debrief import as_text, debrief, is_over, marks, went_well
from tui.shared.training.diary import What
from tui.shared.training.scenario import Scenario

SPEED = 10.0
PATIENCE_S = 90.0


@dataclass
class Trainee:
    """A person in front of a scenario."""

    app: TrainingApp
    pilot: Pilot[Any]
    fleet: Fleet
    scenario: Scenario
    notebook: Notebook

    async def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"in vain:\n{self.screen}\n{self.notebook.diary}"
            await self.pilot.pause(0.1)

    async def begin(self) -> None:
        """Read the story, and begin when all guests are known."""
        await self.until(lambda: self.dialog == "TextDialog")
        await self.pilot.press("enter")
        await self.until(lambda: not self.dialog)
        known = (AgentState.ALIVE, AgentState.BUSY)
        await self.until(lambda: all(one.agent.state in known for one in self.fleet.states()))

    async def choose(self, name: str) -> None:
        """Put the cursor on a guest."""
        await self.pilot.press("escape", "slash", *name, "enter")
        await self.until(lambda: self.app.view.cursor == self.state(name).id)

    async def freeze(self, name: str, hold: str = "") -> None:
        await self.choose(name)
        await self.pilot.press("f")
        await self.until(lambda: self.dialog == "FreezeDialog")
        await self.pilot.press(*hold, "enter")
        await self.until(lambda: self.dialog != "FreezeDialog")  # the debrief may follow at once

    async def thaw_foreign(self, name: str) -> None:
        await self.choose(name)
        await self.pilot.press("t")
        await self.until(lambda: self.dialog == "ThawDialog")
        await self.pilot.press("tab", "enter")
        await self.until(lambda: self.dialog != "ThawDialog")

    async def rung(self, name: str, title: str, *then: str) -> None:
        """Take a rung of the rescue ladder by its name on the screen."""
        await self.choose(name)
        await self.pilot.press("R")
        await self.until(lambda: self.dialog == "RescueDialog" and title in self.screen)
        for _ in range(8):
            if self.chosen_rung(title):
                break
            await self.pilot.press("up")
        await self.pilot.press("enter", *then)
        await self.until(lambda: self.dialog != "RescueDialog")

    def chosen_rung(self, title: str) -> bool:
        line = next(one for one in self.screen.splitlines() if f" {title} " in one)
        # The table beside the dialog has a cursor as well.
        return self.app.signs.cursor in line.partition(title)[0][-8:]

    def has(self, what: What, vm: str) -> bool:
        return self.notebook.diary.first(what, vm) is not None

    async def debriefed(self) -> str:
        """Wait for the debrief, and return it as text."""
        await self.until(lambda: self.dialog == "TextDialog" and "debrief" in self.screen)
        return self.told

    @property
    def told(self) -> str:
        lines = debrief(self.scenario, self.notebook.diary, Signs())
        return "\n".join(as_text(lines))

    def state(self, name: str) -> VmState:
        return self.fleet.find(name)

    @property
    def dialog(self) -> str:
        name = type(self.app.screen).__name__
        return name if name.endswith("Dialog") else ""

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def screen(self) -> str:
        return "\n".join(self.lines)


@asynccontextmanager
async def playing(
    name: str,
    size: tuple[int, int] = SMALL,
    signs: Signs | None = None,
    keys: Mapping[str, str] | None = None,
) -> AsyncIterator[Trainee]:
    scenario, notebook = SCENARIOS[name], Notebook()
    with Drill(scenario.guests, speed=SPEED) as drill:
        backend = DrillBackend(drill)
        fleet, accesses = Fleet(), AccessPool(Backends([backend]))
        watcher = Watcher(fleet, accesses, [backend], port_interval_s=0.3, agent_interval_s=0.5)
        operations = Ready(fleet, accesses)
        app = TrainingApp(
            scenario, notebook, fleet, operations, watcher, read_only=False, interval_s=15.0,
            signs=signs or Signs(), keys=keys,
        )  # fmt: skip
        try:
            watcher.list_first()
            async with app.run_test(size=size) as pilot:
                yield Trainee(app, pilot, fleet, scenario, notebook)
        finally:
            operations.stop(2.0)
            watcher.stop()
            accesses.close()


# -- lost ------------------------------------------------------------------------------------------


async def test_lost_played_right() -> None:
    async with playing("lost") as one:
        await one.begin()
        await one.freeze("db1")
        await one.until(lambda: one.has(What.LOST, "db1"))
        await one.until(lambda: "TASK 3/4" in one.screen)
        await one.until(lambda: one.has(What.ENDED, "db1"))
        await one.until(lambda: "TASK 4/4" in one.screen)
        await one.freeze("db1", "2")
        said = await one.debriefed()
        assert "all of it was right" in said
        assert went_well(one.scenario, one.notebook.diary)
        await one.pilot.press("escape")
        await one.until(lambda: "i shows the debrief, q leaves" in one.screen)
        assert "i: hint" not in one.screen


async def test_lost_played_wrong() -> None:
    async with playing("lost") as one:
        await one.begin()
        await one.freeze("web1")
        await one.freeze("db1")
        await one.until(lambda: one.has(What.LOST, "db1"))
        await one.pilot.press("q")
        await one.until(lambda: one.dialog == "QuitDialog")
        one.notebook.end()
        assert not is_over(one.scenario, one.notebook.diary)
        assert "you froze web1, which nobody had asked for" in one.told
        assert "you left before this was done: its answer is lost" in one.told
        assert "left before its end" in one.told


# -- half-frozen -----------------------------------------------------------------------------------


async def test_half_frozen_played_right() -> None:
    async with playing("half-frozen") as one:
        await one.begin()
        await one.freeze("mail1")
        await one.until(lambda: one.has(What.ENDED, "mail1"))
        await one.until(lambda: "TASK 4/4" in one.screen)
        await one.freeze("mail1", "2")
        said = await one.debriefed()
        assert "mail1: partial" in said
        assert "all of it was right" in said


async def test_half_frozen_played_wrong() -> None:
    async with playing("half-frozen") as one:
        await one.begin()
        await one.freeze("mail1")
        await one.until(lambda: one.has(What.ENDED, "mail1"))
        await one.pilot.press("escape", "q")
        await one.until(lambda: not one.app.is_running)
        one.notebook.end()
        assert "you left with a partial freeze" in one.told
        assert not went_well(one.scenario, one.notebook.diary)


# -- foreign ---------------------------------------------------------------------------------------


@pytest.fixture
def soon_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others froze was left sooner: the console's own time does not run faster."""
    monkeypatch.setattr("agentclient.fleet.others_left.LEFT_S", 4.0)


@pytest.mark.usefixtures("soon_left")
async def test_foreign_played_right() -> None:
    async with playing("foreign") as one:
        await one.begin()
        await one.until(lambda: one.has(What.OVERDUE, "git1"))
        await one.until(lambda: "TASK 3/4" in one.screen)
        await one.thaw_foreign("git1")
        said = await one.debriefed()
        assert "git1 is frozen by others" in said
        assert "all of it was right" in said


async def test_foreign_played_wrong() -> None:
    async with playing("foreign") as one:
        await one.begin()
        await one.until(lambda: one.has(What.FOREIGN, "app1"))
        await one.thaw_foreign("app1")
        await one.until(lambda: one.has(What.FOREIGN, "git1"))
        await one.thaw_foreign("git1")
        await one.until(lambda: one.state("git1").freeze.state is FreezeState.THAWED)
        one.notebook.end()
        bad = [mark.text for mark in marks(one.scenario, one.notebook.diary) if not mark.good]
        assert any("whose backup was at work" in text for text in bad)
        assert any("that was a guess" in text for text in bad)


# -- hung ------------------------------------------------------------------------------------------


async def test_hung_played_right() -> None:
    async with playing("hung") as one:
        await one.begin()
        await one.freeze("files1", "10")
        await one.until(lambda: one.has(What.THAW_SENT, "files1"))
        await one.rung("files1", "sysrq by key")
        said = await one.debriefed()
        assert "took the rung sysrq on files1" in said
        assert "you went round the agent" in said
        assert "all of it was right" in said


async def test_hung_played_wrong() -> None:
    async with playing("hung") as one:
        await one.begin()
        await one.freeze("files1", "10")
        await one.until(lambda: one.has(What.THAW_SENT, "files1"))
        await one.rung("files1", "reset")
        await one.until(lambda: one.dialog == "NameDialog")
        await one.pilot.press(*"files1", "enter")
        await one.until(lambda: one.has(What.RUNG_RESET, "files1"))
        said = await one.debriefed()
        assert "you reset files1: all that ran in it is lost" in said
        assert "1 to do better" in said


# -- the screen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)], ids=["80x24", "120x40", "200x60"])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
async def test_the_task_stands_below_the_drills_line_and_i_gives_a_hint(
    size: tuple[int, int], ascii_only: bool
) -> None:
    async with playing("lost", size, Signs(ascii=ascii_only)) as one:
        await one.begin()
        top, task, header, *_ = one.lines
        assert top == DRILL.ljust(size[0])
        assert task == " TASK 1/4: freeze db1".ljust(size[0] - 8) + "i: hint "
        assert "3 VMs" in header
        await one.pilot.press("i")
        await one.until(lambda: "hint: step 1 of 4" in one.screen)
        assert "press f" in one.screen
        if ascii_only:
            assert one.screen.isascii()
        await one.pilot.press("escape", "question_mark")
        await one.until(lambda: one.dialog == "HelpDialog")
        assert one.has(What.HINT, "")


async def test_i_is_the_hint_whatever_keys_are_set() -> None:
    """The line names it, and somebody who wants a hint freezes nothing."""
    async with playing("lost", keys={"freeze": "i", "explain": "f2"}) as one:
        await one.begin()
        await one.pilot.press("i")
        await one.until(lambda: "hint: step 1 of 4" in one.screen)
        await one.pilot.press("escape")
        await one.until(lambda: one.dialog == "")
        await one.pilot.press("f")  # its usual key: the one that is set is taken
        await one.until(lambda: one.dialog == "FreezeDialog")


async def test_help_and_palette_name_the_hint_and_what_explains_by_keys_of_their_own() -> None:
    async with playing("lost", (120, 60)) as one:
        await one.begin()
        await one.pilot.press("question_mark", "slash", *"mean")
        await one.until(lambda: "What this VM's states" in one.screen)
        line = next(line for line in one.lines if "What this VM's states" in line)
        assert line.partition("What this")[0].split()[-1] == "F2"
        await one.pilot.press("escape", "escape", "colon", *"hint")
        await one.until(lambda: "What is to be done now, and how" in one.screen)
        await one.pilot.press("enter")
        await one.until(lambda: "hint: step 1 of 4" in one.screen)
        await one.pilot.press("escape", "f2")
        await one.until(lambda: "what it means" in one.screen)
