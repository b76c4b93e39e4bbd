"""``frostwatch backup restore``: makes whole images of a copy, offline."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agentclient.jobs.image_tool import INSTALL, tool
from agentclient.jobs.restore import Restored, RestorePlan, plan_restore, restore
from agentclient.jobs.verify import NO_SUM
from agentclient.late import load
from agentclient.model.errors import FrostwatchError
from agentclient.model.job import Consistency
from agentclient.model.json_contract import SCHEMA, JsonObject, dumps
from agentclient.model.shell_words import quoted
from agentclient.model.sizes import size_text
from agentclient.model.text import printable, uncut
from tui.cli import tell
from tui.cli.copy_options import folders
from tui.cli.folders import Patience, folder_of_copies
from tui.cli.job_progress import PLAIN_TERMINALS, terminal_size
from tui.cli.options import json_option
from tui.cli.output import Output

if TYPE_CHECKING:
    from tui.cli.job_bar import JobBars

DRAWN_EVERY_S: Final = 0.25


@click.command("restore")
@click.argument("folder", metavar="DIR", shell_complete=folders)
@click.option(
    "--to",
    "target",
    metavar="NEWDIR",
    required=True,
    help="The folder for the images; it is made, and nothing is overwritten.",
)
@click.option("--disk", "disks", metavar="NAME", multiple=True, help="Only this disk (repeatable).")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["qcow2", "raw"]),
    help="The images' format; default that of the copy's files.",
)
@json_option
def restore_command(
    folder: str, target: str, disks: tuple[str, ...], format_: str | None, as_json: bool
) -> int:
    """Make whole images of a backup or a mirror, in a new folder; no VM is touched.

    DIR is the folder of one copy (frostwatch backup list). It is checked first, with all that it
    builds on. Exits 0 only if all images are made; else nothing is left of them.
    """
    to = Path(target).absolute()
    path = folder_of_copies(folder)
    with Patience("nothing was restored, and nothing is left of it") as patience:
        planning = partial(plan_restore, path, to, disks, format_)
        plan = patience.wait_for("reading the folder", planning)
        program = tool()
        if program is None:
            raise FrostwatchError(f"nothing was restored: {INSTALL}")
        teller = _Teller(plan, patience, silent=as_json)
        try:
            made = restore(plan, program, teller.tick, patience.control)
        finally:
            teller.end()
    for one in made if as_json else ():
        tell.whole(dumps(_object(plan, one)))
    if not as_json:
        _print(plan, made)
    return 0


class _Teller:
    """Tells how far it is: a bar on a terminal, a line from time to time elsewhere.

    Args:
        plan: what is restored.
        patience: obeys signals.
        silent: a program reads our output; a line from time to time is enough.
    """

    def __init__(self, plan: RestorePlan, patience: Patience, *, silent: bool) -> None:
        self._patience = patience
        self._name = plan.copy.vm
        self._next = 0.0
        self._output: Output | None = None
        self._bars: JobBars | None = None
        plain = os.environ.get("TERM", "") in PLAIN_TERMINALS
        if not silent and sys.stderr.isatty() and not plain:
            self._output = Output()
            self._bars = load("tui.cli.job_bar", "JobBars")()

    def tick(self, doing: str, percent: float | None) -> None:
        """Tell what is done now.

        Raises:
            Stopped: a signal has come.
        """
        if self._output is None or self._bars is None:
            far = "" if percent is None else f": {percent:.0f} %"
            self._patience.tick(f"{doing}{far}")
            return
        self._patience.check()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + DRAWN_EVERY_S
        columns, _ = terminal_size()
        self._output.footer([self._bars.work_line(self._name, doing, percent, columns)])

    def end(self) -> None:
        """Take the bar away."""
        if self._output is not None:
            self._output.footer(())
            self._output.finish()


def _print(plan: RestorePlan, made: list[Restored]) -> None:
    manifest = plan.manifest
    grade = f"certified {manifest.consistency}" if manifest.certified else manifest.consistency
    taken = printable(manifest.times.get("taken") or "", 40)
    shown = printable(plan.to, 300)
    tell.out(f"restored: {printable(plan.copy.vm, 60)} as of {taken}, {grade}, in {shown}")
    if manifest.consistency is not Consistency.CONSISTENT:
        tell.out("  the guest finds its disks as after a power failure, and recovers them")
    if any(one.disk.sha256 is None for one in made):
        tell.out(f"  note: {NO_SUM}")
    if manifest.left_out:
        lacking = [f"{printable(disk, 60)} ({why})" for disk, why in manifest.left_out]
        tell.out(f"  note: the VM had other disks, which the copy lacks: {', '.join(lacking)}")
    clear = [printable(one.disk.name, 60) for one in made if one.disk.in_the_clear]
    if clear:
        tell.out(f"  note: encrypted in the VM, and in the clear here: {', '.join(clear)}")
    for one in made:
        was = printable(one.disk.source_format, 20)
        tell.out(
            f"  disk {printable(one.disk.name, 60)}: {printable(one.file.name, 120)}, "
            f"{size_text(one.disk.size)} ({one.format}; the VM had {was})"
        )
    tell.out("start the VM with these in the place of its disks; a QEMU of your own with:")
    for one in made:
        path = str(one.file).replace(",", ",,")
        value = quoted(f"file={path},format={one.format},if=virtio")
        tell.whole(f"  -drive {uncut(value)}")


def _object(plan: RestorePlan, one: Restored) -> JsonObject:
    """Return one image: a line of ``frostwatch backup restore --json``."""
    manifest = plan.manifest
    return {
        "schema": SCHEMA,
        "backup": str(plan.copy.backup.folder),
        "vm": dict(manifest.vm),
        "taken": manifest.times.get("taken"),
        "consistency": manifest.consistency.value,
        "disk": one.disk.name,
        "file": str(one.file),
        "format": one.format,
        "size": one.disk.size,
        "source_format": one.disk.source_format,
    }
