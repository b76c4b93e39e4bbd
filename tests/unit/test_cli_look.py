"""Sentences name the keys that are set, whichever console is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.model.errors import BadInput
from tui.cli.look import look_of
from tui.cli.options import Options
from tui.shared import key_hints


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Options]:
    file = tmp_path / "config.toml"
    file.write_text('theme = "light"\n[keys]\nfreeze = "F"\n')
    yield Options(config=str(file)).configured()
    key_hints.use({})


def test_what_is_set_is_named(options: Options) -> None:
    look = look_of(options)
    assert look["keys"] == {"freeze": "F"}
    assert look["theme"][0] == "light"
    assert key_hints.key("freeze", "f") == "F"
    look_of(Options())
    assert key_hints.key("freeze", "f") == "f"


def test_a_theme_that_is_none_is_bad_input(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('theme = "none"\n')
    with pytest.raises(BadInput):
        look_of(Options(config=str(file)).configured())
