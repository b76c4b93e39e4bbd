"""What another frostwatch holds, on a real guest: shown, left alone, and never a riddle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.model.rescue import Rung, RungResult, Step
from agentclient.model.states import Cause, OutcomeKind
from agentclient.operations.rescue.ladder import Offer
from tests.guests.command import Frostwatch, ended, holders_of
from tests.guests.freezing import Operator
from tests.guests.lab import Guest
from tests.guests.lab.shell import wait_until


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def test_another_ones_hold_is_shown_everywhere_and_left_alone(
    calm: Guest, frostwatch: Frostwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = frostwatch.freeze_until("held", "--hold", "60")
    (holder,) = holders_of(child.pid)
    code, (line,), _ = frostwatch.run("list", "--state", "frozen", "--exit-code")
    held = line["freeze"]["held_by"]
    assert (code, line["freeze"]["state"], line["freeze"]["foreign"]) == (1, "frozen", False)
    assert (held["pid"], held["holder"] in (holder, None), held["ended"]) == (
        child.pid,
        True,
        False,
    )
    assert held["until"] > held["since"] == line["freeze"]["since"]
    for arguments in (("thaw",), ("thaw", "--foreign"), ("freeze",)):
        code, told, _ = frostwatch.run(*arguments, frostwatch.vm)
        last = told[-1]
        assert (code, last["event"]) == (1, "outcome")
        assert f"(pid {child.pid}) until " in last["reason"]
        assert f"kill {child.pid} (it thaws first)" in last["next"]
        assert str(holder) not in last["next"], "nobody is told to end a holder"
        assert last["meaning"]["guest_is"] == "untouched"
    _, told, _ = frostwatch.run("doctor", frostwatch.vm)
    assert any(f"frozen by root (pid {child.pid})" in one["text"] for one in told)
    # Another user's journal says nothing: then the holder's process does.
    with monkeypatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(tmp_path))
        _, (line,), _ = frostwatch.run("list")
        held = line["freeze"]["held_by"]
        assert (held["pid"], held["holder"], line["freeze"]["state"]) == (child.pid, holder, None)
        code, told, _ = frostwatch.run("thaw", frostwatch.vm)
        assert (code, str(child.pid) in told[-1]["next"]) == (1, True)
    child.send_signal(signal.SIGTERM)
    _, told, _ = ended(child)
    assert told[-1]["thawed"] == 2
    calm.assert_thawed()
    _, (line,), _ = frostwatch.run("list")
    assert (line["freeze"]["state"], line["freeze"]["held_by"]) == ("thawed", None)


def test_rungs_that_need_no_agent_are_open_while_a_freeze_hangs(
    calm: Guest, operator: Operator
) -> None:
    calm.slow_hook(300.0)
    hooks = len(calm.hook_log())
    running = operator.freeze()
    wait_until(lambda: len(calm.hook_log()) > hooks, 20.0, "the freeze's hook")
    assert possible(operator) == {Rung.SYSRQ, Rung.RESET}
    before = running.wait_progress(lambda one: one.ends_at is not None).ends_at
    running.operation.cancel()
    after = running.wait_progress(lambda one: one.cancelled)
    assert after.ends_at == before, "nobody waits for longer than before"
    assert possible(operator) == {Rung.SYSRQ, Rung.RESET}
    reset = operator.rescue(Step(Rung.RESET, name=calm.name))
    outcome = running.outcome()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.UNKNOWN)
    assert outcome.settled
    assert reset.rescue_outcome(90.0).found is RungResult.RESET
    assert operator.fleet.get(operator.vm.id).progress is None
    calm.wait_reset()
    calm.assert_thawed()


def possible(operator: Operator) -> set[Rung]:
    offers: tuple[Offer, ...] = operator.operations.ladder(operator.vm).result(5.0)
    return {one.step.rung for one in offers if one.possible}
