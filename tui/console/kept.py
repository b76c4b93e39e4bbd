"""What is kept of the view for the next console: columns, order, filter, theme and split.

One file for each user, written whole or not at all. It is never in the way: a start waits for it a
tenth of a second at the most, and what is broken or somebody else's is ignored with one notice. Two
consoles at once write what each has changed, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agentclient.late import load
from agentclient.model.errors import NO_THREAD
from agentclient.model.text import printable

FILE: Final = "console.json"
SCHEMA: Final = 1
MOST_BYTES: Final = 64 * 1024
_START_WAITS_S: Final = 0.1
_LOCK_WAITS_S: Final = 1.0
_END_WAITS_S: Final = 1.0
_SCHEMA: Final = "schema"
_NOT_READ: Final = "the view is not as you left it"
_NOT_WRITTEN: Final = "the view can't be kept"

Values = Mapping[str, Any]


class NotKept(Exception):
    """What was kept can't be used; the text is one clause.

    Attributes:
        theirs: it must not be written over.
    """

    def __init__(self, text: str, *, theirs: bool = False) -> None:
        super().__init__(text)
        self.theirs = theirs


def read(path: Path) -> dict[str, Any]:
    """Return what a file keeps; nothing if there is none.

    Raises:
        NotKept: it can't be used.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NotKept(f"it can't be read: {error.strerror}", theirs=True) from None
    try:
        problem = _unfit(os.fstat(number))
        if problem is not None:
            raise NotKept(problem, theirs=True)
        data = os.read(number, MOST_BYTES + 1)
    except OSError as error:
        raise NotKept(f"it can't be read: {error.strerror}") from None
    finally:
        os.close(number)
    return _parsed(data)


def _unfit(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_uid != os.geteuid():
        return f"it belongs to another user (uid {found.st_uid})"
    return "everybody may write to it" if found.st_mode & stat.S_IWOTH else None


def _parsed(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise NotKept("it is too large")
    try:
        found = load("json", "loads")(data)
    except (ValueError, RecursionError):
        raise NotKept("it is no JSON") from None
    if not isinstance(found, dict):
        raise NotKept("it is no JSON object")
    if found.get(_SCHEMA) != SCHEMA:
        raise NotKept("another frostwatch has written it", theirs=True)
    return {name: value for name, value in found.items() if name != _SCHEMA}


def write(path: Path, changes: Values) -> None:
    """Add changes to what a file keeps, as a whole or not at all.

    Raises:
        OSError: it can't be written.
        NotKept: what is there must not be written over.
    """
    load("agentclient.journal.storage.state_folder", "make_folder")(path.parent)
    with _locked(path.with_suffix(".lock")):
        try:
            before = read(path)
        except NotKept as problem:
            if problem.theirs:
                raise
            before = {}
        text = load("json", "dumps")({_SCHEMA: SCHEMA, **before, **changes}, indent=1)
        _replace(path, f"{text}\n".encode())


@contextlib.contextmanager
def _locked(path: Path) -> Any:
    """Let one console write at a time; one that hangs keeps nobody from it for long."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + _LOCK_WAITS_S
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise
            time.sleep(0.02)
        yield
    finally:
        os.close(number)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            while data:
                data = data[os.write(number, data) :]
            os.fsync(number)
        finally:
            os.close(number)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


class Keeper:
    """Reads what was kept, and keeps what changes; never on the console's own thread.

    Args:
        path: the file; None for the usual one, and for none where nobody knows where that is.
        writes: what changes is kept; otherwise what was kept is only read.
    """

    def __init__(self, path: Path | None = None, *, writes: bool = True) -> None:
        self._path = path
        self._writes = writes
        self._values: Values = {}
        self._changes: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._told = False
        self._reading = self._begin(self._read)
        self._writing: threading.Thread | None = None

    @property
    def values(self) -> Values:
        """What was kept; nothing if it isn't there in time."""
        if self._reading is not None:
            self._reading.join(_START_WAITS_S)
            late = self._reading.is_alive()
            self._reading = None
            if late:
                self._note(_NOT_READ, "it can't be read in time")
        with self._lock:
            return dict(self._values)

    def take_problem(self) -> str | None:
        """Return why something isn't kept, once."""
        with self._lock:
            return self._problems.pop(0) if self._problems else None

    def keep(self, changes: Values) -> None:
        """Keep some values, soon."""
        if not self._writes:
            return
        self._changes.update(changes)
        if self._changes and (self._writing is None or not self._writing.is_alive()):
            taken, self._changes = self._changes, {}
            self._writing = self._begin(lambda: self._write(taken))

    def finish(self) -> None:
        """Keep what is left, and wait for it for a moment."""
        for _ in range(2):  # what is being written, and what came meanwhile
            if self._writing is not None:
                self._writing.join(_END_WAITS_S)
            self.keep({})

    def _begin(self, work: Any) -> threading.Thread | None:
        thread = threading.Thread(target=work, name="kept", daemon=True)
        try:
            thread.start()
        except NO_THREAD:  # the view is kept another time
            return None
        return thread

    def _read(self) -> None:
        try:
            path = self._find()
            found = read(path) if path is not None else {}
        except NotKept as problem:
            self._note(_NOT_READ, str(problem))
        else:
            with self._lock:
                self._values = found

    def _write(self, changes: Values) -> None:
        try:
            path = self._find()
            if path is not None:
                write(path, changes)
        except (OSError, NotKept) as problem:
            said = problem.strerror if isinstance(problem, OSError) else None
            self._note(_NOT_WRITTEN, said or str(problem))

    def _find(self) -> Path | None:
        if self._path is None:
            module = "agentclient.journal.storage.state_folder"
            with contextlib.suppress(load(module, "NoStateFolder")):
                self._path = load(module, "state_folder")() / FILE
        return self._path

    def _note(self, what: str, why: str) -> None:
        """Say once why nothing is kept, or was."""
        with self._lock:
            if not self._told:
                self._told = True
                where = f" ({printable(str(self._path), 200)})" if self._path is not None else ""
                self._problems.append(f"{what}: {printable(why, 200)}{where}")
