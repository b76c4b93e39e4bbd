"""``frostwatch extend``: holds the window of another frostwatch for longer, through its holder."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING

import click

from agentclient.late import load
from agentclient.model.clock import now
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.json_contract import SCHEMA, dumps, rfc3339
from agentclient.model.text import uncut
from tui.cli import session, tell
from tui.cli.options import Options, duration, json_option, vm_argument, with_options

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.model.outcome import ExtendOutcome
    from agentclient.model.vm import Vm


@click.command("extend")
@vm_argument("names", metavar="VM...", nargs=-1, required=True)
@click.option("--by", "by_s", metavar="D", callback=duration, help="Hold it for so much longer.")
@click.option("--until", metavar="TIME", help="Hold it until then: 17:30, or a date and time.")
@json_option
@with_options
def extend_command(
    options: Options, names: tuple[str, ...], by_s: float | None, until: str | None, as_json: bool
) -> int:
    """Hold the windows of VMs for longer that another frostwatch holds.

    No window is held for longer than its own frostwatch allows (--max-hold). Exits 0 only if each
    is held for longer now.
    """
    longer = _longer(by_s, until)
    with session.engine_for(options) as engine:
        vms = engine.find(names)
        engine.visit()
        asked = [(vm, _ask(engine, vm, longer)) for vm in vms]
        outcomes = [_outcome_of(vm, answer) for vm, answer in asked]
    for outcome in outcomes:
        tell.whole(dumps(extend_object(outcome)) if as_json else _line(outcome))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _ask(engine: Engine, vm: Vm, longer: float | datetime) -> Future[ExtendOutcome]:
    """Ask whoever holds a VM; what can't be asked hides nothing of the others (P8)."""
    try:
        return engine.extend_elsewhere(vm, longer)
    except (FrostwatchError, OSError) as problem:
        failed: Future[ExtendOutcome] = Future()
        failed.set_exception(problem)
        return failed


def _outcome_of(vm: Vm, answer: Future[ExtendOutcome]) -> ExtendOutcome:
    try:
        return answer.result()
    except (FrostwatchError, OSError) as problem:
        made = load("agentclient.model.outcome", "ExtendOutcome")
        outcome: ExtendOutcome = made(vm.id, False, 0.0, None, f"not asked: {problem}")
        return outcome


def _longer(by_s: float | None, until: str | None) -> float | datetime:
    if (by_s is None) == (until is None):
        raise BadInput("say for how much longer (--by 60s), or until when (--until 17:30)")
    if by_s is not None:
        if by_s <= 0:
            raise BadInput("--by needs a duration above 0")
        return by_s
    moment: datetime = load("agentclient.model.moments", "parse_moment")(until, now())
    return moment


def extend_object(outcome: ExtendOutcome) -> dict[str, object]:
    """Return what came of it for one VM: one line of ``frostwatch extend --json``."""
    return {
        "schema": SCHEMA,
        "vm": str(outcome.vm),
        "extended": outcome.ok,
        "seconds": outcome.seconds,
        "until": rfc3339(outcome.until),
        "reason": outcome.reason,
        "next": outcome.next,
    }


def _line(outcome: ExtendOutcome) -> str:
    step = f". NEXT: {outcome.next}" if outcome.next else ""
    return uncut(f"{outcome.vm}: {outcome.reason}{step}")
