"""What a holder makes of what its console had said before it died."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from agentclient.answers import STATUS
from agentclient.holder.main import Holder
from agentclient.holder.messages import Do, send
from agentclient.thaw import THAW

PATIENCE_S = 5.0
KEY = {"key": "a#1"}
FREEZE_LINE = b'{"execute":"guest-fsfreeze-freeze"}\n'
THAW_LINE = b'{"execute":"guest-fsfreeze-thaw"}\n'


class Stage:
    """A holder, the console's ends of its two channels, and the guest's end."""

    def __init__(self, stack: ExitStack) -> None:
        pair = socket.socketpair
        self.process = stack.enter_context(subprocess.Popen(["sleep", "100"]))
        self.control, theirs = pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest, guests = pair()
        self.talk, talks = pair()
        for each in (self.control, self.guest, self.talk, theirs, guests, talks):
            stack.enter_context(each)
        self.holder = Holder(theirs, self.process.pid)
        body = {"do": Do.ARM, **KEY, "vm": "a", "thaw_s": 5.0}
        send(self.control, body, [guests.fileno(), talks.fileno()])
        self.say(Do.INTENT, bound_s=60.0, hold_s=60.0)
        self.turns(4)
        self.talk.sendall(FREEZE_LINE)
        assert self.guest_hears(FREEZE_LINE) == FREEZE_LINE

    def say(self, do: Do, **more: float) -> None:
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
        self.talk.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        stage = Stage(stack)
        yield stage
        stage.process.kill()


@pytest.mark.parametrize("unread", [False, True])
def test_a_console_that_died_with_its_thaw_has_said_so(stage: Stage, unread: bool) -> None:
    """A second thaw would run the guest's hook without its freeze, so it asks first (§3.8)."""
    stage.say(Do.HOLD, seconds=60.0)
    stage.say(Do.BEAT)
    stage.say(Do.THAWING)
    stage.talk.sendall(THAW_LINE)
    stage.die(unread=unread)
    assert stage.asked_after_sync() == [STATUS]


@pytest.mark.parametrize("unread", [False, True])
def test_a_console_that_died_before_its_thaw_is_thawed_for_at_once(
    stage: Stage, unread: bool
) -> None:
    stage.die(unread=unread)
    assert stage.asked_after_sync() == [STATUS, THAW]


def test_a_holder_that_was_told_to_end_takes_over_what_comes_after_that(stage: Stage) -> None:
    """Its first guest does not answer; a second one must not be left to its hold's end."""
    stage.holder.end()
    stage.turns(2)
    with ExitStack() as stack:
        ends = [stack.enter_context(each) for _ in range(2) for each in socket.socketpair()]
        guest, guests, talk, talks = ends
        body = {"do": Do.ARM, "key": "b#2", "vm": "b", "thaw_s": 5.0}
        send(stage.control, body, [guests.fileno(), talks.fileno()])
        stage.turns(2)
        for each in (guests, talks):
            each.close()
        assert talk.recv(1) == b"", "its console is refused before it can freeze"
        assert guest.recv(1) == b""


def test_a_holder_that_does_not_read_keeps_nobody_waiting() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fill() -> None:
        while True:
            send(ours, {"do": Do.BEAT})

    with ours, theirs, pytest.raises(BlockingIOError):
        fill()
