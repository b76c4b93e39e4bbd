"""What other processes ask of a holder, over its real socket; the holder runs in a thread."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from agentclient.access.host.peer import Listener
from agentclient.access.host.process import process_of, user_name
from agentclient.holder import main, other_holder, outside_requests, request_listener
from agentclient.holder.main import Holder
from agentclient.holder.messages import (
    REQUEST_VERSION,
    Body,
    ConsoleMessage,
    HolderMessage,
    HolderRequest,
    send,
    socket_name,
)
from agentclient.holder.other_holder import NotAsked, OtherHolder, reach
from agentclient.holder.outside_requests import Asker
from agentclient.journal.identity import this_process
from agentclient.model.snapshot import HeldBy
from agentclient.model.vm import Process
from agentclient.operations.elsewhere import looked_at
from tests.unit.outside_harness import HOLD_S, KEY, PATIENCE_S, VM, Harness
from tests.waiting import until


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.setattr(other_holder, "ANSWER_S", PATIENCE_S)  # also where the machine is busy
    with ExitStack() as stack:
        harness = Harness(stack)
        try:
            yield harness
        finally:
            harness.close()


def refused(holder: OtherHolder, request: HolderRequest, **more: float) -> str:
    with pytest.raises(NotAsked) as raised:
        holder.ask(request, **more)
    return str(raised.value)


# -- how it stands ----------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["w1", None])
def test_it_tells_how_a_guest_stands_by_its_window_or_its_name(
    harness: Harness, window: str | None
) -> None:
    with harness.other(window) as other:
        assert other.look().ends_at is None
        harness.hold()
        seen = other.look()
        assert seen.ends_at is not None
        assert seen.ends_at - time.monotonic() == pytest.approx(HOLD_S, abs=HOLD_S / 2)
        assert seen.room_s == pytest.approx(70.0)
        assert (seen.kept, seen.attached) == (False, None)


def test_another_guest_is_not_known(harness: Harness) -> None:
    with harness.other("w2") as other:
        assert "it has no such guest" in refused(other, HolderRequest.LOOK)


def test_the_holder_is_found_by_the_console_that_it_stands_by_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = user_name(os.getuid())
    monkeypatch.setattr(other_holder, "holders_for", lambda _: [Process(1, 1), this_process()])
    with reach(HeldBy(77, ours, key="w1"), VM) as other:
        assert other.pid == os.getpid()
    monkeypatch.setattr(other_holder, "holders_for", lambda _: [])
    with pytest.raises(NotAsked, match="no holder of it is found"):
        reach(HeldBy(77, ours), VM)
    with pytest.raises(NotAsked, match="it is of an older frostwatch"):
        reach(HeldBy(77, ours, holder=harness.process.pid), VM)


@pytest.mark.parametrize("named", [True, False])
def test_a_process_of_another_user_is_nobodys_holder(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Anybody can call a process so, and would be believed that the guest is thawed."""
    monkeypatch.setattr(other_holder, "holders_for", lambda _: [this_process()])
    held = HeldBy(77, "bob", key="w1", holder=os.getpid() if named else None)
    with pytest.raises(NotAsked, match="no holder of it is found"):
        reach(held, VM)


def test_one_that_says_other_things_without_end_has_not_answered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_holder, "ANSWER_S", 0.2)
    until = time.monotonic() + PATIENCE_S

    def receive(_: float) -> Body:
        assert time.monotonic() < until, "it is heard for ever"
        return {"say": HolderMessage.TAKEN}

    with harness.other() as other:
        monkeypatch.setattr(other, "receive", receive)
        assert "has not answered" in refused(other, HolderRequest.LOOK)


def test_what_it_does_not_know_and_another_version_is_told_in_a_sentence(harness: Harness) -> None:
    with harness.other() as other:
        body = {"ask": "sing", "version": REQUEST_VERSION, "window": "w1"}
        for more, why in (
            ({}, "it does not know what this means: it is of an older frostwatch"),
            ({"version": 99}, "it is of another version of frostwatch"),
        ):
            send(other._connection, {**body, **more})
            answer = other.receive(PATIENCE_S)
            assert answer is not None
            assert (answer["done"], answer["why"]) == (False, why)


# -- a thaw -----------------------------------------------------------------------------------


def test_a_console_that_lives_is_asked_to_thaw_and_who_asked_hears_its_count(
    harness: Harness,
) -> None:
    harness.hold()
    with harness.other() as other:
        other.ask(HolderRequest.THAW)
        asked = harness.heard()
        assert (asked["say"], asked["ask"]) == ("asked", "thaw")
        assert f"(pid {os.getpid()})" in asked["by"]
        send(harness.control, {"do": ConsoleMessage.DISARM, **KEY, "thawed": 2})
        done = other.receive(PATIENCE_S)
        assert done is not None
        assert (done["say"], done["own"], done["count"]) == ("done", False, 2)


def test_a_stopped_console_is_not_waited_for(harness: Harness) -> None:
    harness.hold()
    harness.holder._heard_at -= 10.0
    with harness.other() as other:
        assert "stopped" in refused(other, HolderRequest.EXTEND, seconds=5.0)
        other.ask(HolderRequest.THAW)
        harness.thaws()
        done = other.receive(PATIENCE_S)
        assert done is not None
        assert (done["say"], done["own"], done["settled"]) == ("done", True, True)


# -- for longer -------------------------------------------------------------------------------


def test_a_console_that_lives_holds_it_for_longer_itself(harness: Harness) -> None:
    harness.hold()
    with harness.other() as other:
        answers: list[object] = []
        asking = threading.Thread(
            target=lambda: answers.append(other.ask(HolderRequest.EXTEND, seconds=10.0))
        )
        asking.start()
        asked = harness.heard()
        assert (asked["ask"], asked["seconds"]) == ("extend", 10.0)
        harness.hold(HOLD_S + 10.0)
        asking.join(PATIENCE_S)
        assert len(answers) == 1
        harness.hold(50.0, 50.0)
        why = refused(other, HolderRequest.EXTEND, seconds=5.0)
        assert "as long as a window may be" in why


def test_before_its_window_is_open_there_is_nothing_to_hold_longer(harness: Harness) -> None:
    with harness.other() as other:
        assert "no open window" in refused(other, HolderRequest.EXTEND, seconds=5.0)
        harness.hold()
        assert "longer than 0 s" in refused(other, HolderRequest.EXTEND, seconds=-5.0)


# -- what was left ----------------------------------------------------------------------------


def test_a_window_that_was_left_is_held_to_its_end_and_thawed_then(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    (guest,) = harness.holder._guests.values()
    keep = guest.keep

    def keep_shortly() -> str | None:
        harness.end_hold(0.5)  # from now on: a busy machine takes longer than that to leave it
        return keep()

    monkeypatch.setattr(guest, "keep", keep_shortly)
    began = time.monotonic()
    harness.kept()
    harness.thaws()
    assert time.monotonic() - began >= 0.5


def test_only_an_open_window_can_be_left(harness: Harness) -> None:
    answer = harness.say(ConsoleMessage.KEEP)
    assert (answer["done"], answer["why"]) == (False, "its window is not open")


def test_one_console_at_a_time_attaches_to_what_was_left(harness: Harness) -> None:
    with harness.other() as first, harness.other() as second:
        harness.hold()
        assert "has not left it" in refused(first, HolderRequest.ATTACH)
        harness.kept()
        first.ask(HolderRequest.ATTACH)
        assert f"(pid {os.getpid()}), has attached to it" in refused(second, HolderRequest.ATTACH)
        second.ask(HolderRequest.EXTEND, seconds=10.0)
        told = first.receive(PATIENCE_S)
        assert told is not None
        assert told["ends_s"] == pytest.approx(HOLD_S + 10.0, abs=1.0)
        second.ask(HolderRequest.EXTEND, seconds=1000.0)
        assert second.look().room_s == 0.0, "never longer than its console would have"
        first.close()
        until(lambda: second.look().attached is None)
        second.ask(HolderRequest.ATTACH)
        second.ask(HolderRequest.THAW)
        harness.thaws()
        done = None
        while done is None or done["say"] != HolderMessage.DONE:
            done = second.receive(PATIENCE_S)
            assert done is not None
        assert (done["count"], done["settled"]) == (2, True)
        assert not harness.holder._guests


def test_what_a_holder_says_of_what_was_left_to_it_is_known_without_a_journal(
    harness: Harness,
) -> None:
    bob = HeldBy(77, user_name(os.getuid()), holder=os.getpid(), ended=True)
    assert not looked_at(bob, VM).kept
    harness.kept()
    assert looked_at(bob._replace(ended=False), VM) == bob._replace(ended=False)
    assert looked_at(bob, VM) == bob._replace(kept=True)
    with harness.other() as other:
        other.ask(HolderRequest.ATTACH)
        seen = looked_at(bob, VM)
        assert seen.attached == os.getpid()
        assert f"another console (pid {os.getpid()}) has attached" in str(seen)
    assert looked_at(bob._replace(holder=2**22 + 1), VM).kept is False


def test_a_holder_that_is_told_to_end_thaws_what_was_left_first(harness: Harness) -> None:
    harness.kept()
    harness.holder.end()
    harness.thaws()


# -- who may, and what can't keep it from a thaw ----------------------------------------------


def test_another_user_is_refused(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_listener, "listener", lambda _: Listener(1, os.geteuid() + 1))
    other = harness.other()
    try:
        assert "its own user and to root alone" in refused(other, HolderRequest.LOOK)
    finally:
        other.close()


def test_nothing_is_sent_to_who_is_not_the_holder(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_holder, "listener", lambda _: Listener(1, 0))
    with pytest.raises(NotAsked, match=r"served by another process \(pid 1\): nothing was sent"):
        harness.other()


def test_as_many_are_heard_as_there_are_descriptors_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty windows that were left are attached to, or thawed, at once."""
    harness.kept()
    crowd = [harness.other() for _ in range(20)]
    assert all(each.look().kept for each in crowd)
    with monkeypatch.context() as patched:
        patched.setattr("resource.getrlimit", lambda _: (main.RESERVE, main.RESERVE))
        with harness.other() as other:
            assert "has no descriptor to spare" in refused(other, HolderRequest.LOOK)
        for each in crowd[1:]:
            each.close()
        until(lambda: len(harness.holder._requests._askers) == 1)
        with harness.other() as other:  # a few may take of those that are kept for thaws
            assert other.look().kept
    crowd[0].close()


def test_without_a_descriptor_it_goes_on_listening(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_self: object) -> None:
        raise OSError(24, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "accept", none_left)
        others = [harness.other() for _ in range(3)]  # the first one was waited for already
        time.sleep(0.3)
    for other in others:
        assert other.look().ends_at is None
        other.close()


def test_a_stranger_who_makes_it_wait_does_not_keep_it_from_a_thaw(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor whose last close waits, in a connection that is refused (SO_LINGER)."""
    left = threading.Event()

    def stranger(_: object) -> Listener:
        left.wait(PATIENCE_S)
        return Listener(1, os.geteuid() + 1)

    harness.kept()
    monkeypatch.setattr(request_listener, "listener", stranger)
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        waits = socket.create_connection(server.getsockname())
        stack.enter_context(server.accept()[0])  # which reads nothing
        waits.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
        waits.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                waits.send(bytes(1 << 20))
        other = harness.other()
        socket.send_fds(other._connection, [b"{}"], [waits.fileno()])
        waits.close()
        left.set()
        time.sleep(0.3)
        began = time.monotonic()
        harness.end_hold()
        harness.thaws()
        assert time.monotonic() - began < PATIENCE_S
        other.close()


def test_a_flood_is_heard_by_turns_and_nobody_starves(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = harness.holder._requests
    turns: list[int] = []
    hear_some, hear = requests._hear_some, requests._hear

    def some(events: int) -> None:
        turns.append(0)
        hear_some(events)

    def one(asker: Asker) -> None:
        turns[-1] += 1
        hear(asker)

    with ExitStack() as stack:
        crowd = [
            stack.enter_context(harness.other()) for _ in range(3 * outside_requests.MOST_IN_A_TURN)
        ]
        until(lambda: len(requests._askers) == len(crowd))
        assert requests._ready is not None
        key = harness.holder._selector.get_key(requests._ready)
        harness.holder._selector.modify(key.fileobj, key.events, some)
        monkeypatch.setattr(requests, "_hear", one)
        for each in crowd:
            for _ in range(5):
                send(each._connection, {"ask": "look", "version": 99})
        for each in crowd:
            assert each.receive(PATIENCE_S) is not None
    assert max(turns) <= outside_requests.MOST_IN_A_TURN


def test_an_error_in_an_answer_costs_who_asked_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.kept()

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    for name in ("tick", "ended"):
        monkeypatch.setattr(harness.holder._requests, name, fails)
    monkeypatch.setattr(harness.holder._log, "tell", lambda _: None)
    harness.end_hold()
    harness.thaws()
    until(lambda: not harness.holder._guests)


def test_brackets_in_brackets_are_no_request(harness: Harness) -> None:
    with harness.other() as other:
        other._connection.send(b"[" * 60_000)
        answer = other.receive(PATIENCE_S)
        assert answer is not None
        assert answer["why"] == "it is of another version of frostwatch"
        assert other.look().ends_at is None


def test_a_name_that_is_taken_leaves_the_holder_deaf_and_at_work(harness: Harness) -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, ours:
        second = Holder(theirs, harness.process.pid)
        second._requests.open()
        assert not second._requests._listener.listens
        second._turn()
        second._requests.close()


def test_each_holder_has_a_name_of_its_own() -> None:
    assert socket_name(Process(7, 8)) == b"\0frostwatch-hold/7/8"
    assert process_of(os.getpid()) == this_process()
    assert process_of(2**22 + 1) is None
