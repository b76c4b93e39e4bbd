"""Themes: what can be read on them, what colour-blind people see, and files of people's own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.errors import BadInput
from tui.shared.colours import DARK, TERMINAL, THEMES, TONES, Colours, contrast, linear
from tui.shared.theme_file import find, own_themes, parse

PATH = Path("/t.toml")
OURS = [name for name in THEMES if name != TERMINAL]
# Machado, Oliveira and Fernandes 2009: how the three kinds of light mix for who lacks one of them.
_SEEN = {
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
_NOT_FAR = 18.0  # in CIELAB: two letters of such colours are told from each other


def lab(colour: str, kind: str | None) -> tuple[float, float, float]:
    light = [linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5)]
    if kind is not None:
        rows = _SEEN[kind]
        mixed = (sum(m * part for m, part in zip(row, light, strict=True)) for row in rows)
        light = [min(max(part, 0.0), 1.0) for part in mixed]
    red, green, blue = light
    white = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, other: str, kind: str | None) -> float:
    pairs = zip(lab(one, kind), lab(other, kind), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


@pytest.mark.parametrize("name", OURS)
def test_all_can_be_read_wherever_it_stands(name: str) -> None:
    theme, least = THEMES[name], 7.0 if name == "contrast" else 3.9
    for place in ("background", "surface", "panel", "cursor", "cursor_blurred"):
        for tone in TONES:
            ratio = contrast(getattr(theme, tone), getattr(theme, place))
            assert ratio >= least or (tone, place) == ("dim", "cursor"), (tone, place, ratio)
            assert ratio >= 3.0


@pytest.mark.parametrize("name", OURS)
def test_the_line_with_the_cursor_is_seen(name: str) -> None:
    theme = THEMES[name]
    assert len({theme.background, theme.cursor, theme.cursor_blurred}) == 3
    assert contrast(theme.background, theme.cursor) > contrast(
        theme.background, theme.cursor_blurred
    )


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        *((name, (None,)) for name in OURS),
        ("deutan", ("deutan", "protan")),
        ("tritan", ("tritan",)),
    ],
)
def test_states_are_told_apart(name: str, kinds: tuple[str | None, ...]) -> None:
    theme = THEMES[name]
    tones = [getattr(theme, tone) for tone in ("good", "active", "frozen", "warn", "bad")]
    for kind in kinds:
        for one, other in itertools.combinations(tones, 2):
            assert distance(one, other, kind) >= _NOT_FAR, (kind, one, other)


def test_the_usual_one_is_no_theme_for_colour_blind_people() -> None:
    """Good and bad look the same in it: that is what the others are for."""
    assert distance(DARK.good, DARK.bad, "deutan") < _NOT_FAR / 2


def test_all_colours_are_colours() -> None:
    for name in OURS:
        for colour in THEMES[name]:
            assert contrast(colour, colour) == 1.0


# -- files of people's own -------------------------------------------------------------------------


def test_a_file_says_what_differs() -> None:
    found, problems = parse(PATH, 'base = "light"\nwarn = "#630"\nbad = "#800000"\n')
    assert not problems
    assert found == THEMES["light"]._replace(warn="#663300", bad="#800000")
    assert parse(PATH, "") == (DARK, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\nwran = "#ffffff"', "/t.toml:2: a theme has no 'wran' (did you mean warn?)"),
        (
            'xyzzy = "#ffffff"',
            "/t.toml:1: a theme has no 'xyzzy': there are foreground, ",
        ),
        ('warn = "yellow"', "/t.toml:1: warn: 'yellow' is no colour: write \"#rrggbb\""),
        ('warn = "#ggg"', "/t.toml:1: warn: '#ggg' is no colour"),
        ("warn = 3", "/t.toml:1: warn: 3 is no colour"),
        ("[warn]\nx = 1", "/t.toml:1: warn: {'x': 1} is no colour"),
        ('base = "drak"', "/t.toml:1: base: write one of dark, light, contrast, deutan, tritan"),
        ('base = "terminal"', "/t.toml:1: base: write one of dark"),
        ("base = []", "/t.toml:1: base: write one of dark"),
        (
            '\nwarn = "#202020"',
            "/t.toml:2: warn #202020 can't be read on the cursor #1f4468 (contrast 1.6, 3 at",
        ),
        (
            'background = "#ffffff"',
            "/t.toml:1: bad #ff7b72 can't be read on the background",
        ),
        ("warn = #fff", "/t.toml:1: no TOML: invalid value, at column 8 of 'warn = #fff'"),
        ("x = " + "[" * 5000, "/t.toml: no TOML: it is nested too deeply"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_line(text: str, said: str) -> None:
    _, problems = parse(PATH, text)
    assert len(problems) == 1, problems
    assert said in problems[0]
    assert problems[0].isprintable()


def test_each_mistake_is_told() -> None:
    _, problems = parse(PATH, 'wran = 1\nhead = 2\nbase = 3\ndim = "#fff"\n')
    assert [each.split(":")[1] for each in problems] == ["1", "2", "3"]


@given(st.text(max_size=200))
def test_no_text_crashes_it(text: str) -> None:
    colours, problems = parse(PATH, text)
    assert isinstance(colours, Colours)
    assert all(each.isprintable() for each in problems)


@pytest.fixture
def themes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("agentclient.config.paths.SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    folder = tmp_path / "frostwatch" / "themes"
    folder.mkdir(parents=True)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def test_your_own_is_found_by_its_name_and_stronger_than_the_systems(themes: Path) -> None:
    system = themes.parents[1] / "etc" / "themes"
    write(system / "ours.toml", 'warn = "#ffffff"')
    write(system / "mine.toml", 'warn = "#ffffff"')
    write(themes / "mine.toml", 'warn = "#ffff00"')
    write(themes / "dark.toml", 'warn = "#123456"')  # that name is taken
    write(themes / "Not A Name.toml", "")
    assert sorted(own_themes()) == ["mine", "ours"]
    assert find("mine").warn == "#ffff00"
    assert find("ours").warn == "#ffffff"
    assert find("dark") == DARK


def test_a_theme_that_is_not_there_or_can_not_be_used_is_told(themes: Path) -> None:
    write(themes / "mine.toml", "wran = 1\nx = 2\n")
    with pytest.raises(BadInput, match=r"mine\.toml:1: a theme has no 'wran'.*; 1 more$"):
        find("mine")
    with pytest.raises(BadInput, match=r"no theme is called 'drak' \(did you mean dark\?\)"):
        find("drak")
    with pytest.raises(BadInput, match=r"no theme is called 'zzzz': there are dark, light, .*mine"):
        find("zzzz")


def test_what_is_no_file_is_told_and_nobody_waits_for_it(themes: Path) -> None:
    os.mkfifo(themes / "pipe.toml")
    write(themes / "open.toml", "")
    (themes / "open.toml").chmod(0o606)
    for name, said in (("pipe", "it is a device, a pipe or a socket"), ("open", "everybody may")):
        with pytest.raises(BadInput, match=said):
            find(name)
