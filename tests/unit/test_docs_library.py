"""The page for scripts: its examples run as they stand, on simulated guests."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import agentclient

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_its_examples_do_what_it_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    test = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 15
    said: list[str] = []
    try:
        doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
    finally:
        if "engine" in test.globs:
            test.globs["engine"].close()
    assert not said, "".join(said)


def test_each_public_name_can_be_had() -> None:
    for name in agentclient.__all__:
        assert getattr(agentclient, name).__module__.startswith("agentclient.")
    assert set(agentclient.__all__) <= set(dir(agentclient))


def test_it_names_public_names_alone() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {
        name.strip()
        for line in re.findall(r"from agentclient import ([\w, ]+)", text)
        for name in line.split(",")
    }
    assert named <= set(agentclient.__all__)
