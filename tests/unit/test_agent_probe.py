"""What a visit asks an agent, and what it makes of the answers, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentclient.access import agent_probe as question_module
from agentclient.access import exchange as steps
from agentclient.access.agent_probe import ProbeResult, probe_exchange
from agentclient.access.agent_session import StreamSession
from agentclient.access.agent_steps import AgentLink
from agentclient.model.outcome import FileSystem
from agentclient.model.states import FreezeState
from tests.unit.fakes import ENDED, GREETING, Clock, Error, FakeAgent, FakeChannel, Raw, line

SYNC, STATUS = "guest-sync-delimited", "guest-fsfreeze-status"
INFO, FSINFO = "guest-info", "guest-get-fsinfo"
MOUNTS = [{"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": []}]
HEALTHY: dict[str, object] = {
    STATUS: "thawed",
    INFO: {"version": "7.2.0", "supported_commands": []},
    FSINFO: MOUNTS,
}


class Visit:
    """One visit to a fake agent."""

    def __init__(self, clock: Clock, agent: FakeAgent, *, first: bool = False) -> None:
        self.channel = FakeChannel(clock, agent)
        began = clock.now
        exchange = probe_exchange(self.channel, first=first)
        self.said: ProbeResult = steps.run(exchange.steps, exchange.channel, exchange.deadline)
        self.took_s = clock.now - began
        assert self.channel.closed, "a visit leaves no socket open"

    @property
    def commands(self) -> list[object]:
        return self.channel.commands


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, steps, question_module)
    return made


def test_a_visit_is_a_sync_and_a_status(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent(dict(HEALTHY)))
    assert visit.commands == [SYNC, STATUS]
    assert visit.said == ProbeResult(FreezeState.THAWED, 0.0)


def test_the_first_visit_asks_who_it_is_and_what_is_mounted(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent(dict(HEALTHY)), first=True)
    assert visit.commands == [SYNC, STATUS, INFO, FSINFO]
    assert visit.said.version == "7.2.0"
    assert visit.said.file_systems == (FileSystem("vda1", "/", "ext4"),)


def test_a_frozen_agent_is_not_asked_for_what_it_would_refuse(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent({**HEALTHY, STATUS: "frozen"}), first=True)
    assert visit.commands == [SYNC, STATUS, INFO]
    assert visit.said.frozen is FreezeState.FROZEN
    assert visit.said.file_systems is None


def test_an_agent_before_4_0_is_asked_again_without_an_id(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent(dict(HEALTHY), takes_ids=False), first=True)
    assert visit.commands == [SYNC, STATUS, STATUS, INFO, FSINFO]
    assert "id" in visit.channel.lines[1]
    assert not any("id" in sent for sent in visit.channel.lines[2:])
    assert visit.said.frozen is FreezeState.THAWED


def test_nothing_but_the_sync_is_written_to_an_agent_that_does_not_answer(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent(silent=True))
    assert visit.commands == [SYNC]
    assert visit.said.rtt_s is None
    assert visit.took_s == question_module.AGENT_VISIT_S


def test_an_agent_that_falls_silent_later_has_answered_all_the_same(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent({**HEALTHY, INFO: Raw()}), first=True)
    assert visit.said.frozen is FreezeState.THAWED
    assert visit.said.rtt_s == 0.0


def test_the_round_trip_is_that_of_the_status(clock: Clock) -> None:
    slow = {**HEALTHY, FSINFO: Raw(line({"return": []}), 1.0)}
    assert Visit(clock, FakeAgent(slow), first=True).said.rtt_s == 0.0


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_list_of_file_systems_beyond_all_bounds_is_a_detail(clock: Clock, end: bytes) -> None:
    endless = {**HEALTHY, FSINFO: Raw(b"x" * (8 * 1024 * 1024 + 1) + end)}
    said = Visit(clock, FakeAgent(endless), first=True).said
    assert said.frozen is FreezeState.THAWED
    assert said.file_systems is None
    assert said.detail is not None
    assert "limit 8388608" in said.detail


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Error("disabled", "CommandNotFound"), "CommandNotFound: disabled"),
        ("melted", "the answer is of the wrong type: melted"),
        (["frozen"], "wrong type"),
        (None, "wrong type"),
    ],
)
def test_an_agent_that_does_not_tell_its_state_is_alive_with_a_detail(
    clock: Clock, answer: object, detail: str
) -> None:
    said = Visit(clock, FakeAgent({STATUS: answer})).said
    assert said.frozen is None
    assert said.rtt_s is not None
    assert said.detail is not None
    assert detail in said.detail


def test_odd_answers_to_the_introduction_cost_nothing_else(clock: Clock) -> None:
    odd: dict[str, object] = {STATUS: "thawed", INFO: [7], FSINFO: "none"}
    said = Visit(clock, FakeAgent(odd), first=True).said
    assert (said.frozen, said.version, said.file_systems) == (FreezeState.THAWED, "unknown", None)


def test_nonsense_on_a_channel_that_is_ours_is_told(clock: Clock) -> None:
    said = Visit(clock, FakeAgent({STATUS: Raw(b"[[[\n")})).said
    assert said.detail is not None
    assert "no JSON" in said.detail


def test_a_channel_that_breaks_is_told_and_is_no_answer(clock: Clock) -> None:
    class Leaving(FakeAgent):
        def __call__(self, data: bytes) -> Iterator[Any]:
            yield ENDED

    said = Visit(clock, Leaving()).said
    assert said.rtt_s is None
    assert said.detail == "the other side has closed the connection"


def test_escapes_in_answers_are_made_visible(clock: Clock) -> None:
    said = Visit(clock, FakeAgent({STATUS: "\x1b[2Jred"})).said
    assert "\x1b" not in str(said.detail)


def test_an_agent_that_takes_only_the_plain_sync_is_remembered(clock: Clock) -> None:
    answers = {**HEALTHY, SYNC: Error("disabled"), "guest-sync": lambda given: given["id"]}
    visit = Visit(clock, FakeAgent(answers))
    assert visit.commands == [SYNC, "guest-sync", STATUS]
    assert (visit.said.frozen, visit.said.plain) == (FreezeState.THAWED, True)


def test_an_agent_that_takes_no_sync_is_left_at_once(clock: Clock) -> None:
    visit = Visit(clock, FakeAgent({SYNC: Error("no"), "guest-sync": Error("nor that")}))
    assert visit.commands == [SYNC, "guest-sync"]
    assert visit.said == ProbeResult(detail="it takes no sync: nor that")
    assert visit.took_s == 0.0


def test_a_later_answer_means_that_the_state_is_not_told(clock: Clock) -> None:
    agent = FakeAgent()
    visit_channel = FakeChannel(clock, agent)
    exchange = probe_exchange(visit_channel, first=False)
    link = exchange.channel
    assert isinstance(link, AgentLink)
    session = link.session
    assert isinstance(session, StreamSession)

    def restarted(_: object) -> Raw:
        return Raw(b"".join(one for one in agent(session.wire.sync(90)) if isinstance(one, bytes)))

    agent.answers[STATUS] = restarted
    said = steps.run(exchange.steps, link, exchange.deadline)
    assert said.detail == "a later request was answered first"
    assert said.rtt_s is not None


def test_a_line_that_does_not_end_is_told_before_the_time_is_over(clock: Clock) -> None:
    endless = {**HEALTHY, STATUS: Raw(b"x" * (8 * 1024 * 1024 + 1))}
    visit = Visit(clock, FakeAgent(endless))
    assert "limit 8388608" in str(visit.said.detail)
    assert visit.took_s == 0.0


def test_a_monitor_in_the_agents_place_is_told(clock: Clock) -> None:
    class Monitor(FakeAgent):
        def __call__(self, data: bytes) -> Iterator[Any]:
            yield GREETING

    visit = Visit(clock, Monitor())
    assert visit.said == ProbeResult(
        detail="a QEMU monitor answers there, no agent: are the two sockets swapped?"
    )
    assert visit.took_s == 0.0
