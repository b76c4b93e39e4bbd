"""What `frostwatch watch` tells: each thing once, with who, since when, and how it is known."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.watch_events import (
    WatchEvent,
    WatchEventKind,
    WatchLog,
    events_between,
    watch_event_object,
)
from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_freeze import Grade
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, LeftBy, VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    KnownBy,
    Level,
    OthersState,
    RunState,
)
from agentclient.model.vm import AgentChannel, Process, Vm, VmId

AT = datetime(2026, 3, 1, 2, 13, tzinfo=UTC)
BY = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")
DB = VmState(
    Vm(VmId("qemu", "db"), agent=AgentChannel(Path("/run/db.qga"))),
    RunState.RUNNING,
    AgentHealth(AgentState.ALIVE, KnownBy.REPLY),
    FreezeInfo(FreezeState.THAWED, AT),
)
K = WatchEventKind


def others(state: OthersState, **more: Any) -> Others:
    return Others(state, AT, BY, **more)


def ended(result: OthersResult, by: ChannelClient | None = BY, **more: Any) -> OthersEnded:
    return OthersEnded(result, by, AT, AT + timedelta(seconds=41), 41.0, **more)


def kinds(*states: VmState) -> list[WatchEventKind]:
    return [event.kind for event in _told(*states)]


def _told(*states: VmState) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    for old, new in itertools.pairwise(states):
        found += events_between(old, new, AT)
    return found


def test_a_backup_of_others_from_begin_to_end() -> None:
    busy = DB._replace(agent=AgentHealth(AgentState.BUSY))
    after = busy._replace(others_last=ended(OthersResult.ANSWERED))
    told = _told(
        DB,
        busy._replace(others=others(OthersState.TALKING)),
        busy._replace(others=others(OthersState.PENDING)),
        busy._replace(others=others(OthersState.PENDING, certain=True)),
        after._replace(others=others(OthersState.ANSWERED, took_s=41.0)),
        after._replace(others=others(OthersState.TALKING, took_s=41.0)),
        DB._replace(others_last=after.others_last),
    )
    assert [event.kind for event in told] == [K.OTHERS_PENDING, K.OTHERS_ANSWERED]
    assert all("vzdump 101" in event.text for event in told)
    assert told[0].since == AT
    assert "after 41 s" in told[1].text
    assert told[0].grade is Grade.LIKELY
    assert "kind of their task (vzdump)" in told[0].how


def test_the_next_command_is_told_although_nobody_looked_in_between() -> None:
    first = DB._replace(others=others(OthersState.PENDING))
    later = AT + timedelta(minutes=1)
    second = DB._replace(
        others=others(OthersState.PENDING)._replace(since=later),
        others_last=ended(OthersResult.ANSWERED),
    )
    assert kinds(first, second) == [K.OTHERS_ANSWERED, K.OTHERS_PENDING]


def test_two_that_end_before_anybody_looks_are_both_told() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    first = ended(OthersResult.ANSWERED)
    second = ended(OthersResult.LEFT)._replace(since=first.until).after(first)
    third = ended(OthersResult.LOST, cause=Cause.AGENT_GONE).after(second)
    told = _told(pending, DB._replace(others_last=second), DB._replace(others_last=third))
    assert [one.kind for one in told] == [K.OTHERS_ANSWERED, K.OTHERS_LOST, K.OTHERS_LOST]
    assert "left with a command" in told[1].text
    last = third
    for _ in range(10):
        last = ended(OthersResult.ANSWERED).after(last)
    assert all(not one.earlier for one in last.earlier)
    assert len(last.earlier) < 4


def test_a_clock_that_is_set_brings_no_command() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    moved = others(OthersState.PENDING)._replace(since=AT - timedelta(hours=1))
    assert kinds(pending, pending._replace(others=moved)) == []


@pytest.mark.parametrize(
    ("change", "how"),
    [({"present": False}, "its source"), ({"run_state": RunState.GONE}, "the monitor")],
)
def test_that_a_vm_has_gone_or_is_back_is_told_with_how_it_is_known(
    change: dict[str, Any], how: str
) -> None:
    gone, back = _told(DB, DB._replace(**change), DB)
    assert (gone.kind, gone.how) == (K.VM_GONE, how)
    assert (back.kind, back.how) == (K.VM_FOUND, how)


def test_an_answer_is_told_although_they_left_with_it() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    left = DB._replace(others=None, others_last=ended(OthersResult.ANSWERED))
    (event,) = _told(pending, left)
    assert (event.kind, event.by, event.since) == (K.OTHERS_ANSWERED, BY, AT)


@pytest.mark.parametrize(("lock", "grade"), [("backup", Grade.LIKELY), ("migrate", Grade.UNKNOWN)])
def test_a_lock_of_the_manager_makes_a_freeze_likely(lock: str, grade: Grade) -> None:
    locked = DB._replace(vm=DB.vm._replace(locked_by=lock))
    by = ChannelClient("backup-tool", 4711)
    (event,) = _told(locked, locked._replace(others=Others(OthersState.PENDING, AT, by)))
    assert event.grade is grade
    assert (lock in event.how) is (grade is Grade.LIKELY)


def test_a_lost_one_is_told_with_its_cause() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    lost = DB._replace(
        others=others(OthersState.LOST, cause=Cause.GUEST_RESET),
        others_last=ended(OthersResult.LOST, cause=Cause.GUEST_RESET),
    )
    (event,) = _told(pending, lost)
    assert (event.kind, event.cause, event.level) == (
        K.OTHERS_LOST,
        Cause.GUEST_RESET,
        Level.WARNING,
    )
    assert "NEXT: " in event.text
    assert kinds(lost, lost._replace(version=9)) == []


def test_who_left_it_frozen_is_told_when_its_agent_says_so() -> None:
    held = DB._replace(others=others(OthersState.PENDING))
    found = DB._replace(freeze=FreezeInfo(FreezeState.FROZEN, AT, foreign=True, by=BY))
    thawed = DB._replace(freeze=FreezeInfo(FreezeState.THAWED, AT))
    frozen, after = _told(held, found, thawed)
    assert (frozen.kind, frozen.by, frozen.grade) == (K.OTHERS_FROZEN, BY, Grade.CERTAIN)
    assert (after.kind, after.by, after.since) == (K.OTHERS_THAWED, BY, AT)


def test_a_frostwatchs_freeze_is_ours() -> None:
    held = DB._replace(
        freeze=FreezeInfo(FreezeState.FROZEN, AT),
        held_by=HeldBy(7, "root", FreezeState.FROZEN, AT, AT + timedelta(seconds=30)),
    )
    frozen, thawed = _told(DB, held, DB)
    assert (frozen.kind, frozen.how, thawed.kind) == (K.FROZEN, "the journal", K.THAWED)
    left = DB._replace(freeze=held.freeze, left=LeftBy(1, 7, "root", AT))
    assert kinds(DB, left) == [K.LEFT_FROZEN]


def test_what_is_not_known_any_more_is_not_called_thawed() -> None:
    found = DB._replace(freeze=FreezeInfo(FreezeState.FROZEN, AT, foreign=True))
    assert kinds(found, DB._replace(freeze=FreezeInfo())) == []


def test_agents_and_vms() -> None:
    closed = DB._replace(agent=AgentHealth(AgentState.CLOSED, KnownBy.PORT))
    silent = DB._replace(agent=AgentHealth(AgentState.SILENT, KnownBy.DEADLINE))
    assert kinds(DB, closed, DB, silent, DB) == [
        K.AGENT_GONE,
        K.AGENT_ALIVE,
        K.AGENT_SILENT,
        K.AGENT_ALIVE,
    ]
    gone = DB._replace(run_state=RunState.GONE)
    assert kinds(DB, gone, gone._replace(present=False), DB) == [K.VM_GONE, K.VM_FOUND]
    assert kinds(DB, DB._replace(vm=DB.vm._replace(process=Process(7, 1)))) == []
    one, two = (DB._replace(vm=DB.vm._replace(process=Process(pid, 1))) for pid in (7, 8))
    assert kinds(one, two) == [K.VM_GONE, K.VM_FOUND, K.AGENT_ALIVE]
    assert kinds(one._replace(run_state=RunState.GONE), two) == [K.VM_FOUND, K.AGENT_ALIVE]


def test_what_was_so_before_we_came_is_told_at_once() -> None:
    found = DB._replace(freeze=FreezeInfo(FreezeState.FROZEN, AT, foreign=True))
    assert [event.kind for event in events_between(None, found, AT)] == [
        K.VM_FOUND,
        K.AGENT_ALIVE,
        K.OTHERS_FROZEN,
    ]
    busy = VmState(DB.vm, RunState.RUNNING, AgentHealth(AgentState.BUSY))
    pending = busy._replace(others=others(OthersState.PENDING))
    assert [event.kind for event in events_between(None, pending, AT)] == [
        K.VM_FOUND,
        K.OTHERS_PENDING,
    ]


def test_json_has_exactly_the_keys_of_the_contract() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    (event,) = _told(DB, pending)
    found = watch_event_object(event)
    assert list(found) == [
        "schema", "time", "vm", "event", "level", "text", "by", "since", "grade", "how", "cause",
    ]  # fmt: skip
    assert found["by"] == {
        "program": BY.program,
        "pid": 4711,
        "user": "root",
        "task": "UPID:n:1:2:3:vzdump:101:root@pam:",
    }


STATES = st.builds(
    lambda run, agent, freeze, foreign, other, last, present: DB._replace(
        run_state=run,
        agent=AgentHealth(agent),
        freeze=FreezeInfo(freeze, AT, foreign),
        others=None if other is None else Others(other, AT, None),
        others_last=last,
        present=present,
    ),
    st.sampled_from(list(RunState)),
    st.sampled_from(list(AgentState)),
    st.sampled_from([None, *FreezeState]),
    st.booleans(),
    st.sampled_from([None, *OthersState]),
    st.none() | st.builds(ended, st.sampled_from(list(OthersResult))),
    st.booleans(),
)


@given(old=st.none() | STATES, new=STATES)
def test_whatever_changes_is_told_once(old: VmState | None, new: VmState) -> None:
    for event in events_between(old, new, AT):
        watch_event_object(event)
    assert events_between(new, new, AT) == []


def test_an_agent_that_only_was_not_asked_is_no_news() -> None:
    log, told = WatchLog(), []
    words = [
        AgentState.UNKNOWN, AgentState.OPEN, AgentState.ALIVE, AgentState.BUSY, AgentState.OPEN,
        AgentState.ALIVE, AgentState.CLOSED, AgentState.OPEN, AgentState.ALIVE,
    ]  # fmt: skip
    for word in words:
        told += log.take(DB._replace(agent=AgentHealth(word, KnownBy.PORT)), AT)
    assert [event.kind for event in told] == [
        K.VM_FOUND,
        K.AGENT_ALIVE,
        K.AGENT_GONE,
        K.AGENT_ALIVE,
    ]
    log.forget(DB.id)
    assert [event.kind for event in log.take(DB, AT)] == [K.VM_FOUND, K.AGENT_ALIVE]
