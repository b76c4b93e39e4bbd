"""Every fact of the protocol that the code cites stands in docs/protocol.md under its number."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CITED = re.compile(r"§(\d+)(?:\.(\d+))?")
_ANCHOR = re.compile(r'<a id="(\d+)(?:-(\d+))?"></a>')


def test_what_is_cited_can_be_looked_up() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    known = {match.groups() for match in _ANCHOR.finditer(page)}
    missing = []
    for folder in ("agentclient", "tui", "tests", "docs"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix not in (".py", ".md"):
                continue
            cited = {match.groups() for match in _CITED.finditer(file.read_text())}
            missing += [f"{file.name}: §{'.'.join(filter(None, one))}" for one in cited - known]
    assert known
    assert not missing
