"""Has ``qemu-img`` check an image, or make a whole one of a chain; it is ended with us."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple

from agentclient.model.text import printable

TOOL: Final = "qemu-img"
TICK_S: Final = 0.1
# It reads the tables alone: some megabytes for each terabyte.
CHECK_S: Final = 600.0
# An empty image has some kilobytes.
MADE_S: Final = 60.0
# A conversion may take hours; one of which nothing moves for so long does not come back.
STANDS_S: Final = 600.0
INSTALL: Final = f"{TOOL} is not here: install it (Debian, Ubuntu: qemu-utils; Fedora: qemu-img)"
_ENDS_S: Final = 5.0
_CORRUPT: Final = 2
_LEAKS: Final = 3
_SAID: Final = 4096
_PERCENT: Final = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


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
    end = _run(command, CHECK_S, TICK_S / 5, tick)
    if isinstance(end, str):
        return end
    if end.code in (0, _LEAKS):  # a leak wastes room, and loses nothing
        return None
    what = "finds it damaged" if end.code == _CORRUPT else "can't check it"
    return f"{TOOL} {what}: {end.said}"


def make_image(
    program: str, path: Path, size: int, backing: tuple[str, str] | None, tick: Callable[[], object]
) -> str | None:
    """Make an empty qcow2 of a file that exists.

    Args:
        program: the path of ``qemu-img``.
        path: the file.
        size: the disk's size, in bytes.
        backing: the image that it is on top of, by its name as it is to be written there, and that
            one's format; it is not opened. None for none.
        tick: is called about ten times a second; what it raises ends it.

    Returns:
        What is wrong, as a clause; None if nothing is.
    """
    below = [] if backing is None else ["-u", "-b", backing[0], "-F", backing[1]]
    command = [program, "create", "-q", "-f", "qcow2", *below, str(path), str(size)]
    end = _run(command, MADE_S, TICK_S / 10, tick)
    if isinstance(end, str):
        return end
    return None if end.code == 0 else f"{TOOL} can't make it: {end.said}"


def convert_image(
    program: str,
    source: tuple[Path, str],
    target: tuple[Path, str],
    tick: Callable[[float], object],
) -> str | None:
    """Make one whole image of an image and all that it builds on.

    Args:
        program: the path of ``qemu-img``.
        source: the image, and its format.
        target: the file to write, which exists and is empty; and its format.
        tick: is called about ten times a second with how far it is, in percent; what it raises
            ends the conversion.

    Returns:
        What is wrong, as a clause; None if nothing is.
    """
    (read, read_format), (written, format_) = source, target
    command = [program, "convert", "-p", "-f", read_format, "-O", format_, str(read), str(written)]
    with tempfile.TemporaryFile() as progress, tempfile.TemporaryFile() as said:
        try:
            with _running(command, progress, said) as process:
                moved, since = (0.0, 0), time.monotonic()
                while not _has_ended(process):
                    now = (_percent(progress), written.stat().st_blocks)
                    if now != moved:
                        moved, since = now, time.monotonic()
                    elif time.monotonic() - since > STANDS_S:
                        return f"{TOOL} convert stands still for {STANDS_S:g} s"
                    tick(now[0])
                    time.sleep(TICK_S)
        except OSError as error:
            return f"{TOOL} can't be run: {error.strerror}"
        if process.returncode == 0:
            return None
        return f"{TOOL} can't convert it: {_why(process, said)}"


class _End(NamedTuple):
    """How a program has ended: its exit code, and the last that it has said."""

    code: int
    said: str


def _run(
    command: Sequence[str], bound_s: float, every_s: float, tick: Callable[[], object]
) -> _End | str:
    """Run a program to its end, for so many seconds at the most; or return why it did not end.

    Args:
        command: the program and its arguments; the first of these says what it does.
        bound_s: how long it may take, in seconds.
        every_s: seconds between two calls of `tick`.
        tick: what it raises ends the program.
    """
    with tempfile.TemporaryFile() as said:
        try:
            with _running(command, said, said) as process:
                deadline = time.monotonic() + bound_s
                while not _has_ended(process):
                    if time.monotonic() > deadline:
                        return f"{TOOL} {command[1]} takes longer than {bound_s:g} s"
                    tick()
                    time.sleep(every_s)
        except OSError as error:
            return f"{TOOL} can't be run: {error.strerror}"
        return _End(process.returncode, _why(process, said))


@contextmanager
def _running(
    command: Sequence[str], out: IO[bytes], said: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and end it when the block is left before its end.

    Raises:
        OSError: it can't be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=said,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        yield process
    finally:
        _end(process)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a program has ended; its exit code is known then.

    Raises:
        OSError: it has, and how can't be told. Python would say that it has ended well.
    """
    try:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
    except ChildProcessError:
        why = "how it ended can't be told: somebody else has waited for it"
        raise OSError(errno.ECHILD, why) from None
    return process.poll() is not None


def _why(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(_SAID).decode("utf-8", "replace").split("\n")
    why = next((line for line in reversed(lines) if line.strip()), f"exit {process.returncode}")
    return printable(why.strip(), 200)


def _percent(progress: IO[bytes]) -> float:
    """Return how far a conversion is, by the last that it has written."""
    size = os.fstat(progress.fileno()).st_size
    found = _PERCENT.findall(os.pread(progress.fileno(), 64, max(0, size - 64)))
    return min(100.0, float(found[-1])) if found else 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # it may hang in a read
        process.wait(_ENDS_S)
