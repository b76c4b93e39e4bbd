"""The line below the drill's: what is to be done now."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from tui.console.widgets.toned import Toned
from tui.shared.fit import fit
from tui.shared.key_hints import key
from tui.shared.tone import Tone
from tui.shared.training.debrief import is_over
from tui.shared.training.diary import Diary
from tui.shared.training.scenario import Scenario, reached

HINT_KEY = "i: hint"


class TaskLine(Toned):
    """Says what is to be done now, and which step of how many that is.

    Args:
        scenario: what is played.
        diary: what has happened so far.
    """

    DEFAULT_CSS = """
    TaskLine { height: 1; background: $panel; }
    """

    def __init__(self, scenario: Scenario, diary: Diary) -> None:
        super().__init__(id="task")
        self._scenario = scenario
        self._diary = diary
        self._shown = ""

    def update_line(self) -> None:
        """Show what is to be done now."""
        text = self.text
        if text != self._shown:
            self._shown = text
            self.refresh()

    @property
    def text(self) -> str:
        """What the line says."""
        goals, done = self._scenario.goals, len(reached(self._scenario, self._diary))
        if done == len(goals):
            leaves = key("quit", "q")
            return f" TASK {self._scenario.name}: done: i shows the debrief, {leaves} leaves"
        return f" TASK {done + 1}/{len(goals)}: {goals[done].task}"

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        base, width = self.base_style, self.size.width
        tail = "" if is_over(self._scenario, self._diary) else f"{HINT_KEY} "
        room = width - len(tail)
        style = base + self.tone_style(Tone.HEAD)
        dim = base + self.tone_style(Tone.DIM)
        return Strip([Segment(fit(self.text, room), style), Segment(tail, dim)])
