"""What a holder makes of what its console had said before it died."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.stream import UnixChannel
from agentclient.holder.client import HolderClient
from agentclient.holder.main import Holder
from agentclient.holder.messages import ConsoleMessage, receive, send
from agentclient.holder.process import HolderProcess, NoHolder, started
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.protocol.qga_commands import STATUS, THAW
from tests.unit.no_thread import each_lack
from tests.waiting import until

PATIENCE_S = 60.0
KEY = {"key": "a#1"}
FREEZE_LINE = b'{"execute":"guest-fsfreeze-freeze"}\n'
THAW_LINE = b'{"execute":"guest-fsfreeze-thaw"}\n'


class Harness:
    """A holder, the console's ends of its two channels, and the guest's end."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        pair = socket.socketpair
        self.process = stack.enter_context(subprocess.Popen(["sleep", "100"]))
        self.control, theirs = pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest, guests = pair()
        self.exchange, talks = pair()
        for each in (self.control, self.guest, self.exchange, theirs, guests, talks):
            stack.enter_context(each)
        self.holder = Holder(theirs, self.process.pid)
        body = {"do": ConsoleMessage.ARM, **KEY, "vm": "a", "thaw_s": 5.0, "agent": str(path)}
        send(self.control, body, [guests.fileno(), talks.fileno()])
        self.say(ConsoleMessage.INTENT, bound_s=60.0, hold_s=60.0)
        self.turns(4)
        self.exchange.sendall(FREEZE_LINE)
        assert self.guest_hears(FREEZE_LINE) == FREEZE_LINE

    def say(self, do: ConsoleMessage, **more: float) -> None:
        send(self.control, {"do": do, **KEY, **more})

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.holder._turn()

    def guest_hears(self, words: bytes) -> bytes:
        """Let the holder go on until it has passed on, or sent, these words."""
        self.guest.setblocking(False)
        came, end = b"", time.monotonic() + PATIENCE_S
        while words not in came:
            assert time.monotonic() < end, came
            self.holder._turn()
            try:
                came += self.guest.recv(65536)
            except BlockingIOError:
                continue
        return came

    def asked_after_sync(self) -> list[str]:
        """Answer the holder's own sync, and return the commands that it sends at once then."""
        line = self.guest_hears(b"}}\n").rpartition(b"\xff")[2]
        answer = {"return": json.loads(line)["arguments"]["id"]}
        self.guest.sendall(b"\xff" + json.dumps(answer).encode() + b"\n")
        lines = self.guest_hears(b"\n").splitlines()
        return [json.loads(line)["execute"] for line in lines]

    def die(self, *, unread: bool) -> None:
        """End the console's process and channels, with its acknowledgements unread or not."""
        if not unread:
            self.control.setblocking(False)
            with suppress(BlockingIOError):
                while self.control.recv(65536):
                    pass
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.exchange.close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    with ExitStack() as stack:
        harness = Harness(stack, tmp_path / "agent")
        yield harness
        harness.process.kill()


@pytest.mark.parametrize("unread", [False, True])
def test_a_console_that_died_with_its_thaw_has_said_so(harness: Harness, unread: bool) -> None:
    """A second thaw would run the guest's hook without its freeze, so it asks first (§3.8)."""
    harness.say(ConsoleMessage.HOLD, seconds=60.0)
    harness.say(ConsoleMessage.BEAT)
    harness.say(ConsoleMessage.THAWING)
    harness.exchange.sendall(THAW_LINE)
    harness.die(unread=unread)
    assert harness.asked_after_sync() == [STATUS]


@pytest.mark.parametrize("unread", [False, True])
def test_a_console_that_died_before_its_thaw_is_thawed_for_at_once(
    harness: Harness, unread: bool
) -> None:
    harness.die(unread=unread)
    assert harness.asked_after_sync() == [STATUS, THAW]


@pytest.mark.parametrize("dies_first", [False, True])
def test_a_guest_whose_channel_broke_is_connected_to_again(
    harness: Harness, tmp_path: Path, dies_first: bool
) -> None:
    """An end of the channel says nothing of the guest; whoever died before it or after it."""
    if dies_first:
        harness.die(unread=False)
        harness.turns(3)
    harness.guest.close()
    harness.turns(3)
    if not dies_first:
        harness.die(unread=False)
    harness.turns(3)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        end = time.monotonic() + PATIENCE_S
        while not select.select([listener], [], [], 0)[0]:
            assert time.monotonic() < end
            harness.holder._turn()
        harness.guest, _ = listener.accept()
        with harness.guest:
            # It was never answered: its hook may have failed, and owes the hook of a thaw.
            assert harness.asked_after_sync() == [STATUS, THAW]


def test_a_guest_that_was_not_frozen_yet_is_let_go_with_its_channel() -> None:
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(["sleep", "100"]))
        stack.callback(process.kill)
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        guest, guests = socket.socketpair()
        exchange, talks = socket.socketpair()
        for each in (control, theirs, guest, guests, exchange, talks):
            stack.enter_context(each)
        holder = Holder(theirs, process.pid)
        body = {"do": ConsoleMessage.ARM, **KEY, "vm": "a", "thaw_s": 5.0}
        send(control, body, [guests.fileno(), talks.fileno()])
        guests.close()
        holder._turn()
        guest.close()
        holder._turn()
        assert not holder._guests


def test_a_holder_that_was_told_to_end_takes_over_what_comes_after_that(harness: Harness) -> None:
    """Its first guest does not answer; a second one must not be left to its hold's end."""
    harness.holder.end()
    harness.turns(2)
    with ExitStack() as stack:
        ends = [stack.enter_context(each) for _ in range(2) for each in socket.socketpair()]
        guest, guests, exchange, talks = ends
        body = {"do": ConsoleMessage.ARM, "key": "b#2", "vm": "b", "thaw_s": 5.0}
        send(harness.control, body, [guests.fileno(), talks.fileno()])
        harness.turns(2)
        for each in (guests, talks):
            each.close()
        assert exchange.recv(1) == b"", "its console is refused before it can freeze"
        assert guest.recv(1) == b""


def test_no_process_that_a_holder_starts_inherits_what_it_was_handed() -> None:
    """The journal's had kept the channel of a guest that was thawed, and nobody could visit it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send(ours, {"do": ConsoleMessage.ARM}, [ours.fileno(), theirs.fileno()])
        message = receive(theirs)
        assert message is not None
        assert [os.get_inheritable(each) for each in message[1]] == [False, False]
        for each in message[1]:
            os.close(each)


def test_a_holder_that_does_not_read_keeps_nobody_waiting() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fill() -> None:
        while True:
            send(ours, {"do": ConsoleMessage.BEAT})

    with ours, theirs, pytest.raises(BlockingIOError):
        fill()


@each_lack
def test_without_a_thread_to_hear_it_a_holder_is_ended_again(
    start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            began.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(NoHolder, match=re.escape(f"no thread to hear it: {why}")):
        started(lambda _: None, lambda _: None)
    assert began
    assert all(one.wait(PATIENCE_S) is not None for one in began)


def test_without_memory_for_a_holder_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(subprocess, "Popen", none)
    with pytest.raises(NoHolder, match="no memory is left for it"):
        started(lambda _: None, lambda _: None)


def test_a_holder_that_starts_while_its_console_leaves_is_left_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The console may be a library's: its process goes on, and would keep the holder."""
    client, holders = HolderClient(), list[HolderProcess]()

    def slowly(*arguments: Any) -> HolderProcess:
        holders.append(started(*arguments))
        client.close()
        return holders[0]

    monkeypatch.setattr("agentclient.holder.client.started", slowly)
    vm = Vm(VmId("socket", "db1"), agent=AgentChannel(Path("/nowhere")))
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(NoHolder, match="frostwatch is leaving"):
        client.arm(vm, UnixChannel(ours), 5.0)
    until(lambda: holders[0].pid is None, "the holder's end")
