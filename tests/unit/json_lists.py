"""The closed lists of the JSON contract, by the names that docs/json.md gives them."""

from __future__ import annotations

from enum import StrEnum

from agentclient.fleet.findings import FindingLevel
from agentclient.fleet.watch_events import WatchEventKind
from agentclient.jobs.prune import PruneAction
from agentclient.model.command import CommandStep, ThawWhen
from agentclient.model.disk_snapshot import SnapshotKind
from agentclient.model.events import EventKind
from agentclient.model.explanation.entry import Topic
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobKind,
    JobRefusal,
    JobResult,
    JobStage,
)
from agentclient.model.others import WritesSeen
from agentclient.model.others_freeze import Grade
from agentclient.model.others_past import OthersResult
from agentclient.model.rescue import Means, Rung, RungResult
from agentclient.model.states import (
    AgentState,
    Cause,
    CopyIs,
    EvidenceResult,
    FreezeState,
    GuestIs,
    KnownBy,
    Level,
    OthersState,
    OutcomeKind,
    Refusal,
    RunState,
    WindowKind,
    WindowState,
)

CLOSED: dict[str, type[StrEnum]] = {
    "run_state": RunState,
    "agent.state": AgentState,
    "agent.how": KnownBy,
    "freeze.state": FreezeState,
    "others.state": OthersState,
    "others.writes": WritesSeen,
    "watch.event": WatchEventKind,
    "watch.grade": Grade,
    "others.result": OthersResult,
    "event": EventKind,
    "level": Level,
    "outcome": OutcomeKind,
    "refusal": Refusal,
    "cause": Cause,
    "evidence.result": EvidenceResult,
    "copy_is": CopyIs,
    "guest_is": GuestIs,
    "rung": Rung,
    "by": Means,
    "found": RungResult,
    "finding.level": FindingLevel,
    "word.topic": Topic,
    "window.kind": WindowKind,
    "window.state": WindowState,
    "job": JobKind,
    "job.policy": FreezePolicy,
    "prune.action": PruneAction,
    "snapshot.kind": SnapshotKind,
    "job.stage": JobStage,
    "what": CommandStep,
    "thaw_when": ThawWhen,
    "job.result": JobResult,
    "job.consistency": Consistency,
    "job.refusal": JobRefusal,
}
