"""The keys that change the colours, at once and for the next time."""

from __future__ import annotations

from textual.reactive import Reactive
from textual.theme import Theme

from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.states import Level
from tui.console.theme import BEGINNING, theme_of
from tui.console.view_keys import ViewKeysApp
from tui.console.widgets.toned import Toned
from tui.shared.colours import THEMES, USUAL, Colours
from tui.shared.fit import safe

_FILES = "tui.shared.theme_file"


class ThemeKeysApp(ViewKeysApp):
    """An app whose colours can be changed.

    Args:
        theme_name: what the theme is called that it begins with.
        colours: that theme's.

    Attributes:
        theme_name: what the theme of now is called.
        theme_chosen: the operator has chosen it in this console.
    """

    theme = Reactive(BEGINNING)  # from the beginning: to set one styles everything anew
    theme_chosen = False

    def __init__(self, theme_name: str, colours: Colours) -> None:
        self.theme_name = theme_name
        # Textual looks it up before one could be registered.
        self._made = {BEGINNING: theme_of(BEGINNING, colours)}
        super().__init__()

    def on_mount(self) -> None:
        """Paint what draws its own lines anew with each other theme."""
        self.theme_changed_signal.subscribe(self, self._paint_anew)

    def _paint_anew(self, _theme: Theme) -> None:
        """Let go of the tones' styles: where two themes differ in these alone nobody else does."""
        for screen in self.screen_stack:
            # A query by the class finds none that is a scroll view first.
            for widget in screen.walk_children(with_self=False):
                if isinstance(widget, Toned):
                    widget.notify_style_update()
                    widget.refresh()

    def get_theme(self, theme_name: str) -> Theme | None:
        """Return a theme by Textual's name for it."""
        return self._made.get(theme_name) or super().get_theme(theme_name)

    @staticmethod
    def find_theme(name: str) -> Colours:
        """Return a theme's colours.

        Raises:
            BadInput: there is none of that name, or it can't be used.
        """
        found: Colours = load(_FILES, "find")(name)
        return found

    def theme_names(self) -> tuple[str, ...]:
        """Return the names of all themes, also of people's own."""
        return (*THEMES, *load(_FILES, "own_themes")())

    def action_next_theme(self) -> None:
        """Go to the next theme, round and round."""
        names = self.theme_names()
        at = names.index(self.theme_name) if self.theme_name in names else -1
        self.action_theme(names[(at + 1) % len(names)])

    def action_theme(self, name: str = USUAL) -> None:
        """Take a theme's colours; one that can't be used is told, and changes nothing."""
        try:
            colours = self.find_theme(name)
        except BadInput as problem:
            self.action_context.answer(Level.WARNING, safe(str(problem), 400))
            return
        made = theme_of(f"{BEGINNING}-{name}", colours)
        self.register_theme(made)
        self.theme_name, self.theme, self.theme_chosen = name, made.name, True
        self.action_context.answer(Level.INFO, f"the colours are those of the theme {name}")
