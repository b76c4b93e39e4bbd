"""The console that shows a replay: the same parts, another clock, and keys that do nothing real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from agentclient.model.states import Level
from agentclient.replay.player import Replay
from tui.console import keymap
from tui.console.app import DRAIN_S, FrostwatchApp
from tui.console.ports import MemoryPort
from tui.console.replay.keys import PLAY, untaken, without_guests
from tui.console.replay.line import ReplayLine
from tui.console.replay.operations import NOTHING_DONE, NoOperations
from tui.shared.clocks import Clock
from tui.shared.colours import Colours
from tui.shared.glyphs import Signs
from tui.shared.key_hints import key

_VIEWS = list(untaken(keymap.VIEWS))


class ReplayApp(FrostwatchApp, inherit_bindings=False):
    """The console of a replay.

    Args:
        replay: what is played; it is begun once it is on the screen.
        signs: the set of signs to use; found out if None.
        memory: what is done about the process's memory; None leaves it alone.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        theme: the name of the theme that is set, and its colours; None for the usual one.
    """

    IS_REPLAY: ClassVar[bool] = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *PLAY,
        *without_guests(keymap.ACTIONS),
        *keymap.PAGES,
        *_VIEWS,
    ]
    HELP_GROUPS: ClassVar[keymap.Groups] = (
        ("The replay", PLAY),
        ("The view", _VIEWS),
        *(group for group in keymap.HELP if group[0] not in ("Guests", "The view")),
    )
    PLACES: ClassVar[keymap.Groups] = (("app", [*PLAY, *keymap.PAGES, *_VIEWS]), *keymap.PLACES[1:])

    def __init__(
        self,
        replay: Replay,
        *,
        signs: Signs | None = None,
        memory: MemoryPort | None = None,
        keys: Mapping[str, str] | None = None,
        theme: tuple[str, Colours] | None = None,
    ) -> None:
        self._replay = replay
        self._line = ReplayLine(replay)
        super().__init__(
            replay.fleet,
            NoOperations(replay),
            replay,
            read_only=True,  # also of keys that are not asked for here
            interval_s=0.0,
            clock=Clock(replay.monotonic, replay.wall),
            signs=signs,
            memory=memory,
            keys=keymap.besides(keys or {}, PLAY),
            theme=theme,
        )

    def lines_on_top(self) -> Iterable[Widget]:
        """Return the line that says that it is a replay."""
        return (self._line,)

    def marks_of_a_page(self) -> Iterable[Widget]:
        """Return a line for a page over the whole screen: it is of a replay, too."""
        return (ReplayLine(self._replay),)

    def on_mount(self) -> None:
        """Keep the line up to date as well."""
        super().on_mount()
        self._repeat(DRAIN_S, self._follow)

    def _follow(self) -> None:
        """Show where the replay is; it also goes on where no thread could be had for it."""
        self._replay.take_steps()
        self._line.update_line()

    def action_pause(self) -> None:
        """Stop the clock; or let it go on."""
        if self._replay.over:
            self._tell(f"it is over: b plays it again, {key('quit', 'q')} leaves")
            return
        self._replay.pause()
        self._tell("paused; space goes on" if self._replay.paused else "goes on")

    def action_speed(self, steps: int) -> None:
        """Play it faster, or slower."""
        self._replay.faster(steps)
        self._tell(f"{self._replay.speed:g} times as fast as it happened")

    def action_next_event(self) -> None:
        """Go to the next thing that happened."""
        if self._replay.next_event():
            self.drain()
            self._line.update_line()
        else:
            self._tell(f"nothing more happened: b plays it again, {key('quit', 'q')} leaves")

    def action_begin_again(self) -> None:
        """Go back to the beginning."""
        self._replay.begin_again()
        self.drain()
        self._tell("from the beginning again")

    def action_refuse(self, what: str) -> None:
        """Say that a key can do nothing here."""
        self.action_context.answer(Level.WARNING, f"{what}: {NOTHING_DONE}")

    def action_stop_console(self) -> None:
        """Stop as other programs do (Ctrl-Z); the replay goes on where it was."""
        runs = not self._replay.paused
        if runs:
            self._replay.pause()
        super().action_stop_console()
        if runs:
            self._replay.pause()

    def _tell(self, text: str) -> None:
        self._line.update_line()
        self.action_context.answer(Level.INFO, f"replay: {text}")
