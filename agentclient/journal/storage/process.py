"""The client of the journal's process: starts it, sends requests and receives answers.

Every wait has a bound, and nothing here touches a disk.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from agentclient.journal.storage.framing import HEAD_BYTES, packed

_PACKAGES: Final = str(Path(__file__).resolve().parents[3])
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agentclient.journal.storage.server import main; main(sys.argv[2])"
)
# The pipe's size in bytes: what it contains when we exit is still written, however slow the disk.
_PIPE_BYTES: Final = 1 << 20


class ProcessEnded(Exception):
    """The journal's process has ended."""


def command(path: Path) -> list[str]:
    """Return the command line that starts the process for the journal at `path`.

    ``-S`` leaves out the import of ``site``, which the process does not need.
    """
    return [sys.executable, "-S", "-E", "-I", "-c", _BOOT, _PACKAGES, os.fspath(path.absolute())]


class Server:
    """A running journal process, seen from its client.

    Args:
        path: the journal's file.

    Raises:
        OSError: the process can't be started.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            stdin, self._to = _pipe(theirs, ours)
            self._from, stdout = _pipe(ours, theirs)
            self.pid = _spawn(command(path), stdin, stdout)
            ours.pop_all()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        with suppress(OSError):
            fcntl.fcntl(self._to, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._unsent = bytearray()
        self._heard = bytearray()

    def ask(self, what: str, jobs: Sequence[object]) -> None:
        """Queue a request; `heard` and `push` send it.

        Args:
            what: one of `agentclient.journal.storage.jobs.JobKind`.
            jobs: the statements of each job; or a small file's name, and its content.
        """
        self._unsent += packed((what, list(jobs)))

    def heard(self, timeout_s: float) -> tuple[Any, ...] | None:
        """Send what is queued, and return the next answer.

        Args:
            timeout_s: how long to wait for the answer, in seconds.

        Returns:
            None if no answer came in time.

        Raises:
            ProcessEnded: the process has ended, so no answer will come.
        """
        until = time.monotonic() + timeout_s
        while True:
            if (message := self._message()) is not None:
                return message
            left_s = until - time.monotonic()
            if left_s < 0 or not self._turn(left_s):
                return self._message()

    def push(self, timeout_s: float) -> None:
        """Send what is queued, for at most `timeout_s` seconds, and wait for no answer."""
        until = time.monotonic() + timeout_s
        with suppress(ProcessEnded):
            while self._unsent and self._turn(max(0.0, until - time.monotonic())):
                pass

    def close(self, timeout_s: float) -> None:
        """Close the pipes; the process ends by itself when it has done its requests.

        Args:
            timeout_s: how long to wait for its end, in seconds; if its disk hangs, it is left
                behind.
        """
        os.close(self._to)
        until = time.monotonic() + timeout_s
        while not self._has_ended() and time.monotonic() < until:
            time.sleep(0.005)
        os.close(self._from)

    def _turn(self, timeout_s: float) -> bool:
        """Wait until a pipe is ready, then write and read; return whether any pipe was ready."""
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if self._unsent:
            poll.register(self._to, select.POLLOUT)
        ready = dict(poll.poll(timeout_s * 1000))
        if self._to in ready:
            self._write()
        if self._from in ready:
            self._read()
        return bool(ready)

    def _write(self) -> None:
        try:
            del self._unsent[: os.write(self._to, self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ProcessEnded from error

    def _read(self) -> None:
        try:
            part = os.read(self._from, 1 << 20)
        except BlockingIOError:
            return
        if not part:
            raise ProcessEnded
        self._heard += part

    def _message(self) -> tuple[Any, ...] | None:
        if len(self._heard) < HEAD_BYTES:
            return None
        end = HEAD_BYTES + int.from_bytes(self._heard[:HEAD_BYTES], "big")
        if len(self._heard) < end:
            return None
        message: tuple[Any, ...] = marshal.loads(self._heard[HEAD_BYTES:end])  # noqa: S302 - ours
        del self._heard[:end]
        return message

    def _has_ended(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """Return a pipe whose ends are closed with the two stacks.

    Neither end is descriptor 0, 1 or 2, also if one of these was closed.
    """
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends]
    finally:
        for end in ends:
            os.close(end)
    for stack, end in zip((reader, writer), moved, strict=True):
        stack.callback(os.close, end)
    return moved[0], moved[1]


def _spawn(words: list[str], stdin: int, stdout: int) -> int:
    """Start a process in a session of its own, so that no signal of the terminal reaches it."""
    actions = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    return os.posix_spawnp(
        words[0], words, os.environ, file_actions=actions, setsid=True, setsigmask=()
    )
