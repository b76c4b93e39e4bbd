"""``frostwatch doctor``: says what can be seen and used here, and how to mend the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agentclient.fleet.doctor import (
    FindingLevel,
    about,
    check_journal,
    check_settings,
    examine,
    worst,
)
from agentclient.fleet.findings import finding_object
from agentclient.journal.rows import check
from agentclient.model.clock import now
from agentclient.model.json_contract import dumps
from agentclient.model.text import printable, uncut
from tui.cli import session, table, tell
from tui.cli.options import Options, json_option, vm_argument, with_options
from tui.shared.folding import columns_of, folded

if TYPE_CHECKING:
    from pathlib import Path

    from agentclient.fleet.findings import Finding
    from agentclient.journal.writer import Journal

WRITE_S = 3.0

_MARGIN = " " * len("warning  ")
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command("doctor")
@vm_argument("name", metavar="[VM]", required=False)
@json_option
@with_options
def doctor_command(options: Options, name: str | None, as_json: bool) -> int:
    """Say what is seen and may be used here, and what to do about what may not.

    Exits 1 if there is a problem.
    """
    findings = _examine(options, name)
    for finding in findings:
        if as_json:
            tell.whole(dumps(finding_object(finding)))
        else:
            _print(finding)
    return 1 if worst(findings) is FindingLevel.PROBLEM else 0


def _examine(options: Options, name: str | None) -> tuple[Finding, ...]:
    with session.engine_for(options) as engine:
        # Not `look`: what is wrong with a socket is a finding here.
        engine.watcher.find_vms()
        found = engine.fleet.find(name) if name is not None else None
        engine.visit()
        findings = examine(engine.watcher.discoveries, engine.fleet.states())
        if engine.journal is not None:
            findings += tuple(check_journal(*_of_journal(engine.journal)))
        if options.settings is not None:
            findings += tuple(check_settings(options.settings))
    return about(findings, found.id) if found is not None else findings


def _of_journal(journal: Journal) -> tuple[Path, str | None, tuple[str, ...]]:
    """Write something into the journal; return its file, what is wrong, and what was put aside."""
    written = journal.write(check(now().isoformat()), WRITE_S)
    problem = journal.problem
    if not written and problem is None:
        problem = f"the journal {journal.path} does not answer within {WRITE_S:g} s"
    aside = journal.aside()
    told = [notice for notice in iter(journal.take_notice, None) if notice is not None]
    return journal.path, problem or next(iter(told), None), aside


def _print(finding: Finding) -> None:
    level = click.style(finding.level.value, fg=_COLOURS[finding.level.value])
    word = level if table.coloured() else finding.level.value
    columns = columns_of(sys.stdout)
    told = folded(f"{_MARGIN}{printable(finding.subject, 80)}: {finding.text}", columns)
    tell.rows([word + told[len(finding.level.value) :]])
    if finding.advice:
        tell.out(f"{_MARGIN}{uncut(finding.advice)}")
