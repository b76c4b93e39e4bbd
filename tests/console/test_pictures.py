"""The pictures of the README are what the console shows now: `make pictures` draws them again."""

from __future__ import annotations

import pytest

from screenshots.__main__ import HERE, SCENES, SESSION, Scene, draw, session


@pytest.mark.parametrize("scene", SCENES, ids=lambda one: one.name)
async def test_a_picture_is_what_is_on_the_screen(scene: Scene) -> None:
    assert await draw(scene) == (HERE / f"{scene.name}.svg").read_text()


def test_the_session_is_what_is_on_the_screen() -> None:
    told = session()
    assert told == (HERE / "session-80x24.svg").read_text()
    assert told.count('class="frame"') == len(SESSION)
