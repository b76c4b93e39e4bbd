"""The pictures of the README are what the console shows now: `make pictures` draws them again."""

from __future__ import annotations

import pytest

from screenshots.__main__ import HERE, SCENES, SESSION, Scene, draw, session
from screenshots.stamp import is_of


@pytest.mark.parametrize("scene", SCENES, ids=lambda one: one.name)
async def test_a_picture_is_what_is_on_the_screen(scene: Scene) -> None:
    kept = (HERE / f"{scene.name}.svg").read_text()
    assert await draw(scene) == kept, "draw it again with: make pictures"
    assert is_of((HERE / f"{scene.name}.png").read_bytes(), kept), "make pictures"


def test_the_session_is_what_is_on_the_screen() -> None:
    told = session()
    assert told == (HERE / "session-80x24.svg").read_text()
    assert told.count('class="frame"') == len(SESSION)


def test_no_picture_is_left_of_a_scene_that_is_not_there() -> None:
    wanted = {f"{scene.name}.{kind}" for scene in SCENES for kind in ("svg", "png")}
    found = {path.name for path in HERE.iterdir() if path.suffix in (".svg", ".png")}
    assert found == wanted | {"session-80x24.svg"}
