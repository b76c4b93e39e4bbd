"""A VM that nobody serves: for commands of a test that would else ask, and thaw, this machine's."""

from __future__ import annotations

import socket
from pathlib import Path


def unserved_vm(folder: Path, name: str = "x") -> list[str]:
    """Return the program's words by which it has one VM, whose agent nobody serves, and no other.

    Args:
        folder: where its socket is made.
        name: what it is called.
    """
    path = folder / "agent"
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(path))
    return ["--named-only", "--vm", f"name={name},agent={path}"]
