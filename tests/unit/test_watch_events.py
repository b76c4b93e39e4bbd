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
from agentclient.model.vm import AgentChannel, Vm, VmId

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


def kinds(*states: VmState) -> list[WatchEventKind]:
    return [event.kind for event in _told(*states)]


def _told(*states: VmState) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    for old, new in itertools.pairwise(states):
        found += events_between(old, new, AT)
    return found


def test_a_backup_of_others_from_begin_to_end() -> None:
    busy = DB._replace(agent=AgentHealth(AgentState.BUSY))
    told = _told(
        DB,
        busy._replace(others=others(OthersState.TALKING)),
        busy._replace(others=others(OthersState.PENDING)),
        busy._replace(others=others(OthersState.PENDING, certain=True)),
        busy._replace(others=others(OthersState.ANSWERED, took_s=41.0)),
        busy._replace(others=others(OthersState.TALKING, took_s=41.0)),
        DB,
    )
    assert [event.kind for event in told] == [K.OTHERS_PENDING, K.OTHERS_ANSWERED]
    assert all("vzdump 101" in event.text for event in told)
    assert told[0].since == AT
    assert told[0].grade is Grade.LIKELY
    assert "kind of their task (vzdump)" in told[0].how


def test_an_answer_that_no_look_has_shown_alone_is_told_all_the_same() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    assert kinds(pending, DB._replace(others=others(OthersState.IDLE, took_s=3.0))) == [
        K.OTHERS_ANSWERED
    ]


@pytest.mark.parametrize(("lock", "grade"), [("backup", Grade.LIKELY), ("migrate", Grade.UNKNOWN)])
def test_a_lock_of_the_manager_makes_a_freeze_likely(lock: str, grade: Grade) -> None:
    locked = DB._replace(vm=DB.vm._replace(locked_by=lock))
    by = ChannelClient("backup-tool", 4711)
    (event,) = _told(locked, locked._replace(others=Others(OthersState.PENDING, AT, by)))
    assert event.grade is grade


def test_a_lost_one_is_told_with_its_cause() -> None:
    pending = DB._replace(others=others(OthersState.PENDING))
    lost = DB._replace(others=others(OthersState.LOST, cause=Cause.GUEST_RESET))
    (event,) = _told(pending, lost)
    assert (event.kind, event.cause, event.level) == (
        K.OTHERS_LOST,
        Cause.GUEST_RESET,
        Level.WARNING,
    )
    assert kinds(lost, lost._replace(version=9)) == []


def test_who_left_it_frozen_is_told_when_its_agent_says_so() -> None:
    held = DB._replace(others=others(OthersState.PENDING))
    found = DB._replace(freeze=FreezeInfo(FreezeState.FROZEN, AT, foreign=True))
    thawed = DB._replace(freeze=FreezeInfo(FreezeState.THAWED, AT))
    frozen, after = _told(held, found, thawed)
    assert (frozen.kind, frozen.by, frozen.grade) == (K.OTHERS_FROZEN, BY, Grade.CERTAIN)
    assert after.kind is K.OTHERS_THAWED


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
    (event,) = events_between(None, DB, AT)
    assert event.kind is K.VM_FOUND


def test_what_was_frozen_before_we_came_is_told_at_once() -> None:
    found = DB._replace(freeze=FreezeInfo(FreezeState.FROZEN, AT, foreign=True))
    assert [event.kind for event in events_between(None, found, AT)] == [
        K.VM_FOUND,
        K.OTHERS_FROZEN,
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
    lambda run, agent, freeze, foreign, other, took, present: DB._replace(
        run_state=run,
        agent=AgentHealth(agent),
        freeze=FreezeInfo(freeze, AT, foreign),
        others=None if other is None else Others(other, AT, None, took_s=took),
        present=present,
    ),
    st.sampled_from(list(RunState)),
    st.sampled_from(list(AgentState)),
    st.sampled_from([None, *FreezeState]),
    st.booleans(),
    st.sampled_from([None, *OthersState]),
    st.sampled_from([None, 1.0, 2.0]),
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
    assert [event.kind for event in log.take(DB, AT)] == [K.VM_FOUND]
