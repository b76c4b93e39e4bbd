"""``frostwatch replay`` without a terminal: which windows, in which order, and what is refused."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.journal.others_entry import record_others
from agentclient.journal.writer import Journal, default_path
from agentclient.model.clock import now
from agentclient.model.events import EventKind
from agentclient.model.others import ChannelClient
from agentclient.model.others_past import OthersEnded, OthersResult
from tests.unit.journals import LOST, add_event, begin, change, flush, number, put, vm, whole
from tui.main import run


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Two freezes of one process at the same time, an older one, and what others had pending."""
    made = Journal()
    old = whole(made, vm(tmp_path, "db1"))
    hours_ago = now() - timedelta(hours=5)
    for name in ("asked", "armed", "sent", "replied", "thaw_sent", "thawed", "ended"):
        change(default_path(), old, **{f"{name}_at": hours_ago.isoformat()})
    first, second = vm(tmp_path, "web[/]1"), vm(tmp_path, "db1")
    entry = begin(made, first)
    entry.armed()
    add_event(entry, first, EventKind.SENT, "freeze sent")
    put(made, second)
    time.sleep(0.002)  # the journal keeps milliseconds
    add_event(entry, first, EventKind.VERDICT, "lost: no answer will come", outcome=LOST)
    add_event(entry, first, EventKind.OUTCOME, "it MAY BE FROZEN", outcome=LOST)
    number(made, entry)
    by = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")
    since = now() - timedelta(seconds=30)
    ended = OthersEnded(OthersResult.ANSWERED, by, since, now(), 30.0)
    record_others(made, vm(tmp_path, "mail1"), ended)
    flush(made)
    return made


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run(["replay", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_newest_window_and_what_its_process_froze_with_it(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("REPLAY: 2 windows of 2 VMs, from ")
    assert "mail1" not in "".join(lines)
    at = [line.split()[0] for line in lines]
    assert at == sorted(at)
    (first,) = [line for line in lines if "freeze sent" in line]
    assert first.split()[1:3] == ["qemu:web[/]1", "freezing"]
    assert any("window 3: a freeze is asked for by" in line for line in lines)


def test_json_is_one_object_for_each_thing_that_happened(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told([], capsys)
    assert {line["schema"] for line in lines} == {1}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    last = {line["vm"]: line for line in lines}
    assert last["qemu:db1"]["state"] == "thawed"
    assert (last["qemu:db1"]["outcome"], last["qemu:db1"]["certified"]) == ("verified", True)
    lost = last["qemu:web[/]1"]
    assert (lost["outcome"], lost["certified"], lost["state"]) == ("lost", False, "frozen?")


def test_a_window_a_time_and_vms_are_chosen(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {line["window"] for line in told(["--window", "1"], capsys)} == {1}
    assert {line["window"] for line in told(["--since", "1h"], capsys)} == {2, 3, 4}
    assert {line["window"] for line in told(["--since", "1d"], capsys)} == {1, 2, 3, 4}
    assert {line["window"] for line in told(["db1", "--since", "1d"], capsys)} == {1, 3}
    assert {line["window"] for line in told(["--at", "5h"], capsys)} == {1}
    assert {line["window"] for line in told(["db1"], capsys)} == {3}
    both = told(["db1", "web[/]1", "--window", "3"], capsys)
    assert {line["window"] for line in both} == {2, 3}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--window", "99"], "the journal has no window 99"),
        (["nobody"], "the journal knows no VM called 'nobody'"),
        (["--since", "1h", "--window", "1"], "exclude each other"),
        (["--since", "tomorrow"], "is no past time"),
        (["--at", "2001-01-01"], "the journal has no window of that time"),
        (["--speed", "0"], "is not in 0.1 to 1000"),
        (["--speed", "nan"], "is not in 0.1 to 1000"),
    ],
)
def test_bad_input_is_one_sentence(
    journal: Journal, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(["replay", *arguments]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert sentence in seen.err
    assert len(seen.err.splitlines()) == 1


def test_a_drill_has_nothing_to_replay(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--drill", "replay"]) == 2
    assert "a drill has no journal" in capsys.readouterr().err


def test_nothing_is_written_and_no_journal_is_made(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.close()
    before = default_path().read_bytes()
    assert run(["replay", "--since", "1d"]) == 0
    assert default_path().read_bytes() == before


def test_where_there_is_no_journal_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay"]) == 2
    assert "there is nothing to replay" in capsys.readouterr().err
    assert not default_path().exists()
