"""``frostwatch backup prune``: deletes old copies that nothing builds on."""

from __future__ import annotations

from functools import partial
from typing import Final

import click

from agentclient.jobs.catalogue import listed_object
from agentclient.jobs.prune import (
    NEWEST,
    Decision,
    NotDeleted,
    PruneAction,
    decide,
    delete,
    homes_to_prune,
)
from agentclient.model.json_contract import dumps
from agentclient.model.sizes import size_text
from agentclient.model.text import printable
from tui.cli import tell
from tui.cli.copy_options import folders
from tui.cli.folders import Patience, folder_of_copies
from tui.cli.options import json_option

_WORDS: Final = {PruneAction.WOULD_DELETE: "would delete", PruneAction.LEFT: "LEFT"}


@click.command("prune")
@click.argument("folder", metavar="DIR", shell_complete=folders)
@click.option(
    "--keep",
    metavar="N",
    required=True,
    type=click.IntRange(1),
    help="Of each VM keep so many complete copies, the newest, with all that they build on.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@json_option
def prune_command(folder: str, keep: int, dry_run: bool, as_json: bool) -> int:
    """Delete the oldest backups and mirrors of each VM in a folder.

    Nothing is deleted that a kept one builds on, that is not complete, or that can't be read; nor
    what the next incremental backup builds on. Exits 1 if something was left for such a reason.
    """
    well = True
    with Patience("not all was looked at") as patience:
        looking = partial(homes_to_prune, folder_of_copies(folder))
        for home in patience.wait_for("reading the folder", looking):
            if home.problem is not None:
                said = f"{printable(home.folder, 300)} can't be read: {home.problem}"
                tell.note(said)
                well = False
            for one in decide(home, keep):
                patience.check()
                well = _obey(one, patience, dry_run=dry_run, as_json=as_json) and well
    return 0 if well else 1


def _obey(one: Decision, patience: Patience, *, dry_run: bool, as_json: bool) -> bool:
    """Do what was decided, and tell it; return whether it is well."""
    action, why, well = PruneAction.KEPT if one.well else PruneAction.LEFT, one.why, one.well
    if one.delete:
        action = PruneAction.WOULD_DELETE if dry_run else PruneAction.DELETED
        try:
            if not dry_run:
                patience.wait_for("deleting a copy", partial(delete, one.copy))
        except NotDeleted as error:
            action, why, well = PruneAction.LEFT, str(error), False
    if as_json:
        tell.whole(dumps({**listed_object(one.copy), "action": action.value, "why": why or None}))
        return well
    said = _WORDS.get(action, action.value)
    shown = printable(one.copy.backup.folder, 300)
    because = f": {printable(why, 300)}" if why and why != NEWEST else ""
    size = f", {size_text(one.copy.bytes)}" if one.copy.bytes else ""
    tell.out(f"{said}: {shown}{size}{because}")
    return well
