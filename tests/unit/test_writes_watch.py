"""Whether a guest has stopped writing, by the host's counter; test_others_writes.py saw each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.others_writes import EVERY_S, WHILE_PENDING_S, WriteCounters
from agentclient.freeze.writes_watch import WritesWatch
from agentclient.model.others import ChannelClient, WritesSeen
from agentclient.model.others_freeze import Grade, graded_of
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import VmId


class Guest:
    """A guest whose counter is looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.written: int | None = 1000
        self.run_state = RunState.RUNNING
        self.watch = WritesWatch()

    def go_on(self, seconds: float, every_s: float, *, writes_every_s: float | None) -> None:
        """Look so often for so long, while it writes so often; None for never."""
        until, writes_at = self.now + seconds, self.now
        while self.now < until:
            self.now += every_s
            while writes_every_s is not None and writes_at + writes_every_s <= self.now:
                writes_at += writes_every_s
                assert self.written is not None
                self.written += 4096
            self.watch.on_look(self.now, MonitorView(self.run_state, written_bytes=self.written))


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_a_steady_writer_that_falls_silent_has_stopped(guest: Guest) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=1)
    sent = guest.now
    guest.go_on(20, 1, writes_every_s=None)
    assert guest.watch.since(sent) is None, "that is no longer than it may be between two looks"
    guest.go_on(10, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.STOPPED
    assert guest.watch.wrote_at == pytest.approx(sent)
    guest.go_on(3600, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.STOPPED
    guest.go_on(3, 1, writes_every_s=1)
    assert guest.watch.since(sent) is WritesSeen.GO_ON


def test_one_that_writes_on_in_a_hook_and_then_is_frozen(guest: Guest) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=1)
    sent = guest.now
    guest.go_on(60, 1, writes_every_s=1)
    assert guest.watch.since(sent) is WritesSeen.GO_ON
    guest.go_on(30, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.STOPPED
    assert guest.watch.wrote_at == pytest.approx(sent + 60, abs=1)


def test_the_steps_of_a_throttled_flush_are_writes(guest: Guest) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=0.5)
    sent = guest.now
    guest.go_on(300, 1, writes_every_s=1.5)
    assert guest.watch.since(sent) is WritesSeen.GO_ON


@pytest.mark.parametrize("writes_every_s", [None, 35.0, 60.0])
def test_the_silence_of_one_that_hardly_writes_proves_nothing(
    guest: Guest, writes_every_s: float | None
) -> None:
    guest.go_on(600, EVERY_S, writes_every_s=writes_every_s)
    sent = guest.now
    guest.go_on(300, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.SPARSE


def test_who_fell_silent_long_before_was_not_frozen_by_it(guest: Guest) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=1)
    guest.go_on(60, EVERY_S, writes_every_s=None)
    sent = guest.now
    guest.go_on(120, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.SPARSE


def test_who_was_not_watched_for_long_tells_nothing(guest: Guest) -> None:
    guest.go_on(2, 1, writes_every_s=1)
    sent = guest.now
    guest.go_on(600, 1, writes_every_s=None)
    assert guest.watch.since(sent) is None


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.IO_ERROR, RunState.UNKNOWN])
def test_who_does_not_run_tells_nothing(guest: Guest, state: RunState) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=1)
    sent = guest.now
    guest.run_state = state
    guest.go_on(120, 1, writes_every_s=None)
    assert guest.watch.since(sent) is None
    guest.run_state = RunState.RUNNING
    guest.go_on(20, 1, writes_every_s=None)
    assert guest.watch.since(sent) is None, "it counts from when it runs again"
    guest.go_on(10, 1, writes_every_s=None)
    assert guest.watch.since(sent) is WritesSeen.STOPPED


def test_a_counter_that_falls_or_is_not_seen_tells_nothing(guest: Guest) -> None:
    guest.go_on(120, EVERY_S, writes_every_s=1)
    guest.written = 0
    sent = guest.now
    guest.go_on(60, 1, writes_every_s=None)
    assert guest.watch.since(sent) is None
    blind = Guest()
    blind.written = None
    blind.go_on(60, 1, writes_every_s=None)
    assert blind.watch.since(0.0) is None


@given(st.lists(st.tuples(st.floats(0.1, 60), st.booleans()), max_size=60), st.floats(0, 1000))
def test_it_has_stopped_only_after_silence_that_is_longer_than_any_before(
    looks: list[tuple[float, bool]], sent: float
) -> None:
    watch, now, written, moves = WritesWatch(), 0.0, 0, []
    for seconds, writes in looks:
        now += seconds
        written += int(writes)
        watch.on_look(now, MonitorView(RunState.RUNNING, written_bytes=written))
        moves += [now] if writes else []
        if watch.since(sent) is WritesSeen.STOPPED:
            assert len(moves) >= 5
            assert now - moves[-1] >= max(10.0, 3 * (moves[-1] - moves[-2]) - 1e-6)


# -- what follows -------------------------------------------------------------------------------

DB, WEB = VmId("qemu", "db"), VmId("qemu", "web")


def test_the_counter_is_looked_at_often_only_while_others_wait() -> None:
    counters = WriteCounters(lambda vm_id: vm_id == DB)
    looked = {DB: 0, WEB: 0}
    for step in range(4 * 80):
        now = step / 4
        for vm_id in looked:
            wanted = counters.are_wanted(vm_id, now)
            looked[vm_id] += wanted
            written = 7 if wanted else None
            counters.take(vm_id, now, MonitorView(RunState.RUNNING, written_bytes=written))
    assert looked == {DB: 80 / WHILE_PENDING_S, WEB: 80 / EVERY_S}


@pytest.mark.parametrize(
    ("program", "lock", "how"),
    [
        ("virtqemud", None, "its writes, which were steady and have stopped, and the monitor"),
        (
            "virtqemud",
            "backup",
            "its manager's lock (backup), its writes, which were steady and have stopped, and the "
            "monitor",
        ),
    ],
)
def test_writes_that_stop_make_a_freeze_likely_and_never_certain(
    program: str, lock: str | None, how: str
) -> None:
    client = ChannelClient(program, 7)
    assert graded_of(client, lock, WritesSeen.STOPPED) == (Grade.LIKELY, how)
    for seen in (None, WritesSeen.GO_ON, WritesSeen.SPARSE):
        assert graded_of(client, lock, seen) == graded_of(client, lock)
