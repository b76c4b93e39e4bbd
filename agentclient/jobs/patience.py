"""Does what may hang on a storage in a thread of its own, for a bounded time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final, TypeVar

from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobFailed
from agentclient.model.errors import NO_THREAD

T = TypeVar("T")

STORAGE_S: Final = 60.0
TICK_S: Final = 0.1


def patiently(
    control: JobControl, what: str, function: Callable[[], T], bound_s: float = STORAGE_S
) -> T:
    """Return what `function` returns, or raise what it raises.

    Its thread can't be ended: it is left behind where the storage hangs.

    Args:
        control: a cancellation ends the wait.
        what: what it does, as a clause that begins a sentence.
        function: what may hang.
        bound_s: how long it may take, in seconds.

    Raises:
        JobCancelled: the job was cancelled meanwhile.
        JobFailed: it takes longer.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            result.set_exception(error)

    try:
        threading.Thread(target=run, name="storage", daemon=True).start()
    except NO_THREAD as error:
        raise JobFailed(f"this host has no thread left: {error}") from error
    waited = 0.0
    while True:
        try:
            return result.result(TICK_S)
        except FutureTimeout:
            if result.done():  # the function has raised one of that kind
                return result.result()
        control.check()
        waited += TICK_S
        if waited >= bound_s:
            raise JobFailed(f"{what} takes longer than {bound_s:g} s: its storage may hang")
