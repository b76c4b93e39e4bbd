"""`frostwatch list` for monitoring systems: metrics in a file, a plugin's line; and `--watch`."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentclient.backends.base import Note
from agentclient.model.clock import now
from agentclient.model.errors import FrostwatchError
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import AgentHealth, FreezeInfo, LeftBy
from agentclient.model.states import AgentState, FreezeState, KnownBy, OthersState
from tests.unit.cli_fakes import FakeEngine, FakeWatcher, World, frozen, world
from tests.unit.test_cli_watch import Once
from tui.cli.commands import list_watch
from tui.main import run

__all__ = ["world"]

ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.0014, "7.2")
SILENT = AgentHealth(AgentState.SILENT, KnownBy.DEADLINE)
THAWED = FreezeInfo(FreezeState.THAWED, now())
NAGIOS = ["list", "--format", "nagios"]
# One line of Prometheus's text format.
SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\]|\\["\\n])*",?)+\})? -?[0-9.]+')


@pytest.fixture
def well(world: World) -> World:
    world.add("web1", agent=ALIVE, freeze=THAWED)
    world.add('a"b\\c|d', agent=ALIVE, freeze=THAWED)
    return world


def plugin(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[str]]:
    """Run it as a plugin: its code, its first line and its figures, and what follows."""
    code = run([*NAGIOS, *arguments])
    first, *more = capsys.readouterr().out.splitlines()
    return code, first, more


def test_metrics_are_well_formed(well: World, capsys: pytest.CaptureFixture[str]) -> None:
    well.add("db1", agent=SILENT, freeze=frozen())
    assert run(["list", "--format", "prometheus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines), lines
    for line in (
        'frostwatch_vm_agent_state{vm="qemu:db1",state="silent"} 1',
        'frostwatch_vm_agent_state{vm="qemu:db1",state="alive"} 0',
        'frostwatch_vm_freeze_state{vm="qemu:db1",state="frozen"} 1',
        'frostwatch_vm_concern{vm="qemu:db1",concern="foreign"} 1',
        'frostwatch_vm_agent_reply_seconds{vm="qemu:web1"} 0.0014',
        "frostwatch_vms 3",
        "frostwatch_sources_failing 0",
    ):
        assert line in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "each metric is told of once, at one place"


def test_metrics_are_read_as_prometheus_reads_them(
    well: World, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = 'a "name"\\ of its own'
    well.add(odd, agent=SILENT)
    assert run(["list", "--format", "prometheus"]) == 0
    told = capsys.readouterr().out
    families = {one.name: one for one in text_string_to_metric_families(told)}
    assert all(one.type == "gauge" and one.documentation for one in families.values())
    assert {sample.labels["name"] for sample in families["frostwatch_vm_info"].samples} >= {odd}
    for family in families.values():
        labels = [tuple(sorted(sample.labels.items())) for sample in family.samples]
        assert len(labels) == len(set(labels)), family.name
        # A sum over states counts each VM once.
        if family.name.endswith("_state"):
            assert {sample.value for sample in family.samples} == {0.0, 1.0}
    assert families["frostwatch_vms"].samples[0].value == 3


def test_a_file_is_replaced_as_a_whole(
    well: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, link = tmp_path / "frostwatch.prom", tmp_path / "link"
    link.symlink_to(file)
    arguments = ["list", "--format", "prometheus", "-o", str(link)]
    assert run(arguments) == 0
    assert file.read_text().endswith("\n")
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o644, True)
    file.chmod(0o640)
    before, file_before = file.read_text(), file.stat().st_ino
    well.problem = FrostwatchError("no /proc")
    assert run(arguments) == 0
    assert (file.stat().st_mode & 0o777, file.stat().st_ino != file_before) == (0o640, True)
    assert "frostwatch_sources_failing 1" in (written := file.read_text())
    assert written != before

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    capsys.readouterr()
    assert run(arguments) == 1
    assert "can't be written: No space left on device" in capsys.readouterr().err
    assert file.read_text() == written, "what was there is there still"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frostwatch.prom", "link"]


def test_vms_that_look_alike_are_two_in_metrics(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A collector that finds one sample twice takes nothing of the file."""
    names = ["a\x1b", "a\\x1b", "a\nb", "a b", "x" * 300 + "1", "x" * 300 + "2", "\udcff"]
    for name in names:
        world.add(name, agent=ALIVE, freeze=THAWED)
    assert run(["list", "--format", "prometheus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    samples = [line.rpartition(" ")[0] for line in lines if not line.startswith("# ")]
    assert len(samples) == len(set(samples))
    assert sum(line.startswith("frostwatch_vm_info") for line in lines) == len(names)
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines), lines
    assert 'frostwatch_vm_agent_reply_seconds{vm="qemu:a b"} 0.0014' in lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes links of other users")
def test_a_link_that_another_user_may_have_put_there_is_not_followed(
    well: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ours = tmp_path / "tmp", tmp_path / "ours"
    folder.mkdir()
    folder.chmod(0o1777)
    ours.write_text("ours\n")
    link = folder / "frostwatch.prom"
    link.symlink_to(ours)
    os.lchown(link, 65534, -1)
    assert run(["list", "--format", "prometheus", "-o", str(link)]) == 2
    assert "is another user's link" in capsys.readouterr().err
    assert ours.read_text() == "ours\n"
    folder.chmod(0o755)
    assert run(["list", "--format", "prometheus", "-o", str(link)]) == 0
    assert ours.read_text() != "ours\n"


@pytest.mark.parametrize("place", ["no/such/folder", "."])
def test_no_file_is_bad_input(well: World, tmp_path: Path, place: str) -> None:
    assert run(["list", "--json", "-o", str(tmp_path / place / "")]) == 2


def test_a_plugin_says_that_all_is_well(well: World, capsys: pytest.CaptureFixture[str]) -> None:
    code, first, more = plugin(capsys)
    assert (code, more) == (0, [])
    assert first.startswith("FROSTWATCH OK - 2 VMs, none in trouble | vms=2;;;0 alive=2;;;0 ")
    code, first, _ = plugin(capsys, "--state", "frozen", "--older-than", "10m")
    assert code == 0
    asked = "(state frozen, for longer than 10 min)"
    assert first.startswith(f"FROSTWATCH OK - 2 VMs, none of them matches {asked} |")


@pytest.mark.parametrize(
    ("health", "freeze", "code", "words"),
    [
        (SILENT, FreezeInfo(), 1, "WARNING - 1 of 3 VMs: qemu:db1: silent"),
        (ALIVE, frozen(), 1, "WARNING - 1 of 3 VMs: qemu:db1: foreign"),
        (ALIVE, frozen()._replace(overdue="for 3 h"), 2, "CRITICAL - 1 of 3 VMs: qemu:db1"),
    ],
)
def test_a_plugin_judges_by_itself(
    well: World,
    capsys: pytest.CaptureFixture[str],
    health: AgentHealth,
    freeze: FreezeInfo,
    code: int,
    words: str,
) -> None:
    well.add("db1", agent=health, freeze=freeze)
    found, first, more = plugin(capsys)
    assert (found, words in first, len(more)) == (code, True, 1), first
    assert first.count("|") == 1


def test_what_was_left_and_what_is_lost_is_critical(
    well: World, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = well.add("db1", agent=ALIVE, freeze=frozen(foreign=False)), well.add("db2")
    well.seen["db1"] = well.seen["db1"]._replace(left=LeftBy(1, 4711, "root", now()))
    by = ChannelClient("a|b", 12)
    well.seen["db2"] = well.seen["db2"]._replace(others=Others(OthersState.LOST, now(), by))
    code, first, more = plugin(capsys)
    assert code == 2
    assert first.startswith("FROSTWATCH CRITICAL - 2 of 4 VMs: ")
    assert f"thaw {one.id}" in "".join(more)
    assert f"{two.id}: others-lost" in "".join(more)
    assert first.count("|") == 1, "a name ends nothing"


def test_a_match_is_critical_and_what_is_not_known_is_unknown(
    well: World, capsys: pytest.CaptureFixture[str]
) -> None:
    well.add("db1", agent=SILENT)
    code, first, _ = plugin(capsys, "--state", "frozen")
    assert (code, "UNKNOWN - 1 of 3 VMs (state frozen)" in first) == (3, True)
    well.add("db2", agent=ALIVE, freeze=frozen())
    code, first, more = plugin(capsys, "--state", "frozen")
    assert (code, "CRITICAL - 1 of 4 VMs (state frozen): qemu:db2" in first) == (2, True)
    assert more[1].startswith("UNKNOWN: qemu:db1: whether it is frozen isn't known")
    well.hidden = (Note("the processes", "are hidden", may_hide_vms=True),)
    assert plugin(capsys)[0] == 1, "a warning counts for more than what isn't known"


@pytest.mark.parametrize(
    "arguments", [["--state", "frozzen"], ["--named-only"], ["--nothing"], ["-o", "/no/such/file"]]
)
def test_a_plugin_that_could_not_look_says_unknown(
    well: World, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, first, _ = plugin(capsys, *arguments)
    assert (code, first.startswith("FROSTWATCH UNKNOWN - ")) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "--format", "nagios"],
        ["-o", "/tmp/x"],
        ["--watch", "--exit-code"],
        ["--watch", "--format", "prometheus"],
        ["--watch", "--json", "-o", "/tmp/x"],
    ],
)
def test_what_does_not_go_together(
    well: World, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(["list", *arguments]) in (2, 3)


class Turns:
    """Lets the fleet change between two looks, and ends the watch behind the last one."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, *turns: object) -> None:
        self._turns = list(turns)
        self.signals = Once()
        monkeypatch.setattr(FakeWatcher, "problems", property(lambda _: ()), raising=False)
        watched: set[FakeEngine] = set()

        def watch(engine: FakeEngine) -> None:
            """Visit all once: what is watched already is not begun again."""
            if engine not in watched:
                watched.add(engine)
                engine.watcher.visit_all(1.0)

        monkeypatch.setattr(FakeEngine, "watch", watch)
        monkeypatch.setattr(list_watch, "Signals", lambda: self.signals)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        if seconds != list_watch.TICK_S:
            return
        if not self._turns:
            self.signals.requests = 1
            return
        turn = self._turns.pop(0)
        assert callable(turn)
        turn()


def test_a_list_that_goes_on_prints_again_what_has_changed(
    well: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *_) = well.vms

    def be(**news: Any) -> None:
        well.fleet.update(first.id, lambda state: state._replace(**news))

    Turns(
        well,
        monkeypatch,
        lambda: be(agent=ALIVE._replace(rtt_s=0.5)),  # a figure alone
        lambda: be(freeze=frozen()),
        lambda: None,
    )
    assert run(["list", "--watch", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["freeze"]["state"] for one in told] == ["thawed", "thawed", "frozen"]


@pytest.mark.parametrize("visited", [True, False])
def test_a_vm_whose_agent_stays_unknown_hides_no_others(
    well: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    visited: bool,
) -> None:
    """Libvirt's own, say, or one whose socket is not for us; or one that hangs at its first."""
    health = AgentHealth(AgentState.UNKNOWN, KnownBy.CONFIGURATION, seen_at=now())
    well.add("others1", agent=health if visited else AgentHealth())
    monkeypatch.setattr(list_watch, "FIRST_S", 0.2)
    real = time.sleep
    Turns(well, monkeypatch, lambda: real(0.0 if visited else 0.3), lambda: None)
    assert run(["list", "--watch"]) == 0
    assert "qemu:web1" in capsys.readouterr().out


def test_on_a_terminal_it_is_drawn_in_its_place(
    well: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        well.add(f"a-vm-with-quite-a-long-name-{number}", agent=ALIVE, freeze=THAWED)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(list_watch, "terminal_size", lambda: (60, 12))
    monkeypatch.setattr(list_watch, "DRAWN_EVERY_S", 0.0)
    real = time.sleep
    Turns(well, monkeypatch, lambda: real(0.05), lambda: real(0.05))
    assert run(["list", "--watch"]) == 0
    seen = capsys.readouterr()
    picture = seen.out.splitlines()
    assert "32 VMs, 32 alive; Ctrl-C ends it" in picture[0]
    assert picture[-1] == "24 more lines: a larger terminal, --state, or the console sho"[:58] + "…"
    assert len(picture) <= 12
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) < 60 for line in picture)
    assert "\x1b[1A" in seen.err, "it was drawn on the other stream, and again"
