"""What is set for a VM is what is done to it, seen from its agent's socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentclient.config.document import parse
from agentclient.config.origin import Given, Origin, OriginKind
from agentclient.config.settings import Settings
from agentclient.engine import Engine
from agentclient.fleet.doctor import check_settings, check_state
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.rescue import Rung, Step
from agentclient.model.states import AgentState, FreezeState, Refusal
from tui.main import run

PATH = Path("/c.toml")


class Agent:
    """A socket that answers as an agent does, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.sock"
        self.asked: list[str] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with one, one.makefile("rwb") as stream:
                for line in stream:
                    self._answer(json.loads(line.strip(b"\xff")), stream)

    def _answer(self, asked: dict[str, Any], stream: Any) -> None:
        command = asked["execute"]
        self.asked.append(command)
        reply: Any = {"guest-sync": None, "guest-fsfreeze-status": "thawed"}.get(command, {})
        if command.startswith("guest-sync"):
            reply = asked["arguments"]["id"]
        mark = b"\xff" if command == "guest-sync-delimited" else b""
        answer = {"return": reply}
        if "id" in asked:
            answer["id"] = asked["id"]
        stream.write(mark + json.dumps(answer).encode() + b"\n")
        stream.flush()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    yield made
    made.close()


def engine_of(agent: Agent, text: str) -> Engine:
    found = parse(PATH, text)
    assert not found.problems
    settings = Settings(found.values, found.sections)
    return Engine([f"name=db,agent={agent.path}"], named_only=True, settings=settings)


def test_an_agent_that_nothing_is_set_for_is_asked(agent: Agent) -> None:
    with engine_of(agent, '[[vm]]\nmatch = "other"\nnever_ask = true') as engine:
        engine.look()
        engine.visit()
        (state,) = engine.states()
    assert (state.agent.state, state.freeze.state) == (AgentState.ALIVE, FreezeState.THAWED)
    assert agent.connections


def test_an_agent_that_is_never_to_be_asked_is_never_connected_to(agent: Agent) -> None:
    why = "its agent is never asked: never_ask is set (/c.toml:3)"
    with engine_of(agent, '[[vm]]\nmatch = "d?"\nnever_ask = true') as engine:
        engine.look()
        engine.visit()
        (state,) = engine.states()
        frozen = engine.freeze(state.vm).wait()
        thawed = engine.thaw(state.vm, foreign=True).wait()
        rescued = [engine.rescue(state.vm, Step(rung)).wait() for rung in (Rung.CONNECT, Rung.THAW)]
    assert agent.connections == 0
    assert state.agent.state is AgentState.UNKNOWN
    assert state.agent.detail == why
    assert isinstance(frozen, Outcome)
    assert frozen.refusal is Refusal.DISABLED
    assert frozen.reason == f"freezing is disabled: {why}"
    assert isinstance(thawed, ThawOutcome)
    assert (thawed.refused, thawed.reason) == (True, why)
    assert all(one is not None and why in one.reason for one in rescued)
    assert any(why in finding.text for finding in check_state(state))


def test_a_vm_that_is_read_only_is_visited_and_nothing_is_sent_to_it(agent: Agent) -> None:
    why = "nothing is sent to this VM: read_only is set (/c.toml:3)"
    with engine_of(agent, '[[vm]]\nmatch = "db"\nread_only = true') as engine:
        engine.look()
        engine.visit()
        (state,) = engine.states()
        before = list(agent.asked)
        frozen = engine.freeze(state.vm).wait()
        thawed = engine.thaw(state.vm, foreign=True).wait()
        rescued = engine.rescue(state.vm, Step(Rung.THAW)).wait()
        offers = engine.ladder(state.vm).result(60)
    assert state.agent.state is AgentState.ALIVE
    assert agent.asked == before
    assert isinstance(frozen, Outcome)
    assert (frozen.refusal, frozen.reason) == (Refusal.READ_ONLY, why)
    assert isinstance(thawed, ThawOutcome)
    assert (thawed.refused, thawed.reason) == (True, why)
    assert rescued is not None
    assert why in rescued.reason
    assert {offer.why_not for offer in offers} == {why}
    assert any("read_only is set (/c.toml:3)" in one.text for one in check_state(state))


def test_a_thaw_is_waited_for_as_long_as_is_set(tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        found = parse(PATH, 'thaw_timeout = "0.5s"')
        spec = f"name=db,agent={path}"
        settings = Settings(found.values, found.sections)
        with Engine([spec], named_only=True, settings=settings) as engine:
            outcome = engine.thaw(engine.find_one("db"), foreign=True).wait(60)
    assert isinstance(outcome, ThawOutcome)
    assert outcome.seconds < 15.0
    assert not outcome.ok


def test_a_list_says_once_what_is_set(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[vm]]\nmatch = "db"\nnever_ask = true\nread_only = true\n')
    config.chmod(0o600)
    spec = f"name=db,agent={agent.path}"
    assert run(["--config", str(config), "list", "--named-only", "--vm", spec]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "socket:db" in line]
    assert row.count("never_ask is set") == row.count("read_only is set") == 1
    assert agent.connections == 0


def test_the_doctor_says_where_something_is_set_and_nothing_where_nothing_is() -> None:
    assert check_settings(Settings()) == []
    file = parse(PATH, "probes = 1")
    environment = {"hold": Given(1.0, Origin(OriginKind.ENVIRONMENT, "FROSTWATCH_HOLD"))}
    settings = Settings(file.values, environment=environment, files=(file, parse(PATH, "#")))
    (finding,) = check_settings(settings)
    assert finding.subject == "settings"
    assert finding.text == "set in /c.toml, FROSTWATCH_HOLD; frostwatch config show tells what"
