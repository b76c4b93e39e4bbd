"""``frostwatch config``: which settings there are, what counts, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from typing import Any

import click

from agentclient.config.describe import (
    Row,
    example,
    json_schema,
    row_object,
    rows,
    rows_of_vm,
)
from agentclient.config.load import SettingsCandidate, files_looked_at, gather
from agentclient.config.settings import Settings, names_of
from agentclient.late import load
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.json_contract import dumps
from agentclient.model.text import printable
from tui.cli import session, table, tell
from tui.cli.options import Options, config_option, files, json_option, no_config_option, vm_names
from tui.cli.table import Cell

BAD_INPUT = 2
HEADER = ("SETTING", "VALUE", "SET BY")


def _with_files(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command what says which files are read; its function gets the `Options`."""

    def command(*, config: str | None, no_config: bool, **arguments: Any) -> int:
        general = click.get_current_context().find_object(Options) or Options()
        options = general._replace(
            config=general.config if config is None else config,
            no_config=general.no_config or no_config,
        )
        return function(options.checked(), **arguments)

    wrapped: Callable[..., int] = config_option(no_config_option(update_wrapper(command, function)))
    return wrapped


@click.group("config", invoke_without_command=True)
@click.pass_context
def config_command(ctx: click.Context) -> None:
    """Tell which settings there are, what counts, and what is wrong with them."""
    if ctx.invoked_subcommand is None:
        tell.whole(ctx.get_help())


@config_command.command("path", short_help="Tell which files are looked for.")
@_with_files
def path_command(options: Options) -> int:
    """Tell in which files settings are looked for, weakest first, and whether they are there."""
    for place in _places(options):
        there = "" if place.path.exists() or place.path.is_symlink() else ", not there"
        tell.out(f"{printable(str(place.path), 1000)}  ({place.why}{there})")
    return 0


@config_command.command("show", short_help="Tell what counts, and who said so.")
@click.option(
    "--vm", "name", metavar="VM", help="What counts for this VM.", shell_complete=vm_names
)
@json_option
@_with_files
def show_command(options: Options, name: str | None, as_json: bool) -> int:
    """Tell what every setting is in the end, and where that was said."""
    options = options.configured()
    settings = options.settings or Settings()
    if name is None:
        _show(rows(settings), as_json=as_json)
        return 0
    found, called = _names(options, name)
    _show(rows_of_vm(settings, called), as_json=as_json, vm=found)
    return 0


@config_command.command("check", short_help="Tell what is wrong, if anything.")
@click.argument("file", required=False, metavar="[FILE]", shell_complete=files)
@_with_files
def check_command(options: Options, file: str | None) -> int:
    """Check the settings, or one file; exits 0 if all of it can be used, 2 if not."""
    places = _places(options if file is None else options._replace(config=file, no_config=False))
    settings, problems = gather(places)
    problems += _theme_problems(settings)
    for problem in problems:
        tell.note(problem)
    if problems:
        return BAD_INPUT
    tell.out(f"all of it can be used: {_what_was_read(settings)}")
    return 0


@config_command.command("example", short_help="Print a file with everything in it.")
def example_command() -> int:
    """Print a file in which every setting stands as it is anyway, commented out."""
    tell.whole(example().removesuffix("\n"))
    return 0


@config_command.command("schema", short_help="Print a JSON Schema of the files.")
def schema_command() -> int:
    """Print a JSON Schema of the files, for editors."""
    tell.whole(json.dumps(json_schema(), indent=2))
    return 0


def _theme_problems(settings: Settings) -> tuple[str, ...]:
    """Return what is wrong with the theme that is set, which is a file of its own, perhaps."""
    name = settings.general.theme
    try:
        if name is not None:
            load("tui.shared.theme_file", "find")(name)
    except BadInput as problem:
        return (str(problem),)
    return ()


def _places(options: Options) -> tuple[SettingsCandidate, ...]:
    return files_looked_at(options.config, no_file=options.no_config)


def _what_was_read(settings: Settings) -> str:
    told = [f"{file.path}" for file in settings.files]
    told += sorted(str(given.origin) for given in settings.environment.values())
    return printable(", ".join(told), 2000) if told else "nothing is set"


def _names(options: Options, name: str) -> tuple[str, Sequence[str]]:
    """Return the id of a VM and all that it is called; where there is none, the name itself."""
    try:
        with session.engine_for(options) as engine:
            engine.look()
            vm = engine.fleet.find(name).vm
    except (BadInput, FrostwatchError) as problem:
        said = f"{problem}; shown is what would count for a VM of that name"
        tell.note(printable(said, 1000))
        return name, (name,)
    return str(vm.id), names_of(vm)


def _show(found: Iterable[Row], *, as_json: bool, vm: str | None = None) -> None:
    told = list(found)
    if as_json:
        tell.whole("\n".join(dumps(row_object(row, vm)) for row in told))
        return
    everywhere = [row for row in told if not row.match]
    lines = _table(everywhere)
    for patterns in dict.fromkeys(row.match for row in told if row.match):
        own = [row for row in told if row.match == patterns]
        lines += ["", f"for {printable(', '.join(patterns), 200)}:"]
        lines += _table(own)[1:]
    tell.rows(lines)


def _table(found: list[Row]) -> list[str]:
    """Return a table's lines; on a terminal long values and origins are cut in their middle."""
    return table.fitted(HEADER, [_cells(row) for row in found], cut=("VALUE", "SET BY"))


def _cells(row: Row) -> tuple[Cell, ...]:
    origin = str(row.given.origin)
    value = Cell(printable(row.text, 60), None if origin == "default" else "cyan")
    return Cell(row.key.name), value, Cell(printable(origin, 300))
