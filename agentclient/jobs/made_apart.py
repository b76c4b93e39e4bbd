"""Makes something in a process of its own, which undoes it if nobody waits for it any more.

A thread that hangs on a storage can't be ended, nor can its process before the storage answers; and
then a file is there that nobody expects any more. So the folder of a copy is made here, and what is
outside of it, beside files of others.
"""

from __future__ import annotations

import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.storage_process import (
    CALL_S,
    ENDED,
    StorageHangs,
    leave,
    read_answer,
    started,
    write_answer,
)
from agentclient.model.errors import NO_THREAD, FrostwatchError

T = TypeVar("T")

# How long it may take, in seconds.
MADE_WITHIN_S: Final = 60.0
_TICK_S: Final = 0.1
_UNDONE_WITHIN_S: Final = 1.0
_TAKEN: Final = b"taken"
_HANGS: Final = "its storage may hang; it is deleted again once that answers"


def made_apart(
    control: JobControl,
    what: str,
    make: Callable[[], T],
    undo: Callable[[T], object],
    bound_s: float = MADE_WITHIN_S,
) -> T:
    """Return what `make` returns, or raise what it raises.

    Args:
        control: a cancellation ends the wait.
        what: what it does, as a clause that begins a sentence.
        make: a `functools.partial` of a module's function, with arguments that can be pickled; it
            raises nothing but an OSError, or one of this project's errors.
        undo: the same, which is called with its result if that comes when nobody waits for it.
        bound_s: how long it may take, in seconds.

    Raises:
        JobCancelled: the job was cancelled meanwhile.
        JobFailed: it takes longer, or there is no process for it.
    """
    try:
        child = started(__name__, pickle.dumps((make, undo)))
    except StorageHangs as error:
        raise JobFailed(f"{what}: {error.strerror}") from error
    except (OSError, *NO_THREAD) as error:
        raise JobFailed(f"this host has no process left: {error}") from error
    try:
        _await(child, control, what, bound_s)
        result: T
        result, problem = _answer(child)
        if problem is not None:
            raise problem
        _take(child)
    except BaseException:
        _undo(child)
        raise
    finally:
        leave(child)
    return result


def _await(child: subprocess.Popen[bytes], control: JobControl, what: str, bound_s: float) -> None:
    """Wait until it has answered.

    Raises:
        JobCancelled: the job was cancelled.
        JobFailed: it takes too long.
    """
    until = time.monotonic() + bound_s
    answers = select.poll()
    assert child.stdout is not None, "it is a pipe"
    answers.register(child.stdout, select.POLLIN)
    while not answers.poll(_TICK_S * 1000):
        control.check()
        if time.monotonic() >= until:
            raise JobFailed(f"{what} takes longer than {bound_s:g} s: {_HANGS}")
    control.check()


def _answer(child: subprocess.Popen[bytes]) -> tuple[Any, Exception | None]:
    """Return what it has made, and why it could not.

    Raises:
        JobFailed: it has ended without an answer.
    """
    assert child.stdout is not None, "it is a pipe"
    answer = read_answer(child.stdout.fileno(), time.monotonic() + CALL_S)
    if not answer:
        raise JobFailed(ENDED)
    found: tuple[Any, Exception | None] = pickle.loads(answer)  # noqa: S301 - of our own child
    return found


def _undo(child: subprocess.Popen[bytes]) -> None:
    """Have it undone, and wait a moment for that: it is done then, unless its storage hangs."""
    assert child.stdin is not None, "it is a pipe"
    with suppress(OSError):
        child.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_UNDONE_WITHIN_S)


def _take(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None, "it is a pipe"
    child.stdin.write(_TAKEN)
    child.stdin.flush()


def main() -> None:
    """Make what the standard input says; undo it unless that says that it is taken."""
    make, undo = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent
    try:
        result = make()
    except (OSError, FrostwatchError) as error:
        with suppress(BrokenPipeError):
            write_answer(sys.stdout.buffer, pickle.dumps((None, error)))
        return
    with suppress(BrokenPipeError):
        write_answer(sys.stdout.buffer, pickle.dumps((result, None)))
    if sys.stdin.buffer.read(len(_TAKEN)) != _TAKEN:
        undo(result)
