"""``frostwatch replay``: shows again, in the console or in plain lines, what the journal has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from agentclient.journal.storage.jobs import Query
from agentclient.journal.writer import Journal
from agentclient.late import load
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.json_contract import SCHEMA, JsonObject, dumps, rfc3339
from agentclient.model.moments import parse_past
from agentclient.model.snapshot import VmState
from agentclient.model.states import WindowState
from agentclient.model.text import printable
from agentclient.replay.incident import Incident, Step, incident_of
from agentclient.replay.player import FASTEST, SLOWEST, Replay
from agentclient.replay.selection import AFTER, BEFORE, of_time, of_window
from tui.cli import tell
from tui.cli.journal_query import answer_of
from tui.cli.look import look_of
from tui.cli.options import Options, json_option, vm_argument
from tui.shared.freeze_look import freeze_look
from tui.shared.glyphs import FREEZE
from tui.shared.terminal_features import on_terminal

READ_S = 20.0
_ONE = "--window, --since and --at exclude each other: each says which windows are replayed"


def _speed(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not SLOWEST <= value <= FASTEST:  # nor is a nan
        raise click.BadParameter(f"{value:g} is not in {SLOWEST:g} to {FASTEST:g}", ctx, param)
    return value


@click.command("replay")
@vm_argument("names", metavar="[VM]...", nargs=-1)
@click.option(
    "--window",
    "window",
    type=click.IntRange(1),
    metavar="N",
    help="The window of this number, and what was frozen with it (history --json names them).",
)
@click.option("--since", metavar="TIME", help="All since then: 1d (ago), 02:30, 2026-03-01T02:30.")
@click.option("--at", metavar="TIME", help="What was going on then, and for 10 min after it.")
@click.option(
    "--speed",
    type=float,
    default=1.0,
    callback=_speed,
    metavar="X",
    help=f"So many times faster than it happened, {SLOWEST:g} to {FASTEST:g}; default 1.",
)
@json_option
@click.option("-n", "--no-console", "plain", is_flag=True, help="In plain lines, all at once.")
def replay_command(
    names: tuple[str, ...],
    *,
    window: int | None,
    since: str | None,
    at: str | None,
    speed: float,
    as_json: bool,
    plain: bool,
) -> int:
    """Show an incident again: the newest window, or the one, or the time that is named.

    In the same console, at any speed; nothing in it is real, and nothing can be done. Without a
    terminal it is told in plain lines.
    """
    if sum(one is not None for one in (window, since, at)) > 1:
        raise BadInput(_ONE)
    options = click.get_current_context().find_object(Options) or Options()
    if options.drill is not None:
        raise BadInput("a drill has no journal: replay shows what happened to real VMs")
    options = options.configured()
    incident = _read(options, names, window, since, at)
    if as_json:
        _print_json(incident)
    elif plain or not on_terminal():
        _print_lines(incident)
    else:
        replay, look = Replay(incident, speed=speed), look_of(options)
        return int(load("tui.console.replay.run", "run_replay")(replay, **look))
    return 0


def _read(
    options: Options, names: tuple[str, ...], window: int | None, since: str | None, at: str | None
) -> Incident:
    journal = Journal(options.general.journal)

    def ask(query: Query[Any]) -> Any:
        return answer_of(journal, query, READ_S)

    try:
        if since is not None:
            rows = of_time(ask, parse_past(since, now()), now(), names)
        elif at is not None:
            moment = parse_past(at, now())
            rows = of_time(ask, moment - BEFORE, moment + AFTER, names)
        else:
            rows = of_window(ask, window, names)
    finally:
        journal.close()
    incident = incident_of(rows)
    if incident is None:
        unreadable = f": {len(rows)} can't be read" if rows else ""
        raise BadInput(f"the journal has no window of that time{unreadable}")
    return incident


# -- in plain lines -------------------------------------------------------------------------------


def _print_lines(incident: Incident) -> None:
    width = max(len(printable(str(vm.id), 200)) for vm in incident.vms)
    tell.out(headline(incident))
    for line in _lines(incident, width):
        tell.out(line, below=len("00:00:00.0  ") + width)


def headline(incident: Incident) -> str:
    """Return what is replayed, in one line."""
    count, vms = len(incident.windows), len(incident.vms)
    windows = "1 window" if count == 1 else f"{count} windows"
    of = "1 VM" if vms == 1 else f"{vms} VMs"
    left_out = f", {incident.unreadable} more can't be read" if incident.unreadable else ""
    begins = incident.steps[0].at
    going_on = sum(row.state is WindowState.OPEN for row in incident.windows)
    end = f"{going_on} of them not over yet" if going_on else "it is all over"
    return f"REPLAY: {windows} of {of}, from {begins:%Y-%m-%d %H:%M:%S}{left_out}; {end}"


def _lines(incident: Incident, width: int) -> Iterator[str]:
    day = incident.steps[0].at.date()
    for step, state in incident.states():
        if not step.text:
            continue
        if step.at.date() != day:
            day = step.at.date()
            yield f"-- {day} --"
        vm = printable(str(step.vm), 200)
        text = printable(step.text, 1000)
        yield f"{_clock(step.at)}  {vm:<{width}}  {word_of(state):<8}  {text}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 100_000}"


def word_of(state: VmState) -> str:
    """Return the state of a guest's file systems in a word, as the table shows it."""
    look = freeze_look(state)
    return "-" if look is FREEZE[None] else look.word


def _print_json(incident: Incident) -> None:
    for step, state in incident.states():
        if step.text:
            click.echo(dumps(step_object(step, state)))


def step_object(step: Step, state: VmState) -> JsonObject:
    """Return one thing that happened as JSON: a line of ``frostwatch replay --json``."""
    last, progress = state.last, state.progress
    return {
        "schema": SCHEMA,
        "time": rfc3339(step.at),
        "vm": str(step.vm),
        "window": step.window,
        "event": step.kind,
        "level": step.level.value,
        "text": step.text,
        "state": word_of(state),
        "phase": progress.phase.value if progress is not None else None,
        "outcome": last.kind.value if last is not None else None,
        "certified": last.certified if last is not None else False,
        "not_together": last.not_together if last is not None else False,
    }
