"""Handed over, never let go: each way out of a freeze ends with somebody who thaws (P4).

The table is in docs/architecture.md.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.backends.explicit import parse_vm_spec
from agentclient.model.events import EventKind
from agentclient.model.states import GuestIs, OutcomeKind
from tests.guests.command import Frostwatch, await_armed, ended, holders_of
from tests.guests.forward import Forward
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def another_holder(console: int, stopped: int) -> int:
    """Wait until a console has a holder again, after one that was stopped."""
    wait_until(lambda: not alive(stopped), PATIENCE_S, "the stopped holder's end")
    wait_until(lambda: bool(holders_of(console)), PATIENCE_S, "a new holder")
    (holder,) = holders_of(console)
    return holder


def lowest_free(pid: int) -> int:
    """Return the number that a process's next descriptor would have."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208
    return next(number for number in range(1024) if number not in taken)


# -- the holder ----------------------------------------------------------------------------


def test_a_holder_stopped_in_the_hold_is_ended_and_the_guest_thawed(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    (holder,) = holders_of(child.pid)
    os.kill(holder, signal.SIGSTOP)
    wait_until(lambda: not calm.frozen_mounts(), PATIENCE_S, "the thaw, before the hold's end")
    code, told, _ = ended(child)
    assert code == 1
    assert told[-1]["thawed"] == 2
    assert told[-1]["outcome"] == "broken"
    assert not alive(holder)
    calm.assert_thawed()


def test_a_holder_stopped_while_the_freeze_is_pending_is_replaced(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    """The new one has the same standby: a console killed after that leaves nobody frozen."""
    calm.held_hook()
    hooks = len(calm.hook_log())
    child = frostwatch.freeze_until("sent", "--hold", "100")
    (holder,) = holders_of(child.pid)
    # What a holder has not passed on dies with it.
    wait_until(lambda: len(calm.hook_log()) > hooks, PATIENCE_S, "the hook")
    os.kill(holder, signal.SIGSTOP)
    another = another_holder(child.pid, holder)
    await_armed(another, parse_vm_spec(calm.vm_argument))
    child.kill()
    child.wait()
    calm.release_hook()
    wait_until(lambda: not alive(another), PATIENCE_S, "the new holder's end")
    calm.assert_thawed()
    assert calm.hook_log()[hooks:] == ["freeze", "thaw"]


def test_a_holder_that_is_only_slow_keeps_its_window(calm: Guest, frostwatch: Frostwatch) -> None:
    child = frostwatch.freeze_until("held", "--hold", "4")
    (holder,) = holders_of(child.pid)
    os.kill(holder, signal.SIGSTOP)
    time.sleep(1.0)
    os.kill(holder, signal.SIGCONT)
    code, told, _ = ended(child)
    assert (code, told[-1]["certified"]) == (0, True)


# -- the console ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["none free", "none at all"])
def test_a_console_without_descriptors_for_a_while_keeps_its_freeze(
    calm: Guest, frostwatch: Frostwatch, limit: str
) -> None:
    """None free: it sees less. None at all: it can't even wait, and goes on in short sleeps."""
    calm.held_hook()
    hooks = len(calm.hook_log())
    child = frostwatch.freeze_until("sent", "--hold", "2")
    (holder,) = holders_of(child.pid)
    before = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
    lowest = lowest_free(child.pid) if limit == "none free" else 0
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    time.sleep(1.5)
    assert alive(holder)
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, before)
    calm.release_hook()
    code, told, said = ended(child)
    assert "Traceback" not in said
    assert (code, told[-1]["outcome"], told[-1]["thawed"]) == (0, "verified", 2), told
    wait_until(lambda: not alive(holder), PATIENCE_S, "the holder's end")
    calm.assert_thawed()
    assert calm.hook_log()[hooks:] == ["freeze", "thaw"]


def test_a_console_killed_after_its_channel_was_renewed_leaves_nobody_frozen(
    calm: Guest, tmp_path: Path
) -> None:
    """The channel breaks in the hold, is opened again, and the agent lets the thaw wait."""
    with Forward(calm.agent_socket, tmp_path / calm.agent_socket.name) as forward:
        frostwatch = Frostwatch(calm)
        frostwatch.reach_through(forward.path)
        try:
            child = frostwatch.freeze_until("held", "--hold", "100")
            (holder,) = holders_of(child.pid)
            calm.stop_agent()
            forward.away(0.1)
            time.sleep(2.5)
            assert alive(child.pid)
            child.kill()
            child.wait()
            assert calm.frozen_mounts() == {"a", "b"}
            calm.continue_agent()
            wait_until(lambda: not alive(holder), PATIENCE_S, "the holder's end")
            calm.assert_thawed()
        finally:
            frostwatch.close()


# -- a freeze that nobody can call back ------------------------------------------------------


def test_whoever_leaves_a_freeze_in_the_queue_stays_until_it_has_run(calm: Guest) -> None:
    """The agent is stopped in the freeze's hook, for longer than anybody waits."""
    calm.held_hook()
    with Operator(calm) as operator:
        running = operator.freeze(
            first_timeout_s=1.5, probe_timeout_s=0.5, probes=1, thaw_timeout_s=3.0
        )
        running.wait_event(EventKind.SENT)
        calm.stop_agent()
        outcome = running.outcome()
        assert outcome.kind is OutcomeKind.TIMEOUT
        assert (outcome.settled, outcome.queued) == (False, True)
        assert outcome.holder is not None
        assert outcome.meaning is not None
        assert outcome.meaning.guest_is is GuestIs.WILL_FREEZE
        assert str(outcome.holder) in outcome.meaning.guest
    time.sleep(7.0)  # its own bound for a thaw, twice and more; and the console has left
    assert alive(outcome.holder)
    assert not calm.frozen_mounts()
    calm.continue_agent()
    calm.release_hook()
    wait_until(lambda: not alive(outcome.holder or 0), PATIENCE_S, "the holder's end")
    calm.assert_thawed()
    assert calm.hook_log()[-2:] == ["freeze", "thaw"], "it did freeze, and was thawed"
