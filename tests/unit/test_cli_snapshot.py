from __future__ import annotations

import json

import pytest

from agentclient.jobs.manager import JobManager
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotFound, SnapshotKind
from agentclient.model.job import Consistency
from agentclient.model.vm import VmId
from tests.unit.cli_fakes import AT, World, world
from tui.main import run

__all__ = ["world"]

OURS = SnapshotFound(
    VmId("qemu", "db1"),
    "before",
    SnapshotKind.EXTERNAL,
    AT,
    (SnapshotDisk("a", "/images/a.qcow2", "/images/a.before.qcow2", 4096),),
    ("b",),
    False,
    Consistency.CONSISTENT,
    "it was taken within a certified freeze window",
    {"certified": True},
    ("start the VM with /images/a.qcow2 as its disk a",),
)
THEIRS = OURS._replace(
    name="\x1b[31mtheirs",
    kind=SnapshotKind.INTERNAL,
    made=None,
    disks=(SnapshotDisk("a", "/images/a.qcow2"),),
    memory=True,
    consistency=None,
    reason="taken by another program, or nothing is recorded of it",
    window=None,
)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[SnapshotFound]:
    """What the VMs' disks have."""
    given = [OURS, THEIRS]
    monkeypatch.setattr(JobManager, "snapshots", lambda *_: tuple(given))
    return given


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "db1", "17"], "takes a number for a snapshot's id"),
        (["create", "db1", "a b"], "is no name for a snapshot"),
        (["create", "db1", "a", "--to", "/"], "an internal snapshot is inside"),
        (["create", "db1", "a", "--external", "--to", "/no/such"], "'/no/such' does not exist"),
        (["create", "db1", "a", "--policy", "maybe"], "'maybe' is not one of"),
        (["create", "nosuch", "a"], "nosuch"),
        (["create", "db1"], "Missing argument 'NAME'"),
        (["delete", "nosuch", "a"], "nosuch"),
        (["list", "nosuch"], "nosuch"),
    ],
)
def test_bad_input_is_one_sentence(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    world.add("db1")
    assert run(["snapshot", *arguments]) == 2
    seen = capsys.readouterr()
    assert (seen.out, seen.err.count("\n")) == ("", 1)
    assert said in seen.err
    assert world.operations.started == []


def test_what_is_refused_is_told_and_exits_1(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db1")
    for arguments in (["create", "db1", "s1"], ["delete", "db1", "s1"]):
        assert run(["snapshot", *arguments, "--json"]) == 1
        last = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (last["event"], last["result"], last["refusal"]) == ("job", "refused", "no-monitor")
        assert last["job"] == ("snapshot" if arguments[0] == "create" else "deletion")
    assert run(["snapshot", "list", "db1"]) == 1
    seen = capsys.readouterr()
    assert (seen.out, "monitor" in seen.err) == ("", True)
    assert world.operations.started == []


def test_a_list_for_a_person(
    world: World, found: list[SnapshotFound], capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db1")
    assert run(["snapshot", "list", "db1"]) == 0
    out = capsys.readouterr().out
    listed, noted, told = (part.splitlines() for part in out.split("\n\n"))
    (header, ours, theirs), notes, (title, step, *_) = listed, noted, told
    assert header.split()[:3] == ["NAME", "KIND", "TAKEN"]
    assert ours.split()[:2] == ["before", "external"]
    assert "consistent" in ours
    assert ours.split()[4:7] == ["1", "of", "2"]
    assert "4.0 KiB" in ours
    assert "not known" in theirs
    assert notes[0] == "before: it is on a, and not on b"
    assert any("with the VM's memory" in note for note in notes[1:])
    assert "taken by another program" in notes[-1]
    assert all(len(line) < 80 for line in (header, ours, theirs))
    assert "\x1b" not in out
    assert title == "To go back to one, with the VM off:"
    assert step.strip() == "before: start the VM with /images/a.qcow2 as its disk a"
    found.clear()
    assert run(["snapshot", "list", "db1"]) == 0
    seen = capsys.readouterr()
    assert (seen.out, "no snapshot" in seen.err) == ("", True)


def test_a_list_for_a_program(
    world: World, found: list[SnapshotFound], capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db1")
    assert run(["snapshot", "list", "db1", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    ours, theirs = map(json.loads, out.splitlines())
    assert (ours["schema"], ours["vm"], ours["name"]) == (1, "qemu:db1", "before")
    assert ours["disks"] == [
        {"disk": "a", "file": "/images/a.qcow2", "overlay": "/images/a.before.qcow2", "size": 4096}
    ]
    assert (ours["missing"], ours["consistency"], ours["size"]) == (["b"], "consistent", 4096)
    assert (theirs["consistency"], theirs["size"], theirs["made"]) == (None, None, None)


def test_the_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["snapshot"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("create", "list", "delete"))
