"""What `watch` tells of a night of backups, and of weeks: all that happened, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentclient.fleet import store as store_module
from agentclient.fleet.recent_lines import RecentLines
from agentclient.fleet.watch_events import WatchEventKind, watch_event_object
from agentclient.model.json_contract import dumps
from tests.unit.backup_night import PID, UPID, Plan, night, vm
from tests.unit.polled_fleet import STARTED

K = WatchEventKind
VMS = 300
NEVER = float("inf")
# Each tenth runs a hook that one notices; of three the agent is killed in its freeze.
SLOW = {number: Plan(hook_s=5.0 + 6 * (number % 7)) for number in range(0, VMS, 10)}
LOST = {
    77: Plan(hook_s=30.0, dies_s=4.0, back_s=0.0),
    155: Plan(hook_s=30.0, dies_s=4.0, back_s=20.0),
    222: Plan(hook_s=30.0, dies_s=4.0, back_s=NEVER),
}
WEEK = [Plan(hook_s=5.0), *LOST.values()]
BEGIN = [K.VM_FOUND, K.AGENT_ALIVE]
TELLS = {
    77: [K.OTHERS_PENDING, K.OTHERS_LOST],
    155: [K.OTHERS_PENDING, K.AGENT_GONE, K.OTHERS_LOST, K.AGENT_ALIVE],
    222: [K.OTHERS_PENDING, K.AGENT_GONE, K.OTHERS_LOST],
}


def test_a_night_of_three_hundred_backups_is_told_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vms = [vm(number) for number in range(VMS)]
    made = night(monkeypatch, vms)
    made.watch(5.0)
    plans = {one.id: (SLOW | LOST).get(number, Plan()) for number, one in enumerate(vms)}
    made.begin(plans)
    while not made.over:
        made.watch(1.0)
    made.watch(90.0)
    lines = [json.loads(dumps(watch_event_object(event))) for event in made.told]
    told = {one.id: [line for line in lines if line["vm"] == str(one.id)] for one in vms}
    for number, one in enumerate(vms):
        slow = [K.OTHERS_PENDING, K.OTHERS_ANSWERED] if number in SLOW else []
        kinds = [line["event"] for line in told[one.id]]
        assert kinds == [*BEGIN, *slow, *TELLS.get(number, [])], one.id
        for line in told[one.id]:
            if line["event"].startswith("others-"):
                told_rightly(line, made.sent[one.id])
    assert len(made.told) == 2 * VMS + 2 * len(SLOW) + 2 + 4 + 3


def told_rightly(line: dict[str, Any], sent: float) -> None:
    """Check who, since when, and how that is known."""
    assert line["by"] == {"program": f"task {UPID}", "pid": PID, "user": "root", "task": UPID}
    since, at = datetime.fromisoformat(line["since"]), datetime.fromisoformat(line["time"])
    truth = STARTED + timedelta(seconds=sent - 1000.0)
    assert timedelta() <= since - truth < timedelta(seconds=1), (since, truth)
    assert (line["grade"], "backup" in line["how"]) == ("likely", True)
    if line["event"] == "others-pending":
        assert at - truth < timedelta(seconds=3)
    if line["event"] == "others-lost":
        assert line["cause"] in ("agent-gone", "agent-restarted")
        assert "NEXT: " in line["text"]
        assert at - truth < timedelta(seconds=4 + 2)


def sizes(thing: object, seen: set[int]) -> int:
    """Count what is kept in a thing of ours, and in those that it has."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, dict | set | list | tuple) or hasattr(thing, "popleft"):
        assert isinstance(thing, Iterable)
        inside = thing.values() if isinstance(thing, dict) else thing
        return len(list(thing)) + sum(sizes(one, seen) for one in inside)
    if not type(thing).__module__.startswith("agentclient."):
        return 0
    return sum(sizes(one, seen) for one in getattr(thing, "__dict__", {}).values())


def test_what_is_kept_does_not_grow_with_the_weeks(monkeypatch: pytest.MonkeyPatch) -> None:
    """VMs come, are backed up, lose their freezes, are left frozen and go, again and again."""
    monkeypatch.setattr(store_module, "_MOST_REMOVED", 10)
    made = night(monkeypatch, [])
    made.fleet._recent = RecentLines(lines=10)
    kept = []
    for week in range(3):
        for day in range(60):
            one = vm(60 * week + day)
            made.come(one, frozen=day % 7 == 0)
            made.begin({one.id: WEEK[day % len(WEEK)]})
            for _ in range(30):
                made.watch(1.0)
            made.go()
        kept.append(sum(sizes(one, set()) for one in made.kept))
    assert kept[0] == kept[1] == kept[2]
    tells = {event.kind for event in made.told}
    assert {K.OTHERS_PENDING, K.OTHERS_ANSWERED, K.OTHERS_LOST, K.OTHERS_FROZEN} <= tells
    assert [event.kind for event in made.told].count(K.VM_GONE) == 180


@pytest.mark.parametrize("late", range(8))
def test_who_leaves_with_its_answer_is_told_so_and_named_at_whichever_look(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """An ordinary look shows that it has left, and not with what: one more look is taken first."""
    made, one = night(monkeypatch, []), vm(1)
    made.come(one, frozen=False)
    guest = made.guests[one.id]

    def work() -> Iterator[float]:
        yield from guest.command(5.0 + 0.25 * late)
        guest.flag = True  # and it is left so
        yield 60.0

    made.follow(work())
    for _ in range(20):
        made.watch(1.0)
    kinds = [event.kind for event in made.told]
    assert kinds == [*BEGIN, K.OTHERS_PENDING, K.OTHERS_ANSWERED, K.OTHERS_FROZEN]
    assert all(event.by is not None and event.by.pid == PID for event in made.told[2:])
