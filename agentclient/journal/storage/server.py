"""The journal's process, the only one that touches the journal's disk.

``python -S -E -I -c … PATH``: it reads requests from descriptor 0 and writes answers to descriptor
1. A process that waits for a hanging disk can't end, even when killed; and the disk may hang
because the guest under freeze carries it. So nobody waits for this process. When its client has
ended, it does the remaining requests and ends.
"""

from __future__ import annotations

import marshal
import os
import signal
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agentclient.journal.storage.database import JournalError
from agentclient.journal.storage.fault import of_system
from agentclient.journal.storage.framing import HEAD_BYTES, packed
from agentclient.journal.storage.state_folder import make_folder
from agentclient.journal.storage.store import Store

NAME: Final = b"frostwatch-jour"
_MOST_BYTES: Final = 4 * 1024 * 1024
_IGNORED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGPIPE,
)


def answer(store: Store, what: str, jobs: list[Any]) -> tuple[str, object, list[str]]:
    """Do a request, and return its answer.

    Args:
        store: the journal's file.
        what: ``"read"`` or ``"write"``: SQL; ``"aside"``: list the corrupt files; ``"load"`` or
            ``"keep"``: read or write a small file beside the journal.
        jobs: the statements of each job; or the small file's name, and its new content.

    Returns:
        ``"done"`` with the result of each job, ``"missing"``, or ``"trouble"`` with the reason; and
        what a person should know about the file.
    """
    try:
        if what == "aside":
            return "done", store.aside(), []
        if what == "load":
            return "done", load(store.path.with_name(jobs[0][0])), []
        if what == "keep":
            name, body = jobs[0]
            return "done", keep(store.path.with_name(name), body), []
        done = store.run(jobs, writes=what == "write")
    except JournalError as error:
        return "trouble", str(error), _taken(store)
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this request alone
        store.close()
        return "trouble", str(error) or repr(error), _taken(store)
    if done is None:
        return "missing", None, _taken(store)
    return "done", [tuple(each) for each in done], _taken(store)


def load(path: Path) -> bytes:
    """Return the content of a small file; empty if it is none, or can't be read."""
    try:
        # Who opens a pipe as it is waits for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_MOST_BYTES) if is_file else b""
    except OSError:
        return b""


def keep(path: Path, body: bytes) -> str | None:
    """Write a small file as a whole or not at all; return why it failed, None if it did not."""
    try:
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        return of_system(error)
    return None


def _taken(store: Store) -> list[str]:
    notices, store.notices = store.notices, []
    return [_whole(each) for each in notices]


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def main(path: str) -> None:
    """Serve one client until it closes its end of the pipe.

    Args:
        path: the journal's file.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(NAME)
    os.chdir("/")
    store = Store(Path(path))
    while (request := _received()) is not None:
        what, jobs = request
        _send(packed(answer(store, what, jobs)))
    store.close()


def _received() -> tuple[str, list[Any]] | None:
    """Return the next request; None once the client has closed its end of the pipe."""
    head = _read(HEAD_BYTES)
    body = _read(int.from_bytes(head, "big")) if head is not None else None
    return None if body is None else marshal.loads(body)  # noqa: S302 - it comes from our console


def _read(size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(message: bytes) -> None:
    view = memoryview(message)
    with suppress(OSError):  # the client has ended; the remaining requests are still done
        while view:
            view = view[os.write(1, view) :]
