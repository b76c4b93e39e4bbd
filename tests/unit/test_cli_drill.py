"""`--drill` and `--or-drill` on the command line; real drills, but no real VM."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from agentclient.access.access_pool import open_local
from agentclient.access.guest_access import Opener
from agentclient.access.local_access import LocalAccess
from agentclient.backends.base import Abilities, Note
from agentclient.backends.drill.plan import plan
from agentclient.backends.drill.size import DEFAULT_GUESTS
from agentclient.model.vm import Identity, Vm, VmId
from tests.unit.cli_fakes import World, world
from tui.cli.options import Options, spelled_out
from tui.main import run

__all__ = ["world"]


class OtherSource:
    """What this machine has beside a drill."""

    name = "qemu"
    patience_s = 3.0
    vms: Sequence[Vm] = ()
    asked = 0

    def list_vms(self) -> list[Vm]:
        type(self).asked += 1
        return list(self.vms)

    def open(self, vm: Vm, opener: Opener) -> LocalAccess:
        return open_local(vm, opener)

    def successor(self, of: LocalAccess, uuid: str) -> Vm | None:
        return None

    def has_ended(self, identity: Identity) -> bool | None:
        return None

    def abilities(self) -> Abilities:
        return Abilities(False, False, False, False, False)

    def notes(self) -> tuple[Note, ...]:
        return ()


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> type[OtherSource]:
    """A machine without VMs."""
    monkeypatch.setattr("agentclient.backends.qemu.backend.QemuBackend", OtherSource)
    monkeypatch.setattr(OtherSource, "vms", ())
    monkeypatch.setattr(OtherSource, "asked", 0)
    return OtherSource


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


# -- --drill ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--drill", "list"], DEFAULT_GUESTS),
        (["list", "--drill"], DEFAULT_GUESTS),
        (["--drill", "5", "list"], 5),
        (["--drill=5", "list"], 5),
        (["list", "--drill", "5", "--drill-speed", "2"], 5),
        (["--drill", "5", "list", "--drill", "3"], 3),
    ],
)
def test_only_simulated_guests_are_listed_and_no_real_one_is_touched(
    machine: type[OtherSource],
    arguments: list[str],
    count: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine.vms = [Vm(VmId("qemu", "real"))]
    assert run([*arguments, "--json"]) == 0
    seen = capsys.readouterr()
    assert ids(seen.out) == [f"drill:{guest.name}" for guest in plan(count)]
    assert seen.err == ""
    assert machine.asked == 0


def test_without_a_terminal_the_console_is_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--drill", "3"]) == 0
    assert "drill:db1" in capsys.readouterr().out


def test_a_freeze_in_a_drill_is_certified(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["freeze", "--drill", "db1", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["vm"], last["event"], last["outcome"]) == ("drill:db1", "outcome", "verified")
    assert (last["certified"], last["thawed"]) == (True, 2)


def test_the_doctor_breaks_its_sentences_at_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["--drill", "2", "doctor", "web1"]) == 0
    lines = [click.unstyle(line) for line in capsys.readouterr().out.splitlines()]
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].startswith("warning  drill:web1: ")
    further = [line for line in lines if line.startswith(" ")]
    assert further
    assert all(line.startswith("         ") for line in further)


def test_the_doctor_tells_what_each_guest_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--drill", "2", "doctor", "web1"]) == 0
    assert "flushes its disks for 40 s" in capsys.readouterr().out


def test_what_drills_did_is_not_remembered(tmp_path: Path) -> None:
    assert run(["--drill", "2", "list"]) == 0
    assert not list(tmp_path.rglob("sightings*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--drill", "0", "list"], "0"),
        (["--drill", "-3", "list"], "-3"),
        (["--drill=", "list"], "--drill"),
        (["--drill=many", "list"], "many"),
        (["--drill", "many"], "many"),
        (["--drill", "99999999999", "list"], "10000"),
        (["--drill", "3", "freeze", "nobody"], "nobody"),
        (["--drill", "--vm", "name=x,agent=/x", "list"], "--vm"),
        (["list", "--vm", "name=x,agent=/x", "--drill", "2"], "--vm"),
        (["--vm", "name=x,agent=/x", "--drill"], "--vm"),
        (["--drill-speed", "2", "list"], "needs --drill"),
        (["--drill-speed", "2"], "needs --drill"),
        (["--drill", "--drill-speed", "0", "list"], "0"),
        (["--drill", "--drill-speed", "nan", "list"], "nan"),
        (["--drill", "--drill-speed", "1000", "list"], "1000"),
        (["--drill", "--drill-speed", "fast", "list"], "fast"),
        (["--drill", "--or-drill"], "exclude"),
        (["--or-drill", "list"], "console"),
        (["list", "--or-drill"], "--or-drill"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("frostwatch: ")
    assert seen.err.count("\n") == 1
    assert word in seen.err


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("--drill list", "--drill=usual list"),
        ("--drill 7 list", "--drill=7 list"),
        ("--drill", "--drill=usual"),
        ("freeze --drill db1", "freeze --drill=usual db1"),
        ("freeze db1 --drill 3", "freeze db1 --drill=3"),
        ("--drill -1", "--drill=-1"),
        ("--drill -h", "--drill=usual -h"),
        ("--drill-speed 3 --drill", "--drill-speed 3 --drill=usual"),
        ("freeze -- --drill 3", "freeze -- --drill 3"),
        ("--drill ٣", "--drill=usual ٣"),
    ],
)
def test_a_number_belongs_to_the_drill_and_nothing_else_does(given: str, spelled: str) -> None:
    assert " ".join(spelled_out(given.split())) == spelled


# -- --or-drill ---------------------------------------------------------------------------------


def test_without_vms_and_a_terminal_one_freeze_is_played(
    machine: type[OtherSource], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--or-drill", "--drill-speed", "20"]) == 0
    seen = capsys.readouterr()
    first, *lines = seen.out.splitlines()
    assert first.startswith("DRILL: simulated guests; nothing here is real. No VM was found")
    assert all(line.startswith("drill:db1 ") for line in lines)
    text = "\n".join(lines)
    assert text.index("verified: frozen") < text.index("thaw sent") < text.index("certified")
    assert machine.asked == 1
    assert "\x1b" not in seen.out


def test_with_vms_it_is_as_if_nobody_had_said_it(
    machine: type[OtherSource], capsys: pytest.CaptureFixture[str]
) -> None:
    machine.vms = [Vm(VmId("qemu", "real"))]
    assert run(["--or-drill"]) == 0
    said = capsys.readouterr()
    assert run([]) == 0
    assert capsys.readouterr() == said
    assert "qemu:real" in said.out
    assert "DRILL" not in said.out


@pytest.mark.parametrize("there", [True, False], ids=["vms", "none"])
def test_on_a_terminal_the_console_opens_on_vms_or_on_a_drill(
    machine: type[OtherSource], monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    machine.vms = [Vm(VmId("qemu", "real"))] if there else []
    opened: list[Options] = []
    monkeypatch.setattr("tui.main.on_terminal", lambda: True)
    monkeypatch.setattr("tui.main._open_console", opened.append)
    assert run(["--or-drill", "--drill-speed", "2", "--read-only"]) == 0
    (options,) = opened
    assert options.drill == (None if there else DEFAULT_GUESTS)
    assert (options.drill_speed, options.read_only) == (2.0, True)


def test_a_source_that_cannot_look_is_no_reason_for_a_drill(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.problem = PermissionError("can't read /proc")
    assert run(["--or-drill"]) == 0
    said = capsys.readouterr()
    assert "can't read /proc" in said.err
    assert "DRILL" not in said.out


def test_help_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["list"], ["freeze"], ["thaw"], ["doctor"]):
        assert run([*command, "--help"]) == 0
        out = capsys.readouterr().out
        assert "--drill [N]" in out
        assert "--drill-speed X" in out
