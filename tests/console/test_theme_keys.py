"""Themes at the keys: all that is painted has the new colours; words and signs stay the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from rich.color import ColorType

from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import every_state
from tui.shared.colours import TERMINAL, THEMES

NAMES = [*THEMES]


def backgrounds(session: ConsoleSession) -> set[str]:
    strips = session.app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip]
    colours = [style.bgcolor for style in styles if style is not None and style.bgcolor is not None]
    return {
        colour.name if colour.type is ColorType.DEFAULT else colour.get_truecolor().hex
        for colour in colours
    }


@pytest.mark.parametrize("size", [SMALL, (120, 40)])
async def test_each_press_is_the_next_theme_and_paints_all_of_it(
    still: StillClock, size: tuple[int, int]
) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        before = session.text
        for name in [*NAMES[1:], NAMES[0]]:
            await session.press("Y")
            await session.until(partial(is_painted, session, THEMES[name].background))
            assert session.app.theme_name == name
            assert f"the theme {name}" in session.notice
            wanted = set(THEMES[name])
            if name != TERMINAL:
                assert backgrounds(session) <= wanted, name
            assert session.lines[:-2] == before.splitlines()[:-2]  # not a word differs


def has_no_other_colour(session: ConsoleSession, theme: str) -> bool:
    return foregrounds(session) <= {colour.lower() for colour in THEMES[theme]}


def foregrounds(session: ConsoleSession) -> set[str]:
    strips = session.app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    colours = [style.color for style in styles if style.color is not None]
    return {one.get_truecolor().hex for one in colours if one.type is not ColorType.DEFAULT}


async def test_two_themes_that_differ_in_their_tones_alone_are_painted_as_they_are(
    still: StillClock,
) -> None:
    """Those for colour-blind people have one background: nothing else tells a widget of it."""
    async with console_session(every_state(still), still, size=(120, 40)) as session:
        for name in [*NAMES[1:], *NAMES]:
            if name == TERMINAL:
                await session.press("Y")
                continue
            await session.press("Y")
            await session.until(partial(has_no_other_colour, session, name))
            assert session.app.theme_name == name


def is_painted(session: ConsoleSession, colour: str) -> bool:
    return colour.removeprefix("ansi_") in backgrounds(session)


async def test_a_theme_of_ones_own_is_among_them_and_a_broken_one_is_told(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "frostwatch" / "themes"
    folder.mkdir(parents=True)
    for name, text in (("broken", "wran = 1"), ("mine", 'background = "#101010"')):
        (folder / f"{name}.toml").write_text(text)
        (folder / f"{name}.toml").chmod(0o600)
    async with console_session(every_state(still), still, size=LARGE) as session:
        await session.press("colon", *"theme mine", "enter")
        await session.until(lambda: "#101010" in backgrounds(session))
        await session.press("colon", *"theme broken", "enter")
        await session.until(lambda: "a theme has no 'wran'" in session.notice)
        assert session.app.theme_name == "mine"


async def test_the_answer_that_is_chosen_is_seen_without_colours(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console_session(every_state(still), still) as session:
        await session.press("home", "t")
        for chosen in ("Thaw", "Leave"):
            strips = session.app.screen._compositor.render_strips()
            styles = {
                segment.text.split()[0]: segment.style
                for strip in strips
                for segment in strip
                if segment.text.strip().startswith(("Thaw (", "Thaw it", "Leave"))
            }
            assert len(styles) == 2, styles
            for word, style in styles.items():
                assert style is not None
                assert bool(style.reverse) is (word == chosen), (word, chosen)
            await session.press("right")
