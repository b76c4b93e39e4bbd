"""Explains what is true of one VM: each state, outcome and piece of evidence, with a paragraph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, cast

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from agentclient.model.explanation.present import Present, present
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import DRILL_SOURCE
from tui.console.actions.context import ActionContext
from tui.console.model.present_words import choice, commands, paragraph, plain_text
from tui.console.pages.base import LEAST_ROOM, Page
from tui.console.widgets.choices import Choices
from tui.console.widgets.lines import LinesView
from tui.console.widgets.pane.facts import identity
from tui.shared.tone import Line, hanging

_ROOMY = 110  # cells; on fewer the list is narrow
_BESIDE = 60  # cells; on fewer the paragraph stands below the list
_TALL = 30  # lines; on fewer nothing is left empty


class _Words(Choices, inherit_bindings=False):
    """The words; they are few, so that a screenful more is one of the paragraph."""

    BINDINGS: ClassVar[list[BindingType]] = [
        each
        for each in Choices.BINDINGS
        if isinstance(each, Binding) and not each.action.startswith("page")
    ]


class ExplainPage(Page):
    """What is true of one VM at the left, what the chosen word means at the right.

    Args:
        context: what is shared by all actions.
        state: the VM of the key press; the page stays with it.
    """

    DEFAULT_CSS = """
    ExplainPage #explain { height: 1fr; }
    ExplainPage #words { width: 31; }
    ExplainPage #paragraph { width: 1fr; padding: 0 1; border-left: solid $panel; }
    ExplainPage.-roomy #words { width: 38; }
    ExplainPage.-narrow #explain { layout: vertical; }
    ExplainPage.-narrow #words { width: 1fr; height: 1fr; }
    ExplainPage.-narrow #paragraph { width: 1fr; height: 2fr; border-left: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup,ctrl+b", "scroll(-1)", "Up", show=False, id="explain.page_up"),
        Binding("pagedown,ctrl+f", "scroll(1)", "More", key_display="PgDn", id="explain.page_down"),
        Binding("y", "copy_text", "Copy", id="explain.copy", tooltip="Copy all that is said"),
        *(
            Binding(
                str(number), f"copy_command({number})", "Copy a command", show=False,
                id=f"explain.command_{number}",
            )
            for number in range(1, 10)
        ),
    ]  # fmt: skip

    def __init__(self, context: ActionContext, state: VmState) -> None:
        super().__init__(context, drill=state.vm.source == DRILL_SOURCE)
        self._state = state
        self._words = _Words(context.signs, id="words")
        self._paragraph = LinesView(id="paragraph")
        self._paragraph.can_focus = False  # the keys are the list's
        self._found: tuple[Present, ...] = ()
        self._shown: Present | None = None

    def parts(self) -> Iterable[Widget]:
        """Return the list, and the paragraph beside it."""
        return (Horizontal(self._words, self._paragraph, id="explain"),)

    def on_mount(self) -> None:
        """Begin with the most urgent word."""
        super().on_mount()
        self._words.focus()

    def update_page(self) -> None:
        """Show what is true now; the chosen word stays chosen as long as it is."""
        self._state = self.state_now(self._state)
        found = present(self._state)
        if found != self._found:
            chosen = self._place_in(found)
            self._found = found
            lines = [self._choice(number) for number in range(len(found))]
            self._words.show(len(lines), lines.__getitem__, chosen, self._key)
        self._show_paragraph()
        title = f"{identity(self._state, self.shared.signs)}: what it means"
        self.title_is(title, self.whether_gone)

    def _place_in(self, found: tuple[Present, ...]) -> int:
        if not self._found:
            return 0
        before = self._found[self._words.cursor].explanation
        same = [
            number
            for number, one in enumerate(found)
            if (one.explanation.topic, one.explanation.word) == (before.topic, before.word)
        ]
        return same[0] if same else 0

    def _choice(self, number: int) -> Line:
        topics = [one.explanation.topic for one in self._found[: number + 1]]
        first = topics.index(topics[-1]) == number
        return choice(self._found[number], self.shared.signs, first=first)

    def _key(self, number: int) -> tuple[str, str]:
        said = self._found[number].explanation
        return said.topic, said.word

    @property
    def _chosen(self) -> Present | None:
        """The word that has the cursor; None if none could be shown."""
        return self._found[self._words.cursor] if self._found else None

    @on(Choices.Moved)
    def _show_paragraph(self) -> None:
        """Show what the chosen word means, from its beginning."""
        chosen, room = self._chosen, max(self._paragraph.room - 2, LEAST_ROOM)
        if chosen is None:
            return
        roomy = self.app.size.height >= _TALL
        lines = [
            each
            for line in paragraph(
                chosen,
                self._state.vm,
                self.shared.signs,
                roomy=roomy,
                sending=self.shared.sending,
            )
            for each in hanging(line, room)
        ]
        if self._shown is None or self._shown.explanation != chosen.explanation:
            self._paragraph.scroll_home(animate=False)
        self._shown = chosen
        self._paragraph.show_lines(lines)

    def on_resize(self) -> None:
        """Break the paragraph anew for another width."""
        self.set_class(self.app.size.width >= _ROOMY, "-roomy")
        self.set_class(self.app.size.width < _BESIDE, "-narrow")
        self.call_after_refresh(self.update_safely)

    def action_scroll(self, pages: int) -> None:
        """Scroll the paragraph."""
        view = self._paragraph
        (view.scroll_page_down if pages > 0 else view.scroll_page_up)(animate=False)

    def action_copy_text(self) -> None:
        """Copy all that is said about the word."""
        chosen = self._chosen
        if chosen is not None:
            what = f"the paragraph on {chosen.explanation.word}"
            self.copy(plain_text(chosen, self._state.vm), what)

    @on(LinesView.Clicked)
    def _command_clicked(self, event: LinesView.Clicked) -> None:
        """Copy the command that was clicked, as its digit does."""
        event.stop()
        number, command = cast("tuple[int, str]", event.row)
        self._copy_command(command, number)

    def action_copy_command(self, number: int) -> None:
        """Copy a command, by its number."""
        chosen = self._chosen
        found = commands(chosen, self._state.vm) if chosen is not None else ()
        if number <= len(found):
            self._copy_command(found[number - 1].command, number)
        else:
            self.say(Level.INFO, f"there is no command {number} for this word")

    def _copy_command(self, command: str, number: int) -> None:
        self.copy(command, f"command {number}")
