"""The JSON Schema of what the commands print with `--json`; the closed lists are the code's own.

A reader ignores what it does not know, so that no object is closed; all that docs/json.md names is
required, since a key that is not known is null and never left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from agentclient.config.origin import OriginKind
from agentclient.model.json_contract import GROUP_EVENT, SCHEMA
from agentclient.model.states import Phase
from tests.unit.json_lists import CLOSED

Json = dict[str, Any]
FILE: Final = Path(__file__).parents[2] / "docs" / "output.schema.json"
TEXT: Final[Json] = {"type": "string"}
NUMBER: Final[Json] = {"type": "number"}
COUNT: Final[Json] = {"type": "integer"}
YES: Final[Json] = {"type": "boolean"}
TIME: Final[Json] = {"type": "string", "format": "date-time"}
ANY: Final[Json] = {}
MAPPING: Final[Json] = {"type": "object"}


def one_of(name: str, *more: str) -> Json:
    """Return the words of a closed list."""
    return {"enum": [*(word.value for word in CLOSED[name]), *more]}


def words(kinds: Iterable[StrEnum]) -> Json:
    return {"enum": [one.value for one in kinds]}


def maybe(schema: Json) -> Json:
    """Return what may be null as well: it is not known, or there is none."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def part(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def of(**keys: Json) -> Json:
    """Return an object with all of these keys, and others that are not known yet."""
    return {"type": "object", "properties": keys, "required": list(keys)}


def line(**keys: Json) -> Json:
    """Return an object that stands on a line of its own."""
    return of(schema={"const": SCHEMA}, **keys)


def told(event: Json, then: Json) -> Json:
    """Return that an event of some kind has further keys."""
    return {"if": {"properties": {"event": event}}, "then": then}


CLIENT: Final = of(program=maybe(TEXT), pid=maybe(COUNT), user=maybe(TEXT), task=maybe(TEXT))
MOMENT: Final = of(at=TIME, s=NUMBER)
FIGURES: Final = of(count=COUNT, median_s=maybe(NUMBER), p95_s=maybe(NUMBER), worst_s=maybe(NUMBER))
FILE_SYSTEM: Final = of(device=TEXT, mountpoint=TEXT, kind=TEXT)
EVIDENCE: Final = of(name=TEXT, result=one_of("evidence.result"), value=ANY, age_s=maybe(NUMBER))
COPY_OF_A_DISK: Final = of(
    disk=TEXT, target=maybe(TEXT), format=maybe(TEXT), size=maybe(COUNT), copied=maybe(COUNT),
    error=maybe(TEXT), checksum=maybe(TEXT),
)  # fmt: skip
PARTS: Final[Mapping[str, Json]] = {
    "meaning": of(copy=TEXT, copy_is=one_of("copy_is"), guest=TEXT, guest_is=one_of("guest_is")),
    "outcome": of(
        outcome=one_of("outcome"), refusal=maybe(one_of("refusal")), frozen=maybe(COUNT),
        thawed=maybe(COUNT), certified=YES, settled=YES, cause=maybe(one_of("cause")),
        seconds=maybe(NUMBER), coverage=maybe(TEXT), not_covered=many(FILE_SYSTEM),
        evidence=many(EVIDENCE), meaning=maybe(part("meaning")), next=maybe(TEXT), reason=TEXT,
        kept=YES, not_together=YES,
    ),
    "thaw": of(
        ok=YES, state=maybe(one_of("freeze.state")), thawed=maybe(COUNT), refused=YES,
        seconds=maybe(NUMBER), meaning=maybe(part("meaning")), next=maybe(TEXT), reason=TEXT,
    ),
    "rescue": of(
        rung=one_of("rung"), by=maybe(one_of("by")), found=one_of("found"), ok=YES,
        state=maybe(one_of("freeze.state")), thawed=maybe(COUNT), seconds=maybe(NUMBER),
        meaning=maybe(part("meaning")), next=maybe(TEXT), reason=TEXT,
    ),
    "command": of(
        argv=many(TEXT), thaw_when=one_of("thaw_when"), pid=maybe(COUNT), exit_code=maybe(COUNT),
        signal=maybe(TEXT), error=maybe(TEXT), overran=YES, stopped=maybe(TEXT), inside=YES,
        moments={"type": "object", "additionalProperties": maybe(MOMENT)},
    ),
    "job": of(
        job=one_of("job"), result=one_of("job.result"), ok=YES,
        consistency=one_of("job.consistency"), policy=one_of("job.policy"),
        refusal=maybe(one_of("job.refusal")), paused=YES, disks=many(COPY_OF_A_DISK),
        left=many(TEXT), times={"type": "object", "additionalProperties": maybe(TIME)},
        command=maybe(part("command")), seconds=maybe(NUMBER), window=maybe(part("outcome")),
        next=maybe(TEXT), reason=TEXT,
    ),
    "progress": of(
        job=one_of("job"), stage=one_of("job.stage"), done=maybe(COUNT), total=maybe(COUNT),
        speed=maybe(NUMBER), eta_s=maybe(NUMBER), limit=COUNT,
        disks=many(of(disk=TEXT, done=COUNT, total=COUNT, ready=YES)),
    ),
}  # fmt: skip
_ENDS: Final = {"anyOf": [part("outcome"), part("thaw"), part("rescue")]}
LINES: Final[Mapping[str, tuple[str, Json]]] = {
    "vm": (
        "list",
        line(
            id=TEXT, name=TEXT, host=maybe(TEXT), source=TEXT, run_state=one_of("run_state"),
            agent=of(
                state=one_of("agent.state"), how=one_of("agent.how"), rtt_ms=maybe(NUMBER),
                version=maybe(TEXT),
            ),
            freeze=of(
                state=maybe(one_of("freeze.state")), since=maybe(TIME), foreign=YES,
                left_by=maybe(of(pid=COUNT, user=maybe(TEXT), time=maybe(TIME))),
                held_by=maybe(
                    of(
                        pid=COUNT, user=maybe(TEXT), since=maybe(TIME), until=maybe(TIME),
                        holder=maybe(COUNT), ended=YES, kept=YES,
                    )
                ),
                by=maybe(
                    of(
                        state=one_of("others.state"), since=maybe(TIME), program=maybe(TEXT),
                        pid=maybe(COUNT), user=maybe(TEXT), task=maybe(TEXT),
                        cause=maybe(one_of("cause")), seconds=maybe(NUMBER), certain=YES,
                        how=TEXT, grade=maybe(one_of("watch.grade")), overdue=maybe(TEXT),
                        waits=YES, writes=maybe(one_of("others.writes")), grade_how=maybe(TEXT),
                    )
                ),
            ),
            locked_by=maybe(TEXT), user=maybe(TEXT), also=many(TEXT),
            block_jobs=many(
                of(
                    id=TEXT, type=TEXT, done=maybe(COUNT), total=maybe(COUNT), ended=YES,
                    error=maybe(TEXT), job=maybe(TEXT), pid=maybe(COUNT), left=YES,
                )
            ),
        ),
    ),
    "event": (
        "freeze, thaw, attach, rescue, backup, mirror, snapshot create and delete",
        line(time=TIME, vm=TEXT, event=one_of("event"), level=one_of("level"), text=TEXT)
        | {
            "allOf": [
                told({"enum": ["verdict", "revised"]}, part("outcome")),
                told({"const": "outcome"}, _ENDS),
                told({"const": "job"}, part("job")),
                told({"const": "progress"}, part("progress")),
            ]
        },
    ),
    "group": (
        "freeze --together",
        line(
            time=TIME, vm={"type": "null"}, event={"const": GROUP_EVENT}, together=YES,
            skew_s=maybe(NUMBER), order=many(TEXT), final=YES, hold_s=maybe(NUMBER),
            failed=many(TEXT), reason=TEXT,
        ),
    ),
    "watch": (
        "watch",
        line(
            time=TIME, vm=TEXT, event=one_of("watch.event"), level=one_of("level"), text=TEXT,
            by=maybe(CLIENT), since=maybe(TIME), grade=maybe(one_of("watch.grade")),
            how=maybe(TEXT), cause=maybe(one_of("cause")),
        ),
    ),
    "extended": (
        "extend",
        line(
            vm=TEXT, extended=YES, seconds=maybe(NUMBER), until=maybe(TIME), reason=TEXT,
            next=maybe(TEXT),
        ),
    ),
    "rung": (
        "rescue without --rung",
        line(
            vm=TEXT, rung=one_of("rung"), by=maybe(one_of("by")), serial=maybe(TEXT), sensible=YES,
            possible=YES, why_not=maybe(TEXT), does=TEXT, risk=TEXT,
        ),
    ),
    "left": (
        "jobs",
        line(
            vm=TEXT, job=maybe(TEXT), pid=maybe(COUNT), running=maybe(YES), complete=YES,
            unended=YES, done=maybe(COUNT), total=maybe(COUNT), files=many(TEXT),
            cleared=maybe(
                of(removed=many(TEXT), kept=many(TEXT), left=many(TEXT), resumed=YES)
            ),
            text=TEXT,
        ),
    ),
    "snapshot": (
        "snapshot list",
        line(
            vm=TEXT, name=TEXT, kind=one_of("snapshot.kind"), made=maybe(TIME),
            disks=many(of(disk=TEXT, file=maybe(TEXT), overlay=maybe(TEXT), size=maybe(COUNT))),
            missing=many(TEXT), memory=YES, size=maybe(COUNT),
            consistency=maybe(one_of("job.consistency")), window=maybe(part("outcome")),
            revert=many(TEXT), reason=TEXT,
        ),
    ),
    "window": (
        "history",
        line(
            window=COUNT, vm=TEXT, kind=one_of("window.kind"), state=one_of("window.state"),
            times={"type": "object", "additionalProperties": maybe(MOMENT)},
            request=maybe(MAPPING),
            by=of(uid=maybe(COUNT), user=maybe(TEXT), pid=COUNT, command=TEXT, host=TEXT),
            process=maybe(of(pid=COUNT, start_ticks=COUNT)), result=maybe(MAPPING),
            thaw=maybe(MAPPING), rescue=maybe(MAPPING), job=maybe(MAPPING),
            phase=maybe(words(Phase)), held_until=maybe(TIME), hold_s=maybe(NUMBER),
            held_s=maybe(NUMBER), seconds=maybe(NUMBER), settled=maybe(YES),
            versions=maybe(of(frostwatch=maybe(TEXT), agent=maybe(TEXT), qemu=maybe(TEXT))),
            writes=many(many(NUMBER)), note=maybe(TEXT), unreadable=maybe(TEXT),
            events=many(
                of(time=TIME, s=NUMBER, event=TEXT, level=one_of("level"), text=TEXT)
            ),
        ),
    ),
    "durations": (
        "history VM, its last line",
        line(vm=TEXT, durations=FIGURES, others=FIGURES),
    ),
    "replayed": (
        "replay",
        line(
            time=TIME, vm=TEXT, window=COUNT, event=one_of("event", "asked", "others", "left"),
            level=one_of("level"), text=TEXT, state=TEXT, phase=maybe(TEXT),
            outcome=maybe(one_of("outcome")), certified=YES, not_together=YES,
        ),
    ),
    "checked": (
        "backup verify",
        line(
            backup=TEXT, ok=YES, id=maybe(TEXT), kind=maybe(TEXT), mode=maybe(TEXT),
            vm=maybe(of(id=TEXT, name=TEXT, uuid=maybe(TEXT))), taken=maybe(TIME),
            consistency=one_of("job.consistency"), certified=YES, problems=many(TEXT),
            notes=many(TEXT), needs=many(TEXT), restore=many(TEXT),
        ),
    ),
    "listed": (
        "backup list and backup prune",
        line(
            backup=TEXT, complete=YES, problem=maybe(TEXT), id=maybe(TEXT), chain=maybe(TEXT),
            kind=maybe(TEXT), mode=maybe(TEXT),
            vm=maybe(of(id=TEXT, name=TEXT, uuid=maybe(TEXT))), taken=maybe(TIME),
            consistency=one_of("job.consistency"), certified=YES, disks=many(TEXT),
            bytes=maybe(COUNT), needs=many(TEXT),
        ),
    ),
    "image": (
        "backup restore",
        line(
            backup=TEXT, vm=ANY, taken=maybe(TIME), consistency=one_of("job.consistency"),
            disk=TEXT, size=COUNT, source_format=maybe(TEXT), file=TEXT, format=TEXT,
        ),
    ),
    "finding": (
        "doctor",
        line(subject=TEXT, level=one_of("finding.level"), text=TEXT, advice=maybe(TEXT)),
    ),
    "word": (
        "explain",
        line(
            topic=one_of("word.topic"), word=TEXT, what=TEXT, known=TEXT, data=maybe(TEXT),
            evidence=maybe(of(**{"for": TEXT, "against": TEXT, "unknown": TEXT})),
            do=maybe(TEXT),
            by_hand=many(
                of(what=TEXT, commands={"type": "object", "additionalProperties": TEXT})
            ),
        ),
    ),
    "setting": (
        "config show",
        line(
            name=TEXT, value=ANY, match=maybe(many(TEXT)), vm=maybe(TEXT),
            origin=of(
                kind=words(OriginKind), name=maybe(TEXT), file=maybe(TEXT), line=maybe(COUNT)
            ),
        ),
    ),
}  # fmt: skip


def document() -> Json:
    """Return the whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What frostwatch prints with --json, line by line",
        "$comment": "Written by `make man`. Keys and words are added within one version: ignore "
        "what you don't know.",
        "anyOf": [part(name) for name in LINES],
        "$defs": {name: {"description": f"frostwatch {by} --json"} | schema
                  for name, (by, schema) in LINES.items()} | dict(PARTS),
    }  # fmt: skip


def text() -> str:
    """Return the schema's file."""
    return json.dumps(document(), indent=1) + "\n"
