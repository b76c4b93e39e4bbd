"""The console's actions, which can be given other keys, and how a key is written.

The console has its actions in a file of its own; a test compares both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from agentclient.config.origin import Given
from agentclient.config.punctuation import PUNCTUATION
from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.text import printable

_NAMED: Final = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"),
    *("enter", "tab", "space", "backspace", "escape"),
    *(f"f{number}" for number in range(1, 13)),
)
_LETTER: Final = re.compile(r"[A-Za-z0-9]", re.ASCII)
_WITH_CTRL: Final = re.compile(r"[a-z]|up|down|left|right|home|end|pageup|pagedown", re.ASCII)
_WITH_SHIFT: Final = re.compile(r"up|down|left|right|home|end|tab|f(?:[1-9]|1[0-2])", re.ASCII)
# What is part of no text, and moves in none.
_UNTYPED: Final = re.compile(r"ctrl\+.|(?:shift\+)?f(?:[1-9]|1[0-2])")
# A terminal sends the same for these; and there must be a way out.
_TAKEN: Final = {
    "ctrl+c": "it leaves the console, from everywhere",
    "ctrl+i": "a terminal sends the same for Tab",
    "ctrl+m": "a terminal sends the same for Enter",
    "ctrl+h": "many terminals send the same for Backspace",
}
HOW: Final = "write one letter or sign, or a name such as f5, ctrl+t, pageup, space"
TABLE: Final = "keys"


class Action(NamedTuple):
    """One action of the console.

    Attributes:
        id: what the console calls it.
        keys: its usual keys, with commas in between.
        in_log: it is the log's, where a key of the table may mean something else.
        everywhere: it is done wherever its key is pressed, also where something is typed.
    """

    id: str
    keys: str
    in_log: bool = False
    everywhere: bool = False

    @property
    def name(self) -> str:
        """What a settings file calls it."""
        return self.id.replace(".", "_")


ACTIONS: Final = (
    Action("mark", "space"),
    Action("freeze", "f"),
    Action("thaw", "t"),
    Action("copy", "c"),
    Action("copy.next", "y"),
    Action("thaw.all", "T"),
    Action("extend", "e"),
    Action("attach", "A"),
    Action("stop", "x"),
    Action("rescue", "R"),
    Action("past", "H"),
    Action("look", "r"),
    Action("explain", "i,f2"),
    Action("details", "d"),
    Action("events", "E"),
    Action("take", "w"),
    Action("sort", "s"),
    Action("reverse", "S"),
    Action("sort.next", "greater_than_sign"),
    Action("sort.previous", "less_than_sign"),
    Action("longest", "L"),
    Action("filter", "slash"),
    Action("columns", "C"),
    Action("theme", "Y"),
    Action("pane.larger", "plus"),
    Action("pane.smaller", "minus"),
    Action("enlarge", "enter"),
    Action("pane", "tab"),
    Action("clear", "escape"),
    Action("palette", "colon,ctrl+p"),
    Action("help", "question_mark"),
    Action("quit", "q"),
    Action("stop.console", "ctrl+z", everywhere=True),
    Action("vms.up", "up,k"),
    Action("vms.down", "down,j"),
    Action("vms.first", "home,g"),
    Action("vms.last", "end,G"),
    Action("vms.page_up", "pageup,ctrl+b"),
    Action("vms.page_down", "pagedown,ctrl+f"),
    Action("vms.left", "left,h"),
    Action("vms.right", "right,l"),
    Action("vms.next_trouble", "right_square_bracket"),
    Action("vms.trouble_above", "left_square_bracket"),
    Action("vms.mark_up", "shift+up,K"),
    Action("vms.mark_down", "shift+down,J"),
    Action("vms.mark_to", "v"),
    Action("vms.mark_all", "a,asterisk"),
    Action("log.search", "slash", in_log=True),
    Action("log.next", "n", in_log=True),
    Action("log.previous", "N", in_log=True),
    Action("log.leave", "escape", in_log=True),
)
"""All that can be given other keys; Ctrl-C always leaves."""

BY_NAME: Final = {action.name: action for action in ACTIONS}


def parse_key(text: object) -> str:
    """Return the terminal library's name of a key that a person wrote.

    Raises:
        BadInput: it is no key, or none that could be used; one clause.
    """
    if not isinstance(text, str):
        raise BadInput(f"{HOW}, in quotes")
    if text in PUNCTUATION:
        return PUNCTUATION[text]
    if _LETTER.fullmatch(text):
        return text
    name = text.strip().lower()
    modifier, plus, key = name.rpartition("+")
    wanted = {"ctrl": _WITH_CTRL, "shift": _WITH_SHIFT}.get(modifier)
    if name in _TAKEN:
        raise BadInput(f"{printable(text, 40)} can't be used: {_TAKEN[name]}")
    if name in _NAMED or name in PUNCTUATION.values():
        return name
    if plus and wanted is not None and wanted.fullmatch(key):
        return name
    alike = load("agentclient.model.suggestions", "did_you_mean")(name[:40], _NAMED)
    raise BadInput(f"{printable(text, 40)!r} is no key{alike or f': {HOW}'}")


def parse_keys(value: object, *, everywhere: bool = False) -> str:
    """Return the keys of an action, with commas in between.

    Args:
        value: as it stands in a settings file: a key, or a list of keys.
        everywhere: the action is done also where something is typed.

    Raises:
        BadInput: there is none, or one can't be used.
    """
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise BadInput(f"an action without a key could not be done: {HOW}")
    keys = dict.fromkeys(map(parse_key, listed))
    for key in keys if everywhere else ():
        if not _UNTYPED.fullmatch(key):
            raise BadInput(
                f"{key} can't be used: it would be done wherever that is typed: write a key such as"
                " ctrl+t or f5"
            )
    return ",".join(keys)


def twice_used(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a sentence, with its line, for each key that would mean two things.

    Args:
        given: the keys that are set, by the names of the actions.
    """
    used: dict[tuple[str, bool], str] = {}
    for action in sorted(ACTIONS, key=lambda one: one.name in given):
        own = given.get(action.name)
        keys = str(own.value) if own is not None else action.keys
        for key in keys.split(","):
            other = used.setdefault((key, action.in_log), action.name)
            if other != action.name and own is not None:
                where = printable(own.origin, 300)
                shown = next((sign for sign, name in PUNCTUATION.items() if name == key), key)
                rest = f"give {other} another one" if other not in given else "both are set"
                yield f"{where}: {action.name}: {shown} is the key of {other} already: {rest}"
