"""A holder of which one system call fails; run by file name, as the real one is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from tests.faults.inject import Injector, Point

ROOT: Final = Path(__file__).resolve().parents[2]
BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from tests.faults.holder_under_fault import main; main(sys.argv[2:])"
)


def command(seen: Path, point: Point | None) -> list[str]:
    """Return how to start it; the control channel and the console's pid are appended.

    Args:
        seen: a file that is told the name of each call.
        point: what fails; None for nothing.
    """
    given = None if point is None else [point.call, point.occurrence, point.failure, point.lasts]
    python = [sys.executable, "-S", "-E", "-I", "-c", BOOT, str(ROOT)]
    return [*python, str(seen), json.dumps(given)]


def main(arguments: list[str]) -> None:
    """Be a holder."""
    path, given, descriptor, pid = arguments
    point = Point(*json.loads(given)) if given != "null" else None
    seen = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(name: str) -> None:
        os.write(seen, f"{name}\n".encode())

    from agentclient.holder import main as holder  # noqa: PLC0415 - as late as the real one

    with Injector(point=point, seen=note):
        holder.main(int(descriptor), int(pid))
