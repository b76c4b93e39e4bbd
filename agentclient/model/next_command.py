"""Command lines for a person to run next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agentclient.model.shell_words import joined
from agentclient.model.states import Transport
from agentclient.model.vm import DRILL_SOURCE, EXPLICIT_SOURCE, Vm

# The rungs that a step may name (`agentclient.model.rescue.Rung`).
RUNGS: Final = ("connect", "thaw", "wait", "sysrq", "reset")


def start_word(vm: Vm | None) -> str:
    """Return what is to be done with an agent that is not there; None for a VM that isn't known.

    libvirt misses an agent that comes while a backup runs. Such a one has to be restarted, which
    starts one that does not run as well.
    """
    return "restart" if vm is not None and vm.is_libvirts else "start"


def freeze_command(vm: Vm) -> str:
    """Return the command that freezes `vm` once more."""
    if vm.source == DRILL_SOURCE:
        return "f in the drill's console"
    insist = ["--remote-hold"] if vm.far is not None else []
    return joined(["frostwatch", "freeze", *_spec(vm), *insist, str(vm.id)])


def thaw_command(vm: Vm, *, foreign: bool = False) -> str:
    """Return the command that thaws `vm` from another console.

    A drill's guest is known to its own console alone, so there it is a key of that.

    Args:
        vm: the VM.
        foreign: whoever froze it; else only if it is provably one of us.
    """
    if vm.source == DRILL_SOURCE:
        return "t in the drill's console (its guests end with it)"
    words = ["frostwatch", "thaw", *_spec(vm), *(["--foreign"] if foreign else []), str(vm.id)]
    return joined(words)


def thaw_commands(vms: Iterable[Vm]) -> str:
    """Return the command that thaws VMs which a frostwatch holds, at least one, without a question.

    For another process these are somebody else's, whose holder it asks.
    """
    each = list(vms)
    if each[0].source == DRILL_SOURCE:
        return thaw_command(each[0])
    known = [word for vm in each for word in _spec(vm)]
    return joined(["frostwatch", "thaw", *known, "--foreign", *(str(vm.id) for vm in each)])


def extend_command(vm: Vm) -> str:
    """Return the command that holds the window of `vm` for a minute more, whoever opened it."""
    if vm.source == DRILL_SOURCE:
        return "e in the drill's console"
    return joined(["frostwatch", "extend", *_spec(vm), "--by", "60", str(vm.id)])


def ladder_command(vm: Vm) -> str:
    """Return the command that shows the rescue ladder of `vm`, and asks rung by rung."""
    if vm.source == DRILL_SOURCE:
        return "R in the drill's console"
    return joined(["frostwatch", "rescue", *_spec(vm), str(vm.id)])


def doctor_command(vm: Vm) -> str:
    """Return the command that says what is seen of `vm`, and what to do about it."""
    if vm.source == DRILL_SOURCE:
        return "the log in the drill's console"
    return joined(["frostwatch", "doctor", *_spec(vm), str(vm.id)])


def command_in(step: str, vm: Vm) -> str | None:
    """Return the first command of a step, such as `agentclient.model.next_step` tells it.

    A name may have anything in it, so that nothing is cut out of the sentence by its signs.

    Args:
        step: the step, a sentence in which there may be commands.
        vm: the VM that it is about.

    Returns:
        None if there is none; in a drill each is a key.
    """
    if vm.source == DRILL_SOURCE:
        return None
    known = (
        freeze_command(vm),
        thaw_command(vm),
        thaw_command(vm, foreign=True),
        extend_command(vm),
        ladder_command(vm),
        doctor_command(vm),
        clear_command(vm),
        *(rescue_command(vm, rung) for rung in RUNGS),
    )
    found = [(step.index(one), -len(one), one) for one in known if one in step]
    if found:
        return min(found)[2]
    _, then, last = step.rpartition("then: ")  # the command of a copy, once more
    return last if then and last.startswith("frostwatch ") else None


def copy_command(vms: Iterable[Vm], verb: Iterable[str], options: Iterable[str]) -> str:
    """Return the command that copies some VMs.

    Args:
        vms: the VMs; at least one.
        verb: what is done with them, such as ``snapshot create``.
        options: all that is behind them.
    """
    each = list(vms)
    if each[0].source == DRILL_SOURCE:
        return "c in the drill's console"
    known = [word for vm in each for word in _spec(vm)]
    return joined(["frostwatch", *verb, *known, *(str(vm.id) for vm in each), *options])


def clear_command(vm: Vm) -> str:
    """Return the command that ends the copies of `vm` that a frostwatch has left in its QEMU."""
    if vm.source == DRILL_SOURCE:
        return "c in the drill's console"
    return joined(["frostwatch", "jobs", "--clear", *_spec(vm), str(vm.id)])


def rescue_command(vm: Vm, rung: str) -> str:
    """Return the command that takes one rung of the rescue ladder of `vm`."""
    if vm.source == DRILL_SOURCE:
        return f"R in the drill's console, and there: {rung}"
    words = ["frostwatch", "rescue", *_spec(vm), str(vm.id), "--rung", rung]
    return joined(words)


def _spec(vm: Vm) -> list[str]:
    """Return the option that makes a VM known which no source finds by itself."""
    if vm.far is not None:
        return ["-c", vm.far.address]
    if vm.source != EXPLICIT_SOURCE:
        return []
    values = {"name": vm.name}
    if vm.agent:
        values["agent"] = str(vm.agent.path)
        if vm.agent.transport is Transport.ISA_SERIAL:
            values["transport"] = vm.agent.transport.value
    if vm.agent is None and vm.monitor is None:
        values["agent"] = "PATH"  # the journal, for one, does not know where it is
    if vm.monitor:
        values["monitor"] = str(vm.monitor.path)
    # A comma inside of a value is doubled there.
    pairs = (f"{key}={value.replace(',', ',,')}" for key, value in values.items())
    return ["--vm", ",".join(pairs)]
