"""Calls functions that may hang on a storage in a process of its own, which can be left behind.

What waits for a storage in the kernel can't always be ended, and a thread that does keeps its whole
process from ending. So files are deleted here: a command ends also while their storage hangs.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from agentclient.model.errors import NO_THREAD

T = TypeVar("T")

# How long one call may take, in seconds.
CALL_S: Final = 30.0
_HEAD: Final = struct.Struct("!I")
_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agentclient.late import load; load(sys.argv[2], 'main')()"
)
ENDED: Final = "the process that was to do it has ended"
# Those that have not ended yet; the system ends them once their storage answers.
_LEFT: list[subprocess.Popen[bytes]] = []


class StorageHangs(OSError):
    """A storage has not answered in time; what was asked of it may happen yet."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0, f"its storage has not answered for {seconds:g} s")


def call_in_order(
    calls: Sequence[Callable[[], T]], bound_s: float | None = None
) -> list[T | OSError]:
    """Call functions one after the other, until one hangs.

    Args:
        calls: each a `functools.partial` of a module's function, with arguments that can be
            pickled; it raises nothing but an OSError.
        bound_s: how long each may take, in seconds; None for `CALL_S`.

    Returns:
        For each what it has returned, or the error that it has raised; a `StorageHangs` for the one
        that hangs, and for all behind it.
    """
    if not calls:
        return []
    bound_s = CALL_S if bound_s is None else bound_s
    try:
        child = started(__name__, pickle.dumps(list(calls)), bound_s)
    except StorageHangs as error:
        return [error] * len(calls)
    except (OSError, *NO_THREAD) as error:
        return [OSError(0, f"this host has no process left: {error}")] * len(calls)
    try:
        return _answers(child, len(calls), bound_s)
    finally:  # also if Ctrl-C ends the wait
        end(child)


def _answers(child: subprocess.Popen[bytes], count: int, bound_s: float) -> list[T | OSError]:
    """Return what each call of a process has come to."""
    assert child.stdin is not None, "it is a pipe"
    assert child.stdout is not None, "it is a pipe"
    child.stdin.close()
    found: list[T | OSError] = []
    while len(found) < count:
        answer = read_answer(child.stdout.fileno(), time.monotonic() + bound_s)
        if not answer:
            why = StorageHangs(bound_s) if answer is None else OSError(0, ENDED)
            return found + [why] * (count - len(found))
        found.append(pickle.loads(answer))  # noqa: S301 - of our own child
    return found


def main() -> None:
    """Call what the standard input says, and write what comes of it."""
    calls = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent
    for call in calls:
        try:
            result = call()
        except OSError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - it is told where it was asked for
            result = OSError(0, repr(error))
        write_answer(sys.stdout.buffer, pickle.dumps(result))


def started(module: str, said: bytes, bound_s: float | None = None) -> subprocess.Popen[bytes]:
    """Start a process that calls the ``main`` of a module, with so many bytes to read.

    Args:
        module: the module's name.
        said: what it reads.
        bound_s: how long it may take to read them, in seconds; None for `CALL_S`.

    Raises:
        StorageHangs: it does not read them in time: what it is to be loaded from hangs.
        OSError: it can't be started.
    """
    bound_s = CALL_S if bound_s is None else bound_s
    program = [sys.executable, "-S", "-E", "-I", "-c", _BOOT, _PACKAGES, module]
    child = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # whoever reads ours must not wait for it
        start_new_session=True,
    )
    try:
        _say(child, said, bound_s)
    except BaseException:
        end(child)
        raise
    return child


def _say(child: subprocess.Popen[bytes], said: bytes, bound_s: float) -> None:
    """Write what a process is to read, which may be more than a pipe holds.

    Raises:
        StorageHangs: it does not read it in time.
    """
    assert child.stdin is not None, "it is a pipe"
    handle, deadline = child.stdin.fileno(), time.monotonic() + bound_s
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    os.set_blocking(handle, False)
    with suppress(BrokenPipeError):
        while said:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise StorageHangs(bound_s)
            with suppress(BlockingIOError):
                said = said[os.write(handle, said) :]
    os.set_blocking(handle, True)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process, which may be past that; nobody waits for it."""
    child.kill()
    leave(child)


def leave(child: subprocess.Popen[bytes]) -> None:
    """Leave a process to itself: nobody reads what it writes."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    _LEFT[:] = [one for one in (*_LEFT, child) if one.poll() is None]


def read_answer(handle: int, deadline: float) -> bytes | None:
    """Read what one call came to; None if it does not come in time, nothing if it never will."""
    head = _read_all(handle, _HEAD.size, deadline)
    return _read_all(handle, _HEAD.unpack(head)[0], deadline) if head else head


def _read_all(handle: int, length: int, deadline: float) -> bytes | None:
    """Read so many bytes; None if they do not come in time, and nothing if they never will."""
    content = b""
    while len(content) < length:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        more = os.read(handle, length - len(content))
        if not more:
            return b""
        content += more
    return content


def write_answer(to: BinaryIO, content: bytes) -> None:
    """Write what one call came to."""
    to.write(_HEAD.pack(len(content)) + content)
    to.flush()
