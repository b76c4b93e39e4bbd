"""A screen as a text that can be compared and read: its letters, and in which style each stands."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.app import App

FOLDER = Path(__file__).parent / "pictures"
_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def painted(app: App[Any]) -> str:
    """Return what is on the screen: whose it is, its lines with their styles, and all styles."""
    names: dict[str, str] = {}
    lines = [type(app.screen).__name__]
    for strip in app.screen._compositor.render_strips():
        cells = [
            (names.setdefault(_words(one.style), _NAMES[len(names)]), one.cell_length)
            for one in strip
            if one.cell_length
        ]
        runs = (
            f"{name}{sum(length for _, length in run)}"
            for name, run in groupby(cells, key=lambda cell: cell[0])
        )
        lines += [f"|{strip.text.rstrip()}", f" {' '.join(runs)}"]
    styles = [f"{name} {words}" for words, name in names.items()]
    return "\n".join([*lines, "", *styles, ""])


def _words(style: Style | None) -> str:
    """Return a style without what is not seen, such as what a click on it does."""
    if style is None:
        return ""
    seen = Style(
        color=style.color, bgcolor=style.bgcolor, bold=style.bold, dim=style.dim,
        italic=style.italic, underline=style.underline, reverse=style.reverse,
        strike=style.strike,
    )  # fmt: skip
    return str(seen)


def compare(name: str, seen: str, config: pytest.Config) -> None:
    """Compare a screen with its picture; with `--snapshot-update` the picture is written anew."""
    path = FOLDER / f"{name}.txt"
    if config.getoption("update_snapshots", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(seen)
    assert path.exists(), f"{name} has no picture yet: run this test with --snapshot-update"
    assert seen == path.read_text(), f"{name} looks different now"
