"""``frostwatch history``: what the journal knows of past freezes and thaws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from agentclient.durations import in_words
from agentclient.errors import BadInput, FrostwatchError
from agentclient.journal.contract import durations_object, window_object
from agentclient.schema import dumps
from agentclient.text import printable
from agentclient.words import WindowKind, WindowState
from tui.cli import table
from tui.cli.options import json_option
from tui.cli.table import Cell

if TYPE_CHECKING:
    import sqlite3

    from agentclient.journal.figures import Figures
    from agentclient.journal.history import WindowRow
    from agentclient.journal.writer import Journal

DEFAULT_LIMIT = 50
READ_S = 10.0
HEADER = (
    "WHEN",
    "VM",
    "OUTCOME",
    "CERTIFIED",
    "FROZEN/THAWED",
    "HELD",
    "SECONDS",
    "CAUSE",
    "WHO",
    "NOTE",
)
_COLOURS = {"verified": "green", "thawed": "green", "unverified": "yellow", "refused": "yellow"}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is printed.

    Attributes:
        ids: the VMs that were meant, if one was named.
        figures: how long the freezes of that VM took.
    """

    ids: tuple[str, ...]
    windows: tuple[WindowRow, ...]
    figures: Figures | None = None


@click.command("history", short_help="Tell past freezes and thaws.")
@click.argument("name", metavar="[VM]", required=False)
@json_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    metavar="N",
    help=f"The newest so many; default {DEFAULT_LIMIT}.",
)
def history_command(name: str | None, as_json: bool, limit: int) -> int:
    """Tell past freezes and thaws, the newest first; of a VM also how long its freezes take."""
    from agentclient.journal.writer import Journal  # noqa: PLC0415 - slow, and only needed here

    journal = Journal()
    try:
        found = _read(journal, name, limit)
    finally:
        journal.close()
    if as_json:
        _print_json(found)
    else:
        _print_table(found)
    return 0


def _read(journal: Journal, name: str | None, limit: int) -> _Found:
    from agentclient.journal import history  # noqa: PLC0415 - as above

    def read(file: sqlite3.Connection) -> _Found:
        if name is None:
            return _Found((), history.windows(file, None, limit))
        ids = history.vm_ids(file, name)
        if len(ids) != 1:
            return _Found(ids, ())
        vm = ids[0]
        return _Found(ids, history.windows(file, vm, limit), history.all_figures(file, vm))

    found = journal.ask(read, _Found((), ()), READ_S)
    if found is None:
        raise FrostwatchError(journal.problem or f"the journal {journal.path} does not answer")
    if name is not None:
        _check(name, found.ids)
    return found


def _check(name: str, ids: Sequence[str]) -> None:
    if not ids:
        raise BadInput(f"the journal knows no VM called {printable(name)!r}")
    if len(ids) > 1:
        known = " and ".join(sorted(printable(one) for one in ids))
        raise BadInput(f"{printable(name)!r} is ambiguous: it can be {known}; name one by its id")


def _print_json(found: _Found) -> None:
    lines = [dumps(window_object(row)) for row in found.windows]
    if found.figures is not None:
        lines.append(dumps(durations_object(found.ids[0], found.figures)))
    if lines:
        click.echo("\n".join(lines))


def _print_table(found: _Found) -> None:
    if not found.windows:
        click.echo("frostwatch: nothing was frozen or thawed yet", err=True)
        return
    rows = [_row(row) for row in found.windows]
    click.echo("\n".join(table.lines_of(HEADER, rows, colours=table.coloured())), color=True)
    if found.figures is not None and found.figures.count:
        click.echo(f"\n{figures_in_words(found.figures)}")


def figures_in_words(found: Figures) -> str:
    """Return how long a VM's freezes take, from their sending to their reply."""
    count = "1 freeze" if found.count == 1 else f"{found.count} freezes"
    return (
        f"{count} answered: median {seconds_in_words(found.median_s)} s, "
        f"95 % within {seconds_in_words(found.p95_s)} s, worst {seconds_in_words(found.worst_s)} s"
    )


def _row(row: WindowRow) -> tuple[Cell, ...]:
    word = outcome_word(row)
    outcome = row.outcome or {}
    certified = ("yes" if outcome.get("certified") else "no") if row.outcome else "-"
    asked = row.times["asked"]
    when = f"{datetime.fromisoformat(asked.at):%Y-%m-%d %H:%M:%S}" if asked else "-"
    return (
        Cell(when),
        Cell(printable(row.vm, 60)),
        Cell(word, _COLOURS.get(word, "red")),
        Cell(certified),
        Cell(counts(row)),
        Cell("-" if row.held_s is None else in_words(row.held_s)),
        Cell(seconds_in_words(row.seconds)),
        Cell(printable(outcome.get("cause") or "-", 40)),
        Cell(printable(f"{row.user} (pid {row.pid})", 60)),
        Cell(printable("; ".join(notes(row)), 200)),
    )


def outcome_word(row: WindowRow) -> str:
    """Return how a window ended, in one word."""
    if row.outcome is not None:
        return printable(row.outcome.get("outcome"), 40)
    if row.thaw is not None and row.kind is WindowKind.THAW:
        if row.thaw.get("ok"):
            return "thawed"
        return "refused" if row.thaw.get("refused") else "failed"
    return "-" if row.state is WindowState.CLOSED else row.state.value


def counts(row: WindowRow) -> str:
    """Return how many file systems were frozen, and thawed."""
    outcome, thaw = row.outcome or {}, row.thaw or {}
    thawed = outcome.get("thawed")
    thawed = thaw.get("thawed") if thawed is None else thawed
    return f"{_count(outcome.get('frozen'))}/{_count(thawed)}"


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else "-"


def notes(row: WindowRow) -> Iterable[str]:
    """Yield what else a person should know of a window."""
    if row.kind is WindowKind.THAW:
        yield "thaw"
    refusal = (row.outcome or {}).get("refusal")
    if refusal:
        yield str(refusal)
    if row.state is WindowState.LEFT:
        yield "its process has died"
    if row.note:
        yield row.note
    if row.kind is WindowKind.FREEZE and row.state is not WindowState.OPEN and not row.settled:
        yield "MAY BE FROZEN"
    if row.settled and row.note:
        yield "settled"


def seconds_in_words(value: float | None) -> str:
    """Return seconds as the table shows them."""
    return "-" if value is None else f"{value:.1f}"
