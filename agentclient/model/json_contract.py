"""The JSON contract: plain dictionaries of what is known, documented in docs/json.md.

Every object that is printed carries ``"schema"``; times are RFC 3339 with a time zone. Keys are
only added within one version, never renamed or removed. Strings that a guest chose stay as they
came: JSON escapes what is unsafe, and a reader that shows them has to look after itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from agentclient.model.events import Details, Ended, Event, JobEnded, JobProgressed
from agentclient.model.others import Others
from agentclient.model.others_freeze import graded
from agentclient.model.outcome import (
    Evidence,
    FileSystem,
    GroupOutcome,
    Meaning,
    Outcome,
    ThawOutcome,
)
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, VmState
from agentclient.model.states import OthersState

if TYPE_CHECKING:
    from agentclient.model.command import CommandRun
    from agentclient.model.disk_snapshot import SnapshotFound
    from agentclient.model.job import DiskCopy, JobOutcome, JobProgress, JobTimes, QemuJob
    from agentclient.model.rescue import RescueOutcome

SCHEMA = 1
# Not among the events that happen to one VM.
GROUP_EVENT = "group"

JsonObject = dict[str, Any]


def dumps(value: Mapping[str, object]) -> str:
    """Return `value` as one line of ASCII JSON: no terminal escape can be in it."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(", ", ": "))


def rfc3339(at: datetime | None) -> str | None:
    """Return a time with its zone, to the millisecond; a naive one is taken as local time."""
    return None if at is None else at.astimezone(at.tzinfo).isoformat(timespec="milliseconds")


def vm_object(state: VmState) -> JsonObject:
    """Return what is known about a VM: one line of ``frostwatch list --json``."""
    return {
        "schema": SCHEMA,
        "id": str(state.id),
        "name": state.id.name,
        "host": state.id.host or None,
        "source": state.vm.source,
        "run_state": state.run_state.value,
        "agent": _agent(state.agent),
        "freeze": _freeze(state),
        "locked_by": state.vm.locked_by,
        "user": state.vm.user,
        "also": list(state.vm.selectors),
        "block_jobs": [_block_job(one) for one in state.block_jobs],
    }


def event_object(event: Event) -> JsonObject:
    """Return an event: one line of ``frostwatch freeze --json`` and ``frostwatch thaw --json``.

    The freeze's outcome (in events that know it) and the thaw's are spread into the event itself;
    no field can hide the keys that every event has.
    """
    head = {
        "schema": SCHEMA,
        "time": rfc3339(event.at),
        "vm": str(event.vm),
        "event": event.kind.value,
        "level": event.level.value,
        "text": event.text,
    }
    return head | _unlike(head, _spread(event.details))


def outcome_object(outcome: Outcome) -> JsonObject:
    """Return how a freeze ended; without ``schema``, since it is always a part of an event."""
    return {
        "outcome": outcome.kind.value,
        "refusal": outcome.refusal.value if outcome.refusal else None,
        "frozen": outcome.frozen,
        "thawed": outcome.thawed,
        "certified": outcome.certified,
        "settled": outcome.settled,
        "cause": outcome.cause.value if outcome.cause else None,
        "seconds": _figure(outcome.seconds),
        "coverage": outcome.coverage,
        "not_covered": [_file_system(one) for one in outcome.not_covered],
        "evidence": [_evidence(one) for one in outcome.evidence],
        "meaning": _meaning(outcome.meaning),
        "next": outcome.next,
        "reason": outcome.reason,
        "kept": outcome.kept,
        "not_together": outcome.not_together,
    }


def thaw_object(thaw: ThawOutcome | RescueOutcome) -> JsonObject:
    """Return how a thaw ended; without ``schema``, since it is always a part of an event."""
    return {
        "ok": thaw.ok,
        "state": thaw.state.value if thaw.state else None,
        "thawed": thaw.thawed,
        "refused": thaw.refused,
        "seconds": _figure(thaw.seconds),
        "meaning": _meaning(thaw.meaning),
        "next": thaw.next,
        "reason": thaw.reason,
    }


def group_object(group: GroupOutcome, at: datetime) -> JsonObject:
    """Return what came of a group: the last line of ``frostwatch freeze --together --json``."""
    return {
        "schema": SCHEMA,
        "time": rfc3339(at),
        "vm": None,
        "event": GROUP_EVENT,
        "together": group.together,
        "skew_s": _figure(group.skew_s),
        "order": [str(vm_id) for vm_id in group.order],
        "final": group.final,
        "hold_s": _figure(group.hold_s),
        "failed": [str(vm_id) for vm_id in group.failed],
        "reason": group.reason,
    }


def rescue_object(rescue: RescueOutcome) -> JsonObject:
    """Return what a rung found; without ``schema``, since it is always a part of an event."""
    return {
        "rung": rescue.rung.value,
        "by": rescue.means.value if rescue.means else None,
        "found": rescue.found.value,
        "ok": rescue.ok,
        "state": rescue.state.value if rescue.state else None,
        "thawed": rescue.thawed,
        "seconds": _figure(rescue.seconds),
        "meaning": _meaning(rescue.meaning),
        "next": rescue.next,
        "reason": rescue.reason,
    }


def job_object(job: JobOutcome) -> JsonObject:
    """Return how a job ended; without ``schema``, since it is always a part of an event."""
    return {
        "job": job.kind.value,
        "result": job.result.value,
        "ok": job.ok,
        "consistency": job.consistency.value,
        "policy": job.policy.value,
        "refusal": job.refusal.value if job.refusal else None,
        "paused": job.paused,
        "disks": [disk_copy_object(one) for one in job.disks],
        "left": list(job.left),
        "left_out": [{"disk": one.disk, "why": one.why.value} for one in job.left_out],
        "times": job_times_object(job.times),
        "command": command_object(job.command) if job.command is not None else None,
        "seconds": _figure(job.seconds),
        "window": outcome_object(job.window) if job.window is not None else None,
        "next": job.next,
        "reason": job.reason,
    }


def command_object(run: CommandRun) -> JsonObject:
    """Return one run of a command, as the job of one VM tells it."""
    return {
        "argv": list(run.argv),
        "thaw_when": run.thaw_when.value,
        "pid": run.pid,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "error": run.error,
        "overran": run.overran,
        "stopped": run.stopped,
        "inside": run.inside,
        "moments": {
            name: None if one is None else {"at": rfc3339(one.at), "s": _figure(one.s)}
            for name, one in run.times._asdict().items()
        },
    }


def disk_copy_object(one: DiskCopy) -> JsonObject:
    """Return what came of one disk."""
    return {
        "disk": one.disk,
        "target": one.target,
        "format": one.format,
        "size": one.size,
        "copied": one.copied,
        "error": one.error,
        "checksum": one.checksum,
        "in_the_clear": one.in_the_clear,
    }


def snapshot_object(found: SnapshotFound) -> JsonObject:
    """Return a snapshot of a VM's disks: one line of ``frostwatch snapshot list --json``."""
    return {
        "schema": SCHEMA,
        "vm": str(found.vm),
        "name": found.name,
        "kind": found.kind.value,
        "made": rfc3339(found.made),
        "disks": [one._asdict() for one in found.disks],
        "missing": list(found.missing),
        "memory": found.memory,
        "size": found.size,
        "consistency": found.consistency.value if found.consistency else None,
        "window": None if found.window is None else dict(found.window),
        "revert": list(found.revert),
        "reason": found.reason,
    }


def job_progress_object(progress: JobProgress) -> JsonObject:
    """Return how far a job is."""
    return {
        "job": progress.kind.value,
        "stage": progress.stage.value,
        "done": progress.done,
        "total": progress.total,
        "speed": _figure(progress.speed),
        "eta_s": _figure(progress.eta_s),
        "limit": progress.limit,
        "disks": [
            {"disk": one.disk, "done": one.done, "total": one.total, "ready": one.ready}
            for one in progress.disks
        ],
    }


def job_times_object(times: JobTimes) -> dict[str, str | None]:
    """Return when what happened in a job."""
    return {name: rfc3339(at) for name, at in times._asdict().items()}


def _block_job(job: QemuJob) -> JsonObject:
    return {
        "id": job.id,
        "type": job.type,
        "done": job.done,
        "total": job.total,
        "ended": job.ended,
        "error": job.error,
        "job": job.kind.value if job.kind else None,
        "pid": job.process.pid if job.process else None,
        "left": job.left,
    }


def _agent(agent: AgentHealth) -> JsonObject:
    rtt = agent.rtt_s
    return {
        "state": agent.state.value,
        "how": agent.how.value,
        "rtt_ms": None if rtt is None or not math.isfinite(rtt) else round(rtt * 1000, 1),
        "version": agent.version,
    }


def _freeze(state: VmState) -> JsonObject:
    freeze, left = state.freeze, state.left_by
    return {
        "state": freeze.state.value if freeze.state else None,
        "since": rfc3339(freeze.since),
        "foreign": freeze.foreign,
        "left_by": {"pid": left.pid, "user": left.user, "time": rfc3339(left.at)} if left else None,
        "held_by": _held_by(state.held_by),
        "by": _others(state.others or _left(freeze), state),
    }


def _left(freeze: FreezeInfo) -> Others | None:
    """Return who held the channel before a foreign freeze was found."""
    if not freeze.foreign or freeze.by is None or freeze.since is None:
        return None
    why = "they held the agent's channel before it was found frozen"
    left = Others(OthersState.LEFT, freeze.since, freeze.by, why_blind=why)
    return left._replace(overdue=freeze.overdue)


def _others(others: Others | None, state: VmState) -> JsonObject | None:
    if others is None:
        return None
    client = others.by
    return {
        "state": others.state.value,
        "since": rfc3339(others.since),
        "program": client.program if client else None,
        "pid": client.pid if client else None,
        "user": client.user if client else None,
        "task": client.task if client else None,
        "cause": others.cause.value if others.cause else None,
        "seconds": _figure(others.took_s),
        "certain": others.certain,
        "how": others.why_blind or "the monitor counts what the agent reads and answers",
        "grade": graded(state).grade.value if others.matters else None,
        "overdue": others.overdue,
        "waits": others.waits,
        "writes": others.writes.value if others.writes else None,
        "grade_how": graded(state).how if others.matters else None,
    }


def _held_by(held: HeldBy | None) -> JsonObject | None:
    if held is None:
        return None
    known = {name: getattr(held, name) for name in ("pid", "user", "holder", "ended", "kept")}
    return known | {"since": rfc3339(held.since), "until": rfc3339(held.until)}


def _meaning(meaning: Meaning | None) -> JsonObject | None:
    if meaning is None:
        return None
    return {
        "copy": meaning.copy,
        "copy_is": meaning.copy_is.value,
        "guest": meaning.guest,
        "guest_is": meaning.guest_is.value,
    }


def _evidence(evidence: Evidence) -> JsonObject:
    return {
        "name": evidence.name,
        "result": evidence.result.value,
        "value": evidence.value,
        "age_s": _figure(evidence.age_s),
    }


def _file_system(one: FileSystem) -> JsonObject:
    return {"device": one.device, "mountpoint": one.mountpoint, "kind": one.kind}


def _spread(details: Details | None) -> JsonObject:
    if details is None:
        return {}
    if isinstance(details, JobEnded):
        return job_object(details.job)
    if isinstance(details, JobProgressed):
        return job_progress_object(details.job)
    if not isinstance(details, Ended):
        return {name: _plain(value) for name, value in details._asdict().items()}
    match details.outcome:
        case Outcome():
            return outcome_object(details.outcome)
        case ThawOutcome():
            return thaw_object(details.outcome)
    return rescue_object(details.outcome)


def _unlike(head: JsonObject, rest: JsonObject) -> JsonObject:
    return {key: value for key, value in rest.items() if key not in head}


def _plain(value: object) -> Any:
    """Return JSON for whatever an event carries: a strange value must not end the stream."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case float():
            return _figure(value)
        case datetime():
            return rfc3339(value)
        case tuple() if isinstance(names := getattr(value, "_fields", None), tuple):
            return {name: _plain(getattr(value, name)) for name in names}
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case Sequence() | frozenset() | set():
            return [_plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return str(value)


def _figure(value: float | None) -> float | None:
    """Return seconds to the millisecond; what is no number is null, as JSON has no other word."""
    return None if value is None or not math.isfinite(value) else round(value, 3)
