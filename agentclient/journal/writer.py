"""The journal's interface: it queues reads and writes for the journal's process.

The disk may be slow, locked, full or frozen; the guest under freeze may even be the server that
the disk is on. So neither a freeze, a thaw nor the end of the program may wait for the disk.
Callers put writes into a bounded queue and go on. A thread passes the writes to the journal's
process, and waits for each answer with a bound. A failed write is tried again until the program
ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agentclient.journal.storage.jobs import Job, JobKind, Query, first_of
from agentclient.journal.storage.process import ProcessEnded, Server
from agentclient.journal.storage.state_folder import NoStateFolder, state_folder
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.text import printable

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows, Statement

T = TypeVar("T")
# How long a freeze or a thaw waits for the journal at the most, in seconds; and how long while the
# journal's process is still starting.
PATIENCE_S: Final = 0.2
START_S: Final = 1.0
# How long an answer may take, in seconds, before the disk is reported as hanging.
HANG_S: Final = 1.5
RETRY_S: Final = 1.0
# How long the end of a process is waited for, in seconds, that has closed its pipes.
REAPED_S: Final = 1.0
MOST_WAITING: Final = 5_000
MOST_AT_ONCE: Final = 200
# The problem that stops both reads and writes: the disk does not answer.
_HANG: Final = "hang"


def default_path() -> Path:
    """Return the path of the journal's file, in the state folder.

    Raises:
        NoStateFolder: the state folder's place is not known.
    """
    return state_folder() / "journal.db"


class Journal:
    """The journal, for one process; thread-safe, and its methods never raise.

    Args:
        path: the journal's file; None for the default one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._news = threading.Condition()
        self._writes: deque[Job] = deque()
        self._reads: deque[Job] = deque()
        self._retry_at = 0.0
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self._began = threading.Event()
        self._hangs = False
        self._closing = False
        self._unusable: str | None = None
        self._problems: dict[str, str] = {}
        self._notices: deque[str] = deque(maxlen=20)
        try:
            self.path = path or default_path()
        except NoStateFolder as error:
            self.path = Path("~/.local/state/frostwatch/journal.db")
            self._unusable = str(error)
            self._trouble(JobKind.WRITE, str(error))

    @property
    def problem(self) -> str | None:
        """Why the journal can't be written or read, in one sentence; None if it can."""
        with self._news:
            problems = self._problems
            return problems.get(_HANG) or problems.get(JobKind.WRITE) or problems.get(JobKind.READ)

    def take_notice(self) -> str | None:
        """Return the next sentence for the operator, each of them once; None if none is left."""
        with self._news:
            return self._notices.popleft() if self._notices else None

    def begin(self) -> None:
        """Start the journal's process now, so that the first query is answered sooner."""
        with self._news:
            if not self._closing and self._unusable is None:
                self._started()

    def put(
        self,
        statements: Sequence[Statement],
        then: Callable[[list[Rows]], Iterable[Statement]] | None = None,
    ) -> None:
        """Queue a write, and return at once.

        Args:
            statements: the SQL statements; all of them are executed, or none.
            then: returns the statements of the next write, from the rows that `statements` found;
                it is called in the journal's thread.
        """
        self._put(Job(JobKind.WRITE, statements, then))

    def write(self, statements: Sequence[Statement], timeout_s: float = PATIENCE_S) -> bool:
        """Queue a write, and wait for its end.

        Args:
            statements: the SQL statements; they are executed also after the wait has ended.
            timeout_s: how long to wait, in seconds.

        Returns:
            Whether the write is known to be done.
        """
        return self._asked(Job(JobKind.WRITE, statements), timeout_s).ok

    def ask(self, query: Query[T], timeout_s: float = PATIENCE_S) -> T | None:
        """Return the result of a query.

        Args:
            query: the query.
            timeout_s: how long to wait, in seconds.

        Returns:
            None if the journal did not answer in time, or can't be read: `problem` says why.
        """
        job = self._asked(Job(JobKind.READ, query.statements), timeout_s)
        if not job.ok:
            return None
        if job.found is None:
            return query.missing
        try:
            return query.parse(job.found)
        except Exception as error:  # noqa: BLE001 - what stands in a file is nobody's bug
            self._notice(f"{self._name()} can't be read: {error!r}")
            return None

    def aside(self, timeout_s: float = PATIENCE_S) -> tuple[str, ...]:
        """Return the paths of earlier files that were corrupt; empty if that can't be told."""
        job = self._asked(Job(JobKind.ASIDE), timeout_s)
        return tuple(job.found) if job.ok else ()

    def load(self, name: str, timeout_s: float) -> bytes | None:
        """Return the content of a small file beside the journal; None if it can't be told."""
        job = self._asked(Job(JobKind.LOAD, (name,)), timeout_s)
        return job.found if job.ok else None

    def keep(self, name: str, body: bytes, timeout_s: float) -> str | None:
        """Write a small file beside the journal; return why that failed, None if it did not."""
        job = self._asked(Job(JobKind.KEEP, (name, body)), timeout_s)
        if job.ok:
            return None if job.found is None else str(job.found)
        return self.problem or f"{self._name()} has not answered within {timeout_s:g} s"

    def _asked(self, job: Job, timeout_s: float) -> Job:
        if self._put(job):
            self._wait(job, timeout_s)
        return job

    def fail(self, error: Exception) -> None:
        """Add a notice that an entry is missing because of an error in our own code."""
        self._notice(f"{self._name()} lacks an entry: {error!r}")

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is still queued, and end the thread.

        Args:
            timeout_s: how long to wait, in seconds; `take_notice` then tells what may be missing.
        """
        with self._news:
            self._closing = True
            self._retry_at = 0.0
            thread = self._thread
            self._news.notify_all()
        if thread is None:
            return
        thread.join(timeout_s)
        if thread.is_alive():
            self._trouble(_HANG, "what was done last may never be written")

    # -- the queue ------------------------------------------------------------------------

    def _put(self, job: Job) -> bool:
        with self._news:
            if self._closing or self._unusable is not None:
                return False
            if job.what != JobKind.WRITE:
                if self._hangs:
                    return False
                self._reads.append(job)
            elif len(self._writes) < MOST_WAITING:
                self._writes.append(job)
            else:
                self._lost += 1
                text = "its disk does not keep up, and entries are lost"
                self._trouble(JobKind.WRITE, text)
                return False
            self._news.notify_all()
            return self._started()

    def _started(self) -> bool:
        if self._thread is not None:
            return True
        thread = threading.Thread(target=self._run, name="journal", daemon=True)
        try:
            thread.start()
        except NO_THREAD as error:
            self._trouble(JobKind.WRITE, why_no_thread(error))
            return False
        self._thread = thread
        return True

    def _wait(self, job: Job, timeout_s: float) -> bool:
        if job.what == JobKind.WRITE:
            with self._news:
                troubled = _HANG in self._problems or JobKind.WRITE in self._problems
                if troubled and not job.done.is_set():
                    timeout_s = 0.0  # the write will be tried again, but we don't wait for it
        if job.done.wait(timeout_s):
            return True
        more_s = START_S - timeout_s
        return timeout_s > 0 and more_s > 0 and not self._began.is_set() and job.done.wait(more_s)

    # -- what is known of it --------------------------------------------------------------

    def _name(self) -> str:
        return f"the journal {printable(self.path, 200)}"

    def _notice(self, text: str) -> None:
        with self._news:
            self._notices.append(printable(text, 600))

    def _trouble(self, what: str, why: str) -> None:
        """Record that the file can't be read or written; add a notice when that begins."""
        does = {
            JobKind.WRITE: "is not written: ",
            JobKind.READ: "can't be read: ",
            _HANG: "does not answer: ",
        }
        text = f"{self._name()} {does[what]}{printable(why, 400)}"
        with self._news:
            told = self._problems.get(what)
            self._problems[what] = text
            if told is None:
                self._notices.append(text)

    def _well(self, what: str) -> None:
        with self._news:
            self._hangs = False
            if self._problems.pop(_HANG, None) is not None:
                self._notices.append(f"{self._name()} answers again")
            if self._problems.pop(what, None) is not None and what == JobKind.WRITE:
                lost, self._lost = self._lost, 0
                rest = f"; {lost} entries are lost" if lost else ""
                self._notices.append(f"{self._name()} is written again{rest}")

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._do(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs the history alone
                self._failed(batch, f"a bug of ours: {error!r}")
        server, self._server = self._server, None
        if server is not None:
            server.close(0.0 if self._hangs else 1.0)

    def _next(self) -> list[Job] | None:
        """Wait for the next jobs, all of one kind, and return them; None at the end."""
        with self._news:
            while True:
                now = time.monotonic()
                if self._writes and now >= self._retry_at:
                    return first_of(self._writes, MOST_AT_ONCE)
                if self._reads:
                    return first_of(self._reads, 1)
                if self._closing:
                    return None
                self._news.wait(max(0.0, self._retry_at - now) if self._writes else None)

    def _do(self, batch: list[Job]) -> None:
        """Send jobs to the journal's process, and wake the callers that wait for them."""
        what = batch[0].what
        try:
            if self._server is None:
                self._server = Server(self.path)
            self._server.ask(what, [list(job.statements) for job in batch])
            answer = self._answer(self._server, batch)
        except (OSError, ProcessEnded) as error:
            self._failed(batch, f"its process has ended {error}".rstrip())
            self._end_server()
            return
        self._began.set()
        if answer is None:
            return  # the program ends; the journal's process does the jobs without us
        status, found, notices = answer
        for notice in notices:
            self._notice(f"{self._name()}: {notice}")
        if status == "trouble":
            self._failed(batch, found)
            return
        self._well(what)
        self._take(batch, found if status == "done" else None)

    def _answer(self, server: Server, batch: list[Job]) -> tuple[Any, ...] | None:
        """Wait for the answer, however long; if the disk hangs, wake all callers that wait."""
        answer = server.heard(HANG_S)
        if answer is not None:
            return answer
        self._hang(batch)
        while not self._closing:
            if (answer := server.heard(0.1)) is not None:
                return answer
        answer = server.heard(0.1)
        if answer is None:
            self._leave(server)
        return answer

    def _hang(self, batch: list[Job]) -> None:
        with self._news:
            self._hangs = True
            waiting = [*batch, *self._reads, *self._writes]
            self._reads.clear()
        self._trouble(_HANG, "its disk is frozen, or hangs")
        self._began.set()
        for job in waiting:
            job.done.set()

    def _leave(self, server: Server) -> None:
        """Send all queued writes, in case the disk answers again after the program's end."""
        with self._news:
            writes = [list(job.statements) for job in self._writes]
            self._writes.clear()
        if writes:
            server.ask(JobKind.WRITE, writes)
            server.push(0.2)

    def _failed(self, batch: list[Job], why: str) -> None:
        """Record why jobs failed; writes go back into the queue."""
        what = batch[0].what
        with self._news:
            self._hangs = False
            self._problems.pop(_HANG, None)
            if what == JobKind.WRITE:
                self._retry_at = time.monotonic() + RETRY_S
                if not self._closing:
                    self._writes.extendleft(reversed(batch))
                else:
                    batch = [*batch, *self._writes]
                    self._writes.clear()
        self._trouble(JobKind.WRITE if what == JobKind.WRITE else JobKind.READ, why)
        self._began.set()
        for job in batch:
            job.done.set()

    def _take(self, batch: list[Job], found: Any) -> None:
        errors = []
        for number, job in enumerate(batch):
            if job.what not in (JobKind.READ, JobKind.WRITE) or found is None:
                job.ok, job.found = True, found
            else:
                error, job.found = found[number]
                job.ok = error is None
                errors += [error] if error else []
            if job.ok and job.then is not None:
                self._follow(job)
            job.done.set()
        for error in errors[:1]:
            verb = "lacks an entry" if batch[0].what == JobKind.WRITE else "can't be read"
            self._notice(f"{self._name()} {verb}: {error}")

    def _follow(self, job: Job) -> None:
        assert job.then is not None
        try:
            more = list(job.then(job.found or []))
        except Exception as error:  # noqa: BLE001 - as in `_run`
            self._notice(f"{self._name()} lacks an entry: {error!r}")
            return
        if more:
            with self._news:
                self._writes.appendleft(Job(JobKind.WRITE, more))

    def _end_server(self) -> None:
        """Leave a process that has ended; one that nobody waits for would stay as a zombie."""
        server, self._server = self._server, None
        if server is not None:
            server.close(REAPED_S)
