"""The journal as everybody else sees it: what is said to it is written by a thread of its own.

The disk may be slow, locked, full, or on a server that the very guest under freeze carries: whoever
freezes or thaws must not wait for it. SQLite's own busy timeout would bound the wait for a lock,
but none for the disk. So callers put what is to be written into a bounded queue and go on; what is
lost when that is full is history.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from agentclient.text import printable

if TYPE_CHECKING:
    import sqlite3

    from agentclient.journal.store import Store

T = TypeVar("T")
# How long a freeze or a thaw waits for the journal at the most, in seconds.
PATIENCE_S: Final = 0.2
MOST_WAITING: Final = 5_000
MOST_AT_ONCE: Final = 200


def default_path() -> Path:
    """Return the file's place under the XDG state directory."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "frostwatch" / "journal.db"


@dataclass(slots=True, eq=False)
class Job(Generic[T]):
    """Something to be done to the file.

    Attributes:
        work: it.
        writes: whether it changes anything.
        done: is set when it is on disk, or never will be; None where nobody waits.
        results: what it returned: one thing, or none if it could not be done.
    """

    work: Callable[[sqlite3.Connection], T]
    writes: bool
    done: threading.Event | None
    results: list[T]


class Journal:
    """One process's hand on the journal; thread-safe, and never raises.

    Args:
        path: the file; None for the default one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._jobs: queue.Queue[Job[object] | None] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._inert = False
        self._problem: str | None = None
        self._told = False

    @property
    def problem(self) -> str | None:
        """Why nothing is written any more, in one sentence; None if all is well."""
        return self._problem

    def take_problem(self) -> str | None:
        """Return the problem the first time, so that it is told once."""
        if self._problem is None or self._told:
            return None
        with self._lock:
            told, self._told = self._told, True
        return None if told else self._problem

    def put(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Have something written, and go on at once."""
        self._put(Job(work, writes=True, done=None, results=[]))

    def write(
        self, work: Callable[[sqlite3.Connection], object], timeout_s: float = PATIENCE_S
    ) -> bool:
        """Have something written, and wait until it is.

        Args:
            work: what writes it; it is done also if we don't wait for its end.
            timeout_s: how long to wait.

        Returns:
            Whether it is in the file.
        """
        return bool(self._wait(Job(work, writes=True, done=None, results=[]), timeout_s))

    def ask(
        self,
        work: Callable[[sqlite3.Connection], T],
        missing: T,
        timeout_s: float = PATIENCE_S,
    ) -> T | None:
        """Read something.

        Args:
            work: what reads it.
            missing: what is returned if there is no journal yet.
            timeout_s: how long to wait.

        Returns:
            None if the journal could not tell in time.
        """
        job: Job[T] = Job(work, writes=False, done=None, results=[])
        if not self._wait(cast("Job[object]", job), timeout_s):
            return None
        return job.results[0] if job.results else missing

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is still waiting, and end.

        Args:
            timeout_s: how long to wait for that.
        """
        with self._lock:
            thread, self._inert = self._thread, True
        if thread is None:
            return
        try:
            self._jobs.put(None, timeout=timeout_s)
        except queue.Full:
            return
        thread.join(timeout_s)

    # -- the queue ------------------------------------------------------------------------

    def _put(self, job: Job[object]) -> bool:
        with self._lock:
            if self._inert:
                return False
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                self._stop("its disk does not keep up")
                return False
            return self._started()

    def _started(self) -> bool:
        if self._thread is not None:
            return True
        thread = threading.Thread(target=self._run, name="journal", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._stop(str(error))
            return False
        self._thread = thread
        return True

    def _wait(self, job: Job[object], timeout_s: float) -> bool:
        job.done = threading.Event()
        return self._put(job) and job.done.wait(timeout_s) and self._problem is None

    def _stop(self, why: str) -> None:
        self._inert = True
        path = printable(self.path, 200)
        self._problem = f"the journal {path} is not written any more: {printable(why, 300)}"

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        store, jobs = None, None
        try:
            # Late, and here: a holder that never takes over needs none of it.
            from agentclient.journal.store import Store  # noqa: PLC0415

            store = Store(self.path)
            while (jobs := self._take()) is not None:
                _do(store, jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs the history alone
            with self._lock:
                self._stop(str(error) or repr(error))
        finally:
            self._release(jobs or [])
            if store is not None:
                store.close()

    def _take(self) -> list[Job[object]] | None:
        """Return what waits, at least one; None at the end."""
        first = self._jobs.get()
        if first is None:
            return None
        jobs = [first]
        while len(jobs) < MOST_AT_ONCE and not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # the end comes after what stands before it
                break
            jobs.append(job)
        return jobs

    def _release(self, failed: Sequence[Job[object]]) -> None:
        """Nobody waits for what will not be done; the problem is known before they wake up."""
        with self._lock:
            self._inert = True
        for one in failed:
            if one.done is not None:
                one.done.set()
        until = time.monotonic() + 1.0
        while not self._jobs.empty() and time.monotonic() < until:
            job = self._jobs.get()
            if job is not None and job.done is not None:
                job.done.set()


def _do(store: Store, jobs: Sequence[Job[object]]) -> None:
    """Do some jobs in one transaction, and wake who waits for them."""
    writes = any(job.writes for job in jobs)
    results = store.run([job.work for job in jobs], writes=writes)
    for job, result in zip(jobs, results or [], strict=False):
        job.results.append(result)
    for job in jobs:
        if job.done is not None:
            job.done.set()
