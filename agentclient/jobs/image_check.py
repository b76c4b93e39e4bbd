"""Has ``qemu-img check`` look at an image, within a bound."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.model.text import printable

TOOL: Final = "qemu-img"
TICK_S: Final = 0.1
# It reads the tables alone: some megabytes for each terabyte.
CHECK_S: Final = 600.0
_ENDS_S: Final = 5.0
_CORRUPT: Final = 2
_LEAKS: Final = 3
_SAID: Final = 4096


def tool() -> str | None:
    """Return the path of ``qemu-img``; None if it isn't here."""
    return shutil.which(TOOL)


def check_image(program: str, folder: Path, name: str, tick: Callable[[], object]) -> str | None:
    """Check an image's own structure; it is only read.

    Args:
        program: the path of ``qemu-img``.
        folder: the image's folder.
        name: the image's name in there.
        tick: is called about ten times a second; what it raises ends the check.

    Returns:
        What is wrong, as a clause; None if nothing is.
    """
    command = [program, "check", "-q", "-U", "-f", "qcow2", str(folder.absolute() / name)]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            return f"{TOOL} can't be started: {error.strerror}"
        deadline = time.monotonic() + CHECK_S
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    return f"{TOOL} check takes longer than {CHECK_S:g} s"
                tick()
                time.sleep(TICK_S / 5)
        finally:
            _end(process)
        said.seek(0)
        lines = said.read(_SAID).decode("utf-8", "replace").split("\n")
    if process.returncode in (0, _LEAKS):  # a leak wastes room, and loses nothing
        return None
    why = next((line for line in reversed(lines) if line.strip()), f"exit {process.returncode}")
    what = "finds it damaged" if process.returncode == _CORRUPT else "can't check it"
    return f"{TOOL} {what}: {printable(why.strip(), 200)}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # it may hang in a read
        process.wait(_ENDS_S)
