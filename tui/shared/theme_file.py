"""Themes of a person's own, from TOML files, read strictly: each mistake is told with its line.

A file ``themes/NAME.toml`` beside a settings file is the theme ``NAME``. Your own is stronger than
the system's, and none takes the name of one that comes with the console.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agentclient.config import paths
from agentclient.config.document import no_toml
from agentclient.config.lines import Text
from agentclient.config.read import text_of
from agentclient.config.values import NAME_PATTERN
from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from tui.shared.colours import TERMINAL, THEMES, TONES, USUAL, Colours, contrast

FOLDER: Final = "themes"
LEAST_CONTRAST: Final = 3.0  # less, and many people can't read it
_BASE: Final = "base"
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}", re.ASCII)
_SHORT: Final = re.compile(r"#[0-9a-f]{3}", re.ASCII)


def find(name: str) -> Colours:
    """Return a theme by its name.

    Raises:
        BadInput: there is none, or its file has a mistake; one sentence.
    """
    if name in THEMES:
        return THEMES[name]
    path = own_themes().get(name)
    if path is None:
        known = (*THEMES, *own_themes())
        alike = did_you_mean(name, known) or f": there are {', '.join(known)}"
        where = " or ".join(printable(str(one), 200) for one in _folders())
        raise BadInput(f"no theme is called {printable(name, 60)!r}{alike} (yours are in {where})")
    try:
        found, problems = parse(path, text_of(path))
    except OSError as error:
        raise BadInput(f"{printable(str(path), 300)}: {error.strerror or error}") from None
    if problems:
        more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
        raise BadInput(problems[0] + more)
    return found


def own_themes(variables: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Return the files of themes that people have made, by their names; none that can't be read."""
    found: dict[str, Path] = {}
    for folder in _folders(variables):
        try:
            files = sorted(folder.iterdir())
        except OSError:
            continue
        for file in files:
            name = file.name.removesuffix(".toml")
            if name != file.name and re.fullmatch(NAME_PATTERN, name) and name not in THEMES:
                found[name] = file
    return found


def _folders(variables: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return where themes are looked for, the weakest first."""
    own = paths.own_file(os.environ if variables is None else variables)
    files = (paths.SYSTEM_FILE, *([own] if own is not None else []))
    return tuple(file.parent / FOLDER for file in files)


def parse(path: Path, text: str) -> tuple[Colours, tuple[str, ...]]:
    """Return a theme, and its mistakes: a sentence each, in the order of their lines.

    Args:
        path: the file, for the sentences.
        text: its content.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        return THEMES[USUAL], (f"{printable(str(path), 300)}: no TOML: it is nested too deeply",)
    except ValueError as error:
        return THEMES[USUAL], (no_toml(path, text, error),)
    where = Text(path, text)
    base = document.get(_BASE, USUAL)
    wrong = dict(_mistakes(document))
    usable = isinstance(base, str) and base in THEMES and base != TERMINAL
    colours = THEMES[base if usable and isinstance(base, str) else USUAL]
    given = {name: _full(value) for name, value in document.items() if name not in wrong}
    given.pop(_BASE, None)
    colours = colours._replace(**given)
    wrong.update(_unreadable(colours, set(given)))
    told = sorted((where.line((name,)) or 0, name) for name in wrong)
    return colours, tuple(f"{printable(where.where((n,)), 300)}: {wrong[n]}" for _, n in told)


def _mistakes(document: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the names that can't be used, and why not."""
    for name, value in document.items():
        shown = printable(name, 60)
        if name == _BASE:
            known = [one for one in THEMES if one != TERMINAL]
            if value not in known:
                yield name, f"base: write one of {', '.join(known)}"
        elif name not in Colours._fields:
            alike = did_you_mean(name[:100], (*Colours._fields, _BASE))
            listed = f": there are {', '.join(Colours._fields)}"
            yield name, f"a theme has no {shown!r}{alike or listed}"
        elif not isinstance(value, str) or not (_is_colour(value)):
            yield name, f'{shown}: {printable(repr(value), 60)} is no colour: write "#rrggbb"'


def _is_colour(text: str) -> bool:
    plain = text.lower()
    return bool(_COLOUR.fullmatch(plain) or _SHORT.fullmatch(plain))


def _full(value: object) -> str:
    """Return a colour with six digits."""
    text = str(value).lower()
    return text if len(text) > 4 else "#" + "".join(letter * 2 for letter in text[1:])


def _unreadable(colours: Colours, given: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what could not be read where it stands, for what the file itself says."""
    for place in ("background", "panel", "cursor"):
        ground = getattr(colours, place)
        for tone in TONES:
            blamed = tone if tone in given else place
            ratio = contrast(getattr(colours, tone), ground)
            if ratio < LEAST_CONTRAST and blamed in given:
                said = f"{tone} {getattr(colours, tone)} can't be read on the {place} {ground}"
                yield blamed, f"{said} (contrast {ratio:.1f}, {LEAST_CONTRAST:g} at the least)"
