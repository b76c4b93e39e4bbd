"""A line to type words in, for the filter and for a search; it is hidden while nobody types."""

from __future__ import annotations

from textual import events, on
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static


class _PromptInput(Input):
    """An input that passes on the keys that come after Enter.

    Keys that come together (over a slow line, or pasted) reach it before Enter has moved the focus:
    ``/web1``, Enter, ``f`` asks for a freeze of web1, and does not search for *web1f*. Which key
    goes where is a safety rule, so that it uses Textual's public names alone.
    """

    _entered = False

    def on_key(self, event: events.Key) -> None:
        """Hand a key on behind Enter; `Input` takes it otherwise."""
        if self._entered:
            event.stop()
            event.prevent_default()
            self.app.post_message(events.Key(event.key, event.character))
            return
        self._entered = event.key == "enter"

    def on_focus(self) -> None:
        """Begin anew."""
        self._entered = False


class PromptLine(Horizontal):
    """A line to type in. Each letter is told at once; Enter goes back to what it is about.

    Args:
        hint: what is shown while nothing has been typed.
        id: the line's name; its input has the same with ``-input`` behind it.
    """

    DEFAULT_CSS = """
    PromptLine {
        display: none;
        height: 1;
        background: $panel;
        padding: 0 1;
        &.-open { display: block; }
        Static { width: 2; color: $warning; text-style: bold; }
        Input { width: 1fr; background: $panel; }
        .-told {
            width: auto;
            max-width: 75%;
            padding: 0 0 0 2;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
    }
    """

    class Changed(Message):
        """Something else has been typed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Kept(Message):
        """The operator has typed what was wanted, and goes on."""

    def __init__(self, hint: str, *, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._hint = hint
        # Built when it is wanted: a start is sooner without.
        self._input: _PromptInput | None = None
        self._told: Static | None = None

    @property
    def is_open(self) -> bool:
        """Whether the line is there."""
        return self.has_class("-open")

    def open(self) -> None:
        """Let the operator type."""
        self.show()
        self.screen.set_focus(self._input)  # at once: what comes with the key is typed already

    def show(self, text: str = "") -> None:
        """Show the line, at first with some words in it; the keys stay where they are."""
        if self._input is None:
            self._input = _PromptInput(
                text, placeholder=self._hint, id=f"{self.id}-input", compact=True
            )
            self._told = Static("", classes="-told", markup=False)
            self.mount(Static("/"), self._input, self._told)
        self.add_class("-open")

    def tell(self, text: str) -> None:
        """Say what is wrong with what was typed, at the right; nothing for an empty text."""
        if self._told is not None and text != self._told.content:
            self._told.update(text)

    def clear(self) -> None:
        """Take the words away, and the line with them."""
        if self._input is not None:
            self._input.value = ""
        self.remove_class("-open")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value.strip():
            self.clear()
        self.post_message(self.Kept())
