"""``frostwatch backup verify``: checks copies again, and says what a restore needs."""

from __future__ import annotations

from functools import partial
from math import inf

import click

from agentclient.jobs.manifest import BACKUP
from agentclient.jobs.verify import Verified, verified_object, verify_folder
from agentclient.model.json_contract import dumps
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable, uncut
from tui.cli import tell
from tui.cli.copy_options import folders
from tui.cli.folders import Patience, folder_of_copies
from tui.cli.options import json_option


@click.command("verify")
@click.argument("folder", metavar="DIR", shell_complete=folders)
@json_option
def verify_command(folder: str, as_json: bool) -> int:
    """Check a backup or a mirror again, or all in a folder: files, checksums, chains, evidence.

    Says what a restore needs, with its commands. Exits 0 only if all of them are complete and as
    they were written.
    """
    well = True
    with Patience("not all was checked") as patience:
        found = verify_folder(folder_of_copies(folder), patience.tick)
        following = partial(next, found, None)
        # As long as it takes to read a copy: each read has a bound of its own.
        while (one := patience.wait_for("checking", following, inf)) is not None:
            well = well and one.ok
            if as_json:
                tell.whole(dumps(verified_object(one)))
            else:
                _print(one)
    return 0 if well else 1


def _print(one: Verified) -> None:
    manifest = one.manifest
    what = "no complete backup"
    if manifest is not None:
        vm = printable(manifest.vm.get("name") or "", 60)
        when = printable(manifest.times.get("taken") or "", 40)
        grade = manifest.consistency.value
        if manifest.certified:
            grade = f"certified {grade}"
        kind = manifest.mode if manifest.kind == BACKUP else manifest.word
        what = f"{vm}, {kind}, taken {when}, {grade}"
    word = "OK" if one.ok else "NOT OK"
    tell.out(f"{printable(one.folder, 300)}: {word}: {what}")
    if manifest is not None:
        tell.out(f"  why: {printable(manifest.why, 400)}")
    for problem in one.problems:
        tell.out(f"  PROBLEM: {printable(problem, 300)}")
    for note in one.notes:
        tell.out(f"  note: {printable(note, 300)}")
    if one.ok and len(one.needs) > 1:
        names = ", ".join(printable(folder.name, 80) for folder in one.needs[1:])
        tell.out(f"  builds on: {names}")
    if one.ok and one.restore:
        folder = quoted(str(one.folder))
        tell.out(f"  restore: frostwatch backup restore {folder} --to NEWDIR")
        tell.out("  or by hand, into a folder RESTORED of yours:")
        for command in ("mkdir RESTORED", *one.restore):
            tell.whole(f"    {uncut(command)}")
