"""The doctor's findings: their type, their JSON, and the texts for each state of a VM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentclient.model.explanation.states import AGENTS, VMS
from agentclient.model.json_contract import SCHEMA, JsonObject
from agentclient.model.states import AgentState, RunState


class FindingLevel(StrEnum):
    """The severity of a finding; the list is closed, mildest first."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the doctor's checks.

    Attributes:
        subject: what it is about: a VM's id, ``source qemu``, ``python``, ``process 4711``. Not
            escaped, so that programs can compare it; whoever shows it must escape it.
        level: its severity.
        text: one sentence without a full stop, safe to show.
        advice: what to do about it, in whole sentences; None if nothing.
    """

    subject: str
    level: FindingLevel
    text: str
    advice: str | None = None


def finding_object(finding: Finding) -> JsonObject:
    """Return a finding as the JSON object of ``frostwatch doctor --json``."""
    return {
        "schema": SCHEMA,
        "subject": finding.subject,
        "level": finding.level.value,
        "text": finding.text,
        "advice": finding.advice,
    }


_OK, _WARNING, _PROBLEM = FindingLevel

_LEVELS: Mapping[RunState, FindingLevel] = {
    RunState.PAUSED: _WARNING,
    RunState.IO_ERROR: _PROBLEM,
    RunState.SUSPENDED: _WARNING,
    RunState.MIGRATING: _WARNING,
    RunState.MIGRATED: _WARNING,
    RunState.SHUTDOWN: _WARNING,
    RunState.PANICKED: _PROBLEM,
    RunState.GONE: _PROBLEM,
}
_AGENT_LEVELS: Mapping[AgentState, FindingLevel] = {
    AgentState.ALIVE: _OK,
    AgentState.OPEN: _OK,
    AgentState.CLOSED: _PROBLEM,
    AgentState.SILENT: _PROBLEM,
    AgentState.BUSY: _WARNING,
    AgentState.NONE: _WARNING,
    AgentState.UNKNOWN: _WARNING,
}

# The texts are those that explain these states everywhere.
RUN_STATES: Mapping[RunState, tuple[FindingLevel, str, str]] = {
    state: (level, VMS[state].what, VMS[state].do) for state, level in _LEVELS.items()
}
AGENT_STATES: Mapping[AgentState, tuple[FindingLevel, str, str | None]] = {
    state: (level, AGENTS[state].what, AGENTS[state].do or None)
    for state, level in _AGENT_LEVELS.items()
}
