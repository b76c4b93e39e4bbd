"""Other keys for the console's actions: which there are, how they are written, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding
from textual.keys import _character_to_key

from agentclient.config.describe import row_object, rows
from agentclient.config.document import parse
from agentclient.config.keys import ACTIONS, BY_NAME, parse_key, twice_used
from agentclient.config.load import SettingsCandidate, gather
from agentclient.config.punctuation import PUNCTUATION
from agentclient.config.settings import Settings
from agentclient.config.settings_file import SettingsFile
from agentclient.model.errors import BadInput
from tui.console import keymap
from tui.console.widget_keys import LOG
from tui.shared.key_names import key_name

PATH = Path("/c.toml")
ANYWHERE = sorted(name for name, action in BY_NAME.items() if not action.everywhere)
FIXED = "quit.too"  # Ctrl-C always leaves


def problems(text: str) -> tuple[str, ...]:
    file = parse(PATH, text)
    return (*file.problems, *twice_used(file.keys))


def test_every_action_of_the_console_can_be_given_another_key() -> None:
    """Who gives the console an action adds it to `agentclient/config/keys.py`."""
    bound = {
        one.id: one.key
        for _, bindings in keymap.PLACES
        for one in bindings
        if isinstance(one, Binding) and one.id != FIXED
    }
    assert {action.id: action.keys for action in ACTIONS} == bound
    in_log = {one.id for one in LOG if isinstance(one, Binding)}
    assert {action.id for action in ACTIONS if action.in_log} == in_log


def test_what_has_priority_everywhere_is_known() -> None:
    prior = {
        one.id
        for _, bindings in keymap.PLACES
        for one in bindings
        if isinstance(one, Binding) and one.priority
    }
    guarded = {"filter", "log.search"}  # they ask first who has the keys
    assert {one.id for one in ACTIONS if one.everywhere} == prior - guarded - {FIXED}


def test_no_key_means_two_things_as_it_is() -> None:
    for in_log in (False, True):
        keys = [k for one in ACTIONS if one.in_log is in_log for k in one.keys.split(",")]
        assert len(keys) == len(set(keys))


def test_signs_are_called_as_the_library_calls_them() -> None:
    for sign, name in PUNCTUATION.items():
        assert _character_to_key(sign) == name
        assert key_name(name) == sign


def test_keys_are_read_with_their_lines() -> None:
    file = parse(PATH, 'hold = 1\n[keys]\nfreeze = "F"\nthaw_all = ["?", "ctrl+t", "f5"]\n')
    assert not file.problems
    assert {name: given.value for name, given in file.keys.items()} == {
        "freeze": "F",
        "thaw_all": "question_mark,ctrl+t,f5",
    }
    assert str(file.keys["freeze"].origin) == "/c.toml:3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[keys]\nfreze = "F"',
            "/c.toml:2: the console has no action 'freze' (did you mean",
        ),
        (
            '[keys]\nxyzzyq = "F"',
            "/c.toml:2: the console has no action 'xyzzyq'; frostwatch config",
        ),
        ('[keys]\nthaw.all = "F"', "/c.toml:2: thaw: write one letter or sign, or a name such as"),
        ("[keys]\nfreeze = 3", "/c.toml:2: freeze: write one letter or sign"),
        ("[keys]\nfreeze = []", "/c.toml:2: freeze: an action without a key could not be done"),
        ('[keys]\nfreeze = "ff"', "/c.toml:2: freeze: 'ff' is no key"),
        ('[keys]\nfreeze = "pgup"', "freeze: 'pgup' is no key (did you mean pageup"),
        ('[keys]\nfreeze = "ctrl+c"', "freeze: ctrl+c can't be used: it leaves the console"),
        ('[keys]\nfreeze = "Ctrl+I"', "freeze: Ctrl+I can't be used: a terminal sends the same"),
        ('[keys]\nfreeze = ""', "freeze: '' is no key"),
        ("keys = 3", "/c.toml:1: write [keys], and below it lines such as freeze ="),
        ("[[keys]]", "/c.toml:1: write [keys], and below it lines such as freeze ="),
        ("[[vm]]\nmatch = 'a'\nkeys = 3", "/c.toml:3: nothing is called 'keys'"),
        # what is done wherever its key is pressed would be done where somebody types
        ('[keys]\nstop_console = "Z"', "stop_console: Z can't be used: it would be done wherever"),
        ('[keys]\nstop_console = ["f5", "space"]', "stop_console: space can't be used: it would"),
        # a key that would mean two things
        ('[keys]\nfreeze = "t"', "/c.toml:2: freeze: t is the key of thaw already: give thaw an"),
        ('[keys]\n\nhelp = "/"', "/c.toml:3: help: / is the key of filter already: give filter"),
        (
            '[keys]\nfreeze = "z"\nthaw = ["t", "z"]',
            "/c.toml:3: thaw: z is the key of freeze already: both are set",
        ),
        ('[keys]\nfreeze = "k"', "freeze: k is the key of vms_up already"),
        ('[keys]\nlog_next = "N"', "log_next: N is the key of log_previous already"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, said: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert said in found[0].replace('"', "'")
    assert found[0].isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '[keys]\nfreeze = "t"\nthaw = "f"',  # each has the other's
        '[keys]\nfreeze = "n"',  # in the log n means something else, as before
        '[keys]\nvms_up = "up"\nfreeze = "k"',
        '[keys]\nfreeze = ["F", "F"]',
        '[keys]\nstop_console = ["f5", "shift+f12", "ctrl+s"]',
    ],
)
def test_keys_that_do_not_get_in_each_others_way(text: str) -> None:
    assert problems(text) == ()


def test_your_own_file_is_stronger_and_the_whole_is_looked_at(tmp_path: Path) -> None:
    system, own = tmp_path / "system.toml", tmp_path / "own.toml"
    system.write_text('[keys]\nfreeze = "F"\nstop = "X"\n')
    own.write_text('[keys]\nfreeze = "f6"\nthaw = "X"\n')
    for file in (system, own):
        file.chmod(0o600)
    places = [SettingsCandidate(system, ""), SettingsCandidate(own, "")]
    settings, found = gather(places)
    assert settings.keymap == {"freeze": "f6", "stop": "X", "thaw": "X"}
    assert len(found) == 1
    assert "X is the key of" in found[0]


def test_they_are_shown_with_who_set_them() -> None:
    file = parse(PATH, '[keys]\nhelp = ["?", "f1"]\n')
    (row,) = [one for one in rows(Settings(keys=file.keys)) if one.key.name.startswith("keys")]
    assert (row.key.name, row.text, str(row.given.origin)) == ("keys.help", "?, f1", "/c.toml:2")
    assert row_object(row)["value"] == ["?", "f1"]


@given(st.text(max_size=12))
def test_whatever_is_written_is_a_key_or_a_sentence(text: str) -> None:
    try:
        key = parse_key(text)
    except BadInput as problem:
        key = str(problem).replace(",", "")
    assert "," not in key
    assert key_name(key).isprintable()


@given(st.dictionaries(st.sampled_from(ANYWHERE), st.sampled_from("abcdefgtxz/?")))
def test_two_actions_with_one_key_are_always_told(keys: dict[str, str]) -> None:
    lines = "".join(f'{name} = "{key}"\n' for name, key in keys.items())
    file: SettingsFile = parse(PATH, f"[keys]\n{lines}")
    assert not file.problems
    told = tuple(twice_used(file.keys))
    now = {
        one.name: str(file.keys[one.name].value) if one.name in keys else one.keys
        for one in ACTIONS
    }
    twice = any(
        len(used) != len(set(used))
        for in_log in (False, True)
        for used in [
            [k for one in ACTIONS if one.in_log is in_log for k in now[one.name].split(",")]
        ]
    )
    assert bool(told) is twice
