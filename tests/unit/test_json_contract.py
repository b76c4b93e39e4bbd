from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentclient.fleet.findings import Finding, FindingLevel, finding_object
from agentclient.jobs.archive import Backup
from agentclient.jobs.catalogue import Listed, listed_object
from agentclient.jobs.verify import Verified, verified_object
from agentclient.journal.json_contract import window_object
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.command import CommandRun, ThawWhen
from agentclient.model.disk_snapshot import SnapshotFound, SnapshotKind
from agentclient.model.events import Event, EventKind
from agentclient.model.json_contract import (
    command_object,
    dumps,
    event_object,
    outcome_object,
    rescue_object,
    snapshot_object,
    thaw_object,
    vm_object,
)
from agentclient.model.meaning import rescue_with_meaning
from agentclient.model.outcome import Evidence, FileSystem, Outcome
from agentclient.model.rescue import Means, RescueOutcome, Rung, RungResult, Step
from agentclient.model.snapshot import AgentHealth, FreezeInfo, LeftBy, VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    EvidenceResult,
    FreezeState,
    KnownBy,
    Level,
    OutcomeKind,
    RunState,
    WindowKind,
    WindowState,
)
from agentclient.model.vm import Vm, VmId
from agentclient.operations.rescue.ladder import Offer, offer_object
from tests.event_details import event_details
from tests.unit.json_lists import CLOSED

DOCS = Path(__file__).parents[2] / "docs" / "json.md"
AT = datetime(2026, 3, 1, 10, 20, 30, 123456, tzinfo=timezone(timedelta(hours=1)))
WEB = VmId("qemu", "web1")

OUTCOME = Outcome(
    OutcomeKind.PARTIAL,
    "half of it",
    cause=Cause.AGENT_RESTARTED,
    frozen=2,
    seconds=1.23456,
    coverage="2 of 3",
    not_covered=(FileSystem("vdc1", "/boot/efi", "vfat"),),
    evidence=(Evidence("port", EvidenceResult.AGAINST, "closed", 0.25004),),
    next="frostwatch thaw --foreign qemu:web1",
)


def _event(kind: EventKind, **details: object) -> Event:
    return Event(WEB, AT, kind, Level.INFO, "text", event_details(**details))


def test_a_vm_has_exactly_the_keys_of_the_contract() -> None:
    state = VmState(
        Vm(WEB, locked_by="backup", user="root", selectors=("102", "web#102")),
        RunState.RUNNING,
        AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.00141, "7.2"),
        FreezeInfo(FreezeState.FROZEN, AT, True),
    )
    assert vm_object(state) == {
        "schema": 1,
        "id": "qemu:web1",
        "name": "web1",
        "host": None,
        "source": "qemu",
        "run_state": "running",
        "agent": {"state": "alive", "how": "reply", "rtt_ms": 1.4, "version": "7.2"},
        "freeze": {"state": "frozen", "since": "2026-03-01T10:20:30.123+01:00", "foreign": True,
                   "left_by": None, "held_by": None, "by": None},
        "locked_by": "backup",
        "user": "root",
        "also": ["102", "web#102"],
        "block_jobs": [],
    }  # fmt: skip


def test_who_has_left_a_guest_frozen() -> None:
    left = LeftBy(1, 4711, "root", AT)
    frozen = FreezeInfo(FreezeState.FROZEN, AT)
    found = vm_object(VmState(Vm(WEB), freeze=frozen, left=left))["freeze"]["left_by"]
    assert found == {"pid": 4711, "user": "root", "time": "2026-03-01T10:20:30.123+01:00"}
    asked = VmState(Vm(WEB), freeze=FreezeInfo(FreezeState.THAWED), left=left)
    assert vm_object(asked)["freeze"]["left_by"] is None


def test_what_is_not_known_about_a_vm_is_null() -> None:
    found = vm_object(VmState(Vm(WEB)))
    assert found["agent"] == {
        "state": "unknown", "how": "nothing", "rtt_ms": None, "version": None
    }  # fmt: skip
    assert found["freeze"] == {
        "state": None,
        "since": None,
        "foreign": False,
        "left_by": None,
        "held_by": None,
        "by": None,
    }


def test_an_outcome_is_spread_into_its_event() -> None:
    found = event_object(_event(EventKind.VERDICT, outcome=OUTCOME))
    assert found["event"] == "verdict"
    assert found["outcome"] == "partial"
    assert found["cause"] == "agent-restarted"
    assert (found["frozen"], found["thawed"]) == (2, None)
    assert found["seconds"] == 1.235
    assert found["evidence"] == [
        {"name": "port", "result": "against", "value": "closed", "age_s": 0.25}
    ]
    assert found["not_covered"] == [{"device": "vdc1", "mountpoint": "/boot/efi", "kind": "vfat"}]
    assert found.keys() >= {"outcome", "refusal", "certified", "coverage", "next", "reason"}


def test_a_thaw_is_spread_into_its_event() -> None:
    thaw = SimpleNamespace(
        ok=True,
        state=FreezeState.THAWED,
        thawed=2,
        refused=False,
        seconds=0.5,
        next=None,
        meaning=None,
        reason="r",
    )
    assert thaw_object(cast(Any, thaw)) == {
        "ok": True, "state": "thawed", "thawed": 2, "refused": False, "seconds": 0.5, "next": None,
        "meaning": None, "reason": "r",
    }  # fmt: skip


RESCUE = RescueOutcome(
    WEB, Rung.SYSRQ, Means.KEY, RungResult.WRITES, None, None, "r", 1.23456, "wait"
)


def test_a_rescue_is_spread_into_its_event() -> None:
    found = event_object(_event(EventKind.OUTCOME, rescue=RESCUE))
    assert found.items() >= rescue_object(RESCUE).items()
    assert rescue_object(RESCUE) == {
        "rung": "sysrq", "by": "key", "found": "writes", "ok": True, "state": None,
        "thawed": None, "seconds": 1.235, "meaning": None, "next": "wait", "reason": "r",
    }  # fmt: skip


def test_a_rung_that_is_offered() -> None:
    offer = Offer(Step(Rung.SYSRQ, Means.SERIAL, "serial0"), "does", "risk", "no", possible=False)
    assert offer_object(WEB, offer) == {
        "schema": 1, "vm": "qemu:web1", "rung": "sysrq", "by": "serial", "serial": "serial0",
        "sensible": False, "possible": False, "why_not": "no", "does": "does", "risk": "risk",
    }  # fmt: skip


def test_no_field_hides_the_keys_that_every_event_has() -> None:
    found = event_object(_event(EventKind.NOTE, vm="other", event="outcome", schema=9, more=1))
    assert (found["vm"], found["event"], found["schema"], found["more"]) == (
        "qemu:web1", "note", 1, 1
    )  # fmt: skip


def test_strange_values_are_json_all_the_same() -> None:
    found = event_object(
        _event(
            EventKind.NOTE,
            nan=float("nan"),
            inf=float("-inf"),
            at=AT,
            tone=Level.GOOD,
            nested={"file": FileSystem("vda1", "/", "ext4"), 1: (1, 2)},
            path=Path("/x"),
        )
    )
    read = json.loads(dumps(found))
    assert (read["nan"], read["inf"], read["tone"], read["path"]) == (None, None, "good", "/x")
    assert read["nested"] == {
        "file": {"device": "vda1", "mountpoint": "/", "kind": "ext4"}, "1": [1, 2]
    }  # fmt: skip


def test_a_line_is_ascii_and_one_line_whatever_the_guest_says() -> None:
    line = dumps(event_object(_event(EventKind.NOTE, said="\x1b[2J\n\u202e\x9b\ud800é")))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["said"] == "\x1b[2J\n\u202e\x9b\ud800é"


def test_times_have_a_zone() -> None:
    naive = datetime(2026, 3, 1, 10, 20, 30)
    at = event_object(Event(WEB, naive, EventKind.NOTE, Level.INFO, ""))["time"]
    assert datetime.fromisoformat(at).tzinfo is not None
    utc = event_object(Event(WEB, AT.astimezone(UTC), EventKind.NOTE, Level.INFO, ""))["time"]
    assert utc == "2026-03-01T09:20:30.123+00:00"


def test_a_finding() -> None:
    assert finding_object(Finding("qemu:web1", FindingLevel.WARNING, "t")) == {
        "schema": 1, "subject": "qemu:web1", "level": "warning", "text": "t", "advice": None
    }  # fmt: skip


def _documented_lists() -> dict[str, list[str]]:
    text = DOCS.read_text()
    items = re.findall(r"^- \*\*([a-z_.]+)\*\*: ((?:.|\n  )+)", text, re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", words) for name, words in items}


@pytest.mark.parametrize("name", CLOSED)
def test_the_closed_lists_are_documented_both_ways(name: str) -> None:
    assert _documented_lists()[name] == [word.value for word in CLOSED[name]]


def test_no_other_list_is_documented() -> None:
    assert _documented_lists().keys() == CLOSED.keys()


def _documented_keys(heading: str) -> set[str]:
    section = DOCS.read_text().split(heading, 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {key.split(".")[0] for row in rows for key in re.findall(r"`([^`]+)`", row)}


def test_every_key_is_documented_both_ways() -> None:
    assert _documented_keys("## A VM:") == vm_object(VmState(Vm(WEB))).keys() - {"schema"}
    assert _documented_keys("### An outcome") == outcome_object(OUTCOME).keys()
    assert _documented_keys("### A rescue") == rescue_object(RESCUE).keys()
    meaning = rescue_object(rescue_with_meaning(RESCUE))["meaning"]
    assert _documented_keys("### A meaning") == meaning.keys()
    offer = offer_object(WEB, Offer(Step(Rung.CONNECT), "", ""))
    assert _documented_keys("## A rung:") == offer.keys() - {"schema"}
    found = SnapshotFound(
        WEB, "s1", SnapshotKind.INTERNAL, AT, (), (), False, None, "taken by others", None, ()
    )
    snapshot = snapshot_object(found).keys() - {"schema"}
    assert _documented_keys("## A snapshot:") == snapshot
    backup = Backup(Path("/b"), None, "", "why")
    verified = verified_object(Verified(Path("/b"), False, None, (), (), (), ()))
    assert _documented_keys("## A backup that was checked:") == verified.keys() - {"schema"}
    listed = listed_object(Listed(backup, "why", ())).keys() - {"schema"} | {"action", "why"}
    assert _documented_keys("## A backup that is there:") == listed
    run = command_object(CommandRun(("true",), ThawWhen.COMMAND_ENDED))
    assert _documented_keys("### A command") == run.keys()
    head = event_object(_event(EventKind.NOTE)).keys() - {"schema"}
    assert _documented_keys("## What happens:") == head


def test_every_key_of_a_window_is_documented_both_ways() -> None:
    row = WindowRow(
        1, WindowKind.FREEZE, "qemu:web1", WindowState.OPEN, dict.fromkeys(MOMENTS), {}, 0, "root",
        1, "c", "h", None, None, None, False, None, (),
    )  # fmt: skip
    assert _documented_keys("## A window:") == window_object(row).keys() - {"schema"}
    section = DOCS.read_text().split("## A window:", 1)[1]
    times = next(line for line in section.splitlines() if line.startswith("| `times`"))
    assert re.findall(r"`([a-z_]+)`", times) == ["times", *MOMENTS, "null"]
