"""``frostwatch list``: what is known about each VM, for a person or for a monitoring system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agentclient.fleet.ages import remember
from agentclient.late import load
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.json_contract import dumps, vm_object
from agentclient.model.next_command import thaw_command
from agentclient.model.snapshot import VmState
from agentclient.model.text import printable, uncut
from tui.cli import session, tell
from tui.cli.options import Options, duration, files, json_option, with_options
from tui.cli.vm_filter import STATE_WORDS, Filter, Seen, checked, query_of
from tui.cli.vm_table import table_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from agentclient.journal.writer import Journal

BAD_INPUT, UNKNOWN = 2, 3
TABLE, JSON, PROMETHEUS, NAGIOS = "table", "json", "prometheus", "nagios"
FORMATS: Final = (TABLE, JSON, PROMETHEUS, NAGIOS)
EVERYTHING = Filter()


def _state_words(
    ctx: click.Context,  # noqa: ARG001 - as click calls it
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Return the states that begin as was typed: a callback of click's."""
    item = load("click.shell_completion", "CompletionItem")
    return [item(str(word)) for word in STATE_WORDS if word.startswith(incomplete)]


@click.command(
    "list",
    epilog="--format nagios is for a monitoring system: a line with figures, and its exit codes: 0 "
    "all is well, 1 warning, 2 critical, 3 unknown. With --state, --older-than or --filter "
    "whatever matches is critical. Without, what was left frozen or is lost is critical; what "
    "others have frozen or a silent agent is a warning. --format prometheus -o DIR/frostwatch.prom "
    "is for the textfile collector of node_exporter.",
)
@json_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="A table (default), JSON as with --json, metrics for Prometheus, or what a Nagios plugin "
    "tells.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=files,
    help="Write it to this file, which is replaced as a whole; not a table.",
)
@click.option(
    "--watch",
    "follow",
    is_flag=True,
    help="Go on until Ctrl-C: on a terminal the table is drawn again in its place; elsewhere it is "
    "printed again when a state has changed; with --json the VMs that have.",
)
@click.option(
    "--state",
    "words",
    multiple=True,
    metavar="STATE",
    shell_complete=_state_words,
    help=f"Only VMs in this state (repeatable): {', '.join(STATE_WORDS)}.",
)
@click.option(
    "--older-than",
    "older_than_s",
    callback=duration,
    metavar="D",
    help="Only VMs whose freeze state was first seen longer ago, by this or an earlier run.",
)
@click.option(
    "--filter",
    "terms",
    multiple=True,
    metavar="TERMS",
    help="Only VMs that the console's filter would show: words, state:frozen, agent:silent, "
    "name:web-*, '>5m', '!word' (repeatable; all must hold).",
)
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit 1 if any VM matches, 2 if a source can't be seen, 3 if it isn't known of one.",
)
@with_options
def list_command(
    options: Options,
    *,
    as_json: bool,
    form: str | None,
    output: str | None,
    follow: bool,
    words: tuple[str, ...],
    older_than_s: float | None,
    terms: tuple[str, ...],
    exit_code: bool,
) -> int:
    """List the VMs of this machine: their agents, and whether they are frozen."""
    wanted = Filter(checked(words), older_than_s, " ".join(terms).strip())
    if wanted.terms:
        query_of(wanted.terms)  # what can't be meant is told before anybody is asked
    form = _form(form, output, as_json=as_json, follow=follow, exit_code=exit_code)
    if follow:
        run = load("tui.cli.commands.list_watch", "follow")
        return int(run(options, wanted, as_json=form == JSON))
    file = None if output is None else Path(output)
    return list_vms(options, wanted, form, file, exit_code=exit_code)


def _form(
    form: str | None, output: str | None, *, as_json: bool, follow: bool, exit_code: bool
) -> str:
    """Return the form in which it is told.

    Raises:
        BadInput: the options don't go together.
    """
    if as_json and form not in (None, JSON):
        raise BadInput(f"--json and --format {form} exclude each other")
    found = JSON if as_json else form or TABLE
    if output is not None and found == TABLE:
        raise BadInput("-o writes what a program reads: say --format prometheus, json or nagios")
    if exit_code and found == NAGIOS:
        raise BadInput("--format nagios has exit codes of its own: leave out --exit-code")
    if follow and (output is not None or exit_code or found not in (TABLE, JSON)):
        raise BadInput(
            "--watch prints a table, or JSON: leave out -o, --exit-code and other formats"
        )
    return found


def list_vms(
    options: Options,
    wanted: Filter = EVERYTHING,
    form: str = TABLE,
    output: Path | None = None,
    *,
    exit_code: bool = False,
) -> int:
    """Visit all VMs once, tell those that are asked for, and return the exit code."""
    seen = _look(options, wanted)
    if form == NAGIOS:
        code, lines = load("tui.cli.vm_check", "plugin_output")(seen)
        _put(lines, output)
        return int(code)
    if form == TABLE:
        _print_table(seen)
    elif form == JSON:
        _put([dumps(vm_object(state)) for state in seen.found], output)
    else:
        _put(load("tui.cli.vm_metrics", "metrics")(seen), output)
    return _exit_code(seen) if exit_code else 0


def _look(options: Options, wanted: Filter) -> Seen:
    """Visit all VMs once; tell a person what is wrong."""
    with session.engine_for(options) as engine:
        failed = engine.look(together=True)
        engine.visit()
        at = now()
        # A drill has new guests each time, so that nothing of them is remembered.
        journal = engine.journal
        forgotten = None if journal is None else remember(engine.fleet, journal, at)
        states = engine.fleet.states()
        unseen = [note for source in engine.sources for note in source.notes() if note.may_hide_vms]
        problems = (*failed, *engine.hanging)
        untold = () if journal is None else _of_journal(journal)
    for told in (*untold, *map(_left, states)):
        if told is not None:
            tell.note(uncut(told))
    if forgotten and wanted.older_than_s is not None:
        tell.note(printable(forgotten))
    for problem in problems:
        tell.note(problem)
    found = [state for state in states if wanted.matches(state, at)]
    unknown = [f"{one.id}: {why}" for one in states if (why := wanted.may_match(one, at))]
    unknown += [f"{note.subject}: {note.text}" for note in unseen]
    return Seen(at, states, wanted, found, problems, bool(failed), unknown)


def _exit_code(seen: Seen) -> int:
    """Tell why not all could be seen, and return the exit code of ``--exit-code``."""
    for state in seen.states:
        # Who reads the exit code reads no table, and must learn that not all could be seen.
        doubt = seen.wanted.may_match(state, seen.at)
        if state.trouble and not (state.trouble_is_the_agents and doubt):
            tell.note(printable(f"{state.id}: {state.trouble}"))
    for sentence in seen.unknown:
        tell.note(printable(sentence))
    if seen.found:
        return 1
    return BAD_INPUT if seen.failed else UNKNOWN if seen.unknown or seen.problems else 0


def _put(lines: Sequence[str], output: Path | None) -> None:
    """Write lines for a program to stdout, or to a file."""
    if output is None:
        tell.rows(lines)
        return
    write = load("tui.cli.whole_file", "write_whole")
    write(output, "".join(f"{line}\n" for line in lines))


def _of_journal(journal: Journal) -> tuple[str, ...]:
    """Return what is wrong with the journal, and what that means for a list."""
    notices = [notice for notice in iter(journal.take_notice, None) if notice is not None]
    problem = journal.problem
    if problem is None:
        return tuple(notices)
    others = [notice for notice in notices if notice != problem]
    return *others, f"{problem}; what a dead frostwatch has left frozen is shown as foreign"


def _print_table(seen: Seen) -> None:
    if seen.found:
        tell.rows(table_of(seen.found))
        return
    if seen.states:
        tell.note(f"no VM matches{seen.wanted.suggestion}")
    else:
        tell.note("no VM was found here (try: frostwatch doctor)")


def _left(state: VmState) -> str | None:
    """Return what to do about a guest that a dead frostwatch has left frozen."""
    if state.left_by is None:
        return None
    command = thaw_command(state.vm, foreign=False)
    return f"{state.id}: {state.left_by}, which has ended; thaw it with: {command}"
