"""A console that begins as the last one was left, and keeps how the operator looks at the fleet."""

from __future__ import annotations

from agentclient.model.errors import BadInput
from agentclient.model.states import Level
from tui.console.kept import Keeper
from tui.console.model.filter import Filter
from tui.console.model.kept_view import USUAL, KeptView, changed, from_values
from tui.console.model.order import Order
from tui.console.theme_keys import ThemeKeysApp
from tui.console.widgets.table.columns import COLUMNS, Column
from tui.shared.colours import THEMES, Colours
from tui.shared.colours import USUAL as USUAL_THEME
from tui.shared.fit import safe


class KeptViewApp(ThemeKeysApp):
    """An app that looks as the last console did.

    Args:
        keeper: what was kept, and what keeps; None for nothing.
        theme: a theme's name and its colours, which are stronger than those of the last console.
        drill: the guests are simulated: no filter of theirs is kept, nor one of real ones used.
    """

    def __init__(
        self, keeper: Keeper | None, theme: tuple[str, Colours] | None, *, drill: bool
    ) -> None:
        self._keeper = keeper
        self._keeps_filter = not drill
        self._kept = from_values(keeper.values) if keeper is not None else USUAL
        self._theme_problem = ""
        super().__init__(*(theme or self._last_theme()))

    def _last_theme(self) -> tuple[str, Colours]:
        """Return the theme of the last console; the usual one if that can't be used any more."""
        name = self._kept.theme or USUAL_THEME
        if name in THEMES:
            return name, THEMES[name]
        try:
            return name, self.find_theme(name)
        except BadInput as problem:
            self._theme_problem = str(problem)
            return USUAL_THEME, THEMES[USUAL_THEME]

    def begin_as_kept(self) -> None:
        """Look as the last console did; before anything is painted."""
        kept, parts = self._kept, self.parts
        if kept.columns:
            parts.table.columns = tuple(map(_column, kept.columns))
        parts.split = kept.split
        if (kept.sort, kept.backwards) != (USUAL.sort, USUAL.backwards):
            self.view.sort_by(Order(kept.sort), backwards=kept.backwards)
        if kept.filter and self._keeps_filter:
            self.view.filter_by(Filter(kept.filter))
            parts.filter_line.show(kept.filter)
            parts.keep_filter()
            text = f"filtered as you left it: {safe(kept.filter, 100)}; Esc shows all"
            self.action_context.answer(Level.INFO, text)
        if self._theme_problem:
            self.warn(safe(self._theme_problem, 400))

    def keep_view(self) -> None:
        """Keep what has changed; tell once if that can't be done."""
        if self._keeper is None:
            return
        now = self._view_now()
        changes, self._kept = changed(self._kept, now), now
        self._keeper.keep(changes)
        problem = self._keeper.take_problem()
        if problem is not None:
            self.warn(safe(problem, 400))

    def _view_now(self) -> KeptView:
        view, parts, kept = self.view, self.parts, self._kept
        columns = tuple(column.id for column in parts.table.columns)
        return KeptView(
            () if parts.table.columns == COLUMNS else columns,
            view.order.value,
            view.backwards,
            view.filter.text.strip() if self._keeps_filter else kept.filter,
            self.theme_name if self.theme_chosen else kept.theme,
            parts.split,
        ).readable()


def _column(name: str) -> Column:
    return next(column for column in COLUMNS if column.id == name)
