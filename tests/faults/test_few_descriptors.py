"""Many guests where few files may be open: each has its outcome, and what was begun is thawed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import Trouble
from tests.drilled import drill_of

ROOT = Path(__file__).parents[2]
GUESTS = 30
FILES = 64
LIMITED = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable, "-m", "tui.main")


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    with drill_of({f"vm{number:02}": Trouble.FAST for number in range(GUESTS)}) as started:
        yield started


def run(drill: Drill, word: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a command on all guests, with few descriptors and an empty journal."""
    words = [word]
    for vm in drill.vms:
        assert vm.agent is not None
        assert vm.monitor is not None
        named = f"name={vm.name},agent={vm.agent.path},monitor={vm.monitor.path}"
        words += ["--vm", named, *([f"socket:{vm.name}"] if word in ("freeze", "thaw") else [])]
    return subprocess.run(
        [*LIMITED, *words, "--named-only", *more],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def outcomes_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the last line of each guest: one each, and no traceback instead of any."""
    assert "Traceback" not in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    outcomes = [event for event in events if event["event"] == "outcome"]
    names = [f"socket:vm{number:02}" for number in range(GUESTS)]
    assert sorted(one["vm"] for one in outcomes) == names
    return outcomes


def test_each_of_many_has_its_outcome(drill: Drill) -> None:
    done = run(drill, "freeze", "--hold", "2s", "--json")
    outcomes = outcomes_of(done)
    refused = [one for one in outcomes if one["outcome"] == "refused"]
    assert 0 < len(refused) < GUESTS, done.stdout
    for one in outcomes:
        assert one["settled"], one
        assert one in refused or (one["outcome"], one["certified"]) == ("verified", True)
    for one in refused:
        assert "descriptor" in one["reason"]
        assert one["next"]
    assert done.returncode == 1


def test_each_of_many_thaws_has_its_outcome(drill: Drill) -> None:
    done = run(drill, "thaw", "--json")
    outcomes = outcomes_of(done)
    failed = [one for one in outcomes if not one["ok"]]
    for one in failed:
        assert "open files" in one["reason"] or "descriptor" in one["reason"]
    assert len(failed) < GUESTS
    assert done.returncode == bool(failed)


@pytest.mark.parametrize("word", ["list", "doctor"])
def test_all_of_many_are_listed(drill: Drill, word: str) -> None:
    done = run(drill, word)
    assert "Traceback" not in done.stderr
    for vm in drill.vms:
        assert vm.name in done.stdout, done
    assert done.returncode == 0, done
