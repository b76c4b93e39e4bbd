"""The subcommands are imported when they are called: `--help` tells of all, and needs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from tui.cli.lazy_group import COMMANDS, SHORT_HELP, LazyGroup

ROOT = Path(__file__).parents[2]
HELP = """
import contextlib, io, sys
from tui.main import run
with contextlib.redirect_stdout(io.StringIO()):
    run(["--help"])
print(*sys.modules, sep="\\n")
"""


def test_every_command_has_a_line_in_the_help() -> None:
    assert list(SHORT_HELP) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_help_says(name: str) -> None:
    group = LazyGroup("frostwatch")
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert (command.name, command.short_help) == (name, SHORT_HELP[name])


def test_help_imports_no_command_and_no_core() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = set(done.stdout.split())
    assert "tui.cli.lazy_group" in names
    assert not [each for each in names if each.startswith("tui.cli.commands.")]
    assert not {"agentclient.engine", "agentclient.fleet.watcher", "sqlite3"} & names
