"""What another frostwatch holds, on a real guest: shown, left alone, and never a riddle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.model.rescue import Rung, RungResult, Step
from agentclient.model.states import Cause, OutcomeKind
from agentclient.operations.rescue.ladder import Offer
from tests.guests.command import Frostwatch, Json, ended, holders_of
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def test_another_ones_hold_is_shown_everywhere_and_left_alone(
    calm: Guest, frostwatch: Frostwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
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
    for arguments in (("thaw",), ("freeze",)):
        code, told, _ = frostwatch.run(*arguments, frostwatch.vm)
        last = told[-1]
        assert (code, last["event"]) == (1, "outcome")
        assert f"(pid {child.pid}) until " in last["reason"]
        assert "frostwatch thaw --vm" in last["next"]
        assert "--foreign" in last["next"]
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
        assert (code, "--foreign" in told[-1]["next"]) == (1, True)
        code, (line,), _ = frostwatch.run("extend", frostwatch.vm, "--by", "5")
        assert (code, line["seconds"]) == (0, pytest.approx(5.0, abs=0.5))
    code, (line,), _ = frostwatch.run("extend", frostwatch.vm, "--by", "600")
    assert (code, line["extended"]) == (0, True)
    assert line["seconds"] == pytest.approx(15.0, abs=0.5), "never longer than its own most"
    code, (line,), _ = frostwatch.run("extend", frostwatch.vm, "--by", "5")
    assert (code, "as long as a window may be" in line["reason"]) == (1, True)
    code, told, _ = frostwatch.run("thaw", "--foreign", frostwatch.vm)
    assert (code, told[-1]["ok"], told[-1]["thawed"]) == (0, True, 2)
    calm.assert_thawed()
    _, told, _ = ended(child)
    assert (told[-1]["thawed"], told[-1]["settled"]) == (2, True)
    assert "; ended early: root (pid " in told[-1]["reason"]
    assert any("has asked, by its holder, to hold it for 5" in one["text"] for one in told), told
    _, (line,), _ = frostwatch.run("list")
    assert (line["freeze"]["state"], line["freeze"]["held_by"]) == ("thawed", None)


def test_what_a_frostwatch_has_left_is_held_to_its_end(calm: Guest, frostwatch: Frostwatch) -> None:
    began = time.monotonic()
    code, told, _ = frostwatch.run("freeze", frostwatch.vm, "--hold", "12", "--detach")
    last = told[-1]
    assert (code, last["outcome"], last["kept"], last["settled"]) == (0, "verified", True, False)
    assert last["meaning"]["guest_is"] == "frozen"
    assert "frostwatch extend" in last["next"]
    assert calm.frozen_mounts() == {"a", "b"}
    _, (line,), _ = frostwatch.run("list")
    assert line["freeze"]["held_by"]["kept"]
    wait_until(lambda: calm.frozen_mounts() == set(), PATIENCE_S, "the thaw at the hold's end")
    assert time.monotonic() - began > 12.0
    calm.assert_thawed()
    wait_until(lambda: _listed(frostwatch)["state"] == "thawed", PATIENCE_S, "its last entry")
    _, told, _ = frostwatch.run("history", frostwatch.vm, "--limit", "1")
    assert told[0]["settled"]
    assert told[0]["events"][-1]["event"] == "thawed"


def test_what_a_frostwatch_has_left_is_attached_to_extended_and_thawed(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    frostwatch.run("freeze", frostwatch.vm, "--hold", "100", "--detach")
    until = _listed(frostwatch)["held_by"]["until"]
    code, (line,), _ = frostwatch.run("extend", frostwatch.vm, "--by", "20")
    assert (code, line["seconds"]) == (0, pytest.approx(20.0, abs=0.5))
    held = _listed(frostwatch)["held_by"]
    assert held["until"] > until
    first = _attached(frostwatch)
    code, told, _ = frostwatch.run("attach", frostwatch.vm)
    assert (code, told[-1]["refusal"]) == (1, "busy")
    assert f"(pid {first.pid}), has attached to it" in told[-1]["reason"]
    first.kill()
    first.wait()
    assert calm.frozen_mounts() == {"a", "b"}, "the holder holds it, whoever dies"
    os.kill(held["holder"], signal.SIGSTOP)
    code, (line,), _ = frostwatch.run("extend", frostwatch.vm, "--by", "5")
    assert (code, "has not answered within 3 s" in line["reason"]) == (1, True)
    os.kill(held["holder"], signal.SIGCONT)
    second = _attached(frostwatch)
    second.send_signal(signal.SIGTERM)
    _, told, _ = ended(second)
    assert (told[-1]["outcome"], told[-1]["settled"], told[-1]["thawed"]) == ("unverified", True, 2)
    calm.assert_thawed()
    assert _listed(frostwatch)["state"] == "thawed"


def _listed(frostwatch: Frostwatch) -> Json:
    _, (line,), _ = frostwatch.run("list")
    freeze: Json = line["freeze"]
    return freeze


def _attached(frostwatch: Frostwatch) -> subprocess.Popen[str]:
    """Start a frostwatch that attaches, and return when it has."""
    child = frostwatch.start("attach", frostwatch.vm, "--json")
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line)["event"] == "held":
            return child
    raise AssertionError("it has not attached")


def test_rungs_that_need_no_agent_are_open_while_a_freeze_hangs(
    calm: Guest, operator: Operator
) -> None:
    calm.slow_hook(300.0)
    hooks = len(calm.hook_log())
    running = operator.freeze()
    wait_until(lambda: len(calm.hook_log()) > hooks, PATIENCE_S, "the freeze's hook")
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
    assert reset.rescue_outcome().found is RungResult.RESET
    assert operator.fleet.get(operator.vm.id).progress is None
    calm.wait_reset()
    calm.assert_thawed()


def possible(operator: Operator) -> set[Rung]:
    offers: tuple[Offer, ...] = operator.operations.ladder(operator.vm).result(PATIENCE_S)
    return {one.step.rung for one in offers if one.possible}
