"""The doctor's findings: their type, their JSON, and the texts for each state of a VM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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

RUN_STATES: Mapping[RunState, tuple[FindingLevel, str, str]] = {
    RunState.PAUSED: (
        _WARNING,
        "the VM is paused: its agent can't answer, and a freeze is refused",
        "Resume it (Proxmox: qm resume; QMP: cont).",
    ),
    RunState.IO_ERROR: (
        _PROBLEM,
        "QEMU stopped the VM because of an error of its storage",
        "Look at the host's storage (is it full?), then resume the VM.",
    ),
    RunState.SUSPENDED: (
        _WARNING,
        "the guest is suspended: its agent can't answer, and a freeze is refused",
        "Wake it up (QMP: system_wakeup).",
    ),
    RunState.MIGRATING: (
        _WARNING,
        "the VM is migrating: a freeze is refused",
        "Wait until the migration is over, and look on the host that it went to.",
    ),
    RunState.MIGRATED: (
        _WARNING,
        "the VM has migrated away: its guest runs elsewhere",
        "Look on the host that it went to; end this QEMU if nobody needs it any more.",
    ),
    RunState.SHUTDOWN: (
        _WARNING,
        "the guest has shut down, and its QEMU still runs",
        "Start the VM again, or end its QEMU.",
    ),
    RunState.PANICKED: (
        _PROBLEM,
        "the guest's kernel has panicked: nothing in it runs any more",
        "Look at its console, then reset the VM.",
    ),
    RunState.GONE: (_PROBLEM, "the VM's process has gone", "Start the VM again."),
}

AGENT_STATES: Mapping[AgentState, tuple[FindingLevel, str, str | None]] = {
    AgentState.ALIVE: (_OK, "the agent answers", None),
    AgentState.OPEN: (_OK, "an agent runs (its port is open); it was not asked yet", None),
    AgentState.CLOSED: (
        _PROBLEM,
        "no agent runs in the guest: its port is closed",
        "Install qemu-guest-agent in the guest and start it there"
        " (systemctl start qemu-guest-agent).",
    ),
    AgentState.SILENT: (
        _PROBLEM,
        "the agent did not answer in time",
        "It may be busy with a command of somebody else's, or hang. Look into the guest; if it"
        " hangs, restart it there (systemctl restart qemu-guest-agent).",
    ),
    AgentState.BUSY: (
        _WARNING,
        "another program holds the agent's channel, which serves one at a time",
        "Wait until it is done. As root, `ss -xp` shows who has the socket open.",
    ),
    AgentState.NONE: (
        _WARNING,
        "the VM has no agent's channel",
        "Proxmox: qm set VMID --agent enabled=1, then stop and start the VM. By hand: give QEMU"
        " a virtio-serial device and a virtserialport named org.qemu.guest_agent.0.",
    ),
    AgentState.UNKNOWN: (
        _WARNING,
        "it can't be told whether an agent runs",
        "See what is said about its sockets and its monitor.",
    ),
}
