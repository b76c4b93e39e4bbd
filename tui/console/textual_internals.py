"""Every use of a private name of Textual or Rich. They save time and bytes; no rule rests on them.

Textual passes all lines of all widgets through its filters whenever anything on the screen
changes, and writes a line of a widget from its left edge to the last cell that changed: over a slow
line that is ten times what a clock's last digit takes, each second, in each row.

Where a private name is missing, or `ENABLED` is False, each function here does nothing: Textual
draws and writes in its own way then, which looks the same. A test fails for each name that a new
version of Textual or Rich has no more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import IO, Any, Final

from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.app import App
from textual.color import Color
from textual.driver import Driver
from textual.geometry import Region, Spacing
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

ENABLED = True  # False in a test that runs the console without any of it

CACHE_METHODS: Final = ("set_dirty", "clear", "render_widget")
UPDATE_ATTRIBUTES: Final = ("chops", "spans", "chop_ends", "render_segments")


def draw_changed_lines_only(widget: Widget) -> None:
    """Let a widget that has a `render_line` draw a line anew only if it was told to.

    Uses `Widget._styles_cache`.
    """
    _replace(widget, "_styles_cache", ChangedLines, CACHE_METHODS)


def write_changed_cells_only(app: App[Any]) -> None:
    """Let an app write to the terminal those cells alone that have changed.

    Uses `App._display`, and the updates that it is given.
    """

    def exact(display: Callable[[object, object], None]) -> Callable[[object, object], None]:
        return lambda screen, update: display(screen, exact_update(update))

    _replace(app, "_display", exact)


def survive_lost_terminal(driver: Driver) -> None:
    """Let a driver's thread go on when nobody reads what it writes to the terminal.

    Without this the thread ends with the terminal, and the console is left as after SIGHUP.

    Uses `LinuxDriver._file`.
    """
    _replace(driver, "_file", TerminalFile)


def ask_about_errors(app: App[Any], takes: Callable[..., bool]) -> None:
    """Let an app be asked about an error that nobody has caught, before Textual tells it.

    Textual imports what it tells errors with then. Where the host lacks a descriptor for that, the
    app's screen stays, and knows no key any more.

    Uses `App._handle_exception`.

    Args:
        app: the app.
        takes: is called with the error, and whether Textual could not tell it (`last`); returns
            whether that is all to be done.
    """

    def asked(handle: Callable[[Exception], None]) -> Callable[[Exception], None]:
        def handled(error: Exception) -> None:
            if takes(error, last=False):
                return
            try:
                handle(error)
            except Exception:  # noqa: BLE001 - whatever it is, the app has to end
                takes(error, last=True)

        return handled

    _replace(app, "_handle_exception", asked)


def forget_split_segments() -> None:
    """Let go of what was cut out of old screens: Rich keeps up to 16,384 such pieces.

    A screen has some hundred; a lively fleet takes hours to make so many others.

    Uses `Segment._split_cells`.
    """
    _clear_cache(Segment, "_split_cells")


def forget_lines(widget: Widget, regions: Iterable[Region]) -> None:
    """Let a widget draw its lines anew when they are asked for next, without asking for them.

    Uses `Widget._set_dirty`.

    Args:
        widget: one whose lines Textual keeps.
        regions: where on it; all of it if there are none.
    """
    set_dirty = getattr(widget, "_set_dirty", None)
    if ENABLED and set_dirty is not None:
        set_dirty(*regions)


def forget_drawn_widgets(widget: Widget) -> None:
    """Let go of the lines of widgets that are gone: Textual keeps them in the keys of a cache.

    There are a thousand places in it, and scroll bars and a screen's last picture are there as
    well: so the whole cache is emptied.

    Uses `Widget._styles_cache`, and its `get_inner_outer`.

    Args:
        widget: one whose lines Textual draws.
    """
    _clear_cache(getattr(widget, "_styles_cache", None), "get_inner_outer")


def _replace(
    owner: object, name: str, wrap: Callable[[Any], object], needs: Iterable[str] = ()
) -> None:
    """Replace a private attribute by a wrapper around it, if it is there and has what is needed."""
    private = getattr(owner, name, None)
    if ENABLED and private is not None and all(hasattr(private, each) for each in needs):
        setattr(owner, name, wrap(private))


def _clear_cache(owner: object, name: str) -> None:
    clear = getattr(getattr(owner, name, None), "cache_clear", None)
    if ENABLED and clear is not None:
        clear()


# -- drawing --------------------------------------------------------------------------------------


class ChangedLines:
    """The lines of a widget that draws them itself, with nothing around them but left padding.

    They look as Textual's do, which draws those of a widget that is styled in any other way; but
    only those that are to be drawn anew are touched.

    Args:
        textuals: Textual's own cache of the widget's lines.
    """

    def __init__(self, textuals: Any) -> None:
        self._textuals = textuals
        self._drawn: list[Strip] = []
        self._width = 0
        self._stale: set[int] = set()
        self._plain: bool | None = None  # not known before it is drawn

    def set_dirty(self, *regions: Region) -> None:
        """Draw some lines anew the next time; without regions, all."""
        self._textuals.set_dirty(*regions)
        if not regions:
            self.clear()
        for region in regions:
            self._stale.update(region.line_range)

    def clear(self) -> None:
        """Draw all lines anew the next time; the widget's style may be another one."""
        self._textuals.clear()
        self._drawn, self._plain = [], None
        self._stale.clear()

    def render_widget(self, widget: Widget, crop: Region) -> list[Strip]:
        """Return the lines of a widget; nobody may change the list.

        Args:
            widget: draws the lines.
            crop: the part of it that is wanted: all of it for the screen, one line for whoever
                asks what is under the mouse.
        """
        if self._plain is None:
            self._plain = is_plain(widget)
        if not self._plain:
            lines: list[Strip] = self._textuals.render_widget(widget, crop)
            return lines
        whole = widget.outer_size.region
        self._bring_up_to_date(widget, whole)
        if crop == whole:
            return self._drawn
        return [line.crop(crop.x, crop.right) for line in self._drawn[crop.y : crop.bottom]]

    def _bring_up_to_date(self, widget: Widget, whole: Region) -> None:
        if (self._width, len(self._drawn)) != whole.size:
            self._width = whole.width
            self._drawn = self._draw(widget, whole.line_range)
        elif stale := self._stale.intersection(whole.line_range):
            drawn = dict(zip(stale, self._draw(widget, stale), strict=True))
            self._drawn = [drawn.get(y, strip) for y, strip in enumerate(self._drawn)]
        self._stale.clear()

    def _draw(self, widget: Widget, lines: Iterable[int]) -> list[Strip]:
        """Return lines as the screen wants them: padded and filtered."""
        base, background = widget.background_colors
        filters = widget.get_line_filters()
        left = widget.styles.padding.left
        inner = _background(base + background)
        edge = [Segment(" " * left, inner)] if left else []
        drawn = []
        for y in lines:
            line = widget.render_line(y).adjust_cell_length(self._width - left, inner)
            strip = Strip([*edge, *line], self._width) if left else line
            for each in filters:
                strip = strip.apply_filter(each, background)
            drawn.append(strip)
        return drawn


@lru_cache(maxsize=256)
def _background(color: Color) -> RichStyle:
    return Style(background=color).rich_style


def is_plain(widget: Widget) -> bool:
    """Return whether a widget is styled by nothing but colours and padding at its left."""
    styles = widget.styles
    return (
        styles.gutter == Spacing(left=styles.padding.left)  # borders count into the gutter
        and not any(edge for edge, _ in styles.outline)
        and not styles.has_rule("hatch")
        and not styles.tint.a
        and widget.opacity == styles.text_opacity == 1.0
    )


# -- writing --------------------------------------------------------------------------------------


def exact_update(update: Any) -> Any:
    """Return the same update of a part of the screen, but exact; anything else as it is."""
    if all(hasattr(update, each) for each in UPDATE_ATTRIBUTES):
        update.__class__ = _exact(type(update))
    return update


_EXACT: dict[type, type] = {}


def _exact(kind: type) -> type:
    """Return a kind of update that leaves every cell alone that is not part of it."""
    if kind not in _EXACT:
        _EXACT[kind] = type("ExactUpdate", (kind,), {"render_segments": _render_segments})
    return _EXACT[kind]


def _render_segments(update: Any, console: Console) -> str:
    """Return what the terminal is written.

    Args:
        update: which cells have changed in which lines, and what stands there.
        console: turns styles into the terminal's own.
    """
    written: list[str] = []
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= last or end <= first:
                continue
            left, right = max(x, first), min(end, last)
            part = strip if (left, right) == (x, end) else strip.crop(left - x, right - x)
            written += (Control.move_to(left, y).segment.text, part.render(console))
    return "".join(written)


class TerminalFile:
    """Where the screen is written to; who reads there may have left.

    Args:
        file: the terminal.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        """Return the terminal's number."""
        return self._file.fileno()

    def write(self, text: str) -> None:
        """Write, if anybody takes it."""
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        """Write what was kept back, if anybody takes it."""
        with contextlib.suppress(OSError):
            self._file.flush()
