"""``frostwatch rescue``: asks a person which steps to take for a guest that stays frozen."""

from __future__ import annotations

import sys
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING

import click

from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.json_contract import dumps
from agentclient.model.rescue import BY_ITSELF, Means, Rung, Step
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.operations.rescue.ladder import offer_object
from tui.cli import session, tell
from tui.cli.options import Options, json_option, vm_argument, with_options
from tui.cli.runner import OperationRunner

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.model.snapshot import VmState
    from agentclient.model.vm import Vm
    from agentclient.operations.operation import AnyOperation
    from agentclient.operations.rescue.ladder import Offer
    from tui.cli.report import Report

# Seconds to look at the monitor for it; each of some requests has its own bound.
LADDER_S = 10.0


@click.command("rescue")
@vm_argument("name", metavar="VM")
@click.option(
    "--rung",
    type=click.Choice([rung.value for rung in Rung]),
    help="Take this rung alone; without it the ladder is printed, and asked about rung by rung.",
)
@click.option(
    "--serial",
    metavar="LABEL",
    help="SysRq by a break on the guest's console: its chardev's id in QEMU.",
)
@click.option("--yes", is_flag=True, help="Take the rung without a question.")
@click.option(
    "--confirm-name", "confirmed", metavar="NAME", help="The VM's name, for a reset without asking."
)
@json_option
@with_options
def rescue_command(
    options: Options,
    *,
    name: str,
    rung: str | None,
    serial: str | None,
    yes: bool,
    confirmed: str | None,
    as_json: bool,
) -> int:
    """Rescue a VM that is frozen while its agent is dead or silent.

    The ladder: connect alone; thaw; wait for the agent, and thaw; SysRq-J; reset. Exits 0 only if
    the guest is thawed, or was reset.
    """
    chosen = Rung(rung) if rung is not None else None
    _check(chosen, serial, yes=yes, confirmed=confirmed)
    with session.engine_for(options) as engine:
        (vm,) = engine.find([name])
        if confirmed is not None and confirmed != vm.name:
            raise BadInput(f"--confirm-name is not the name of {printable(str(vm.id), 80)}")
        prompt = LadderPrompt(engine, vm, serial, as_json=as_json)
        if chosen is None:
            engine.visit({vm.id})
            tell.note(printable(_whether_frozen(engine.fleet.get(vm.id)), 1000))
            return prompt.climb(ask=_on_terminal())
        return prompt.take_one(chosen, yes=yes, confirmed=confirmed)


def _check(rung: Rung | None, serial: str | None, *, yes: bool, confirmed: str | None) -> None:
    """Make sure that the options go together.

    Raises:
        BadInput: they don't.
    """
    if serial is not None and rung not in (None, Rung.SYSRQ):
        raise BadInput(f"--serial is for SysRq, not for {rung}")
    if confirmed is not None and rung is not Rung.RESET:
        raise BadInput("--confirm-name is for --rung reset")
    if yes and rung is None:
        raise BadInput("--yes needs --rung: each rung is a decision of its own")
    if yes and rung is Rung.RESET and confirmed is None:
        raise BadInput("a reset is not taken with --yes: say --confirm-name NAME")


def _whether_frozen(state: VmState) -> str:
    """Return what a person has to know first: whether there is anything to rescue."""
    freeze, agent = state.freeze, state.agent
    who = state.left_by or state.held_by
    match freeze.state:
        case FreezeState.THAWED:
            return f"{state.id}: nothing is frozen, as its agent says: there is nothing to rescue"
        case None:
            why = agent.detail or state.trouble or f"its agent is {agent.state.value}"
            return f"{state.id}: whether it is frozen isn't known: {who or why}"
        case _:
            by = f": {who}" if who else ", by somebody else" if freeze.foreign else ""
            return f"{state.id} is {freeze.state.value}{by}"


class LadderPrompt:
    """Asks about the rungs of one VM's rescue ladder, and takes those that are chosen.

    Args:
        engine: the core.
        vm: the VM.
        serial: the label of its console; None if nobody named it.
        as_json: whether rungs and events go to stdout as JSON.
    """

    def __init__(self, engine: Engine, vm: Vm, serial: str | None, *, as_json: bool) -> None:
        self._engine = engine
        self._vm = vm
        self._serial = serial
        self._as_json = as_json

    def climb(self, *, ask: bool) -> int:
        """Print the ladder; on a terminal ask rung by rung, until the guest is thawed."""
        offers = self._ladder(frozenset())
        self._print(offers)
        tried: frozenset[Rung] = frozenset()
        if ask and not any(offer.sensible for offer in offers):
            tell.note("no rung makes sense now: nothing is asked, and nothing was done")
            return 1
        for place in range(len(offers) if ask else 0):
            # Each rung may have changed what is known about the next one.
            again = {one.step: one for one in self._ladder(tried)} if tried else {}
            step = self._decided(again.get(offers[place].step, offers[place]))
            if step is None:
                continue
            if self._take(step) == 0:
                return 0
            tried |= {step.rung}
        if not ask:
            text = "nobody can be asked without a terminal; --rung takes one rung"
            tell.note(text)
        return 1

    def _decided(self, offer: Offer) -> Step | None:
        """Return what a person decides about a rung; one that makes no sense is passed over."""
        if offer.sensible:
            return self._asked(offer)
        tell.err(f"{offer.title}: passed over: {offer.why_not}")
        return None

    def take_one(self, rung: Rung, *, yes: bool, confirmed: str | None) -> int:
        """Take one rung, after a question unless that was answered beforehand."""
        means = Means.SERIAL if self._serial is not None else Means.KEY
        step = Step(rung, means if rung is Rung.SYSRQ else None, self._serial, confirmed)
        if yes or confirmed is not None:
            return self._take(step)
        if not _on_terminal():
            return self._take_unasked(step)
        offers = self._ladder(frozenset())
        offer = next(one for one in offers if (one.step.rung, one.step.means) == (rung, step.means))
        if offer.why_not is not None:
            tell.err(f"{offer.title}: {offer.why_not}")
        chosen = self._asked(offer) if offer.possible else None
        return self._take(chosen) if chosen is not None else 1

    def _take_unasked(self, step: Step) -> int:
        """Nobody can be asked: only what is provably ours is thawed (P4)."""
        if step.rung not in BY_ITSELF:
            option = "--confirm-name NAME" if step.rung is Rung.RESET else "--yes"
            raise BadInput(f"without a terminal {step.rung} needs {option}: a person must decide")
        return self._take(step, person=False)

    def _ladder(self, tried: frozenset[Rung]) -> tuple[Offer, ...]:
        look = self._engine.ladder(self._vm, serial=self._serial, tried=tried)
        try:
            return look.result(LADDER_S)
        except FutureTimeout:
            raise FrostwatchError("the VM's monitor could not be looked at in time") from None

    def _print(self, offers: tuple[Offer, ...]) -> None:
        for number, offer in enumerate(offers, 1):
            if self._as_json:
                tell.whole(dumps(offer_object(self._vm.id, offer)))
                continue
            now = "makes sense now" if offer.sensible else f"not now: {offer.why_not}"
            tell.out(f"{number}. {offer.title}: {now}", below=3)
            tell.out(f"   {offer.does}", below=0)
            tell.out(f"   Risk: {offer.risk}")

    def _asked(self, offer: Offer) -> Step | None:
        """Ask a person; return what to do, None for nothing."""
        step = offer.step
        if step.rung is not Rung.RESET:
            question = f"{offer.title}: {offer.risk} Take it?"
            return step if tell.confirmed(question) else None
        question = f"{offer.title}: {offer.risk} Type the VM's name to reset it"
        typed = tell.typed(question)
        if typed != self._vm.name:
            tell.err("that is not its name: not reset")
            return None
        return Step(Rung.RESET, name=typed)

    def _take(self, step: Step, *, person: bool = True) -> int:
        def start(report: Report) -> list[AnyOperation]:
            rescue = self._engine.rescue
            return [rescue(self._vm, step, person=person, on_event=report.event)]

        return OperationRunner(self._engine, [self._vm], as_json=self._as_json).run(start, _judge)


def _judge(operations: list[AnyOperation], report: Report) -> bool:
    (operation,) = operations
    outcome = operation.wait(0)
    if outcome is None:
        report.say("left in the middle of it", operation.vm)
    return bool(getattr(outcome, "ok", False))


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
