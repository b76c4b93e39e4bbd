"""Freezes of agents that break the protocol on a real socket: each ends, soon and thawed."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.poller import Poller
from agentclient.fleet.store import Fleet
from agentclient.model.states import AgentState, Cause, OutcomeKind, Refusal
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.protocol import qga as wire
from tests.faults.served_agent import (
    COMMANDS,
    FREEZE,
    STATUS,
    THAW,
    Failed,
    Said,
    ServedAgent,
    freeze,
)

pytestmark = pytest.mark.usefixtures("patient")

PATIENCE_S = 60.0
# So long a freeze is waited for that nothing else ends, in seconds.
FIRST_S = 100.0


def for_ever(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ServedAgent]:
    with ServedAgent(tmp_path / "qga.sock") as it:
        yield it


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff" * 4096,
        b"x" * 4096,
        b"\xff\n" * 2048,
        b'{"return": {}, "id": 5}\n' * 100,
        b"\n{",
    ],
    ids=["sentinels", "no end", "sentinel lines", "others' answers", "nonsense"],
)
def test_a_flood_after_the_freeze_is_a_verdict_and_burns_no_core(
    agent: ServedAgent, noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An eighth of the real bound (tests/unit/test_qga_limits.py): a busy machine takes long to it.
    monkeypatch.setattr(wire, "MOST_NOISE", 1 << 20)
    agent.answers[FREEZE] = lambda _: for_ever(noise)
    froze = freeze(agent.path, first_timeout_s=FIRST_S, thaw_timeout_s=2.0)
    outcome = froze.outcome
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.CHANNEL_BROKEN)
    assert "flooded" in outcome.reason
    assert froze.seconds < FIRST_S
    assert froze.busy_s < froze.seconds / 2
    assert not outcome.settled, "no thaw was acknowledged through it"
    assert outcome.next


def test_a_flood_that_ends_is_thawed_behind_it(agent: ServedAgent) -> None:
    agent.answers[FREEZE] = lambda _: iter([b"\xff" * 1024] * 9000 + [b"\n"])
    outcome = freeze(agent.path, thaw_timeout_s=PATIENCE_S).outcome
    assert (outcome.kind, outcome.settled) == (OutcomeKind.LOST, True)
    assert THAW in agent.asked


@pytest.mark.parametrize("half", [b"\xff", b'{"return": 1', b"\xff\xff{", b"half "])
def test_half_an_answer_is_asked_about_at_once(agent: ServedAgent, half: bytes) -> None:
    agent.answers[FREEZE] = lambda _: half
    froze = freeze(agent.path, first_timeout_s=FIRST_S)
    assert froze.outcome.kind is OutcomeKind.LOST
    assert froze.outcome.settled
    assert froze.seconds < FIRST_S
    assert agent.asked.count(THAW) == 1


@pytest.mark.parametrize("before", [b"\xff", b"\xff\xff", b"noise\n", b"\n\r\n"])
def test_what_stands_before_the_answer_is_no_part_of_it(agent: ServedAgent, before: bytes) -> None:
    def answer(message: dict[str, str]) -> bytes:
        agent.frozen = True
        return before + b'{"return": 1, "id": "%s"}\n' % message["id"].encode()

    agent.answers[FREEZE] = answer
    outcome = freeze(agent.path).outcome
    assert (outcome.frozen, outcome.thawed) == (1, 1)


@pytest.mark.parametrize("echo", [True, False], ids=["id", "no id"])
def test_an_error_that_is_not_utf_8_is_the_answer(agent: ServedAgent, echo: bool) -> None:
    def answer(message: dict[str, str]) -> bytes:
        tag = b', "id": "%s"' % message["id"].encode() if echo else b""
        text = "сбой Я и я".encode("cp1251")
        assert b"\xff" in text
        return b'{"error": {"class": "GenericError", "desc": "%s"}%s}\n' % (text, tag)

    agent.answers[FREEZE] = answer
    froze = freeze(agent.path, first_timeout_s=FIRST_S)
    assert froze.outcome.kind is OutcomeKind.FAILED
    assert "\ufffd" in froze.outcome.reason
    assert froze.seconds < FIRST_S
    assert froze.outcome.settled


def refusal_that_freezes(agent: ServedAgent) -> Callable[[object], object]:
    def answer(_: object) -> object:
        agent.frozen = True
        raise Failed("half of it failed")

    return answer


def test_what_is_frozen_after_an_error_is_thawed(agent: ServedAgent) -> None:
    agent.answers[FREEZE] = refusal_that_freezes(agent)
    outcome = freeze(agent.path).outcome
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.PARTIAL, None)
    assert (outcome.settled, agent.frozen) == (True, False)
    assert agent.asked.index(THAW) > agent.asked.index(STATUS)


class SmallAgent(ServedAgent):
    """One that ends at 0xFF, and knows neither ids nor what it does not know."""

    ends = 0

    def hear(self, line: bytes) -> Said:
        if b"\xff" in line:
            self.ends += 1
            return b""
        return super().hear(line)

    def answer(self, message: Mapping[str, Any]) -> Said:
        known = message["execute"] in (*COMMANDS, "guest-sync")
        return super().answer(message) if known else b""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallAgent]:
    with SmallAgent(tmp_path / "qga.sock", echoes_id=False) as it:
        it.answers["guest-sync"] = lambda message: message["arguments"]["id"]
        yield it


def test_an_agent_that_ends_at_0xff_is_frozen_and_thawed_without_it(small: SmallAgent) -> None:
    froze = freeze(small.path)
    assert (froze.outcome.frozen, froze.outcome.thawed, froze.outcome.settled) == (1, 1, True)
    assert small.ends == 1


def test_an_agent_that_ends_at_0xff_is_sent_it_once_and_asked_rarely(small: SmallAgent) -> None:
    vm = Vm(VmId("socket", "small"), AgentChannel(small.path))
    fleet, accesses = Fleet(), AccessPool()
    fleet.set_vms("socket", [vm])
    visits = Poller(fleet, accesses, deque(), None, port_interval_s=2.0, agent_interval_s=15.0)
    seen = []
    for _ in range(3):
        visits.all_once(5.0, threading.Event())
        seen.append(fleet.get(vm.id).agent.state)
    assert accesses.of(vm).plain
    visits.close()
    accesses.close()
    assert seen[1:] == [AgentState.ALIVE, AgentState.ALIVE]
    assert small.ends == 1


def test_who_takes_no_delimited_sync_is_no_silent_agent(agent: ServedAgent) -> None:
    def refuse(_: object) -> object:
        raise Failed("Command guest-sync-delimited has been disabled")

    agent.answers["guest-sync-delimited"] = refuse
    agent.answers["guest-sync"] = lambda message: message["arguments"]["id"]
    froze = freeze(agent.path)
    assert (froze.outcome.frozen, froze.outcome.thawed) == (1, 1)
    agent.answers["guest-sync"] = refuse
    outcome = freeze(agent.path).outcome
    assert outcome.refusal is Refusal.DISABLED
    assert "has been disabled" in outcome.reason
