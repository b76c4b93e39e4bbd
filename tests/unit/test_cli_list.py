from __future__ import annotations

import json
from datetime import timedelta

import pytest

from agentclient.backends.base import Note
from agentclient.model.clock import now
from agentclient.model.errors import FrostwatchError
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy
from agentclient.model.states import AgentState, FreezeState, KnownBy, OthersState
from tests.unit.cli_fakes import World, frozen, world
from tui.cli import table
from tui.main import run

__all__ = ["world"]

ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.0014, "7.2")
SILENT = AgentHealth(AgentState.SILENT, KnownBy.DEADLINE)
BUSY = AgentHealth(AgentState.BUSY, KnownBy.CLIENT)
CLOSED = AgentHealth(AgentState.CLOSED, KnownBy.PORT)
THAWED = FreezeInfo(FreezeState.THAWED, now())


@pytest.fixture
def three(world: World) -> World:
    world.add("web1", agent=ALIVE, freeze=THAWED)
    world.add("db[/]1", agent=ALIVE, freeze=frozen())
    world.add("bad\x1b[2J\nname", agent=SILENT)
    return world


def _ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_a_table_with_words_and_without_escapes(
    three: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "qemu:web1" in lines[1]
    assert "alive" in lines[1]
    assert "thawed" in lines[1]
    assert "qemu:db[/]1" in lines[2]
    assert "foreign" in lines[2]
    assert "frozen" not in lines[2]
    assert r"bad\x1b[2J name" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_columns_are_aligned_with_wide_characters(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("サーバ", agent=ALIVE)
    world.add("plain", agent=ALIVE)
    run(["list"])
    _, wide, plain = capsys.readouterr().out.splitlines()
    # Three characters of two cells each: the column starts three characters earlier.
    assert wide.index("unknown") + 3 == plain.index("unknown")


def test_on_a_narrow_terminal_the_names_that_one_types_stay_whole(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = "929af8df-2df7-4586-ba4e-edd79e5e9092"
    plain = world.add("db-1", agent=ALIVE, freeze=frozen())
    world.vms[0] = plain._replace(uuid=uuid, user="root", selectors=(uuid,))
    assert run(["list"]) == 0
    assert uuid in capsys.readouterr().out
    monkeypatch.setattr(table, "room_of_terminal", lambda: 79)
    assert run(["list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert "qemu:db-1" in row
    assert uuid not in row
    assert max(map(len, (header, row))) < 80


def test_json_is_one_object_a_line_on_stdout_alone(
    three: World, capsys: pytest.CaptureFixture[str]
) -> None:
    three.problem = None
    assert run(["list", "--json"]) == 0
    seen = capsys.readouterr()
    assert _ids(seen.out) == ["qemu:web1", "qemu:db[/]1", "qemu:bad\x1b[2J\nname"]
    assert seen.err == ""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--state", "frozen"], ["qemu:db[/]1"]),
        (["--state", "foreign"], ["qemu:db[/]1"]),
        (["--state", "thawed"], ["qemu:web1"]),
        (["--state", "alive"], ["qemu:web1", "qemu:db[/]1"]),
        (["--state", "thawed", "--state", "frozen"], ["qemu:web1", "qemu:db[/]1"]),
        (["--state", "busy"], []),
        (["--older-than", "1h"], ["qemu:db[/]1"]),
        (["--state", "thawed", "--older-than", "1h"], []),
    ],
)
def test_filters(
    three: World, capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]
) -> None:
    assert run(["list", "--json", *arguments]) == 0
    assert _ids(capsys.readouterr().out) == names
    # Whether the silent one is frozen isn't known, which is not well.
    unknown = 3 if "thawed" in arguments else 0
    assert run(["list", "--json", "--exit-code", *arguments]) == (1 if names else unknown)


@pytest.mark.parametrize(
    ("arguments", "names", "code"),
    [
        (["--filter", "state:frozen"], ["qemu:db[/]1"], 1),
        (["--filter", "agent:alive !state:frozen"], ["qemu:web1"], 1),
        (["--filter", "agent:alive", "--filter", "!state:frozen"], ["qemu:web1"], 1),
        (["--filter", ">1h"], ["qemu:db[/]1"], 1),
        (["--filter", ">1h", "--state", "alive"], ["qemu:db[/]1"], 1),
        (["--filter", ">1h", "--state", "thawed"], [], 3),
        (["--filter", "name:web*"], ["qemu:web1"], 1),
        (["--filter", '"db[/]"'], ["qemu:db[/]1"], 1),
        (["--filter", ""], ["qemu:web1", "qemu:db[/]1", "qemu:bad\x1b[2J\nname"], 1),
        # Whether the silent one is frozen isn't known, which is not well; that it is busy is.
        (["--filter", "state:freezing"], [], 3),
        (["--filter", "state:thawed name:bad*"], [], 3),
        (["--filter", "thawed bad"], [], 3),
        (["--filter", "state:freezing agent:alive"], [], 0),
        (["--filter", "agent:busy"], [], 0),
    ],
)
def test_the_console_s_filter_filters(
    three: World,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    names: list[str],
    code: int,
) -> None:
    assert run(["list", "--json", *arguments]) == 0
    assert _ids(capsys.readouterr().out) == names
    assert run(["list", "--json", "--exit-code", *arguments]) == code


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state:frozn", "--filter: state: nothing is 'frozn' (did you mean frozen"),
        ("agnt:silent", "--filter: no VM has a 'agnt' (did you mean agent:?)"),
        ("state:fro", "--filter: state: nothing is 'fro'"),
        (">soon", "--filter: 'soon' is no duration"),
    ],
)
def test_a_filter_that_can_not_be_meant_is_one_sentence(
    three: World, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert run(["list", "--filter", text]) == 2
    seen = capsys.readouterr()
    assert said in seen.err
    assert len(seen.err.splitlines()) == 1
    assert seen.out == ""


def test_a_word_that_is_nowhere_is_suggested_another(
    three: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list", "--filter", "slient"]) == 0
    assert "no VM matches (did you mean silent" in capsys.readouterr().err


@pytest.mark.parametrize("health", [SILENT, BUSY, CLOSED, AgentHealth(AgentState.UNKNOWN)])
def test_what_cannot_be_known_is_not_well_by_exit_code(
    world: World, capsys: pytest.CaptureFixture[str], health: AgentHealth
) -> None:
    world.add("web1", agent=ALIVE, freeze=THAWED)
    world.add("db1", agent=health)
    assert run(["list", "--state", "frozen"]) == 0
    capsys.readouterr()
    assert run(["list", "--state", "frozen", "--exit-code"]) == 3
    assert "qemu:db1: whether it is frozen isn't known: " in capsys.readouterr().err
    agents = 3 if health.state is AgentState.UNKNOWN else 0
    assert run(["list", "--state", "none", "--exit-code"]) == agents


def test_what_has_no_agent_or_does_not_run_is_known_not_to_be_frozen(world: World) -> None:
    world.add("none", agent=AgentHealth(AgentState.NONE))
    assert run(["list", "--state", "frozen", "--exit-code"]) == 0


def test_hidden_processes_are_not_well_by_exit_code(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1", agent=ALIVE, freeze=THAWED)
    world.hidden = (Note("qemu:web1", "something else"),)
    assert run(["list", "--state", "frozen", "--exit-code"]) == 0
    world.hidden = (Note("source qemu", "other users' processes are hidden", may_hide_vms=True),)
    assert run(["list", "--state", "frozen", "--exit-code"]) == 3
    assert "source qemu: other users' processes are hidden" in capsys.readouterr().err
    world.add("db1", agent=ALIVE, freeze=frozen())
    assert run(["list", "--state", "frozen", "--exit-code"]) == 1


def test_what_another_frostwatch_holds_is_frozen(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    at = now() - timedelta(minutes=10)
    held = HeldBy(1316, "root", FreezeState.FROZEN, at, at)
    world.add("web1", agent=BUSY)
    world.seen["web1"] = world.seen["web1"].with_held_by(held)
    assert run(["list", "--state", "frozen", "--older-than", "9m", "--exit-code"]) == 1
    assert "frozen by root (pid 1316) until" in capsys.readouterr().out
    assert run(["list", "--state", "held-by", "--exit-code"]) == 1
    assert run(["list", "--state", "foreign", "--exit-code"]) == 0


def test_older_than_counts_from_the_states_since(world: World) -> None:
    old = THAWED._replace(since=now() - timedelta(minutes=10))
    world.add("web1", freeze=old)
    assert run(["list", "--older-than", "9m", "--exit-code"]) == 1
    assert run(["list", "--older-than", "11m", "--exit-code"]) == 0


def test_a_source_that_cannot_look_is_told_and_is_never_all_well(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.problem = FrostwatchError("can't read \x1b/proc")
    assert run(["list", "--json"]) == 0
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "frostwatch: can't read \\x1b/proc\n"
    assert run(["list", "--exit-code"]) == 2


def test_nothing_found_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "no VM was found" in seen.err


def test_without_a_terminal_the_console_is_the_list(
    three: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([]) == 0
    alone = capsys.readouterr().out
    run(["list"])
    assert alone == capsys.readouterr().out
    assert "qemu:web1" in alone


def test_vms_are_named_on_the_group_and_after_the_command(world: World) -> None:
    run(["--vm", "name=a,agent=/a", "--read-only", "--interval", "5", "list", "--vm", "name=b"])
    (options,) = world.options
    assert options.specs == ("name=a,agent=/a", "name=b")
    assert options.read_only
    assert options.policy.agent_interval_s == 5


def test_what_hangs_is_not_known_and_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("db", freeze=FreezeInfo(FreezeState.THAWED))
    world.hanging = (
        Note("source pve", "it has not answered since 12:00:00", None, may_hide_vms=True),
    )
    assert run(["list", "--exit-code", "--state", "frozen"]) == 3
    assert "source pve: it has not answered since 12:00:00" in capsys.readouterr().err
    assert run(["thaw", "--all"]) == 1
    assert "source pve: it has not answered since 12:00:00" in capsys.readouterr().err


def test_what_others_have_pending_is_listed_by_its_word(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    since = now() - timedelta(minutes=12)
    upid = "task UPID:n:1:2:3:vzdump:101:root@pam:"
    pending = Others(OthersState.PENDING, since, ChannelClient(upid, 4711, "root"))
    for name, others in (("web1", pending), ("db1", pending._replace(state=OthersState.LOST))):
        world.add(name, agent=BUSY)
        world.seen[name] = world.seen[name]._replace(others=others)
    assert run(["list"]) == 0
    _, web, db = capsys.readouterr().out.splitlines()
    assert "others-pending" in web
    assert "vzdump 101 (pid 4711)" in web
    assert "likely a freeze" in web
    assert "others-lost" in db
    assert run(["list", "--json", "--state", "others-lost", "--exit-code"]) == 1
    assert _ids(capsys.readouterr().out) == ["qemu:db1"]
    old = ["list", "--state", "others-pending", "--older-than"]
    assert run([*old, "10m", "--exit-code"]) == 1
    assert run([*old, "20m"]) == 0
    assert "no VM matches" in capsys.readouterr().err


def test_what_others_froze_has_two_names(three: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--json", "--state", "others-frozen"]) == 0
    assert _ids(capsys.readouterr().out) == ["qemu:db[/]1"]
