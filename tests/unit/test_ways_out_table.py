"""The docs' table of the ways out of a freeze names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_way_out_is_tried() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = text.partition("## Ways out of a freeze")[2].splitlines()
    table = [row.split("|")[1:-1] for row in rows if row.startswith("|")][2:]
    assert len(table) >= 10
    written = "\n".join(
        path.read_text()
        for folder in ("unit", "faults", "guests")
        for path in (ROOT / "tests" / folder).glob("test_*.py")
    )
    for way, who, when, tried in table:
        assert who.strip(), way
        assert when.strip(), way
        names = re.findall(r"`(test_\w+)`", tried)
        assert names, f"nothing tries: {way}"
        for name in names:
            assert f"def {name}(" in written, name
