"""``frostwatch history``: what the journal knows of past freezes and thaws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from agentclient.journal import history
from agentclient.journal.json_contract import durations_object, window_object
from agentclient.journal.writer import Journal
from agentclient.late import load
from agentclient.model.clock import now
from agentclient.model.durations import in_words
from agentclient.model.errors import BadInput
from agentclient.model.json_contract import dumps
from agentclient.model.others_past import OthersResult
from agentclient.model.outcome import CERTIFIED, NO_GROUP_WORD
from agentclient.model.rescue import Rung
from agentclient.model.states import OutcomeKind, Phase
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from tui.cli import table, tell
from tui.cli.journal_query import READ_S, answer_of
from tui.cli.options import Options, json_option, vm_argument
from tui.cli.table import Cell
from tui.shared.fit import fit_middle
from tui.shared.history_text import (
    counts,
    figures_in_words,
    notes,
    others_in_words,
    outcome_word,
    seconds_in_words,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from agentclient.journal.figures import Figures
    from agentclient.journal.history import Guest
    from agentclient.journal.window_row import WindowRow


DEFAULT_LIMIT = 50
PAGE = 200
# As the table says it; what goes on is called by its phase.
_GOES_ON = (Phase.PREPARING, Phase.PENDING, Phase.HELD, Phase.THAWING)
_ENDED = (*OutcomeKind, CERTIFIED, NO_GROUP_WORD, *OthersResult)
STATE_WORDS = tuple(dict.fromkeys(map(str, (*_ENDED, *_GOES_ON, *Rung, "unreadable"))))
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which windows are asked for; an empty one matches all.

    Attributes:
        since: only those that were asked for then or later.
        until: only those that were asked for before that, or then.
        words: what became of them, as the table says it: one of these.
    """

    since: datetime | None = None
    until: datetime | None = None
    words: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Whether nothing in particular is asked for."""
        return self == _Wanted()

    def matches(self, row: WindowRow) -> bool:
        """Return whether a window is asked for."""
        at = _asked_at(row)
        early = self.since is not None and (at is None or at < self.since)
        late = self.until is not None and (at is None or at > self.until)
        return not (early or late) and (not self.words or bool(self.words & _words_of(row)))

    def is_beyond(self, row: WindowRow) -> bool:
        """Return whether a window is older than all that are asked for."""
        at = _asked_at(row)
        return self.since is not None and at is not None and at < self.since


def _asked_at(row: WindowRow) -> datetime | None:
    asked = row.times["asked"]
    return None if asked is None else datetime.fromisoformat(asked.at)


def _words_of(row: WindowRow) -> set[str]:
    """Return the words by which a window is found."""
    if row.phase is None and row.without_group:
        return {NO_GROUP_WORD}
    return {outcome_word(row).partition(" ")[0], *([CERTIFIED] if row.certified else [])}


def _state_words(
    ctx: click.Context,  # noqa: ARG001 - as click calls it
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Return the words that begin as was typed: a callback of click's."""
    item = load("click.shell_completion", "CompletionItem")
    return [item(word) for word in STATE_WORDS if word.startswith(incomplete)]


def _past(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return the moment that an option's value means: a callback of click's."""
    if value is None:
        return None
    try:
        moment: datetime = load("agentclient.model.moments", "parse_past")(value, now())
        return moment
    except BadInput as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


@click.command("history")
@vm_argument("name", metavar="[VM]", required=False)
@json_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    metavar="N",
    help=f"The newest so many; default {DEFAULT_LIMIT}.",
)
@click.option(
    "--since",
    metavar="T",
    callback=_past,
    help="Only since then: 90m, 1d or 2w (ago), 02:30, 2026-03-01, or 2026-03-01T02:30.",
)
@click.option("--until", metavar="T", callback=_past, help="Only until then, in the same words.")
@click.option(
    "--state",
    "words",
    multiple=True,
    metavar="STATE",
    shell_complete=_state_words,
    help=f"Only what came to this (repeatable): {', '.join(STATE_WORDS)}.",
)
def history_command(
    *,
    name: str | None,
    as_json: bool,
    limit: int,
    since: datetime | None,
    until: datetime | None,
    words: tuple[str, ...],
) -> int:
    """Tell past freezes and thaws, the newest first; of a VM also how long its freezes take."""
    wanted = _Wanted(since, until, _checked(words))
    if since is not None and until is not None and since > until:
        raise BadInput("--since is later than --until: nothing can lie between")
    options = click.get_current_context().find_object(Options) or Options()
    journal = Journal(options.configured().general.journal)
    try:
        found = _read(journal, name, limit, wanted)
    finally:
        journal.close()
    for one in found.aside:
        text = f"an earlier journal was corrupt, and was put aside: {printable(one)}"
        tell.note(text)
    if as_json:
        _print_json(found)
    else:
        _print_table(found, filtered=not wanted.is_all)
    return 0


def _checked(words: Sequence[str]) -> frozenset[str]:
    """Return the words of ``--state``.

    Raises:
        BadInput: one of them is none.
    """
    for word in words:
        if word not in STATE_WORDS:
            said = f"{printable(word, 60)!r} is no outcome{did_you_mean(word, STATE_WORDS)}"
            raise BadInput(f"{said}: use {', '.join(STATE_WORDS)}")
    return frozenset(words)


def _read(journal: Journal, name: str | None, limit: int, wanted: _Wanted) -> _Found:
    if name is None:
        found = _Found(_windows(journal, None, limit, wanted))
    else:
        guests = answer_of(journal, history.guests(name))
        guest = _one(name, guests)
        past = answer_of(journal, history.history_of(guest, limit if wanted.is_all else 1))
        windows = past.windows if wanted.is_all else _windows(journal, guest, limit, wanted)
        found = _Found(windows, guest.vms[0], past.figures, past.others)
    return replace(found, aside=journal.aside(READ_S))


def _windows(
    journal: Journal, guest: Guest | None, limit: int, wanted: _Wanted
) -> tuple[WindowRow, ...]:
    """Read the newest windows that are asked for, page by page."""
    found: list[WindowRow] = []
    before: int | None = None
    size = limit if wanted.is_all else PAGE
    while len(found) < limit:
        page = answer_of(journal, history.windows(guest, size, before))
        found += [row for row in page if wanted.matches(row)]
        if wanted.is_all or len(page) < size or all(map(wanted.is_beyond, page)):
            break
        before = page[-1].window
    return tuple(found[:limit])


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


def _print_table(found: _Found, *, filtered: bool) -> None:
    if not found.windows:
        since = "since then" if found.aside else "yet"
        tell.note("nothing matches" if filtered else f"nothing was frozen or thawed {since}")
        return
    rows = [_row(row) for row in found.windows]
    lines = table.fitted(
        HEADER, rows, below="NOTE", drop=("WHO", "CAUSE", "SECONDS"), cut=("VM",), apart="VM"
    )
    after = []
    if found.figures is not None and found.figures.count:
        after.append(f"\n{figures_in_words(found.figures)}")
    if found.others is not None and found.others.count:
        after.append(f"\n{others_in_words(found.others)}")
    tell.rows(lines, after)


def _row(row: WindowRow) -> tuple[Cell, ...]:
    word = outcome_word(row)
    outcome = row.outcome or {}
    ended = row.outcome is not None and row.phase is None
    certified = ("yes" if row.certified else "no") if ended else "-"
    asked = row.times["asked"]
    when = f"{datetime.fromisoformat(asked.at):%Y-%m-%d %H:%M:%S}" if asked else "-"
    return (
        Cell(when),
        Cell(fit_middle(printable(row.vm, 4_000), 200)),
        Cell(word, _COLOURS.get(word, "red")),
        Cell(certified),
        Cell(counts(row)),
        Cell("-" if row.held_s is None else in_words(row.held_s)),
        Cell(seconds_in_words(row.seconds)),
        Cell(printable(outcome.get("cause") or "-", 40)),
        Cell(printable(f"{row.user} (pid {row.pid})" if row.pid >= 0 else "-", 60)),
        Cell(printable("; ".join(notes(row)), 300)),
    )
