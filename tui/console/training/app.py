"""The console of a scenario: a task on the screen, hints on a key, and a debrief at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.widget import Widget

from agentclient.fleet.store import Fleet
from tui.console import keymap
from tui.console.app import DRAIN_S, FrostwatchApp
from tui.console.dialogs.base import Dialog
from tui.console.ports import OperationsPort, WatcherPort
from tui.console.training.dialogs import TextDialog
from tui.console.training.line import TaskLine
from tui.console.training.watch import GuestWatch, Notebook, WatchedOperations
from tui.shared.key_hints import key
from tui.shared.tone import Line, Piece, Tone
from tui.shared.training.debrief import debrief, is_over
from tui.shared.training.diary import What
from tui.shared.training.scenario import Scenario, hint_of, reached

_KEYS: list[BindingType] = [
    Binding("i", "hint", "Hint", id="scenario.hint", tooltip="What is to be done now, and how"),
]
_EMPTY: Line = (Piece(""),)


def _with_keys_left(bindings: Iterable[BindingType]) -> Iterator[Binding]:
    """Yield the console's actions with those of their keys that the scenario has no use for."""
    taken = {one.key for one in _KEYS if isinstance(one, Binding)}
    for one in bindings:
        if isinstance(one, Binding):
            keys = [key for key in one.key.split(",") if key not in taken]
            yield replace(one, key=",".join(keys))


_PAGES = list(_with_keys_left(keymap.PAGES))


class TrainingApp(FrostwatchApp, inherit_bindings=False):
    """The console of a scenario.

    Args:
        scenario: what is played.
        notebook: where what happens is written down.
        fleet: what is known about the simulated guests.
        operations: what freezes and thaws them.
        watcher: what visits them.
        options: as the console takes them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*_KEYS, *keymap.ACTIONS, *_PAGES, *keymap.VIEWS]
    HELP_GROUPS: ClassVar[keymap.Groups] = (
        ("The scenario", _KEYS),
        *((title, _PAGES if title == "Pages" else group) for title, group in keymap.HELP),
    )
    PLACES: ClassVar[keymap.Groups] = (
        ("app", [*_KEYS, *keymap.ACTIONS, *_PAGES, *keymap.VIEWS]),
        *keymap.PLACES[1:],
    )

    def __init__(
        self,
        scenario: Scenario,
        notebook: Notebook,
        fleet: Fleet,
        operations: OperationsPort,
        watcher: WatcherPort | None,
        **options: Any,
    ) -> None:
        self._scenario = scenario
        self._notebook = notebook
        self._task_line = TaskLine(scenario, notebook.diary)
        self._guests = GuestWatch(fleet, notebook)
        self._debriefed = False
        watched = cast(OperationsPort, WatchedOperations(operations, notebook))
        keys = keymap.besides(options.get("keys") or {}, _KEYS)
        super().__init__(fleet, watched, watcher, **(options | {"drill": True, "keys": keys}))

    def lines_on_top(self) -> Iterable[Widget]:
        """Return the drill's line, and the task."""
        return (*super().lines_on_top(), self._task_line)

    def on_mount(self) -> None:
        """Tell the story, and begin."""
        super().on_mount()
        self._notebook.begin()
        self._repeat(DRAIN_S, self.follow)
        self.push_screen(TextDialog(f"scenario: {self._scenario.title}", self._story(), "Begin"))

    def follow(self) -> None:
        """Write down what has become known, and show what is to be done now."""
        self._guests.look()
        self._task_line.update_line()
        if self._debriefed or not is_over(self._scenario, self._notebook.diary):
            return
        if not isinstance(self.screen, Dialog):  # what is being asked is answered first
            self._debriefed = True
            self._notebook.end()
            self._task_line.update_line()
            self._show_debrief()

    def action_hint(self) -> None:
        """Say what is to be done now, and how; at the end show the debrief again."""
        if self._debriefed:
            self._show_debrief()
            return
        goals = self._scenario.goals
        done = min(len(reached(self._scenario, self._notebook.diary)), len(goals) - 1)
        self._notebook.note(What.HINT, "", f"asked for a hint: {goals[done].task}")
        title = f"hint: step {done + 1} of {len(goals)}"
        lines = ((Piece(goals[done].task, Tone.HEAD),), _EMPTY, (Piece(hint_of(goals[done])),))
        self.push_screen(TextDialog(title, lines))

    def _show_debrief(self) -> None:
        lines = debrief(self._scenario, self._notebook.diary, self.signs)
        self.push_screen(TextDialog(f"debrief: {self._scenario.title}", lines))

    def _story(self) -> Iterator[Line]:
        for sentence in self._scenario.story:
            yield (Piece(sentence),)
        yield _EMPTY
        yield (Piece("The line below the drill's says what is to be done now."),)
        keys, leaves = key("help", "?"), key("quit", "q")
        yield (Piece(f"i gives a hint, {keys} all keys; {leaves} leaves, and tells how you did."),)
