"""What is known of the VMs as metrics, in Prometheus's text format: for a textfile collector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from agentclient.model.others_freeze import OthersFreeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.text import printable
from tui.cli.vm_filter import Seen
from tui.shared.freeze_words import FOREIGN, HELD_BY, LEFT, freeze_words

_PREFIX: Final = "frostwatch"
_LONGEST: Final = 200
_LONGEST_NAME: Final = 180
_CONCERNS: Final = (FOREIGN, LEFT, HELD_BY, OthersFreeze.PENDING, OthersFreeze.LOST)


def metrics(seen: Seen) -> list[str]:
    """Return the lines of all metrics, each with its help and its kind."""
    states = list(seen.found)
    return [
        *_metric("vm_info", "A VM; its value is always 1.", _infos(states)),
        *_metric(
            "vm_run_state",
            "What the hypervisor says that the VM is doing: 1 for the state that it is in.",
            _of_set(states, RunState, lambda one: one.run_state),
        ),
        *_metric(
            "vm_agent_state",
            "The guest agent's health: 1 for the state that it is in.",
            _of_set(states, AgentState, lambda one: one.agent.state),
        ),
        *_metric(
            "vm_agent_reply_seconds",
            "How long the agent's last answered visit took.",
            ((one, {}, one.agent.rtt_s) for one in states),
        ),
        *_metric(
            "vm_freeze_state",
            "The state of the guest's file systems: 1 for it; all are 0 where it isn't known.",
            _of_set(states, FreezeState, lambda one: one.freeze.state),
        ),
        *_metric(
            "vm_freeze_state_since_timestamp_seconds",
            "When this state of the file systems was first seen.",
            ((one, {}, _seconds(one.freeze.since)) for one in states),
        ),
        *_metric(
            "vm_concern",
            "What a person may have to see to: 1 if it is so. foreign: frozen, and not provably by"
            " a frostwatch; left: by one that has ended; held-by: another one is at work on it;"
            " others-pending, others-lost: a command of others.",
            _concerns(states),
        ),
        *_metric("vms", "How many VMs are told of.", [(None, {}, len(states))]),
        *_metric(
            "sources_failing",
            "How many sources of VMs fail or hang, so that VMs may be missing or old.",
            [(None, {}, len(list(seen.problems)))],
        ),
        *_metric(
            "unknown",
            "How many things could not be seen that may matter to what was asked for.",
            [(None, {}, len(list(seen.unknown)))],
        ),
        *_metric(
            "list_timestamp_seconds",
            "When all this was seen: an alert on its age tells that nobody looks any more.",
            [(None, {}, seen.at.timestamp())],
        ),
    ]


Sample = tuple[VmState | None, dict[str, str], float | None]


def _infos(states: Iterable[VmState]) -> Iterator[Sample]:
    for one in states:
        also = [name for name in one.vm.selectors if name != one.vm.name]
        more = {"name": one.vm.name, "source": one.vm.source, "user": one.vm.user or ""}
        yield one, {**more, "also": min(also, key=len, default="")}, 1


def _of_set(states: Iterable[VmState], words: Iterable[str], of: object) -> Iterator[Sample]:
    assert callable(of)
    every = list(words)
    for one in states:
        now = of(one)
        for word in every:
            yield one, {"state": str(word)}, float(word == now)


def _concerns(states: Iterable[VmState]) -> Iterator[Sample]:
    for one in states:
        words = freeze_words(one)
        for word in _CONCERNS:
            yield one, {"concern": str(word)}, float(str(word) in words)


def _metric(name: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield the lines of one metric; none where there is nothing to tell."""
    lines = [
        f"{_PREFIX}_{name}{_labels(state, more)} {_number(value)}"
        for state, more, value in samples
        if value is not None
    ]
    if lines:
        yield f"# HELP {_PREFIX}_{name} {told}"
        yield f"# TYPE {_PREFIX}_{name} gauge"
        yield from lines


def _seconds(at: datetime | None) -> float | None:
    return at.timestamp() if at is not None else None


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _labels(state: VmState | None, more: dict[str, str]) -> str:
    found = more if state is None else {"vm": _unlike(str(state.id)), **more}
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in found.items())
    return f"{{{said}}}" if said else ""


def _unlike(name: str) -> str:
    """Return a name that can be shown; two names that differ are shown as two.

    A collector that finds two samples of the same labels takes none of the whole file.
    """
    shown = printable(name, _LONGEST_NAME)
    if shown == name:
        return shown
    return f"{shown}#{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _escaped(value: str) -> str:
    shown = printable(value, _LONGEST).replace("\\", "\\\\").replace('"', '\\"')
    return shown.replace("\n", "\\n")
