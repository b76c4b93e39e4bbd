"""What the host's counters of a real guest's writes tell, while others have a freeze pending."""

from __future__ import annotations

import time

import pytest

from agentclient.fleet import others_writes
from agentclient.fleet.watch_events import WatchEventKind
from agentclient.model.others import WritesSeen
from agentclient.model.others_freeze import Grade, graded
from tests.guests.lab import Guest, RawClient
from tests.guests.lab.shell import wait_until
from tests.guests.others_seen import OthersSeen

K = WatchEventKind
STEADY_S = 8.0
FLUSH_S = 20.0
PATIENCE_S = 120.0


def writes(seen: OthersSeen) -> WritesSeen | None:
    """What its writes tell now."""
    others = seen.state.others
    return others.writes if others is not None else None


@pytest.mark.soak
def test_a_guest_that_is_half_frozen_under_load_makes_a_freeze_likely(
    calm: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First it flushes, and writes on in steps; then its agent is killed, and a writer is stuck."""
    monkeypatch.setattr(others_writes, "EVERY_S", 0.5)
    with OthersSeen(calm) as seen, calm.write_load("b"), RawClient(calm.agent_socket) as client:
        client.sync()
        time.sleep(STEADY_S)
        calm.slow_flush(FLUSH_S)
        client.send_command("guest-fsfreeze-freeze")
        pending = seen.wait(K.OTHERS_PENDING).event
        assert (pending.grade, pending.how) == (Grade.UNKNOWN, "the monitor")
        wait_until(lambda: writes(seen) is WritesSeen.GO_ON, PATIENCE_S, "the flush's writes")
        calm.kill_half_way(PATIENCE_S)
        seen.wait(K.OTHERS_LOST)
        wait_until(lambda: writes(seen) is WritesSeen.STOPPED, PATIENCE_S, "their end")
        assert calm.frozen_mounts() == {"b"}
        sure = graded(seen.state)
        assert sure.grade is Grade.LIKELY
        assert "its writes, which were steady and have stopped" in sure.how
    calm.start_agent()
    with RawClient(calm.agent_socket) as client:
        client.sync()
        assert client.thaw() == 1
