"""The shape of the code itself: files of one idea, hardly an exception, and every file told of."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = sorted(path for name in ("agentclient", "tui") for path in (ROOT / name).rglob("*.py"))
EVERYTHING = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))]
LONGEST = 400
MOST_LATE_IMPORTS = 5  # of what the first screen would wait for
MOST_FILES_WITH_THEM = 2
MOST_UNTYPED = 5


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def places(pattern: str, files: list[Path]) -> list[str]:
    """Where a comment of that kind stands."""
    return [
        f"{named(path)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]


def test_a_file_that_is_long_says_why_at_its_top() -> None:
    unexplained = []
    for path in PRODUCT:
        text = path.read_text()
        if len(text.splitlines()) > LONGEST:
            told = ast.get_docstring(ast.parse(text)) or ""
            if "Longer than others" not in told:
                unexplained.append(named(path))
    assert unexplained == []


def test_modules_are_imported_late_in_few_places() -> None:
    late = places(r"# noqa: .*PLC0415", PRODUCT)
    assert len(late) <= MOST_LATE_IMPORTS, late
    assert len({place.partition(":")[0] for place in late}) <= MOST_FILES_WITH_THEM, late


def loaded(path: Path) -> list[tuple[str, str]]:
    """What a file imports by name, with `load`."""
    calls = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)]
    named = [one.args for one in calls if isinstance(one.func, ast.Name) and one.func.id == "load"]
    texts = [[one.value for one in args if isinstance(one, ast.Constant)] for args in named]
    return [(str(text[0]), str(text[1])) for text in texts if len(text) == 2]


def test_what_is_imported_by_name_is_there_and_agentclient_takes_nothing_of_the_console() -> None:
    found = [(path, *each) for path in PRODUCT for each in loaded(path)]
    assert len(found) > 10
    for path, module, name in found:
        assert hasattr(importlib.import_module(module), name), f"{named(path)}: {module}.{name}"
        assert named(path).startswith("tui") or module.startswith("agentclient."), named(path)


def test_modules_are_imported_by_name_in_one_way() -> None:
    others = [place for place in places(r"\bimport_module\(", PRODUCT) if "late.py" not in place]
    assert [place.partition(":")[0] for place in others] == ["agentclient/__init__.py"]


def test_hardly_anything_is_excused_from_types() -> None:
    excused = places(r"#\s*type: ignore", EVERYTHING)
    assert len(excused) <= MOST_UNTYPED, excused
    assert not [place for place in excused if not place.startswith("tests/")]


def test_each_file_of_the_core_is_told_of() -> None:
    told = (ROOT / "docs" / "architecture.md").read_text()
    names = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+)(?:\.py)?/?`", told)}
    rooms = [path for path in PRODUCT if path.parent.parent == ROOT / "agentclient"]
    untold = [named(path) for path in rooms if path.stem != "__init__" and path.stem not in names]
    assert untold == []


# What is run, or kept as it was typed, and never told to a person as a command.
_OF_PROGRAMS = {
    "agentclient/model/shell_words.py",
    "agentclient/backends/libvirt/ssh.py",
    "agentclient/jobs/command/member.py",
    "agentclient/journal/identity.py",
    "tui/cli/web_console.py",
}


def test_commands_that_a_person_pastes_are_written_in_one_way() -> None:
    """`agentclient.model.shell_words` keeps a name from pressing keys where it is pasted."""
    found = {named(path) for path in PRODUCT if "shlex" in path.read_text()}
    assert found == _OF_PROGRAMS


def docstrings(tree: ast.Module) -> list[str]:
    """All docstrings of a file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [ast.get_docstring(one) or "" for one in ast.walk(tree) if isinstance(one, kinds)]


def raised(docstring: str) -> list[str]:
    """The exceptions that a docstring tells of."""
    _, _, section = docstring.partition("Raises:\n")
    lines = re.findall(r"^    ([A-Z]\w+(?:, [A-Z]\w+)*): ", section.partition("\n\n")[0], re.M)
    return [name for line in lines for name in line.split(", ")]


def referred_to(docstring: str) -> list[str]:
    """The classes that a docstring names in backticks: `Class`, or `Class.member`."""
    return re.findall(r"(?<!`)`([A-Z][a-z]\w+)(?:\.\w+)?`(?!`)", docstring)


def test_what_a_docstring_names_is_there() -> None:
    trees = {path: ast.parse(path.read_text()) for path in PRODUCT}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    known = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    known |= {node.id for node in nodes if isinstance(node, ast.Name)}
    known |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    known |= {node.name for node in nodes if isinstance(node, ast.alias)} | set(dir(builtins))
    missing = [
        f"{named(path)}: {name}"
        for path, tree in trees.items()
        for told in docstrings(tree)
        for name in (*raised(told), *referred_to(told))
        if name not in known
    ]
    assert missing == []
