"""The man page of each command, made by click-man from what the command says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click
from click_man.man import ManPage

from agentclient.late import load
from tui.cli.commands.backup import SUBCOMMANDS
from tui.cli.lazy_group import LazyGroup
from tui.main import cli

FOLDER: Final = Path(__file__).parents[2] / "docs" / "man"
BACKUP: Final = "backup"
# A page is as old as the release that it is of, and not as the file.
DATE: Final = ""
# Roff takes a line that begins so for a request of its own.
_REQUEST: Final = re.compile(r"^(?=[.'])", re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the text of each page, by its file's name."""
    return {
        f"{context.command_path.replace(' ', '-')}.1": _page(context)
        for context in _contexts(click.Context(cli, info_name="frostwatch"))
    }


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """Return the contexts of a command, and of all below it."""
    yield context
    for name, command in _below(context).items():
        above = context
        if context.command.name == BACKUP:  # it is called as if it were one word
            above, name = context.find_root(), f"{BACKUP} {name}"
        yield from _contexts(click.Context(command, info_name=name, parent=above))


def _below(context: click.Context) -> Mapping[str, click.Command]:
    command = context.command
    if command.name == BACKUP:  # whose commands stand where a VM's name does
        return {name: load(*place) for name, place in SUBCOMMANDS.items()}
    if not isinstance(command, click.Group):
        return {}
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: one for name, one in found.items() if one is not None}


def _page(context: click.Context) -> str:
    command = context.command
    page = ManPage(context.command_path)
    page.version = f"frostwatch {version('frostwatch')}"
    page.date = DATE
    page.short_help = _plain(command.get_short_help_str(limit=100).rstrip("."))
    said = [cleandoc(command.help or ""), command.epilog or ""]
    page.description = _plain("\n\n".join(text for text in said if text))
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    records = [
        one.get_help_record(context) for one in command.params if isinstance(one, click.Option)
    ]
    page.options = [(words, _plain(text)) for words, text in filter(None, records)]
    page.commands = [
        (name, _plain(one.get_short_help_str(limit=100))) for name, one in _below(context).items()
    ]
    return str(page)


def _plain(text: str) -> str:
    """Return text in which nothing is a request or an escape of roff's."""
    return _REQUEST.sub(r"\\&", text.replace("\\", "\\e"))


assert isinstance(cli, LazyGroup), "it knows the names of its commands"
