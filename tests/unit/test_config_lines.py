"""The line of each statement of a TOML file."""

from __future__ import annotations

import time
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentclient.config.lines import Place, lines_of

TEXT = '''
hold = "1s" # a comment with = and [
a.b = [
  "]",
  """
x = 1
[[vm]]
""",
]

[[vm]]
match = "a"
[[vm]]
match = { x = 1, y = [ { z = 2 } ] }
[vm.more]
deep = 1
[[vm.many]]
n = 1
[[vm.many]]
n = 2
[c.d]
"quoted # key" = 3
'''


def test_each_statement_is_found_on_its_first_line() -> None:
    found = lines_of(TEXT)
    expected: dict[Place, int] = {
        ("hold",): 2,
        ("a",): 3,
        ("a", "b"): 3,
        ("a", "b", 0): 3,
        ("a", "b", 1): 3,
        ("vm",): 11,
        ("vm", 0): 11,
        ("vm", 0, "match"): 12,
        ("vm", 1): 13,
        ("vm", 1, "match"): 14,
        ("vm", 1, "match", "x"): 14,
        ("vm", 1, "match", "y"): 14,
        ("vm", 1, "match", "y", 0): 14,
        ("vm", 1, "match", "y", 0, "z"): 14,
        ("vm", 1, "more"): 15,
        ("vm", 1, "more", "deep"): 16,
        ("vm", 1, "many"): 17,
        ("vm", 1, "many", 0): 17,
        ("vm", 1, "many", 0, "n"): 18,
        ("vm", 1, "many", 1): 19,
        ("vm", 1, "many", 1, "n"): 20,
        ("c",): 21,
        ("c", "d"): 21,
        ("c", "d", "quoted # key"): 22,
    }
    assert found == expected


_BARE = st.sampled_from(["a", "b", "c", '"d.e"', "'f'"])
_KEYS = st.lists(_BARE, min_size=1, max_size=3).map(".".join)
_SCALARS = st.sampled_from(["1", "'x'", '"""\n#\n"""', "'''\n[a]\nb = 1\n'''", "true", "1.5"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[\n" + ",\n# c ]\n".join(each) + "\n]"),
        st.builds("{{ k = {} }}".format, inner),
    ),
    max_leaves=4,
)
_STATEMENTS = st.one_of(
    st.builds("{} = {}".format, _KEYS, _VALUES),
    st.builds("[{}]".format, _KEYS),
    st.builds("[[{}]]".format, _KEYS),
    st.sampled_from(["", "# = [", "\t"]),
)


def _places(value: Any, place: Place = ()) -> set[Place]:
    found = {place} if place else set()
    named = value.items() if isinstance(value, dict) else ()
    counted = enumerate(value) if isinstance(value, list) else ()
    for key, each in (*named, *counted):
        found |= _places(each, (*place, key))
    return found


@given(st.lists(_STATEMENTS, max_size=8))
def test_whatever_stands_in_a_file_is_found_in_one_of_its_statements(statements: list[str]) -> None:
    text = "\n".join(statements)
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    found = lines_of(text)
    assert _places(document) == set(found)
    begins, line = set(), 1
    for each in statements:
        begins.add(line)
        line += each.count("\n") + 1
    assert set(found.values()) <= begins


def test_a_statement_of_very_many_lines_costs_no_minutes() -> None:
    text = "a = 1\nb = '''\n" + "]\n" * 200_000 + "'''\nc = 3\n"
    assert tomllib.loads(text)["c"] == 3
    began = time.process_time()
    found = lines_of(text)
    assert time.process_time() - began < 20
    assert found[("a",)] == 1
