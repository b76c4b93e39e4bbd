"""What another client has pending, seen from the monitor alone, on a real agent (protocol §10)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from agentclient import Engine
from agentclient.access.local_access import LocalAccess
from agentclient.access.multiplexer import Multiplexer
from agentclient.freeze.others_watch import OthersEvent, OthersEventKind, OthersWatch
from agentclient.model.others import Others
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OthersState, WindowKind
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until

EVERY_S = 0.25


class Watcher:
    """Looks at a guest's monitor four times a second, as the poller does for a held channel."""

    def __init__(self, guest: Guest) -> None:
        operator = Operator(guest)
        access = operator.accesses.of(operator.vm)
        assert isinstance(access, LocalAccess)
        assert access.monitor is not None
        self._monitor = access.monitor
        self.events: list[OthersEvent] = []
        self.watch = OthersWatch(self.look(), time.monotonic())

    def look(self) -> MonitorView:
        exchange = self._monitor.begin(traffic=True)
        assert exchange is not None
        seen: list[MonitorView] = []
        multiplexer = Multiplexer()
        multiplexer.begin(exchange, seen.append, lambda error: pytest.fail(str(error)))
        while not seen:
            multiplexer.turn(time.monotonic() + 1)
        multiplexer.close()
        return seen[0]

    def until(self, state: OthersState, timeout_s: float = PATIENCE_S) -> float:
        """Look until the client's state is this; return how long that took, in seconds."""
        began = time.monotonic()
        while self.watch.state is not state:
            assert time.monotonic() - began < timeout_s, (self.watch.state, self.events)
            time.sleep(EVERY_S)
            self.events += self.watch.on_look(time.monotonic(), self.look())
        return time.monotonic() - began

    def state(self) -> OthersState:
        return self.watch.state

    def cause(self) -> Cause | None:
        return self.watch.cause

    def certain(self) -> bool:
        return self.watch.certain

    def kinds(self) -> list[OthersEventKind]:
        return [event.kind for event in self.events]


@pytest.fixture
def others(guest: Guest) -> Iterator[tuple[RawClient, Watcher]]:
    with RawClient(guest.agent_socket) as client:
        client.sync()
        yield client, Watcher(guest)


def test_a_freeze_of_others_is_pending_and_then_answered(
    guest: Guest, others: tuple[RawClient, Watcher]
) -> None:
    client, watcher = others
    guest.held_hook()
    sent = time.monotonic()
    client.send_command("guest-fsfreeze-freeze")
    watcher.until(OthersState.PENDING)
    assert not watcher.certain()
    client.send_command("guest-fsfreeze-status")
    time.sleep(0.3)
    watcher.events += watcher.watch.on_look(time.monotonic(), watcher.look())
    assert watcher.certain()  # what is queued behind it is not read
    pending_s = time.monotonic() - sent
    guest.release_hook()
    watcher.until(OthersState.ANSWERED)
    assert watcher.watch.took_s is not None
    assert pending_s - EVERY_S < watcher.watch.took_s < time.monotonic() - sent + EVERY_S
    assert watcher.kinds() == [OthersEventKind.PENDING, OthersEventKind.ANSWERED]
    client.send_command("guest-fsfreeze-thaw")


def test_who_comes_later_sees_what_is_queued(guest: Guest) -> None:
    with RawClient(guest.agent_socket) as client:
        client.sync()
        guest.held_hook()
        client.send_command("guest-fsfreeze-freeze")
        time.sleep(0.5)
        watcher = Watcher(guest)
        assert watcher.state() is OthersState.UNKNOWN
        client.send_command("guest-fsfreeze-status")
        watcher.until(OthersState.PENDING)
        assert watcher.watch.certain
        guest.release_hook()
        watcher.until(OthersState.ANSWERED)
        client.send_command("guest-fsfreeze-thaw")


def test_an_agent_that_is_killed_loses_their_command(
    guest: Guest, others: tuple[RawClient, Watcher]
) -> None:
    client, watcher = others
    guest.hanging_hook()
    client.send_command("guest-fsfreeze-freeze")
    watcher.until(OthersState.PENDING)
    guest.kill_agent()
    watcher.until(OthersState.LOST)
    assert watcher.cause() is Cause.AGENT_GONE
    guest.clear_hook()
    guest.start_agent()
    guest.wait_agent()
    watcher.events += watcher.watch.on_look(time.monotonic(), watcher.look())
    assert watcher.cause() is Cause.AGENT_RESTARTED
    assert watcher.state() is OthersState.LOST  # its client goes on waiting


def test_a_client_that_leaves_while_its_freeze_is_pending(guest: Guest) -> None:
    with RawClient(guest.agent_socket) as client:
        client.sync()
        watcher = Watcher(guest)
        guest.held_hook()
        client.send_command("guest-fsfreeze-freeze")
        watcher.until(OthersState.PENDING)
    watcher.until(OthersState.LEFT)
    guest.release_hook()
    assert watcher.kinds()[-1] is OthersEventKind.LEFT


def test_one_who_only_talks_has_nothing_pending(
    guest: Guest, others: tuple[RawClient, Watcher]
) -> None:
    client, watcher = others
    for _ in range(3):
        client.sync()
        watcher.events += watcher.watch.on_look(time.monotonic(), watcher.look())
        assert watcher.watch.state is OthersState.TALKING
    watcher.until(OthersState.IDLE)
    assert watcher.events == []


def _until_held(engine: Engine) -> None:
    """Wait until the channel of the only VM is seen to be held by others."""
    wait_until(lambda: engine.states()[0].others is not None, PATIENCE_S, "others to be seen")


def _until(engine: Engine, state: OthersState) -> Others:
    """Wait for the state of the only VM's other client."""
    began = time.monotonic()
    while True:
        (vm,) = engine.states()
        if vm.others is not None and vm.others.state is state:
            return vm.others
        assert time.monotonic() - began < PATIENCE_S, vm.others
        time.sleep(0.02)


def test_the_fleet_tells_what_others_have_pending_and_lost(guest: Guest) -> None:
    with Engine([guest.vm_argument], named_only=True) as engine:
        engine.look()
        engine.watch()
        with RawClient(guest.agent_socket) as client:
            client.sync()
            guest.hanging_hook()
            _until_held(engine)
            client.send_command("guest-fsfreeze-freeze")
            others = _until(engine, OthersState.PENDING)
            assert others.by is not None
            assert others.by.pid == os.getpid()
            guest.kill_agent()
            others = _until(engine, OthersState.LOST)
            assert others.cause is Cause.AGENT_GONE
            assert "they wait on" in str(others)
        _until(engine, OthersState.LOST)
        guest.start_agent()
        wait_until(lambda: engine.states()[0].others is None, PATIENCE_S, "the answer of an agent")
        log = [line.text for line in engine.fleet.log_since(engine.states()[0].id)]
    assert any("is lost after" in line for line in log)


def test_watch_tells_what_others_do_and_nothing_else(guest: Guest) -> None:
    command = [sys.executable, "-m", "tui.main", "watch", "--json", "--named-only"]
    child = subprocess.Popen(
        [*command, "--vm", guest.vm_argument], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        lines = map(json.loads, child.stdout)
        assert next(lines)["event"] == "vm-found"
        assert next(lines)["event"] == "agent-alive"
        with RawClient(guest.agent_socket) as client:
            client.sync()
            guest.held_hook()
            time.sleep(4.0)  # the channel is seen to be held
            client.send_command("guest-fsfreeze-freeze")
            pending = next(lines)
            guest.release_hook()
            assert (pending["event"], pending["by"]["pid"]) == ("others-pending", os.getpid())
            assert next(lines)["event"] == "others-answered"
        assert next(lines)["event"] == "others-frozen"  # asked as soon as they have left
        with RawClient(guest.agent_socket) as client:
            client.sync()
            client.thaw()
        assert next(lines)["event"] == "others-thawed"
        child.send_signal(signal.SIGTERM)
        assert list(lines) == []
        assert child.wait(PATIENCE_S) == 0
    finally:
        child.kill()
        child.communicate()


def test_the_history_tells_what_others_had_pending(guest: Guest) -> None:
    with Engine([guest.vm_argument], named_only=True) as engine:
        engine.look()
        engine.watch()
        with RawClient(guest.agent_socket) as client:
            client.sync()
            guest.held_hook()
            _until_held(engine)
            sent = time.monotonic()
            client.send_command("guest-fsfreeze-freeze")
            _until(engine, OthersState.PENDING)
            guest.release_hook()
            _until(engine, OthersState.ANSWERED)
            answered_s = time.monotonic() - sent
            client.thaw()
        past = engine.history(engine.find_one(guest.name)).result(PATIENCE_S)
    assert past is not None
    (row,) = past.windows
    assert (row.kind, row.pid) == (WindowKind.OTHERS, os.getpid())
    assert row.seconds is not None
    assert 1 < row.seconds < answered_s + 1
