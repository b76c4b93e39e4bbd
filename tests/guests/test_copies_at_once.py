"""Two frostwatches on one VM at once: one copies, and the other one is refused (real guests)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, ended
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

NEVER = ("--policy", "never")


@pytest.fixture
def frostwatch(guest: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(guest)
    yield started
    started.close()


def _nodes(guest: Guest) -> list[str]:
    found = guest.qmp("query-named-block-nodes")
    return [one["node-name"] for one in found if one["node-name"].startswith("fw-")]


def test_while_one_freezes_for_its_copy_nobody_begins_another(
    guest: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    assert frostwatch.run("snapshot", "create", guest.name, "old", *NEVER)[0] == 0
    guest.hanging_hook()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    more = ("--to", one, "--policy", "prefer", "--json")
    first = frostwatch.start("backup", guest.name, *more)
    wait_until(lambda: guest.hook_log() == ["freeze"], PATIENCE_S, "the freeze runs")
    assert guest.qmp("query-jobs") == [], "no job of it tells that it is at work"
    others: list[tuple[str, ...]] = [
        ("mirror", guest.name, "--to", two, *NEVER),
        ("backup", guest.name, "--to", two, *NEVER),
        ("snapshot", "create", guest.name, "new", "--external", *NEVER),
        ("snapshot", "delete", guest.name, "old"),
    ]
    for words in others:
        code, lines, said = frostwatch.run(*words)
        assert (code, lines[-1]["refusal"]) == (1, "job-running"), (lines, said)
        assert f"pid {first.pid}" in lines[-1]["reason"]
        assert lines[-1]["window"] is None
    code, lines, _ = frostwatch.run("jobs", "--clear", guest.name)
    assert (code, lines[0]["running"], lines[0]["cleared"]) == (1, True, None)
    assert list((tmp_path / "two").iterdir()) == []
    guest.clear_hook()  # the freeze fails with it
    code, lines, said = ended(first)
    assert (code, lines[-1]["consistency"]) == (0, "crash-consistent"), said
    # Once it has ended nothing keeps others off.
    assert frostwatch.run("snapshot", "delete", guest.name, "old")[0] == 0
    assert (_nodes(guest), guest.qmp("query-jobs")) == ([], [])


def test_one_that_is_killed_keeps_nobody_off(
    guest: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    guest.hanging_hook()
    first = frostwatch.start("snapshot", "create", guest.name, "cut", "--json")
    wait_until(lambda: guest.hook_log() == ["freeze"], PATIENCE_S, "the freeze runs")
    assert len(_nodes(guest)) == 1
    first.send_signal(signal.SIGKILL)
    first.wait()
    guest.clear_hook()
    guest.assert_thawed()
    # The claim that it has left keeps nobody from a snapshot of the whole VM.
    for words in ("savevm whole", "delvm whole"):
        assert guest.qmp("human-monitor-command", command_line=words) == ""
    code, lines, said = frostwatch.run("backup", guest.name, "--to", str(tmp_path))
    assert (code, lines[-1]["consistency"]) == (0, "consistent"), said
    assert _nodes(guest) == []
