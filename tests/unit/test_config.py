"""What is set by whom, and who wins."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.config.defaults import DEFAULTS, General
from agentclient.config.load import files_looked_at, gather, load_settings
from agentclient.config.origin import OriginKind
from agentclient.config.paths import is_nothing_set
from agentclient.config.settings import Policies, Settings
from agentclient.config.tree import BY_NAME, KEYS, Key, Kind
from agentclient.config.values import as_text, from_file, from_text
from agentclient.model.errors import BadInput
from agentclient.model.policy import DEFAULT_POLICY, VmPolicy
from agentclient.model.request import Schedule
from agentclient.model.vm import AgentChannel, Vm, VmId

VM = Vm(VmId("qemu", "db-1"), AgentChannel(Path("/run/db-1.qga")), selectors=("101", "db-1#101"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the person's own file; the system's is beside it."""
    monkeypatch.delenv("FROSTWATCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("agentclient.config.paths.SYSTEM_FILE", tmp_path / "system.toml")
    (tmp_path / "frostwatch").mkdir()
    return tmp_path


def write(home: Path, text: str, *, system: bool = False) -> Path:
    path = home / ("system.toml" if system else "frostwatch/config.toml")
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_every_setting_has_a_field_and_every_field_a_setting() -> None:
    assert {key.field for key in KEYS if key.per_vm} == set(VmPolicy._fields)
    assert {key.field for key in KEYS if not key.per_vm} == set(General._fields)
    assert len(BY_NAME) == len(KEYS)


def test_without_files_all_is_as_the_freeze_itself_has_it(home: Path) -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.general == DEFAULTS
    assert settings.policy == DEFAULT_POLICY
    assert Schedule.of(settings.policy) == Schedule() == Schedule.of(None)
    assert not settings.read_only


def test_a_default_is_weaker_than_the_system_than_the_person_than_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = BY_NAME["hold"]
    seen = [load_settings().given(hold)]
    system = write(home, 'hold = "1s"', system=True)
    seen.append(load_settings().given(hold))
    own = write(home, "\n\nhold = 2\n")
    seen.append(load_settings().given(hold))
    monkeypatch.setenv("FROSTWATCH_HOLD", "3s")
    seen.append(load_settings().given(hold))
    seen.append(load_settings().with_options(hold=4.0, probes=None).given(hold))
    assert [one.value for one in seen] == [0.0, 1.0, 2.0, 3.0, 4.0]
    names = ["default", f"{system}:1", f"{own}:3", "FROSTWATCH_HOLD", "--hold"]
    assert [str(one.origin) for one in seen] == names
    kinds = [one.origin.kind for one in seen]
    assert kinds == [
        OriginKind.DEFAULT,
        OriginKind.FILE,
        OriginKind.FILE,
        OriginKind.ENVIRONMENT,
        OriginKind.OPTION,
    ]


def test_of_two_sections_the_later_one_counts_and_a_section_more_than_what_is_for_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        home,
        '[[vm]]\nmatch = "db-*"\nhold = "1s"\nprobes = 1\n'
        '[[vm]]\nmatch = ["x", "db-?"]\nhold = "2s"',
        system=True,
    )
    write(home, 'hold = "9s"\nprobes = 9\nfirst_timeout = "1m"')
    settings = load_settings()
    policy = settings.policy_of(("db-1",))
    assert (policy.hold_s, policy.probes, policy.first_timeout_s) == (2.0, 1, 60.0)
    assert settings.policy_of(("db-10",)).hold_s == 1.0
    assert settings.policy_of(("mail",)).hold_s == settings.policy.hold_s == 9.0
    write(home, '[[vm]]\nmatch = "*"\nhold = "3s"')
    assert load_settings().policy_of(("db-1",)).hold_s == 3.0
    monkeypatch.setenv("FROSTWATCH_HOLD", "4s")
    assert load_settings().policy_of(("db-1",)).hold_s == 4.0
    assert load_settings().with_options(hold=5.0).policy_of(("db-1",)).hold_s == 5.0


@pytest.mark.parametrize("name", ["db-1", "qemu:db-1", "101", "db-1#101", "qemu:*", "10[0-9]"])
def test_a_vm_is_meant_by_all_that_it_is_called(home: Path, name: str) -> None:
    write(home, f'[[vm]]\nmatch = "{name}"\nhold = "7s"')
    policies = Policies(load_settings())
    found = policies.apply(VM).policy
    assert found is not None
    assert found.hold_s == 7.0
    assert policies.apply(VM).policy is found  # once for each VM
    other = policies.apply(Vm(VmId("socket", "web"))).policy
    assert other is not None
    assert other.hold_s == 0.0


def test_a_name_with_letters_of_patterns_in_it_is_meant_by_itself_as_well(home: Path) -> None:
    write(home, '[[vm]]\nmatch = "db[1]"\nhold = "7s"')
    holds = [load_settings().policy_of((name,)).hold_s for name in ("db[1]", "db1", "db2", "DB1")]
    assert holds == [7.0, 7.0, 0.0, 0.0]


def test_an_agent_that_is_never_asked_can_be_reached_by_nobody(home: Path) -> None:
    path = write(home, '\n[[vm]]\nmatch = "db-1"\nnever_ask = true\n')
    vm = Policies(load_settings()).apply(VM)
    assert vm.agent is None
    assert vm.out_of_reach == f"its agent is never asked: never_ask is set ({path}:4)"
    assert vm.freeze_disabled == vm.out_of_reach
    by_call = Policies(load_settings()).apply(VM._replace(agent=None, by_call=True))
    assert (by_call.has_agent, by_call.out_of_reach) == (False, vm.out_of_reach)
    without = VM._replace(agent=None)
    assert (
        Policies(load_settings()).apply(without).out_of_reach is None
    )  # there is none to be asked


def test_what_taints_a_domain_of_libvirt_can_be_forbidden(home: Path) -> None:
    path = write(home, "never_taint = true\n")
    policies = Policies(load_settings())
    domain = policies.apply(Vm(VmId("libvirt", "db1"), by_call=True))
    assert (domain.has_agent, domain.freeze_disabled) == (False, domain.out_of_reach)
    assert domain.out_of_reach == (
        f"its agent is never asked: its commands taint a domain, and never_taint is set ({path}:1)"
    )
    assert policies.apply(VM).agent is not None, "elsewhere nothing is tainted"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", False),
        ("read_only = true", True),
        ('[[vm]]\nmatch = "a"\nread_only = true', False),
        ('read_only = true\n[[vm]]\nmatch = "a"\nread_only = false', False),
        ('read_only = true\n[[vm]]\nmatch = "a"\nread_only = true', True),
        ('read_only = true\n[[vm]]\nmatch = "a"\nhold = "1s"', True),
    ],
)
def test_what_is_read_only_as_a_whole_and_what_for_some(
    home: Path, text: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, text)
    assert load_settings().read_only is whole
    assert load_settings().with_options(read_only=True).read_only
    none = load_settings().with_options(read_only=False)
    assert (none.read_only, none.policy_of(("a",)).read_only) == (False, None)
    monkeypatch.setenv("FROSTWATCH_READ_ONLY", "0")
    assert not load_settings().read_only


def test_a_monitor_is_looked_at_no_less_often_than_its_agent_is_asked(home: Path) -> None:
    write(home, 'agent_interval = "1s"')
    assert load_settings().policy.monitor_interval_s == 1.0
    assert load_settings().with_options(agent_interval=60.0).policy.monitor_interval_s == 2.0


def test_general_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    write(home, 'freezes_at_once = 3\nwithin = "5s"\njournal = "~/j.db"\nascii = true')
    assert load_settings().general == General(3, 5.0, Path("/home/eve/j.db"), ascii=True)
    monkeypatch.setenv("NO_COLOR", "1")
    given = load_settings().given(BY_NAME["colours"])
    assert (given.value, str(given.origin)) == (False, "NO_COLOR")


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("FROSTWATCH_HOLD", "soon", "FROSTWATCH_HOLD: 'soon' is no duration: write 90, 90s"),
        ("FROSTWATCH_PROBES", "-1", "FROSTWATCH_PROBES: '-1' is no whole number"),
        ("FROSTWATCH_PROBES", "9" * 5000, "is no whole number"),
        ("FROSTWATCH_PROBES", "1001", "FROSTWATCH_PROBES: 1001 is not in 0 to 1000"),
        ("FROSTWATCH_READ_ONLY", "maybe", "FROSTWATCH_READ_ONLY: 'maybe' is neither yes nor no"),
        ("FROSTWATCH_JOURNAL", "j.db", "FROSTWATCH_JOURNAL: 'j.db' depends on the current folder"),
        ("FROSTWATCH_HODL", "1", "(did you mean FROSTWATCH_HOLD?)"),
        ("FROSTWATCH_AGENT_INTERVAL", "0.1", "0.1s is not in 0.5s to"),
        ("FROSTWATCH_CONFIG", "/none", "/none: there is no such file"),
        ("FROSTWATCH_HOLD", "3m", 'FROSTWATCH_HOLD: hold: "3m" is longer than max_hold, "2m" (def'),
    ],
)
def test_a_variable_that_can_not_be_used_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["LAB", "LAB_RELEASE", "SEED", "ROUNDS"])
def test_variables_of_others_that_begin_alike_are_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"FROSTWATCH_{name}", "1")
    monkeypatch.setenv("FROSTWATCH_HOLD", "")  # nothing is no value
    assert load_settings() == Settings()


def test_where_files_are_looked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = home / "frostwatch/config.toml"
    assert [one.path for one in files_looked_at()] == [home / "system.toml", own]
    assert files_looked_at(no_file=True) == ()
    (one,) = files_looked_at("x.toml")
    assert (one.path, one.needed) == (Path.cwd() / "x.toml", True)
    monkeypatch.setenv("FROSTWATCH_CONFIG", "/x.toml")
    assert [one.path for one in files_looked_at()] == [Path("/x.toml")]
    assert [one.path for one in files_looked_at("/y.toml")] == [Path("/y.toml")]
    monkeypatch.delenv("FROSTWATCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/eve")
    assert files_looked_at()[1].path == Path("/home/eve/.config/frostwatch/config.toml")
    with pytest.raises(BadInput):
        files_looked_at(" ")


def test_a_person_without_a_home_has_the_systems_file_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("agentclient.config.paths.home", lambda: None)
    assert [one.path for one in files_looked_at()] == [home / "system.toml"]


def test_what_can_be_used_is_used_beside_what_can_not(home: Path) -> None:
    write(home, 'probes = 2\nhold = "x"\nnothing = 1')
    settings, problems = gather(files_looked_at())
    assert settings.policy.probes == 2
    assert len(problems) == 2
    with pytest.raises(BadInput, match=r"; 1 more: frostwatch config check$"):
        load_settings()


@given(st.sampled_from(KEYS), st.floats(0, 1e6), st.integers(0, 10**6), st.booleans())
def test_what_a_file_says_can_be_written_again(
    key: Key, seconds: float, count: int, flag: bool
) -> None:
    kinds: dict[Kind, object] = {
        Kind.DURATION: round(min(max(seconds, key.low), key.high), 3),
        Kind.COUNT: int(min(max(count, key.low), key.high)),
        Kind.FLAG: flag,
        Kind.PATH: "/var/lib/j",
        Kind.NAME: "light-2",
        Kind.TEXTS: list(key.choices) or ["qemu:///system", "test:///default"],
    }
    value = from_file(key, kinds[key.kind])
    written = as_text(key, value)
    if key.kind is Kind.TEXTS:
        assert from_file(key, tomllib.loads(f"a = {written}")["a"]) == value
        written = " ".join(map(str, value)) if isinstance(value, tuple) else ""
    again = from_text(key, written.strip('"'))
    assert again == (pytest.approx(value) if key.kind is Kind.DURATION else value)


@given(st.sampled_from(KEYS), st.text())
def test_no_text_of_a_variable_crashes_it(key: Key, text: str) -> None:
    with contextlib.suppress(BadInput):
        assert from_text(key, text) is not None


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30)))
def test_no_environment_crashes_it(variables: dict[str, str]) -> None:
    there = {f"FROSTWATCH_{name}": text for name, text in variables.items()}
    there.pop("FROSTWATCH_CONFIG", None)
    gather((), there)


@pytest.mark.parametrize(
    ("variables", "nothing"),
    [
        ({}, True),
        ({"FROSTWATCH_HOLD": "1"}, False),
        ({"FROSTWATCH_HODL": "1"}, False),
        ({"FROSTWATCH_HOLD": " "}, True),
        ({"FROSTWATCH_CONFIG": os.devnull}, True),
        ({"FROSTWATCH_CONFIG": "/none"}, False),
    ],
)
def test_whether_anything_is_set_is_known_without_reading_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], nothing: bool
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert is_nothing_set() is nothing
    assert not is_nothing_set("/named")
    assert not is_nothing_set("")
    hold = "FROSTWATCH_HO" in "".join(variables) and next(iter(variables.values())).strip()
    assert is_nothing_set(no_file=True) is not bool(hold)


def test_a_file_that_is_there_or_can_not_be_seen_is_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_nothing_set()
    (home / "frostwatch/config.toml").symlink_to("/nowhere")
    assert not is_nothing_set()
    assert is_nothing_set(no_file=True)
    (home / "frostwatch/config.toml").unlink()
    write(home, "", system=True)
    assert not is_nothing_set()

    def no(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", no)
    assert not is_nothing_set()


def test_the_file_of_this_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["FROSTWATCH_CONFIG"] == os.devnull
    assert load_settings().policy == DEFAULT_POLICY
