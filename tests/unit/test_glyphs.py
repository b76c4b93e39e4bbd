"""Every sign means one thing wherever it stands, in Unicode and in ASCII; colour adds to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest
from rich.cells import cell_len

from tui.console.widgets.status import _COUNTS
from tui.shared import glyphs, job_words, timeline
from tui.shared.glyphs import Look, Signs
from tui.shared.timeline import Mark

# One idea that has several words, by its sign. All other signs have one word.
IDEAS: Mapping[str, frozenset[str]] = {
    "?": frozenset({"unknown"}),
    "·": frozenset({"thawed", "done", "debug"}),
    "◐": frozenset({"freezing", "pending"}),
    "❆": frozenset({"frozen", "held", "freezes"}),
    "✓": frozenset({"verified", "for", "good", "consistent", "yes"}),
    "✗": frozenset({"lost", "against", "error", "no"}),
    "▲": frozenset({"at risk", "warning"}),
    "↧": frozenset({"left copy", "left"}),
    "‖": frozenset({"paused", "blocked"}),
}
# What stands alone on the screen: between words, or as long as what it is in ASCII.
NO_SIGNS = ("dot", "rule", "at_least")


def looks(module: ModuleType) -> Iterator[Look]:
    """Yield all looks of a module, also those in its tables."""
    for value in vars(module).values():
        if isinstance(value, Look):
            yield value
        elif isinstance(value, Mapping):
            yield from (one for one in value.values() if isinstance(one, Look))


LOOKS = [one for module in (glyphs, job_words) for one in looks(module) if one is not None]
PROPERTIES = [name for name, value in vars(Signs).items() if isinstance(value, property)]


def words_by_sign(*, ascii_only: bool) -> dict[str, set[str]]:
    """Return what each sign may mean."""
    signs, found = Signs(ascii=ascii_only), defaultdict(set)
    for look in LOOKS:
        found[signs.of(look)].add(look.word)
    for name in PROPERTIES:
        if name not in NO_SIGNS:
            found[getattr(signs, name)].add(name)
    found.pop(" ", None)  # information has none
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(LOOKS) > 50
    assert {"cursor", "mark", "yes", "no", "freezes"} <= set(PROPERTIES)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["Unicode", "ASCII"])
def test_no_sign_is_used_twice(ascii_only: bool) -> None:
    ideas = set(IDEAS.values())
    several = {
        sign: words
        for sign, words in words_by_sign(ascii_only=ascii_only).items()
        if len(words) > 1 and not any(words <= idea for idea in ideas)
    }
    assert not several


def test_each_sign_has_one_in_ascii() -> None:
    pairs = {(look.sign, look.ascii) for look in LOOKS}
    pairs |= {
        (getattr(Signs(), name), getattr(Signs(ascii=True), name))
        for name in PROPERTIES
        if name not in NO_SIGNS
    }
    assert len(pairs) == len({sign for sign, _ in pairs}) == len({plain for _, plain in pairs})
    assert all(cell_len(sign) == len(plain) == 1 and plain.isascii() for sign, plain in pairs)


def test_what_is_one_idea_is_said_so_with_its_sign() -> None:
    found = words_by_sign(ascii_only=False)
    assert {sign: words for sign, words in found.items() if len(words) > 1 or sign == "?"} == IDEAS


@pytest.mark.parametrize("signs", [Signs(), Signs(ascii=True)], ids=["Unicode", "ASCII"])
def test_the_first_line_has_no_sign_twice_but_for_what_is_lost(signs: Signs) -> None:
    shown = [signs.of(look) for _, look in _COUNTS] + [signs.mark]
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("plain", [False, True], ids=["Unicode", "ASCII"])
def test_a_line_of_time_has_no_sign_twice(plain: bool) -> None:
    marks = [one for one in vars(timeline).values() if isinstance(one, Mark)]
    assert len(marks) > 10
    shown = [one.ascii if plain else one.sign for one in marks] + [*timeline.WRITES[plain]]
    assert len(shown) == len(set(shown))
