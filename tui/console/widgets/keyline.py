"""The last line: the keys that matter, as they are bound now; a click on one presses it.

A dialog's are shown as well, but its buttons are what can be clicked.

One line of our own instead of a widget for each key: it costs a tenth to build, and it always fits.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import cast

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.strip import Strip

from tui.console.widgets.pointed import Pointed
from tui.console.widgets.toned import Toned
from tui.shared.key_names import key_name
from tui.shared.tone import Tone

# How to leave, and how to get help: of these the ones on the left stay the longest.
_NEEDED = ("page.leave", "dialog.leave", "help", "quit")


def that_fit(bindings: Sequence[Binding], width: int) -> list[Binding]:
    """Return the keys that a line has room for; how to get help and to leave goes last of all."""
    shown = list(bindings)
    dispensable = [each for each in shown if each.id not in _NEEDED]
    while dispensable and sum(map(_width, shown)) > width:
        shown.remove(dispensable.pop())
    return shown


def _width(binding: Binding) -> int:
    return len(key_name(binding.key)) + len(binding.description) + 3


class KeyLine(Toned, Pointed):
    """Shows the bindings that are meant to be shown: the app's in the order of its list first.

    Args:
        refused: the ids of those that are not shown, since this console refuses them.
    """

    DEFAULT_CSS = """
    KeyLine { height: 1; dock: bottom; background: $panel; }
    """

    def __init__(self, refused: Collection[str] = ()) -> None:
        super().__init__(id="keys")
        self._refused = refused
        self._bound_now: list[Binding] = []
        self._shown: list[Binding] = []

    def on_resize(self) -> None:
        """Show what fits now."""
        self._shown = that_fit(self._bound_now, self.size.width)
        self.refresh()

    def on_mount(self) -> None:
        """Follow what is bound to which key."""
        self.app.screen_change_signal.subscribe(self, self._follow)
        self._follow(self.app.screen)

    def _follow(self, screen: Screen[object]) -> None:
        """Show the keys of the screen that gets them: of a dialog while there is one."""
        screen.bindings_updated_signal.unsubscribe(self)  # a screen comes back after its dialogs
        screen.bindings_updated_signal.subscribe(self, self._bound)
        self.update_keys()

    def _bound(self, _screen: Screen[object]) -> None:
        self.update_keys()

    def update_keys(self) -> None:
        """Show the keys as they are bound now, by a keymap perhaps."""
        active = [each.binding for each in self.app.screen.active_bindings.values()]
        found: dict[str, Binding] = {}
        for binding in active:
            if binding.id is None or binding.id in self._refused:
                continue
            if binding.show and binding.description:
                found.setdefault(binding.id, binding)
        wanted = [each.id for each in self.app.BINDINGS if isinstance(each, Binding) and each.id]
        own = [name for name in found if name not in wanted]  # of the widget with the focus
        self._bound_now = [found[name] for name in (*wanted, *own) if name in found]
        shown = that_fit(self._bound_now, self.size.width or 80)
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        base = self.base_style
        segments: list[Segment] = []
        for binding in self._shown:
            name = f" {key_name(binding.key)} "
            segments.append(Segment(name, base + self.tone_style(Tone.WARN)))
            segments.append(Segment(f"{binding.description} ", base))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def row_at(self, event: events.MouseEvent) -> Hashable:
        """Return the key under the mouse, and what it does."""
        end = 0
        for binding in self._shown:
            end += _width(binding)
            if event.x < end:
                return binding.key, binding.id
        return None

    def clicked(self, row: Hashable, event: events.Click) -> None:
        """Press the key that was clicked."""
        del event
        key, _ = cast("tuple[str, str]", row)
        self.app.simulate_key(key)
