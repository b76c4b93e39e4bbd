"""The list of all keys, made from what the console binds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from textual.binding import Binding, BindingType

from agentclient.config.keys import BY_NAME
from tui.console import dialogs, keymap, pages, training
from tui.console.replay.keys import PLAY
from tui.console.widgets.left_once import LeftOnce
from tui.shared.key_names import key_name

FILE: Final = Path(__file__).parents[2] / "docs" / "keys.md"
_NAMES: Final = {action.id: name for name, action in BY_NAME.items()}
_HEAD: Final = """\
# All keys of the console

Written by `make man` from what the console binds. `?` in the console shows the keys that are set;
the names are those of the settings ([console.md](console.md#keys-of-your-own)).
"""
_BESIDE: Final = """
## In dialogs and on pages

These are always so. Letters that stand in a button press it.

| where | key | what it does |
|---|---|---|
"""


def text() -> str:
    """Return the page."""
    parts = [_HEAD]
    for title, bindings in keymap.HELP:
        parts.append(f"\n## {title}\n\n| key | what it does | name |\n|---|---|---|\n")
        parts += _named(bindings)
    parts.append("\n## In a replay\n\n| key | what it does |\n|---|---|\n")
    parts += [f"| {keys} | {said} |\n" for keys, said in _rows(PLAY)]
    parts.append(_BESIDE)
    for where in sorted({where for where, _, _ in _beside()}):
        parts += _combined(where)
    return "".join(parts)


def _named(bindings: Iterable[BindingType]) -> Iterator[str]:
    for one in bindings:
        assert isinstance(one, Binding)
        name = _NAMES.get(one.id or "")
        yield f"| {_keys(one)} | {one.tooltip} | {f'`{name}`' if name else 'it is always so'} |\n"


def _rows(bindings: Iterable[BindingType]) -> Iterator[tuple[str, str]]:
    for one in bindings:
        if isinstance(one, Binding) and one.description:
            yield _keys(one), one.tooltip or one.description


def _keys(binding: Binding) -> str:
    return " ".join(f"`{key_name(key)}`" for key in binding.key.split(","))


def _combined(where: str) -> Iterator[str]:
    """Yield the rows of a place: keys that do the same stand in one."""
    keys: dict[str, list[str]] = {}
    for place, key, said in _beside():
        if place == where and key not in keys.setdefault(said, []):
            keys[said].append(key)
    for said, each in keys.items():
        shown = " ".join(each) if len(each) < 4 else f"{each[0]} to {each[-1]}"
        yield f"| {where} | {shown} | {said} |\n"


def _beside() -> Iterator[tuple[str, str, str]]:
    """Yield the place, the key and what it does of each key of a dialog or a page."""
    for screen in _screens():
        where = _in_words(screen.__name__.removesuffix("Dialog").removesuffix("Page"))
        for keys, said in _rows(screen.__dict__.get("BINDINGS", ())):
            yield where, keys, said


def _screens() -> Iterator[type[Any]]:
    """Yield the dialogs and pages in the order of their files, whatever was imported before."""
    for package in (dialogs, pages, training):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            classes = filter(inspect.isclass, vars(importlib.import_module(module.name)).values())
            for one in classes:
                if issubclass(one, LeftOnce) and one.__module__ == module.name:
                    yield one


def _in_words(name: str) -> str:
    """Return the name of a class as words."""
    return "".join(f" {one.lower()}" if one.isupper() else one for one in name).strip() or "all"
