"""Every screen at three sizes, in colour and in greyscale: pictures that are compared.

After a change on purpose: ``pytest tests/console/test_every_screen*.py --snapshot-update``, and
look at what differs: a picture is a text, the letters of each line and below them their styles.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.console.every_screen import WANTED, draw, wanted
from tests.console.fakes import StillClock
from tests.console.painted import FOLDER
from tui.console import dialogs, pages, training
from tui.console.widgets.left_once import LeftOnce

# None: whatever asks, or shows a page, is drawn.
NOT_DRAWN: frozenset[str] = frozenset()


@pytest.mark.parametrize(("name", "size"), wanted("colour"))
async def test_a_screen(
    still: StillClock, pytestconfig: pytest.Config, name: str, size: str
) -> None:
    await draw(still, pytestconfig, name, size, "colour")


def test_no_picture_is_of_a_screen_that_is_not_there() -> None:
    drawn = {f"{name}-{size}-{look}.txt" for name, size, look in WANTED}
    assert {path.name for path in FOLDER.iterdir()} == drawn


def test_each_dialog_and_page_of_the_console_is_on_a_picture() -> None:
    drawn = {path.read_text().partition("\n")[0] for path in FOLDER.iterdir()}
    assert concrete_screens() - drawn == NOT_DRAWN


def concrete_screens() -> set[str]:
    """Return the names of all screens that are no base of others."""
    for package in (dialogs, pages, training):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return {one.__name__ for one in subclasses(LeftOnce) if not one.__subclasses__()}


def subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for one in base.__subclasses__():
        yield one
        yield from subclasses(one)
