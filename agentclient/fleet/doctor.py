"""The checks of ``frostwatch doctor``: what can be seen and used here, and how to fix the rest.

No check talks to a guest: sockets are examined without a connection, and the health of agents and
monitors is read from the fleet, as the last visit has left it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentclient.backends.base import Abilities, Note
from agentclient.backends.socket_check import check_socket
from agentclient.fleet.discovery import Discovery
from agentclient.fleet.findings import AGENT_STATES, RUN_STATES, Finding, FindingLevel
from agentclient.freeze.risks import risks
from agentclient.model.next_command import clear_command, thaw_command
from agentclient.model.next_step import step_while_held
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState
from agentclient.model.text import printable, uncut
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from agentclient.config.settings import Settings

__all__ = [
    "Finding",
    "FindingLevel",
    "about",
    "check_channels",
    "check_journal",
    "check_platform",
    "check_settings",
    "check_source",
    "check_state",
    "check_user",
    "examine",
    "worst",
]

OLDEST_PYTHON = (3, 11)

_OK, _WARNING, _PROBLEM = FindingLevel
_RISK = "Unmount it before the freeze, or freeze the others alone: --mount PATH."


def check_platform(
    version: tuple[int, int] = sys.version_info[:2], platform: str = sys.platform
) -> list[Finding]:
    """Check that this Python and this system are what frostwatch needs."""
    number = ".".join(map(str, version))
    findings = [Finding("python", _OK, f"Python {number}")]
    if version < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        text = f"Python {number} is older than {needed}"
        findings = [Finding("python", _PROBLEM, text, f"Use Python {needed} or newer.")]
    if platform == "linux":
        return [*findings, Finding("platform", _OK, "Linux")]
    text = f"{platform} has no /proc and no QEMU guests that could be found"
    return [*findings, Finding("platform", _PROBLEM, text, "Run frostwatch on the Linux host.")]


def check_user(user: int | None = None) -> list[Finding]:
    """Check whether we run as root: only root sees all processes and opens all sockets."""
    if (os.geteuid() if user is None else user) == 0:
        return [Finding("user", _OK, "running as root: every process and socket can be seen")]
    return [
        Finding(
            "user",
            _WARNING,
            "not running as root: the VMs of other users may be hidden or closed",
            "If one is missing, run frostwatch as root.",
        )
    ]


def check_source(discovery: Discovery) -> list[Finding]:
    """List a backend's VMs; return what it found and what it could not see.

    Blocks until the backend has answered or counts as hanging.
    """
    discovery.begin()
    discovery.wait()
    source, hang = discovery.backend, discovery.hang
    subject = f"source {source.name}"
    if hang is not None:
        return [Finding(subject, _PROBLEM, hang.text, hang.advice)]
    if discovery.problem is not None:
        return [Finding(subject, _PROBLEM, discovery.problem, None)]
    findings = [_found(subject, discovery.vms, source.abilities())]
    return [*findings, *map(_noted, source.notes())]


def check_journal(path: Path, problem: str | None, aside: Sequence[str] = ()) -> list[Finding]:
    """Check whether freezes and thaws are recorded in the journal.

    Args:
        path: the journal's file.
        problem: the error of a test write; None if that succeeded.
        aside: the paths of earlier journals that were corrupt.
    """
    if problem is None:
        text = f"freezes and thaws are written down in {printable(path)}"
        findings = [Finding("journal", _OK, text)]
    else:
        advice = (
            "Freezes and thaws work without it; but a freeze that a console and its holder both"
            " leave will be foreign, and nobody tells whose it was."
        )
        findings = [Finding("journal", _WARNING, printable(problem, 600), advice)]
    for one in aside:
        text = f"an earlier journal was corrupt, and was put aside: {printable(one)}"
        advice = (
            "history does not show it. Keep it if you need it (sqlite3's .recover), or remove it."
        )
        findings.append(Finding("journal", _WARNING, text, advice))
    return findings


def check_settings(settings: Settings) -> list[Finding]:
    """Return where settings come from; no finding if nothing is set."""
    places = [str(file.path) for file in settings.files if file.values or file.sections]
    places += sorted(str(given.origin) for given in settings.environment.values())
    if not places:
        return []
    text = f"set in {printable(', '.join(places), 600)}; frostwatch config show tells what"
    return [Finding("settings", _OK, text)]


def check_channels(vm: Vm) -> list[Finding]:
    """Check whether a VM's sockets exist and may be opened, without opening them."""
    findings = []
    for what, channel, level in (
        ("the agent's socket", vm.agent, _PROBLEM),
        ("the monitor's socket", vm.monitor, _WARNING),
    ):
        if channel is None:
            continue
        problem = check_socket(channel.path)
        if problem is None:
            text = f"{what} {printable(channel.path)} is there and may be opened"
            findings.append(Finding(str(vm.id), _OK, text))
        else:
            text = f"{what} can't be used: {problem.text}"
            findings.append(Finding(str(vm.id), level, text, problem.advice))
    return findings


def check_state(state: VmState) -> list[Finding]:
    """Return the findings about a VM that follow from its state in the fleet."""
    findings = [*_presence(state), *_agent(state), *_freeze(state), *_configuration(state.vm)]
    findings += _monitor(state.vm)
    findings += _copies(state)
    if state.trouble is not None and not state.trouble_is_the_agents:
        findings.append(Finding(str(state.id), _WARNING, printable(state.trouble)))
    return findings


def examine(
    discoveries: Sequence[Discovery],
    states: Iterable[VmState],
) -> tuple[Finding, ...]:
    """Return all findings: about this machine, its sources, and each VM.

    Args:
        discoveries: the backends; each lists its VMs once more.
        states: the VMs' states after a round of visits.
    """
    findings = [*check_platform(), *check_user()]
    shown = list(states)
    ids = {str(state.id) for state in shown}
    for each in discoveries:
        found = check_source(each)
        # What is a row of another source, too, has its findings there.
        merged = {str(vm.id) for vm in each.vms} - ids
        findings += [one for one in found if one.subject not in merged]
    for state in shown:
        findings += check_channels(state.vm)
        findings += check_state(state)
        findings += [
            Finding(str(state.id), _WARNING, printable(one), _RISK) for one in risks(state)
        ]
    # A source's note and a VM's configuration may say the same.
    return tuple({(one.subject, one.text): one for one in findings}.values())


def about(findings: Iterable[Finding], vm_id: VmId) -> tuple[Finding, ...]:
    """Return the findings about one VM."""
    return tuple(one for one in findings if one.subject == str(vm_id))


def worst(findings: Iterable[Finding]) -> FindingLevel:
    """Return the worst level of the findings; `FindingLevel.OK` if there are none."""
    order = list(FindingLevel)
    return max((one.level for one in findings), key=order.index, default=_OK)


def _found(subject: str, vms: Sequence[Vm], abilities: Abilities) -> Finding:
    if not vms:
        advice = "Start a VM, or name one: --vm name=N,agent=PATH,monitor=PATH."
        return Finding(subject, _WARNING, "no VM was found", advice)
    words = [name.replace("_", " ") for name, able in abilities._asdict().items() if able]
    number = "1 VM" if len(vms) == 1 else f"{len(vms)} VMs"
    return Finding(subject, _OK, f"{number} found; it knows: {', '.join(words) or 'nothing more'}")


def _noted(note: Note) -> Finding:
    return Finding(note.subject, _WARNING, printable(note.text), note.advice)


def _presence(state: VmState) -> list[Finding]:
    subject = str(state.id)
    if not state.present:
        text = "its source does not list it any more"
        return [Finding(subject, _PROBLEM, text, "Check whether the VM still runs.")]
    known = RUN_STATES.get(state.run_state)
    return [] if known is None else [Finding(subject, *known)]


def _agent(state: VmState) -> list[Finding]:
    vm, agent = state.vm, state.agent
    if vm.out_of_reach is not None or state.held_by is not None:
        # Another finding gives the reason; "none" or "busy" would be wrong here.
        return []
    level, text, advice = AGENT_STATES[agent.state]
    if agent.state is AgentState.ALIVE:
        rtt = "" if agent.rtt_s is None else f" in {agent.rtt_s * 1000:.0f} ms"
        version = "" if agent.version is None else f" (version {printable(agent.version, 40)})"
        text += rtt + version
    if agent.detail:
        text += f": {printable(agent.detail)}"
    return [Finding(str(vm.id), level, text, advice)]


def _freeze(state: VmState) -> list[Finding]:
    subject, freeze = str(state.id), state.freeze
    if state.held_by is None and freeze.state in (None, FreezeState.THAWED):
        return []
    if state.held_by is not None:
        text = f"another frostwatch is at work on it: {printable(state.held_by, 200)}"
        advice = uncut(step_while_held(state.held_by, state.vm))
        return [Finding(subject, _WARNING, text, f"{advice[0].upper()}{advice[1:]}.")]
    if state.left_by is not None:
        command = uncut(thaw_command(state.vm, foreign=False))
        text = f"its file systems are frozen: {state.left_by}, which has ended"
        return [Finding(subject, _PROBLEM, text, f"Thaw it: {command}")]
    if not freeze.foreign:
        text = f"its file systems are {freeze.state}, by this console"
        return [Finding(subject, _WARNING, text, "Nothing to do while that is intended.")]
    since = "" if freeze.since is None else f" since {freeze.since:%Y-%m-%d %H:%M:%S} at the latest"
    command = uncut(thaw_command(state.vm, foreign=True))
    return [
        Finding(
            subject,
            _PROBLEM,
            f"its file systems are {freeze.state}{since}, and not provably by this console",
            "Find out whether a backup or another program holds this freeze: a thaw breaks its"
            f" window. If nobody does: {command}",
        )
    ]


def _configuration(vm: Vm) -> list[Finding]:
    subject, findings = str(vm.id), []
    if vm.out_of_reach is not None:
        text = printable(vm.out_of_reach)
        advice = "Its agent is left alone, and a freeze is refused."
        findings.append(Finding(subject, _WARNING, text, advice))
    if vm.policy is not None and vm.policy.read_only is not None:
        text = f"nothing is sent to it: {vm.policy.read_only}"
        advice = "It is visited as ever; a freeze, a thaw and a rescue of it are refused."
        findings.append(Finding(subject, _WARNING, text, advice))
    if vm.locked_by is not None:
        advice = (
            "Wait until that job is done; while it holds the lock the agent is not asked. If no"
            " such job runs any more: qm unlock VMID."
        )
        text = f"its manager has locked it: {printable(vm.locked_by)}"
        findings.append(Finding(subject, _WARNING, text, advice))
    if vm.freeze_disabled not in (None, vm.out_of_reach):
        text = f"freezes are refused: {printable(vm.freeze_disabled)}"
        findings.append(Finding(subject, _WARNING, text, "Change that first if you want freezes."))
    return findings


def _monitor(vm: Vm) -> list[Finding]:
    if vm.agent is None or vm.monitor is not None:
        return []
    blind = "a lost command is only noticed by its timeout, and no freeze is verified"
    text = f"{printable(vm.no_monitor or 'no monitor')}: {blind}"
    advice = "Give QEMU one of its own: -qmp unix:PATH,server=on,wait=off."
    if vm.no_monitor is not None:
        advice = "Name the sockets of one VM: --vm name=N,agent=PATH,monitor=PATH."
    return [Finding(str(vm.id), _WARNING, text, advice)]


def _copies(state: VmState) -> list[Finding]:
    """Return a finding for each copy that a frostwatch has left in the VM's QEMU."""
    advice = f"See it, and end it: {clear_command(state.vm)}"
    return [Finding(str(state.id), _WARNING, str(job), advice) for job in state.left_jobs]
