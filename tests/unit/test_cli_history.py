from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentclient.journal import others_entry
from agentclient.journal.others_entry import record_others
from agentclient.journal.writer import Journal, default_path
from agentclient.model.others import ChannelClient
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.snapshot import FreezeInfo, LeftBy
from agentclient.model.states import Cause, FreezeState
from tests.unit.cli_fakes import AT, World, world
from tests.unit.journals import LOST, begin, flush, number, of_a_dead_process, vm, whole
from tui.cli.commands import history as history_module
from tui.main import run

__all__ = ["world"]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Three freezes of two VMs, the last of them left by a process that has died."""
    made = Journal()
    whole(made, vm(tmp_path, "db1"))
    whole(made, vm(tmp_path, "web[/]1"), LOST)
    left = begin(made, vm(tmp_path, "db1"))
    left.armed()
    of_a_dead_process(default_path(), number(made, left))
    return made


def test_the_newest_first_for_a_person(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history"]) == 0
    header, left, lost, verified = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["WHEN", "VM", "OUTCOME", "CERTIFIED"]
    assert "left" in left
    assert "its process has died; MAY BE FROZEN" in left
    assert "web[/]1" in lost
    assert "lost" in lost
    assert "MAY BE FROZEN" in lost
    assert "verified" in verified
    assert "yes" in verified
    assert "2/2" in verified
    assert "pid" in verified


def test_of_one_vm_with_how_long_its_freezes_take(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "db1"]) == 0
    out = capsys.readouterr().out
    assert "web" not in out
    assert "1 freeze answered: median 0.0 s" in out
    assert run(["history", "qemu:db1", "--json", "--limit", "1"]) == 0
    row, durations = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["schema"], row["vm"], row["state"]) == (1, "qemu:db1", "left")
    assert (row["result"], row["settled"]) == (None, False)
    assert durations["durations"]["count"] == 1


def test_figures_of_others_stand_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count(1)
    clock = SimpleNamespace(monotonic=lambda: 3600.0 * next(hours))
    monkeypatch.setattr(others_entry, "time", clock)
    made, one = Journal(), vm(tmp_path, "db1")
    whole(made, one)
    by = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")
    for place, seconds in enumerate((41.0, 3.0, 5.0)):
        since = AT + timedelta(hours=place)
        until = since + timedelta(seconds=seconds)
        record_others(made, one, OthersEnded(OthersResult.ANSWERED, by, since, until, seconds))
    record_others(made, one, OthersEnded(OthersResult.LOST, by, AT, AT, 900.0, Cause.AGENT_GONE))
    flush(made)
    assert run(["history", "db1"]) == 0
    out = capsys.readouterr().out
    assert "\n1 freeze answered: median 0.0 s" in out
    told = "median 5.0 s, 95 % within 41.0 s, worst 41.0 s"
    assert f"\nothers: 3 commands of a second or more answered: {told}" in out
    assert (
        "Proxmox's vzdump 101 (pid 4711): a command of theirs, likely a freeze, was pending" in out
    )
    assert run(["history", "db1", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["durations"]["count"] == 1
    assert last["others"] == {"count": 3, "median_s": 5.0, "p95_s": 41.0, "worst_s": 41.0}


def test_json_is_one_object_a_line(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--json"]) == 0
    seen = capsys.readouterr()
    found = [json.loads(line) for line in seen.out.splitlines()]
    assert [row["vm"] for row in found] == ["qemu:db1", "qemu:web[/]1", "qemu:db1"]
    assert [row["result"] and row["result"]["outcome"] for row in found] == [
        None, "lost", "verified"
    ]  # fmt: skip
    assert seen.out.isascii()
    assert seen.err == ""


def test_nothing_yet_and_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history"]) == 0
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "nothing was frozen" in seen.err
    assert run(["history", "db1"]) == 2
    assert "'db1'" in capsys.readouterr().err
    assert not default_path().exists()


def test_a_journal_that_can_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    default_path().mkdir(parents=True)
    assert run(["history"]) == 1
    assert "Is a directory" in capsys.readouterr().err


# -- what was left, in the other commands ------------------------------------------------------


def test_list_tells_what_was_left_and_what_to_do(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    one = world.add("db1", freeze=FreezeInfo(FreezeState.FROZEN, AT))
    world.seen[one.name] = world.seen[one.name]._replace(left=LeftBy(1, 4711, "root", AT))
    assert run(["list"]) == 0
    seen = capsys.readouterr()
    assert " left " in seen.out
    assert "left frozen by frostwatch (pid 4711, root)" in seen.err
    assert seen.err.rstrip().endswith("frostwatch thaw qemu:db1")
    assert run(["list", "--json", "--state", "left", "--exit-code"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    freeze = json.loads(line)["freeze"]
    assert (freeze["foreign"], freeze["left_by"]["pid"]) == (False, 4711)
    assert run(["list", "--state", "foreign", "--exit-code"]) == 0


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["db1", "web[/]1", "db1"]),
        (["--state", "lost"], ["web[/]1"]),
        (["--state", "left"], ["db1"]),
        (["--state", "certified"], ["db1"]),
        (["--state", "lost", "--state", "verified"], ["web[/]1", "db1"]),
        (["--since", "1d"], ["db1", "web[/]1", "db1"]),
        (["--until", "1d"], []),
        (["--since", "1d", "--state", "lost", "--limit", "1"], ["web[/]1"]),
        (["db1", "--state", "lost"], []),
        (["db1", "--state", "verified"], ["db1"]),
        (["--limit", "2"], ["db1", "web[/]1"]),
    ],
)
def test_some_of_the_past_by_time_and_outcome(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    found: list[str],
) -> None:
    monkeypatch.setattr(history_module, "PAGE", 1)  # more pages than one
    assert run(["history", *arguments, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["vm"] for row in rows if "kind" in row] == [f"qemu:{name}" for name in found]
    if "db1" in arguments:
        assert rows[-1]["durations"]["count"] == 1, "of all of its freezes, whatever is asked for"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--state", "losst"], "'losst' is no outcome (did you mean lost?)"),
        (["--since", "tomorrow"], "'tomorrow' is no past time: write 90m, 1d or 2w (ago)"),
        (["--since", "1h", "--until", "2h"], "--since is later than --until"),
    ],
)
def test_a_past_that_can_not_be(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["history", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_where_nothing_matches_that_is_said(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "--state", "broken"]) == 0
    assert capsys.readouterr().err == "frostwatch: nothing matches\n"


def test_a_table_and_what_is_told_below_it_are_one_write(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that ``| head -1`` is no reader that has gone too early."""
    written: list[str] = []
    monkeypatch.setattr("tui.cli.tell.click.echo", lambda text, **_: written.append(text))
    whole(journal, vm(tmp_path))
    assert run(["history", "qemu:db1"]) == 0
    (text,) = written
    assert "2 freezes answered" in text
