"""``frostwatch backup list``: which copies are in a folder, and what each is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from agentclient.jobs.catalogue import Home, Listed, listed_object, look, no_copy, taken_at
from agentclient.jobs.manifest import INCREMENTAL, MIRROR
from agentclient.model.job import Consistency
from agentclient.model.json_contract import dumps
from agentclient.model.shell_words import quoted
from agentclient.model.sizes import size_text
from agentclient.model.text import printable
from tui.cli import table, tell
from tui.cli.copy_options import folders
from tui.cli.folders import Patience, folder_of_copies
from tui.cli.options import json_option
from tui.cli.table import Cell
from tui.shared.fit import fit_middle, safe

HEADER: Final = ("VM", "FOLDER (UTC)", "TAKEN", "MODE", "CHAIN", "CONSISTENCY", "DISKS", "SIZE")
MODE: Final = HEADER.index("MODE")
_SHORT: Final = {INCREMENTAL: "incr"}
_COLOURS: Final = {Consistency.CONSISTENT: "green", Consistency.CRASH_CONSISTENT: "yellow"}


@click.command("list")
@click.argument("folder", metavar="DIR", shell_complete=folders)
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
            tell.note(said)
    found = [one for home in homes for one in home.copies]
    if as_json:
        for one in found:
            tell.whole(dumps(listed_object(one)))
    elif found:
        tell.rows(_lines(found), ["\n".join(_notes(path, homes))])
    else:
        tell.note(no_copy(path))
    return 1 if any(home.problem for home in homes) else 0


def _lines(found: Sequence[Listed]) -> list[str]:
    """Return the table; on a terminal as wide as that."""
    rows = [_row(one) for one in found]
    if table.is_too_wide(HEADER, rows):
        rows = [_short(row) for row in rows]
    return table.fitted(HEADER, rows, drop=("TAKEN",), cut=("VM",), apart="VM")


def _short(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Return a row with a short word for its mode."""
    mode = row[MODE]
    short = Cell(_SHORT.get(mode.text, mode.text), mode.colour)
    return (*row[:MODE], short, *row[MODE + 1 :])


def _row(one: Listed) -> tuple[Cell, ...]:
    backup, manifest = one.backup, one.backup.manifest
    known = manifest or backup.begun
    chain = Cell(known.chain[:8] if known is not None else "-")
    head = (Cell(fit_middle(safe(one.vm, 4_000), 200)), Cell(printable(backup.folder.name, 40)))
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
    shown = quoted(str(folder))
    lines.append(f"check them:  frostwatch backup verify {shown}")
    if whole:
        newest = quoted(str(whole[-1].backup.folder))
        lines.append(f"restore one: frostwatch backup restore {newest} --to NEWDIR")
    return lines
