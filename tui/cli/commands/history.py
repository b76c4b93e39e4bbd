"""``frostwatch history``: what the journal knows of past freezes and thaws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from agentclient.journal import history
from agentclient.journal.json_contract import durations_object, window_object
from agentclient.journal.writer import Journal
from agentclient.model.durations import in_words
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.json_contract import dumps
from agentclient.model.rescue import Rung
from agentclient.model.text import printable
from tui.cli import table, tell
from tui.cli.options import Options, json_option
from tui.cli.table import Cell
from tui.shared.history_text import (
    counts,
    figures_in_words,
    notes,
    others_in_words,
    outcome_word,
    seconds_in_words,
)

if TYPE_CHECKING:
    from agentclient.journal.figures import Figures
    from agentclient.journal.history import Guest
    from agentclient.journal.storage.jobs import Query
    from agentclient.journal.window_row import WindowRow

T = TypeVar("T")

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
_COLOURS: dict[str, str] = {
    "held now": "cyan",
    "pending": "cyan",
    "preparing": "cyan",
    "thawing": "cyan",
    **dict.fromkeys(map(str, Rung), "yellow"),
    "verified": "green",
    "answered": "green",
    "thawed": "green",
    "unverified": "yellow",
    "refused": "yellow",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is printed.

    Attributes:
        vm: whose windows these are, if a VM was named.
        figures: how long the freezes of that VM took.
        others: how long others' commands waited in it.
        aside: where earlier journals lie that were corrupt.
    """

    windows: tuple[WindowRow, ...]
    vm: str | None = None
    figures: Figures | None = None
    others: Figures | None = None
    aside: tuple[str, ...] = ()


@click.command("history")
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
    options = click.get_current_context().find_object(Options) or Options()
    journal = Journal(options.configured().general.journal)
    try:
        found = _read(journal, name, limit)
    finally:
        journal.close()
    for one in found.aside:
        text = f"an earlier journal was corrupt, and was put aside: {printable(one)}"
        tell.note(text)
    if as_json:
        _print_json(found)
    else:
        _print_table(found)
    return 0


def _read(journal: Journal, name: str | None, limit: int) -> _Found:
    if name is None:
        found = _Found(_asked(journal, history.windows(None, limit)))
    else:
        guests = _asked(journal, history.guests(name))
        guest = _one(name, guests)
        past = _asked(journal, history.history_of(guest, limit))
        found = _Found(past.windows, guest.vms[0], past.figures, past.others)
    return replace(found, aside=journal.aside(READ_S))


def _asked(journal: Journal, query: Query[T]) -> T:
    found = journal.ask(query, READ_S)
    if found is None:
        raise FrostwatchError(
            journal.problem
            or journal.take_notice()
            or f"the journal {journal.path} does not answer"
        )
    return found


def _one(name: str, guests: Sequence[Guest]) -> Guest:
    if not guests:
        raise BadInput(f"the journal knows no VM called {printable(name)!r}")
    if len(guests) > 1:
        known = " and ".join(sorted(printable(one.vms[0]) for one in guests))
        raise BadInput(f"{printable(name)!r} is ambiguous: it can be {known}; name one by its id")
    return guests[0]


def _print_json(found: _Found) -> None:
    lines = [dumps(window_object(row)) for row in found.windows]
    if found.figures is not None and found.others is not None and found.vm is not None:
        lines.append(dumps(durations_object(found.vm, found.figures, found.others)))
    if lines:
        tell.whole("\n".join(lines))


def _print_table(found: _Found) -> None:
    if not found.windows:
        since = "since then" if found.aside else "yet"
        tell.note(f"nothing was frozen or thawed {since}")
        return
    rows = [_row(row) for row in found.windows]
    lines = table.fitted(HEADER, rows, below="NOTE", drop=("WHO", "CAUSE"), cut=("VM",))
    tell.rows(lines)
    if found.figures is not None and found.figures.count:
        tell.out(f"\n{figures_in_words(found.figures)}")
    if found.others is not None and found.others.count:
        tell.out(f"\n{others_in_words(found.others)}")


def _row(row: WindowRow) -> tuple[Cell, ...]:
    word = outcome_word(row)
    outcome = row.outcome or {}
    ended = row.outcome is not None and row.phase is None
    certified = ("yes" if outcome.get("certified") else "no") if ended else "-"
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
        Cell(printable(f"{row.user} (pid {row.pid})" if row.pid >= 0 else "-", 60)),
        Cell(printable("; ".join(notes(row)), 300)),
    )
