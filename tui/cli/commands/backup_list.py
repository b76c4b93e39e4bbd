"""``frostwatch backup list``: which copies are in a folder, and what each is worth."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.cells import cell_len

from agentclient.jobs.catalogue import Home, Listed, listed_object, look, no_copy, taken_at
from agentclient.jobs.manifest import INCREMENTAL, MIRROR
from agentclient.model.job import Consistency
from agentclient.model.json_contract import dumps
from agentclient.model.sizes import size_text
from agentclient.model.text import printable
from tui.cli import table
from tui.cli.folders import Patience, folder_of_copies
from tui.cli.options import json_option
from tui.cli.table import GAP, Cell
from tui.shared.fit import fit_middle, safe

HEADER: Final = ("VM", "FOLDER (UTC)", "TAKEN", "MODE", "CHAIN", "CONSISTENCY", "DISKS", "SIZE")
TAKEN, MODE = HEADER.index("TAKEN"), HEADER.index("MODE")
_NARROWEST: Final = 8
_SHORT: Final = {INCREMENTAL: "incr"}
_COLOURS: Final = {Consistency.CONSISTENT: "green", Consistency.CRASH_CONSISTENT: "yellow"}


@click.command("list")
@click.argument("folder", metavar="DIR")
@json_option
def list_command(folder: str, as_json: bool) -> int:
    """List the backups and mirrors in a folder, VM by VM, the oldest first.

    No image is read: `frostwatch backup verify` does that. Exits 1 if a folder can't be read.
    """
    path = folder_of_copies(folder)
    with Patience("nothing was listed") as patience:
        homes = patience.wait_for("reading the folder", partial(look, path))
    for home in homes:
        if home.problem is not None:
            said = f"{printable(home.folder, 300)} can't be read: {home.problem}"
            click.echo(f"frostwatch: {said}", err=True)
    found = [one for home in homes for one in home.copies]
    if as_json:
        for one in found:
            click.echo(dumps(listed_object(one)))
    elif found:
        click.echo("\n".join(_lines(found)), color=True)
        click.echo("\n".join(_notes(path, homes)))
    else:
        click.echo(f"frostwatch: {no_copy(path)}", err=True)
    return 1 if any(home.problem for home in homes) else 0


def _lines(found: Sequence[Listed]) -> list[str]:
    """Return the table; on a terminal as wide as that."""
    rows = [_row(one) for one in found]
    header = list(HEADER)
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - 1
        if _width(header, rows) > room:
            header, rows = _without(header, rows, TAKEN)
            mode = MODE - 1
            rows = [_with(row, mode, _SHORT.get(row[mode].text, row[mode].text)) for row in rows]
        over = _width(header, rows) - room
        if over > 0:
            longest = max(cell_len(row[0].text) for row in rows)
            width = max(longest - over, _NARROWEST)
            rows = [_with(row, 0, fit_middle(row[0].text, width)) for row in rows]
    return table.lines_of(header, rows, colours=table.coloured())


def _row(one: Listed) -> tuple[Cell, ...]:
    backup, manifest = one.backup, one.backup.manifest
    known = manifest or backup.begun
    chain = Cell(known.chain[:8] if known is not None else "-")
    head = (Cell(safe(one.vm, 60)), Cell(printable(backup.folder.name, 40)))
    if manifest is None:
        word = Cell(known.word if known is not None else "-")
        state = Cell("unreadable" if backup.unreadable else "incomplete", "red")
        return (*head, Cell("-"), word, chain, state, Cell("-"), Cell("-"))
    at = taken_at(manifest)
    grade = Cell(manifest.consistency.value, _COLOURS.get(manifest.consistency))
    return (
        *head,
        Cell(f"{at:%Y-%m-%d %H:%M}" if at is not None else "-"),
        Cell(manifest.word if manifest.kind == MIRROR else manifest.mode),
        chain,
        grade if one.complete else Cell("broken", "red"),
        Cell(str(len(manifest.disks))),
        Cell(size_text(one.bytes)),
    )


def _notes(folder: Path, homes: Sequence[Home]) -> list[str]:
    """Return what is wrong, and what to do with them."""
    found = [one for home in homes for one in home.copies]
    whole = [one for one in found if one.complete]
    lines = [""]
    for one in found:
        if not one.complete:
            place = f"{one.backup.folder.parent.name}/{one.backup.folder.name}"
            lines.append(f"{printable(place, 120)}: {printable(one.problem or '', 300)}")
    shown = printable(shlex.quote(str(folder)), 300)
    lines.append(f"check them:  frostwatch backup verify {shown}")
    if whole:
        newest = printable(shlex.quote(str(whole[-1].backup.folder)), 300)
        lines.append(f"restore one: frostwatch backup restore {newest} --to NEWDIR")
    return lines


def _width(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> int:
    cells = [[cell_len(title) for title in header]]
    cells += [[cell_len(cell.text) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*cells, strict=True)]
    gaps = len(GAP) * (len(header) - 1)
    return int(sum(widths) + gaps)


def _without(
    header: list[str], rows: list[tuple[Cell, ...]], column: int
) -> tuple[list[str], list[tuple[Cell, ...]]]:
    kept = [(*row[:column], *row[column + 1 :]) for row in rows]
    return [*header[:column], *header[column + 1 :]], kept


def _with(row: tuple[Cell, ...], column: int, text: str) -> tuple[Cell, ...]:
    return (*row[:column], Cell(text, row[column].colour), *row[column + 1 :])
