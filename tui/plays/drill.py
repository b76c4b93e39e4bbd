"""``frostwatch drill``: plays a scenario in the console, and tells afterwards how it went."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import click

from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.request import Schedule
from tui.cli import session, tell
from tui.cli.look import look_of
from tui.cli.options import Options, speed_option
from tui.shared.glyphs import detect_signs
from tui.shared.terminal_features import on_terminal
from tui.shared.training.catalogue import SCENARIOS, scenario
from tui.shared.training.debrief import as_text, debrief, went_well
from tui.shared.training.scenario import Scenario

LIST = "list"
_READ_ONLY = (
    "a scenario is played by freezes and thaws, of simulated guests alone: read-only "
    "(--read-only, or read_only in the settings) forbids them (--no-read-only allows them)"
)
DID_NOT_GO_WELL = 1
_NO_TERMINAL = (
    "a scenario is played by keys, and there is no terminal here (frostwatch drill tells them all)"
)


@click.command("drill")
@click.argument("name", metavar="[SCENARIO]", required=False)
@speed_option
@click.pass_context
def drill_command(ctx: click.Context, name: str | None, *, drill_speed: float | None) -> int:
    """Play a scenario with simulated guests: lost, half-frozen, foreign or hung.

    Something goes wrong while you work. A line says what is to be done, i gives a hint, and at the
    end you are told what was right and what was not. Without a name it tells which there are.
    Exit code 0: all of it was right; 1: some of it was not, or you left before its end.
    """
    if name is None or name == LIST:
        for line in _told():
            tell.out(line, below=13)
        return 0
    chosen = scenario(name)
    options = ctx.find_object(Options) or Options()
    if options.specs or options.connect:
        raise BadInput(
            "a scenario has simulated guests only: no --vm and no --connect goes with it"
        )
    if not on_terminal():
        raise BadInput(_NO_TERMINAL)
    speed = drill_speed if drill_speed is not None else options.drill_speed
    options = options._replace(drill_speed=speed).configured()
    if options.read_only:
        raise BadInput(_READ_ONLY)
    return _play(chosen, options)


def _told() -> Iterator[str]:
    """Yield which scenarios there are."""
    width = max(map(len, SCENARIOS))
    for one in SCENARIOS.values():
        yield f"{one.name:<{width}}  {one.title}"
    yield ""
    yield "frostwatch drill lost    plays that one; all guests are simulated, nothing is real"


def _below(line: str) -> int:
    """Return how much further to the right stands what is broken off a line of the debrief."""
    return 14 if line[:7].strip().count(":") else 0


def _play(chosen: Scenario, options: Options) -> int:
    simulated = options._replace(guests=tuple(chosen.guests))
    look = look_of(options)  # before anything of the console is imported
    notebook = load("tui.console.training.watch", "Notebook")()
    with session.engine_for(simulated) as engine:
        gc.disable()  # as the console is always begun; it enables it
        run = load("tui.console.run", "run")
        app = load("tui.console.training.app", "TrainingApp")

        def make_app(*arguments: object, **keywords: object) -> object:
            return app(chosen, notebook, *arguments, **keywords)

        code: int = run(
            engine.fleet,
            engine,
            engine.watcher,
            jobs=lambda: engine.jobs,
            read_only=False,
            interval_s=options.policy.agent_interval_s,
            drill=True,
            schedule=Schedule.of(options.policy),
            copy_to=options.general.copy_to,
            make_app=make_app,
            **look,
        )
    notebook.end()
    tell.out("")
    for line in as_text(debrief(chosen, notebook.diary, detect_signs())):
        tell.out(line, below=_below(line))
    return code or (0 if went_well(chosen, notebook.diary) else DID_NOT_GO_WELL)
